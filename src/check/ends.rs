//! The end of a step in a log whose steps end at their decisions: what happened at it tells.

use std::collections::VecDeque;

use crate::log::dialect::Dialect;
use crate::log::ids::IdTable;
use crate::log::moments::Moments;
use crate::log::reader::{Input, Item, LogDir, LogDirError, TableReader};
use crate::log::schema::{EventRow, IterationRow};
use crate::log::values::{EventType, FinishReason};
use crate::units::Nanos;

/// A second look at events.csv, ahead of the pass, for the moments at which outputs were processed.
pub(super) struct Ends {
    events: TableReader<EventRow, Input>,
    ids: IdTable,
    /// Those behind the output of the step before, as far as they were looked at.
    ahead: VecDeque<Output>,
}

/// A moment at which an output was processed.
#[derive(Clone, Copy, Debug)]
struct Output {
    at: Nanos,
    /// Whether nothing else can have happened then.
    is_certain: bool,
}

impl Ends {
    /// None if per_iteration.csv tells the ends itself, or nothing does.
    pub(super) fn open(dir: &LogDir, dialect: &Dialect) -> Result<Option<Self>, LogDirError> {
        if !dialect.hides_ends() {
            return Ok(None);
        }
        let events = dir.reader::<EventRow>()?;
        Ok(events.map(|events| Self { events, ids: IdTable::default(), ahead: VecDeque::new() }))
    }

    /// The moments of a step, its end taken from its first output event. A step without one, of
    /// which nothing depends on the end, ends as its output arrives.
    pub(super) fn refine(
        &mut self,
        mut moments: Moments,
        next: Option<&IterationRow>,
        overlapping: bool,
        dialect: &Dialect,
        slack: Nanos,
    ) -> Moments {
        let bound = next.map(|row| Moments::of(row, dialect)).map(|next| match overlapping {
            true => next.output,
            false => next.start,
        });
        // A stamp of its own reading may be behind the next step's beginning, the end is not.
        let latest = bound.map(|bound| bound.saturating_add(slack));
        let within = |at: Nanos| latest.is_none_or(|latest| at <= latest);
        while self.ahead.front().is_some_and(|output| output.at < moments.output) {
            self.ahead.pop_front();
        }
        while self.ahead.back().is_none_or(|output| within(output.at)) {
            let Some(output) = self.advance() else { break };
            if output.at >= moments.output {
                self.ahead.push_back(output);
            }
        }
        let mut outputs = self.ahead.iter().filter(|output| within(output.at));
        let first = outputs.clone().next();
        // An end of unknown reason may be an abort, which comes at any moment.
        if let Some(output) = outputs.find(|output| output.is_certain).or(first) {
            moments.end = bound.map_or(output.at, |bound| output.at.min(bound));
        }
        moments
    }

    fn advance(&mut self) -> Option<Output> {
        loop {
            let Item::Row(event) = self.events.next(&mut self.ids)? else { continue };
            if let Some(key) = event.row.request_id {
                self.ids.release(key);
            }
            let reason = event.row.details.finish_reason;
            let is_certain = match event.row.event_type {
                EventType::FirstTokenGenerated => true,
                EventType::RequestCompleted if reason.is_some_and(FinishReason::is_drop) => {
                    continue;
                }
                EventType::RequestCompleted => reason.is_some(),
                _ => continue,
            };
            return Some(Output { at: event.row.timestamp, is_certain });
        }
    }
}
