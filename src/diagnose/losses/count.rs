//! The files counted once more: what each tells of the others.
//!
//! Memory: the requests that findings name and those that lived at some of their steps.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::Board;
use crate::diagnose::losses::explain::{EVENT_COUNTS, EVENTS_OF_STEP, ROWS_OF_STEP};
use crate::diagnose::losses::stride::Strides;
use crate::diagnose::pass::{Ahead, each};
use crate::log::dialect::{Dialect, Habit};
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Table, TransitionRow,
};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::Nanos;

/// Steps at which it is looked who lived.
const STEPS: usize = 8;
/// Steps of which the events are counted.
const COUNTED_STEPS: usize = 64;
/// Kinds of events that per_request.csv counts.
const COUNTED_KINDS: usize = 6;
/// Requests that are followed.
const FOLLOWED: usize = 1 << 12;

/// A request by per_request.csv, and its rows in the other files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) arrival: Nanos,
    pub(super) first: Option<Nanos>,
    pub(super) end: Nanos,
    pub(super) reason: Option<FinishReason>,
    /// Whether the rows of the steps show its end.
    pub(super) shown_ended: bool,
    /// Rows by the file.
    rows: [u64; Table::ALL.len()],
    /// The first and the last step at whose decision it lived.
    pub(super) steps: Option<(u64, u64)>,
    /// Its events that per_request.csv counts.
    pub(super) events: [(EventType, u64); COUNTED_KINDS],
}

impl Life {
    /// Whether a file has no row of it.
    pub(super) const fn is_lost(&self, table: Table) -> bool {
        self.rows[table as usize] == 0
    }

    /// Whether it lived at a step.
    pub(super) fn has(&self, step: u64) -> bool {
        self.steps.is_some_and(|(first, last)| first <= step && step <= last)
    }
}

/// How the rows of per_iteration_requests.csv are counted by per_iteration.csv.
#[derive(Debug)]
pub(super) struct RowCounts {
    /// Rows that there should be, as far as the dialect tells.
    pub(super) expected: u64,
    pub(super) missing: u64,
    /// Steps with fewer rows than they should have, but some.
    pub(super) short: u64,
    /// Steps with more.
    pub(super) over: u64,
    /// What fits if every so many rows are lost; only where every row is counted.
    pub(super) strides: Option<Strides>,
}

/// Of a kind: how often per_request.csv says that it happened, and how many rows there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) expected: u64,
    pub(super) found: u64,
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Counts {
    /// The requests that may be lost somewhere, by id.
    pub(super) lives: BTreeMap<String, Life>,
    /// Rows of per_request.csv.
    pub(super) requests: u64,
    pub(super) rows: RowCounts,
    pub(super) events: BTreeMap<EventType, Told>,
    pub(super) changes: BTreeMap<State, Told>,
    /// How many requests ended for each reason.
    pub(super) endings: BTreeMap<FinishReason, u64>,
    /// How many ended, and how many of them the rows of the steps show so.
    pub(super) ends: u64,
    pub(super) shown_ends: u64,
    /// The moments of steps that findings name.
    pub(super) moments: BTreeMap<u64, Moments>,
    /// The decisions and ends that these steps count, and the events that they have.
    pub(super) step_events: BTreeMap<u64, Told>,
    pub(super) hides_waiting: bool,
    /// The first step of per_iteration.csv and when it began.
    pub(super) begins: Option<(u64, Nanos)>,
    /// When the first request of per_request.csv was scheduled.
    pub(super) first_scheduled: Option<Nanos>,
    /// Changes from preempted to running.
    pub(super) resumptions: u64,
    /// Whether a resumption is noted with each first scheduling.
    pub(super) resumed_at_first: bool,
}

impl Counts {
    /// Counts the files; `None` if one cannot be read any more.
    pub(super) fn of(dir: &LogDir, dialect: &Dialect, board: &Board<'_, '_>) -> Option<Self> {
        let mut counts = Self {
            lives: BTreeMap::new(),
            requests: 0,
            rows: RowCounts { expected: 0, missing: 0, short: 0, over: 0, strides: None },
            events: BTreeMap::new(),
            changes: BTreeMap::new(),
            endings: BTreeMap::new(),
            ends: 0,
            shown_ends: 0,
            moments: BTreeMap::new(),
            step_events: BTreeMap::new(),
            hides_waiting: dialect.has(Habit::NoInitialRows),
            begins: None,
            first_scheduled: None,
            resumptions: 0,
            resumed_at_first: dialect.has(Habit::ResumedAtFirst),
        };
        let of_step = |rules: &'static [&str]| {
            board.iterations(move |seen| seen.request().is_none() && seen.is(rules))
        };
        let mut looked: BTreeSet<u64> = [ROWS_OF_STEP, EVENTS_OF_STEP]
            .into_iter()
            .flat_map(|rules| of_step(rules).into_iter().take(STEPS))
            .collect();
        let counted = board.iterations(|seen| {
            seen.rule == "Q001" && seen.column().is_some_and(|it| EVENT_COUNTS.contains(&it))
        });
        let counted: BTreeSet<u64> = counted.into_iter().take(COUNTED_STEPS).collect();
        looked.extend(&counted);
        counts.find_moments(dir, dialect, &looked, &counted)?;
        let named: BTreeSet<&str> = board.open().filter_map(|seen| seen.request()).collect();
        counts.find_lives(dir, dialect, &named)?;
        counts.count_rows(dir, dialect)?;
        counts.count_events(dir)?;
        counts.count_changes(dir)?;
        counts.find_steps(dir, dialect)?;
        Some(counts)
    }

    fn find_moments(
        &mut self,
        dir: &LogDir,
        dialect: &Dialect,
        looked: &BTreeSet<u64>,
        counted: &BTreeSet<u64>,
    ) -> Option<()> {
        each::<IterationRow>(
            dir,
            |_| None,
            |row, _| {
                let id = row.iteration_id.0;
                self.begins.get_or_insert((id, row.start_time));
                if looked.contains(&id) {
                    self.moments.insert(id, Moments::of(row, dialect));
                }
                if counted.contains(&id) {
                    let counts = [
                        row.admitted_count.unwrap_or_default(),
                        row.resumed_count.unwrap_or_default(),
                        row.preempted_count,
                        row.completed_count.unwrap_or_default(),
                    ];
                    let expected = counts.iter().map(|count| u64::from(count.0)).sum();
                    self.step_events.insert(id, Told { expected, found: 0 });
                }
            },
        )
    }

    fn find_lives(
        &mut self,
        dir: &LogDir,
        dialect: &Dialect,
        named: &BTreeSet<&str>,
    ) -> Option<()> {
        use EventType as E;
        each::<RequestRow>(
            dir,
            |row| Some(row.request_id),
            |row, id| {
                let mut row = *row;
                dialect.undefine(&mut row, |_| {});
                self.requests += 1;
                if let Some(first) = row.first_scheduled_time {
                    let earliest = self.first_scheduled.get_or_insert(first);
                    *earliest = first.min(*earliest);
                }
                self.ends += u64::from(row.completion_time.is_some());
                if let Some(reason) = row.finish_reason.filter(|_| row.completion_time.is_some()) {
                    *self.endings.entry(reason).or_default() += 1;
                }
                let preemptions = u64::from(row.preemption_count.0);
                let one = u64::from;
                let events = [
                    (E::RequestArrived, 1),
                    (E::RequestScheduled, one(row.first_scheduled_time.is_some())),
                    (E::RequestPreempted, preemptions),
                    (E::RequestEvicted, u64::from(row.eviction_count.0)),
                    (E::RequestCompleted, one(row.completion_time.is_some())),
                    (E::FirstTokenGenerated, one(row.output_tokens.0 > 0 && row.ttft.is_some())),
                ];
                for (kind, times) in events {
                    self.events.entry(kind).or_default().expected += times;
                }
                let told = [
                    (State::Running, one(row.first_scheduled_time.is_some())),
                    (State::Preempted, preemptions),
                    (State::Completed, one(row.completion_time.is_some())),
                ];
                for (state, times) in told {
                    self.changes.entry(state).or_default().expected += times;
                }
                let end = row.completion_time.unwrap_or(Nanos::MAX);
                let lived = |at: &Moments| {
                    row.arrival_time <= at.start && at.decided <= end && row.arrival_time < end
                };
                let wanted = named.contains(id) || self.moments.values().any(lived);
                if wanted && self.lives.len() < FOLLOWED {
                    let life = Life {
                        arrival: row.arrival_time,
                        first: row.first_scheduled_time,
                        end,
                        reason: row.finish_reason,
                        shown_ended: false,
                        rows: [0; Table::ALL.len()],
                        steps: None,
                        events,
                    };
                    self.lives.insert(id.to_owned(), life);
                }
            },
        )
    }

    fn note(&mut self, id: &str, table: Table) {
        if let Some(life) = self.lives.get_mut(id) {
            life.rows[table as usize] += 1;
        }
    }

    /// Both files side by side, step by step.
    fn count_rows(&mut self, dir: &LogDir, dialect: &Dialect) -> Option<()> {
        let table = Table::PerIterationRequests;
        let Some(mut rows) = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id))
        else {
            self.lives.values_mut().for_each(|life| life.rows[table as usize] = 1);
            return Some(());
        };
        let hides = dialect.hides_waiting();
        let no_completed = dialect.has(Habit::NoCompletedRows);
        let mut whole = !hides && !no_completed;
        let mut strides = Strides::new();
        each::<IterationRow>(
            dir,
            |_| None,
            |step, _| {
                let waiting = if hides { 0 } else { u64::from(step.waiting_count.0) };
                let completed = step.completed_count.filter(|_| !no_completed);
                whole &= completed.is_some();
                let expected = u64::from(step.running_count.0)
                    + waiting
                    + completed.map_or(0, |count| u64::from(count.0));
                let mut found = 0;
                while let Some((row, id)) =
                    rows.next_if(|row| row.iteration_id <= step.iteration_id)
                {
                    let counted = match row.state {
                        State::Running => true,
                        State::Waiting | State::Preempted => !hides,
                        State::Completed => completed.is_some(),
                    };
                    found += u64::from(counted && row.iteration_id == step.iteration_id);
                    self.note(&id, table);
                    if row.state == State::Completed {
                        self.shown_ends += 1;
                        if let Some(life) = self.lives.get_mut(&id) {
                            life.shown_ended = true;
                        }
                    }
                }
                self.rows.expected += expected;
                self.rows.missing += expected.saturating_sub(found);
                self.rows.short += u64::from(found < expected && found > 0);
                self.rows.over += u64::from(found > expected);
                strides.see(expected, found);
            },
        )?;
        while let Some((_, id)) = rows.next_if(|_| true) {
            self.note(&id, table);
        }
        self.rows.strides = whole.then_some(strides);
        Some(())
    }

    fn count_events(&mut self, dir: &LogDir) -> Option<()> {
        let steps: Vec<(u64, Moments)> =
            self.step_events.keys().filter_map(|id| Some((*id, *self.moments.get(id)?))).collect();
        each::<EventRow>(
            dir,
            |row| row.request_id,
            |row, id| {
                self.events.entry(row.event_type).or_default().found += 1;
                self.note(id, Table::Events);
                if row.event_type == EventType::RequestArrived {
                    return;
                }
                let of_step = |(step, at): &&(u64, Moments)| match row.details.iteration_id {
                    Some(id) => id.0 == *step,
                    None => at.start < row.timestamp && row.timestamp <= at.end,
                };
                if let Some((step, _)) = steps.iter().find(of_step)
                    && let Some(told) = self.step_events.get_mut(step)
                {
                    told.found += 1;
                }
            },
        )
    }

    fn count_changes(&mut self, dir: &LogDir) -> Option<()> {
        if dir.file(Table::StateTransitions).is_none() {
            self.changes.clear();
            self.lives.values_mut().for_each(|it| it.rows[Table::StateTransitions as usize] = 1);
            return Some(());
        }
        each::<TransitionRow>(
            dir,
            |row| Some(row.request_id),
            |row, id| {
                self.changes.entry(row.state).or_default().found += 1;
                let resumes =
                    row.state == State::Running && row.prev_state == Some(State::Preempted);
                self.resumptions += u64::from(resumes);
                self.note(id, Table::StateTransitions);
            },
        )
    }

    /// The steps at which requests that are lost somewhere lived.
    fn find_steps(&mut self, dir: &LogDir, dialect: &Dialect) -> Option<()> {
        let files = [Table::PerIterationRequests, Table::Events, Table::StateTransitions];
        let mut lost: Vec<&mut Life> = self
            .lives
            .values_mut()
            .filter(|life| files.iter().any(|table| life.is_lost(*table)))
            .collect();
        each::<IterationRow>(
            dir,
            |_| None,
            |row, _| {
                let at = Moments::of(row, dialect);
                let id = row.iteration_id.0;
                for life in &mut lost {
                    // A step may take no time at all.
                    let begun = at.start < life.end || at.start == life.end && at.end == life.end;
                    // One that never ran may have been refused before it came to any step.
                    let arrived = if life.first.is_some() { at.decided } else { at.start };
                    if life.arrival <= arrived && begun {
                        let (first, last) = life.steps.unwrap_or((id, id));
                        life.steps = Some((first.min(id), last.max(id)));
                    }
                }
            },
        )
    }
}
