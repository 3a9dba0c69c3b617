//! The log as the reference needs it: iteration after iteration with its queues, and what reached the
//! engine in between.
//!
//! The files are read side by side, each once. Memory: the rows of the steps in flight, arrivals not
//! yet taken in, and the rows of per_request.csv that stand before the one of a live request.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::check::runs::{self, Cuts};
use crate::conform::log::verdict::Void;
use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{
    FormKind, Input, Item, Located, Location, LogDir, LogDirError, TableReader,
};
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::{IterationId, Nanos, Priority, Tokens};

/// A file with one row of look-ahead.
#[derive(Debug)]
struct Stream<R> {
    reader: TableReader<R, Input>,
    head: Option<Located<R>>,
    /// Rows that could not be read, but for a cut end.
    lost: u64,
    /// The byte at which a second run begins, which is not read.
    cut: u64,
    /// Whether the file ends before its end.
    truncated: bool,
}

impl<R: Row> Stream<R> {
    fn open(
        dir: &LogDir,
        ids: &mut IdTable,
        cuts: &Cuts,
        columns: &[&'static str],
    ) -> Result<Self, Trouble> {
        let table = R::SCHEMA.table;
        let reader = dir.reader::<R>()?.ok_or(Void::NoFile(table))?;
        let header = reader.header();
        if let Some(problem) = header.problems.first().filter(|_| !header.usable) {
            // A fixed column that the dialect lacks is named before what is odd beside it.
            let fatal = FormKind::MissingColumn { fatal: true };
            let problem = header.problems.iter().find(|it| it.kind == fatal).unwrap_or(problem);
            let column = problem.column.map(|column| format!("{column}: ")).unwrap_or_default();
            let why = format!("{column}{}", problem.kind);
            return Err(Void::BadFile { table, why }.into());
        }
        let has = |name: &str| {
            R::SCHEMA.column(name).is_some_and(|column| reader.header().layout.has(column))
        };
        if let Some(&missing) = columns.iter().find(|name| !has(name)) {
            return Err(Void::NoColumn(table, missing).into());
        }
        let cut = cuts[table as usize].map_or(u64::MAX, |at| at.offset);
        let mut stream = Self { reader, head: None, lost: 0, cut, truncated: false };
        stream.fill(ids);
        Ok(stream)
    }

    fn fill(&mut self, ids: &mut IdTable) {
        self.head = loop {
            match self.reader.next(ids) {
                Some(Item::Row(row)) if row.offset >= self.cut => break None,
                Some(Item::Row(row)) => break Some(row),
                Some(Item::Problem(problem)) => {
                    if problem.at.is_some_and(|at| at.offset >= self.cut) {
                        break None;
                    }
                    let kind = &problem.kind;
                    self.truncated |= kind.cuts_file();
                    self.lost += u64::from(kind.loses_row() && !kind.cuts_file());
                }
                None => break None,
            }
        };
    }

    fn next_if(
        &mut self,
        ids: &mut IdTable,
        wanted: impl FnOnce(&R) -> bool,
    ) -> Option<Located<R>> {
        if !self.head.as_ref().is_some_and(|head| wanted(&head.row)) {
            return None;
        }
        let row = self.head.take();
        self.fill(ids);
        row
    }
}

/// Why a log is not replayed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Void(#[from] Void),
    #[error(transparent)]
    Log(#[from] LogDirError),
}

/// The moments of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) start: Nanos,
    pub(super) decided: Nanos,
    pub(super) output: Nanos,
    pub(super) end: Nanos,
}

/// One step of the log.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) step: Located<IterationRow>,
    /// The queues at `D`.
    pub(super) queued: Vec<Located<IterationRequestRow>>,
    /// The requests that its output finished.
    pub(super) completed: Vec<Located<IterationRequestRow>>,
    /// Where the requests of `queued` stand in it.
    index: HashMap<RequestKey, usize, FxBuildHasher>,
    /// Whether a row in or before it could not be read, or a step is missing.
    pub(super) damaged: bool,
    /// Whether the rows end before they have told of all of it.
    pub(super) cut: bool,
    /// Whether `completed` is known to be whole.
    pub(super) ends_told: bool,
}

impl Group {
    pub(super) fn id(&self) -> IterationId {
        self.step.row.iteration_id
    }

    pub(super) fn moments(&self) -> Moments {
        let row = &self.step.row;
        let decided = row.start_time.saturating_add(row.scheduling_overhead);
        let output = decided.saturating_add(row.forward_pass_duration);
        Moments { start: row.start_time, decided, output, end: row.end_time }
    }

    /// A request's place in the queues.
    pub(super) fn queued_row(&self, key: RequestKey) -> Option<&Located<IterationRequestRow>> {
        self.index.get(&key).map(|&at| &self.queued[at])
    }

    /// A request's row if the output finished it.
    pub(super) fn completed_row(&self, key: RequestKey) -> Option<&Located<IterationRequestRow>> {
        self.completed.iter().find(|row| row.row.request_id == key)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Located<IterationRequestRow>> {
        self.queued.iter().filter(|row| row.row.state == State::Running)
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Located<IterationRequestRow>> {
        self.queued.iter().filter(|row| row.row.state != State::Running)
    }
}

/// A request that reached the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) key: RequestKey,
    pub(super) at: Nanos,
    pub(super) input: Option<Tokens>,
    pub(super) priority: Option<Priority>,
}

/// A request that ended outside of a step's output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropped {
    pub(super) key: RequestKey,
    pub(super) at: Nanos,
    /// Whether the event says so; else per_request.csv has to.
    pub(super) sure: bool,
}

/// How a request ends, by per_request.csv.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) input: Tokens,
    pub(super) output: Tokens,
    pub(super) priority: Option<Priority>,
    pub(super) reason: Option<FinishReason>,
}

/// Whether a request with this reason ended outside of a step's output.
pub(super) fn is_drop(reason: FinishReason) -> bool {
    matches!(reason, FinishReason::Abort | FinishReason::Error)
}

/// The files of a log, read as a replay goes on.
#[derive(Debug)]
pub(super) struct Tape {
    /// Where a second run was appended; only the first is read.
    pub(super) second_run: Option<Location>,
    pub(super) ids: IdTable,
    steps: Stream<IterationRow>,
    rows: Stream<IterationRequestRow>,
    events: Stream<EventRow>,
    requests: Stream<RequestRow>,
    /// Rows of per_request.csv whose requests have not arrived yet.
    ends: HashMap<RequestKey, End, FxBuildHasher>,
    /// Arrivals that no pass has seen.
    pub(super) mail: VecDeque<Arrived>,
    /// Aborts that have not been carried out.
    pub(super) dropped: VecDeque<Dropped>,
    /// Decisions of the steps at hand.
    pub(super) decisions: Vec<Located<EventRow>>,
    previous: Option<IterationId>,
    lost: u64,
    /// The most ids that were ever known.
    highest: u32,
}

impl Tape {
    pub(super) fn open(dir: &LogDir) -> Result<Self, Trouble> {
        let mut ids = IdTable::default();
        let cuts = runs::find(dir)?;
        let steps = Stream::open(dir, &mut ids, &cuts, &[])?;
        let rows = Stream::open(dir, &mut ids, &cuts, &["scheduled_tokens", "computed_tokens"])?;
        let events = Stream::open(dir, &mut ids, &cuts, &[])?;
        let requests = Stream::open(dir, &mut ids, &cuts, &["finish_reason"])?;
        Ok(Self {
            second_run: cuts[Table::PerIteration as usize],
            ids,
            steps,
            rows,
            events,
            requests,
            ends: HashMap::default(),
            mail: VecDeque::new(),
            dropped: VecDeque::new(),
            decisions: Vec::new(),
            previous: None,
            lost: 0,
            highest: 0,
        })
    }

    /// The first step, without reading it.
    pub(super) fn first_step(&self) -> Option<&IterationRow> {
        self.steps.head.as_ref().map(|head| &head.row)
    }

    /// The next step.
    pub(super) fn next_group(&mut self) -> Option<Group> {
        let step = self.steps.next_if(&mut self.ids, |_| true)?;
        let id = step.row.iteration_id;
        let mut group = Group {
            step,
            queued: Vec::with_capacity(step.row.running_count.0.min(1 << 16) as usize),
            completed: Vec::new(),
            index: HashMap::default(),
            damaged: self.previous.is_some_and(|previous| id.0 != previous.0.wrapping_add(1)),
            cut: false,
            ends_told: true,
        };
        self.previous = Some(id);
        while let Some(row) = self.rows.next_if(&mut self.ids, |row| row.iteration_id <= id) {
            if row.row.iteration_id < id {
                group.damaged = true;
            } else if row.row.state == State::Completed {
                group.completed.push(row);
            } else {
                let at = group.queued.len();
                group.damaged |= group.index.insert(row.row.request_id, at).is_some();
                group.queued.push(row);
            }
        }
        let counted = step.row.running_count.0 as usize + step.row.waiting_count.0 as usize;
        group.cut = self.rows.head.is_none() && group.queued.len() < counted;
        let ends = step.row.completed_count.map_or(0, |count| count.0 as usize);
        group.ends_told = self.rows.head.is_some() || ends <= group.completed.len();
        let lost = self.steps.lost + self.rows.lost + self.events.lost;
        group.damaged |= lost != std::mem::replace(&mut self.lost, lost);
        Some(group)
    }

    /// How many steps are left; none of them is to be replayed.
    pub(super) fn count_the_rest(&mut self) -> u64 {
        let mut left = 0;
        while self.steps.next_if(&mut self.ids, |_| true).is_some() {
            left += 1;
        }
        left
    }

    /// The files that were cut.
    pub(super) fn truncated(&self) -> impl Iterator<Item = Table> {
        let files = [
            (Table::PerIteration, self.steps.truncated),
            (Table::PerIterationRequests, self.rows.truncated),
            (Table::Events, self.events.truncated),
            (Table::PerRequest, self.requests.truncated),
        ];
        files.into_iter().filter(|(_, truncated)| *truncated).map(|(table, _)| table)
    }

    /// Whether every event was read although steps are left that must have had some.
    pub(super) fn events_ended(&self) -> bool {
        self.events.head.is_none()
    }

    /// Reads the events up to a moment, itself included.
    pub(super) fn read_events(&mut self, until: Nanos) {
        while let Some(event) = self.events.next_if(&mut self.ids, |row| row.timestamp <= until) {
            let Some(key) = event.row.request_id else { continue };
            let details = &event.row.details;
            let at = event.row.timestamp;
            use EventType as T;
            match event.row.event_type {
                T::RequestArrived => self.mail.push_back(Arrived {
                    key,
                    at,
                    input: details.input_tokens,
                    priority: details.priority,
                }),
                T::RequestCompleted => {
                    let reason = details.finish_reason;
                    if reason.is_none_or(is_drop) {
                        let sure = reason.is_some();
                        self.dropped.push_back(Dropped { key, at, sure });
                    }
                }
                T::RequestPreempted | T::RequestScheduled | T::RequestResumed => {
                    self.decisions.push(event);
                }
                _ => {}
            }
        }
    }

    /// The requests that had this kind of decision in a step, in order; `None` if the log does not
    /// say.
    pub(super) fn decided(&self, id: IterationId, kind: EventType) -> Option<Vec<RequestKey>> {
        let known = self.decisions.iter().all(|event| event.row.details.iteration_id.is_some());
        let of_step = |event: &&Located<EventRow>| {
            event.row.event_type == kind && event.row.details.iteration_id == Some(id)
        };
        known.then(|| {
            self.decisions.iter().filter(of_step).filter_map(|event| event.row.request_id).collect()
        })
    }

    /// Forgets the decisions of steps up to this one.
    pub(super) fn forget_decisions(&mut self, id: IterationId) {
        self.decisions.retain(|event| event.row.details.iteration_id > Some(id));
    }

    /// What per_request.csv says of a request; call it once per request.
    pub(super) fn end_of(&mut self, key: RequestKey) -> Option<End> {
        if let Some(end) = self.ends.remove(&key) {
            return Some(end);
        }
        while let Some(row) = self.requests.next_if(&mut self.ids, |_| true) {
            let row = row.row;
            let end = End {
                input: row.input_tokens,
                output: row.output_tokens,
                priority: row.priority_score,
                reason: row.finish_reason,
            };
            if row.request_id == key {
                return Some(end);
            }
            self.ends.insert(row.request_id, end);
        }
        None
    }

    /// Forgets the ids of requests but those `named` and those that unread or kept rows name.
    pub(super) fn release_ids(&mut self, mut named: HashSet<RequestKey, FxBuildHasher>) {
        named.extend(self.rows.head.iter().map(|head| head.row.request_id));
        named.extend(self.events.head.iter().filter_map(|head| head.row.request_id));
        named.extend(self.requests.head.iter().map(|head| head.row.request_id));
        named.extend(self.ends.keys());
        named.extend(self.mail.iter().map(|arrived| arrived.key));
        named.extend(self.dropped.iter().map(|dropped| dropped.key));
        named.extend(self.decisions.iter().filter_map(|event| event.row.request_id));
        // Keys are handed out from the lowest, so no live one is above their number.
        let highest = self.highest.max(self.ids.len() as u32);
        self.highest = highest;
        for key in (0..highest).map(RequestKey).filter(|key| !named.contains(key)) {
            self.ids.release(key);
        }
    }
}
