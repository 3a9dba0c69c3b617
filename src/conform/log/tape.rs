//! The log as the reference needs it: iteration after iteration with its queues, and what reached the
//! engine in between.
//!
//! The files are read side by side, each once. Memory: the rows of the steps in flight, arrivals not
//! yet taken in, and the rows of per_request.csv that stand before the one of a live request.

use std::collections::VecDeque;

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use crate::check::runs;
use crate::conform::log::ends::{End, Ends};
use crate::conform::log::group::Group;
use crate::conform::log::stream::Stream;
use crate::conform::log::verdict::Trouble;
use crate::log::dialect::{Dialect, Habit};
use crate::log::ids::{IdTable, RequestKey};
use crate::log::moments::Moments;
use crate::log::reader::{FormKind, Located, Location, LogDir};
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, Table};
use crate::log::values::{EventType, FinishReason};
use crate::scheduler::Status;
use crate::units::{IterationId, Nanos, Priority, Requests, Tokens};

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

/// A request that an output finished, by its event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) key: RequestKey,
    pub(super) at: Nanos,
    pub(super) tokens: Option<Tokens>,
    pub(super) location: Location,
}

/// The files of a log, read as a replay goes on.
#[derive(Debug)]
pub(super) struct Tape {
    /// How the log is written.
    pub(super) dialect: Dialect,
    /// How much two readings of one moment may differ: nothing, unless the dialect reads its clock more
    /// than once.
    pub(super) slack: Nanos,
    /// Where a second run was appended; only the first is read.
    pub(super) second_run: Option<Location>,
    /// Whether rows say how many tokens a request had computed and got.
    pub(super) tells_tokens: bool,
    pub(super) ids: IdTable,
    steps: Stream<IterationRow>,
    rows: Stream<IterationRequestRow>,
    events: Stream<EventRow>,
    ends: Ends,
    /// Arrivals that no pass has seen.
    pub(super) mail: VecDeque<Arrived>,
    /// Aborts that have not been carried out.
    pub(super) dropped: VecDeque<Dropped>,
    /// Requests that ended with an output of which no step is known yet, in a dialect that has no
    /// `completed` rows.
    pub(super) ended: VecDeque<Ended>,
    /// Decisions of the steps at hand.
    pub(super) decisions: Vec<Located<EventRow>>,
    previous: Option<IterationId>,
    lost: u64,
    /// Whether a row that was lost may be one of the next step.
    may_lack_rows: bool,
    /// The most ids that were ever known.
    highest: u32,
}

impl Tape {
    pub(super) fn open(dir: &LogDir, skew_bound: Nanos) -> Result<Self, Trouble> {
        let mut ids = IdTable::default();
        let found = runs::find(dir)?;
        let other = if found.runs.is_second { None } else { runs::search(dir)? };
        let counts = if other.is_some() { None } else { found.counts };
        let runs = other.unwrap_or(found.runs);
        let cuts = runs.cuts;
        // What the second run tells is no habit of the first.
        let dialect = Dialect::detect_until(dir, skew_bound, &cuts, counts)?;
        let steps = Stream::open(dir, &mut ids, &cuts)?;
        let rows = Stream::open(dir, &mut ids, &cuts)?;
        let events = Stream::open(dir, &mut ids, &cuts)?;
        let ends = Ends::open(dir, &mut ids, &cuts, &dialect)?;
        let skewed = dialect.has(Habit::ClockSkew) || dialect.stamps_vary;
        Ok(Self {
            slack: if skewed { dialect.skew_bound } else { Nanos::ZERO },
            dialect,
            tells_tokens: rows.has("scheduled_tokens") && rows.has("computed_tokens"),
            second_run: runs.second(),
            ids,
            steps,
            rows,
            events,
            ends,
            mail: VecDeque::new(),
            dropped: VecDeque::new(),
            ended: VecDeque::new(),
            decisions: Vec::new(),
            previous: None,
            lost: 0,
            may_lack_rows: false,
            highest: 0,
        })
    }

    /// Whether the log has no rows of requests that stand like this in a queue.
    pub(super) fn hides(&self, status: Status) -> bool {
        match status {
            Status::Waiting => self.dialect.has(Habit::NoInitialRows),
            Status::Preempted => self.dialect.has(Habit::NoPreemptedRows),
            Status::Running | Status::Finished(_) => false,
        }
    }

    /// Whether it is events that tell which requests an output finished.
    pub(super) fn ends_by_event(&self) -> bool {
        self.dialect.has(Habit::NoCompletedRows)
    }

    /// Whether rows or events say what admissions found in the prefix cache.
    pub(super) fn tells_hits(&self) -> bool {
        self.tells_tokens || !self.dialect.has(Habit::NoDetails)
    }

    /// Up to which moment something may be stamped that happened at this one.
    pub(super) fn latest(&self, moment: Nanos) -> Nanos {
        moment.saturating_add(self.slack)
    }

    /// Whether a stamp may be of this moment.
    pub(super) fn may_be_at(&self, stamp: Nanos, moment: Nanos) -> bool {
        stamp.0.abs_diff(moment.0) <= self.slack.0
    }

    /// The first step, without reading it.
    pub(super) fn first_step(&self) -> Option<&IterationRow> {
        self.steps.head.as_ref().map(|head| &head.row)
    }

    /// Whether there is a next step, and nobody is in its queues.
    pub(super) fn nobody_is_next(&self) -> bool {
        self.steps.head.as_ref().is_some_and(|next| {
            next.row.running_count == Requests::ZERO && next.row.waiting_count == Requests::ZERO
        })
    }

    /// The next step.
    pub(super) fn next_group(&mut self) -> Option<Group> {
        let step = self.steps.next_if(&mut self.ids, |_| true)?;
        let id = step.row.iteration_id;
        let mut group = Group::new(step, Moments::of(&step.row, &self.dialect));
        group.damaged = self.previous.is_some_and(|previous| id.0 != previous.0.wrapping_add(1));
        self.previous = Some(id);
        while let Some(row) = self.rows.next_if(&mut self.ids, |row| row.iteration_id <= id) {
            if row.row.iteration_id < id {
                group.damaged = true;
            } else {
                group.push(row);
            }
        }
        let rows_left = self.rows.head.is_some();
        // Where one kind of waiting request has rows and the other has none, the counts do not tell
        // how many rows there should be.
        let hidden = self.hides(Status::Waiting) && self.hides(Status::Preempted);
        let rows = group.queued.len();
        let told = rows >= group.alive() || hidden && rows >= step.row.running_count.0 as usize;
        group.cut = !rows_left && !told;
        let all_ends = match step.row.completed_count {
            Some(count) => count.0 as usize <= group.completed.len(),
            // Where nothing counts them, nobody is left who could end.
            None => step.row.running_count == Requests::ZERO,
        };
        group.ends_told = rows_left || self.ends_by_event() || all_ends;
        let lost = self.steps.lost + self.rows.lost + self.events.lost;
        let lost_some = lost != std::mem::replace(&mut self.lost, lost);
        // What was lost ahead of the row that is read next may be the next step's.
        group.damaged |= lost_some || self.may_lack_rows && rows < group.alive();
        self.may_lack_rows = lost_some || self.may_lack_rows && rows == 0;
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

    /// The files that end before their end, and why.
    pub(super) fn broken(&self) -> impl Iterator<Item = (Table, &FormKind)> {
        let files = [
            (Table::PerIteration, &self.steps.broken),
            (Table::PerIterationRequests, &self.rows.broken),
            (Table::Events, &self.events.broken),
            (Table::PerRequest, &self.ends.requests.broken),
        ];
        files.into_iter().filter_map(|(table, why)| Some((table, why.as_ref()?)))
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
                    if reason.is_none_or(FinishReason::is_drop) {
                        let sure = reason.is_some();
                        self.dropped.push_back(Dropped { key, at, sure });
                    }
                    if self.dialect.has(Habit::NoCompletedRows)
                        && !reason.is_some_and(FinishReason::is_drop)
                    {
                        let (tokens, location) = (details.output_tokens, event.at());
                        self.ended.push_back(Ended { key, at, tokens, location });
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
        let named = |event: &Located<EventRow>| event.row.details.iteration_id.is_some();
        let known = !self.dialect.has(Habit::NoDetails) && self.decisions.iter().all(named);
        let of_step = |kind: EventType| {
            self.decisions
                .iter()
                .filter(move |event| {
                    let row = &event.row;
                    row.event_type == kind && row.details.iteration_id == Some(id)
                })
                .filter_map(|event| event.row.request_id)
        };
        let twice = kind == EventType::RequestResumed && self.dialect.has(Habit::ResumedAtFirst);
        let is_first = |key| twice && of_step(EventType::RequestScheduled).any(|it| it == key);
        known.then(|| of_step(kind).filter(|key| !is_first(*key)).collect())
    }

    /// A decision on a request in a step.
    pub(super) fn decision(
        &self,
        id: IterationId,
        kind: EventType,
        key: RequestKey,
    ) -> Option<&EventRow> {
        self.decisions.iter().map(|event| &event.row).find(|row| {
            row.event_type == kind
                && row.request_id == Some(key)
                && row.details.iteration_id == Some(id)
        })
    }

    /// Forgets the decisions of steps up to this one.
    pub(super) fn forget_decisions(&mut self, group: &Group) {
        let (id, decided) = (group.id(), self.latest(group.moments.decided));
        self.decisions.retain(|event| match event.row.details.iteration_id {
            Some(step) => step > id,
            None => event.row.timestamp > decided,
        });
    }

    /// What per_request.csv says of a request; call it once per request.
    pub(super) fn end_of(&mut self, key: RequestKey) -> Option<End> {
        self.ends.of(&mut self.ids, key)
    }

    /// Forgets the ids of requests but those `named` and those that unread or kept rows name.
    pub(super) fn release_ids(&mut self, mut named: HashSet<RequestKey, FxBuildHasher>) {
        named.extend(self.rows.head.iter().map(|head| head.row.request_id));
        named.extend(self.events.head.iter().filter_map(|head| head.row.request_id));
        self.ends.name(&mut named);
        named.extend(self.mail.iter().map(|arrived| arrived.key));
        named.extend(self.dropped.iter().map(|dropped| dropped.key));
        named.extend(self.ended.iter().map(|ended| ended.key));
        named.extend(self.decisions.iter().filter_map(|event| event.row.request_id));
        // Keys are handed out from the lowest, so no live one is above their number.
        let highest = self.highest.max(self.ids.len() as u32);
        self.highest = highest;
        for key in (0..highest).map(RequestKey).filter(|key| !named.contains(key)) {
            self.ids.release(key);
        }
    }
}
