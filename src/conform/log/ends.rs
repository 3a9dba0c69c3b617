//! How requests end: per_request.csv, and events.csv for what a dialect leaves out of the former.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::check::runs::Cuts;
use crate::conform::log::stream::Stream;
use crate::conform::log::verdict::{Trouble, Void};
use crate::log::dialect::{Dialect, Habit};
use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, RequestRow};
use crate::log::values::{EventType, FinishReason};
use crate::units::{Blocks, Nanos, Priority, Tokens};

/// How a request ends, by per_request.csv.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) arrival: Nanos,
    /// When it was first scheduled, where the log tells.
    pub(super) scheduled: Option<Nanos>,
    pub(super) input: Tokens,
    pub(super) output: Tokens,
    pub(super) blocks: Option<Blocks>,
    pub(super) priority: Option<Priority>,
    pub(super) reason: Option<FinishReason>,
}

impl End {
    /// Whether it is known to end outside of a step's output.
    pub(super) fn is_drop(self) -> bool {
        self.reason.is_some_and(FinishReason::is_drop)
    }
}

/// Where it stands why a request ended.
#[derive(Debug)]
enum Reasons {
    /// In per_request.csv.
    Column,
    /// In the details of its event, to which events.csv is read ahead.
    Details(Box<Stream<EventRow>>),
    /// Nowhere; whether an output finished it is seen from its `completed` row.
    Nowhere,
}

/// per_request.csv, asked for one request after the other. Memory: the rows that stand before the
/// newest asked for and have not been asked for themselves.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) requests: Stream<RequestRow>,
    reasons: Reasons,
    rows_ahead: HashMap<RequestKey, End, FxBuildHasher>,
    reasons_ahead: HashMap<RequestKey, FinishReason, FxBuildHasher>,
}

impl Ends {
    pub(super) fn open(
        dir: &LogDir,
        ids: &mut IdTable,
        cuts: &Cuts,
        dialect: &Dialect,
    ) -> Result<Self, Trouble> {
        let requests = Stream::<RequestRow>::open(dir, ids, cuts)?;
        let reasons = if requests.has("finish_reason") {
            Reasons::Column
        } else if !dialect.has(Habit::NoDetails) {
            Reasons::Details(Box::new(Stream::open(dir, ids, cuts)?))
        } else if !dialect.has(Habit::NoCompletedRows) {
            Reasons::Nowhere
        } else {
            return Err(Void::NoReasons.into());
        };
        let (rows_ahead, reasons_ahead) = (HashMap::default(), HashMap::default());
        Ok(Self { requests, reasons, rows_ahead, reasons_ahead })
    }

    /// What per_request.csv says of a request; call it once per request.
    pub(super) fn of(&mut self, ids: &mut IdTable, key: RequestKey) -> Option<End> {
        let mut end = self.row_of(ids, key)?;
        end.reason = end.reason.or_else(|| self.reason_of(ids, key));
        Some(end)
    }

    fn row_of(&mut self, ids: &mut IdTable, key: RequestKey) -> Option<End> {
        if let Some(end) = self.rows_ahead.remove(&key) {
            return Some(end);
        }
        while let Some(row) = self.requests.next_if(ids, |_| true) {
            let row = row.row;
            let end = End {
                arrival: row.arrival_time,
                scheduled: row.first_scheduled_time,
                input: row.input_tokens,
                output: row.output_tokens,
                blocks: row.kv_cache_blocks,
                priority: row.priority_score,
                reason: row.finish_reason,
            };
            if row.request_id == key {
                return Some(end);
            }
            self.rows_ahead.insert(row.request_id, end);
        }
        None
    }

    fn reason_of(&mut self, ids: &mut IdTable, key: RequestKey) -> Option<FinishReason> {
        let Reasons::Details(events) = &mut self.reasons else { return None };
        if let Some(reason) = self.reasons_ahead.remove(&key) {
            return Some(reason);
        }
        while let Some(event) = events.next_if(ids, |_| true) {
            let event = event.row;
            let completed = event.event_type == EventType::RequestCompleted;
            let told = event.request_id.filter(|_| completed).zip(event.details.finish_reason);
            match told {
                Some((other, reason)) if other == key => return Some(reason),
                Some((other, reason)) => {
                    self.reasons_ahead.insert(other, reason);
                }
                None => {}
            }
        }
        None
    }

    /// Adds the requests that unread or kept rows name.
    pub(super) fn name(&self, named: &mut HashSet<RequestKey, FxBuildHasher>) {
        named.extend(self.requests.head.iter().map(|head| head.row.request_id));
        named.extend(self.rows_ahead.keys());
        named.extend(self.reasons_ahead.keys());
        if let Reasons::Details(events) = &self.reasons {
            named.extend(events.head.iter().filter_map(|head| head.row.request_id));
        }
    }
}
