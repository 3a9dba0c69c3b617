//! Merges the five files by iteration and gathers what they say of each request, once for all rules.

mod open;
mod requests;

use std::collections::{BTreeSet, VecDeque};

use crate::check::facts::{LogEnd, LogFacts};
use crate::check::gather::open::{ahead, forget_headers, open_table, step_rows};
use crate::check::group::Groups;
use crate::check::history::{Histories, RequestHistory};
use crate::check::repeats::Repeats;
use crate::check::runs::Runs;
use crate::check::view::{Moments, RowView, Rows};
use crate::log::dialect::Habit;
use crate::log::ids::RequestKey;
use crate::log::reader::{
    Ahead, FormKind, FormProblem, Input, Located, LogDir, LogDirError, Piece, Shared, StepRows,
};
use crate::log::schema::{EventRow, IterationRow, RequestRow, Table, TransitionRow};
use crate::log::values::{EventType, State};
use crate::units::{IterationId, Nanos, Tokens};

/// Steps whose moments are remembered; more than any engine keeps in flight.
const RECENT_STEPS: usize = 16;
/// Steps that a finished request is kept for, as its last rows may come late.
const LINGER_STEPS: u64 = 3;
const LINGER_STEPS_OVERLAPPING: u64 = 12;
/// Unreadable rows whose text is remembered in case it is a request's id.
const MOST_STRANGERS: u32 = 10_000;
/// How far ahead of its own step an event may be noted.
const HELD_STEPS: u64 = 64;

/// The files and what was read of them.
pub(super) struct Gather {
    pub(super) iterations: Ahead<IterationRow, Input, 1>,
    pub(super) rows: StepRows<Input>,
    pub(super) requests: Ahead<RequestRow, Input, 2>,
    pub(super) events: Ahead<EventRow, Input, 2>,
    pub(super) transitions: Ahead<TransitionRow, Input, 2>,
    pub(super) shared: Shared,
    pub(super) histories: Histories,
    pub(super) groups: Groups,
    pub(super) repeats: Repeats,
    pub(super) recent: Vec<(IterationId, Moments)>,
    pub(super) end: LogEnd,
    last_request: Option<(Option<Nanos>, Nanos)>,
    last_change: Option<Nanos>,
    strangers: u32,
    /// How much two readings of one moment may differ.
    slack: Nanos,
    /// Whether preempted requests have no rows.
    hides_preempted: bool,
    held: Vec<Located<EventRow>>,
    /// Whether a decision has named its step.
    names_steps: bool,
    retiring: VecDeque<(u64, RequestKey)>,
    damaged_steps: BTreeSet<IterationId>,
    steps: u64,
    horizon: Nanos,
}

impl Gather {
    /// Opens the files; what their headers say goes to `facts` and to the problems.
    pub(super) fn open(
        dir: &LogDir,
        facts: &mut LogFacts,
        every_row: bool,
        runs: &Runs,
    ) -> Result<Self, LogDirError> {
        let mut shared = Shared::default();
        let requests = open_table(dir, facts, &mut shared)?;
        let iterations = open_table(dir, facts, &mut shared)?;
        let rows = open_table(dir, facts, &mut shared)?;
        let groups = Groups::of(facts, every_row);
        let events = open_table(dir, facts, &mut shared)?;
        let transitions = open_table(dir, facts, &mut shared)?;
        if runs.is_second {
            forget_headers(runs, facts, &mut shared);
            let first = runs.second();
            let second = FormKind::SecondRun { cuts: runs.cuts };
            shared.problems.extend(first.map(|at| FormProblem::of_record(at, second)));
        } else {
            let again = runs.cuts.iter().flatten();
            let doubled = again.map(|at| FormProblem::of_record(*at, FormKind::Doubled));
            shared.problems.extend(doubled);
        }
        let twice = dir.twice().iter().map(|table| FormProblem::of_file(*table, FormKind::Twice));
        shared.problems.extend(twice);
        let size = dir.file(Table::PerRequest).map_or(0, |file| file.stored_bytes());
        Ok(Self {
            iterations: ahead(iterations, dir, runs, &mut shared)?,
            rows: step_rows(rows, dir, &groups, runs, &mut shared)?,
            requests: ahead(requests, dir, runs, &mut shared)?,
            events: ahead(events, dir, runs, &mut shared)?,
            transitions: ahead(transitions, dir, runs, &mut shared)?,
            shared,
            histories: Histories::default(),
            groups,
            repeats: Repeats::new(size),
            recent: Vec::new(),
            end: LogEnd::default(),
            last_request: None,
            last_change: None,
            strangers: 0,
            slack: facts.skew.unwrap_or(Nanos::ZERO),
            hides_preempted: facts.dialect.has(Habit::NoPreemptedRows),
            held: Vec::new(),
            names_steps: false,
            retiring: VecDeque::new(),
            damaged_steps: BTreeSet::new(),
            steps: 0,
            horizon: Nanos::ZERO,
        })
    }

    /// The id of the next step, by either file that has steps.
    ///
    /// The row of per_iteration.csv leads; rows of per_iteration_requests.csv that belong before it
    /// come first, as a step without a row.
    pub(super) fn next_step(&self) -> Option<(IterationId, bool)> {
        let row = self.iterations.peek(0).map(|row| row.row.iteration_id);
        let group = self.rows.peek().map(|row| row.row.iteration_id);
        match (row, group) {
            (Some(row), Some(group)) if group < row => Some((group, false)),
            (Some(row), _) => Some((row, true)),
            (None, Some(group)) => Some((group, false)),
            (None, None) => None,
        }
    }

    /// The next step of a log that is still being written: one that has its row.
    pub(super) fn next_whole_step(&self) -> Option<(IterationId, bool)> {
        self.iterations.peek(0)?;
        self.next_step()
    }

    /// The files are still being written.
    pub(super) const fn grow(&mut self) {
        self.iterations.grow();
        self.rows.grow();
        self.requests.grow();
        self.events.grow();
        self.transitions.grow();
    }

    /// Reads on behind what were the ends of the files before.
    pub(super) fn resume(&mut self) {
        let shared = &mut self.shared;
        self.iterations.resume(shared);
        self.rows.resume(shared);
        self.requests.resume(shared);
        self.events.resume(shared);
        self.transitions.resume(shared);
    }

    /// Notes the moments of a step.
    pub(super) fn begin(&mut self, id: IterationId, moments: Option<Moments>) {
        self.groups.begin(id, moments, self.recent.last().copied(), self.end.last_group);
        if let Some(moments) = moments {
            if self.recent.len() == RECENT_STEPS {
                self.recent.remove(0);
            }
            self.recent.push((id, moments));
            self.horizon = self.horizon.max(moments.end);
        }
    }

    /// Reads the rows of a step, each with the request's row before it.
    pub(super) fn read_group(&mut self, id: IterationId, moments: Option<Moments>) {
        let before_this = self.end.last_group;
        let mut going_on = 0;
        let Self { rows, shared, groups, histories, hides_preempted, .. } = self;
        let mut take_row = |shared: &Shared, groups: &mut Groups, row: &Located<_>| {
            if !shared.problems.is_empty() {
                note_lost_rows(shared, groups, histories);
            }
            if groups.take_steady(row) {
                return true;
            }
            let history = groups.touch(row.row.request_id, histories);
            let last = history.last();
            let goes_on = last.is_some_and(|last| {
                last.row.state != State::Completed && Some(last.row.iteration_id) == before_this
            });
            let past_lost = history.rows_lost || *hides_preempted && history.has_gap(id);
            let before = if past_lost { None } else { last.copied() };
            let moment = moments.map(|moments| match row.row.state {
                State::Completed => moments.end,
                _ => moments.decided,
            });
            history.extend(row, moment);
            if row.row.state != State::Completed {
                history.absent_from = None;
            }
            let sure = groups.is_sure(&row.row, before.as_ref(), history);
            groups.push(RowView { row: *row, before, past_lost, steady: false }, sure);
            goes_on
        };
        rows.take_step(id, shared, |shared, piece| match piece {
            Piece::Row(row) => going_on += usize::from(take_row(shared, groups, row)),
            Piece::Run(run, lens) => {
                let mut taken = 0;
                while taken < run.len {
                    let steady = groups.take_run(&run, taken, lens);
                    (going_on, taken) = (going_on + steady, taken + steady);
                    if taken < run.len {
                        let row = groups.row_of_run(&run, taken, lens, &mut shared.ids);
                        // The reader saw the same rows of the step before, in the same places.
                        let Some(row) = row else { unreachable!("{run:?} follows no row") };
                        going_on += usize::from(take_row(shared, groups, &row));
                        taken += 1;
                    }
                }
            }
        });
        let rows = Rows::of(&self.groups);
        if let Some(last) = rows.len().checked_sub(1).and_then(|last| rows.at(last)) {
            self.end.last_group = Some(id);
            self.end.last_group_at = Some(last);
            self.end.last_group_end = moments.map(|moments| moments.end);
        }
        // If as many go on as stood in a queue, all of them do.
        if going_on != self.groups.stood() {
            self.note_absent(id, moments);
        }
    }

    /// Notes which requests of the group before have no row in this one.
    fn note_absent(&mut self, id: IterationId, moments: Option<Moments>) {
        let absent: Vec<_> = self.groups.absent().collect();
        for key in absent {
            if self.histories.get(key).is_some() {
                let history = self.groups.touch(key, &mut self.histories);
                history.absent_from = history.absent_from.or(Some((id, moments)));
            }
        }
    }

    /// Reads the events up to the end of a step, or to where its outputs end; those of the step go to
    /// `events`, all of them, in the order of the file, to `every`.
    pub(super) fn read_events(
        &mut self,
        id: IterationId,
        horizon: Option<Nanos>,
        decided: Option<Decided>,
        outputs_until: Option<Nanos>,
        events: &mut Vec<Located<EventRow>>,
        every: &mut Vec<Located<EventRow>>,
    ) {
        events.clear();
        let later = |event: &Located<EventRow>| match event.row.details.iteration_id {
            Some(step) => step > id && step.0 <= id.0.saturating_add(HELD_STEPS),
            None => {
                event.row.event_type.is_decision()
                    && decided.is_some_and(|decided| decided.is_over_at(event.row.timestamp))
            }
        };
        let (later_ones, now): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(later);
        *events = now;
        self.held = later_ones;
        let due = |event: &Located<EventRow>| {
            // An output may be stamped when the next step is decided already.
            let until = outputs_until.filter(|_| is_output(&event.row)).or(horizon);
            until.is_some_and(|until| event.row.timestamp <= until)
                || event.row.details.iteration_id.is_some_and(|step| step <= id)
        };
        while let Some(event) = self.events.peek(0) {
            let late =
                |next: &Located<EventRow>| next.row.timestamp < event.row.timestamp && due(next);
            if !due(event) && !self.events.peek(1).is_some_and(late) {
                break;
            }
            let Some(event) = self.events.pop(&mut self.shared) else { break };
            self.note_event(&event);
            every.push(event);
            if later(&event) {
                self.held.push(event);
            } else {
                events.push(event);
            }
        }
    }

    /// The moment up to which events belong to a step that ends at `end`: a little later if the log
    /// reads its clock more than once, but before the next decision; or, where steps overlap, so that
    /// the next decision is long taken, before the next end.
    pub(super) fn with_skew(&self, end: Nanos, facts: &LogFacts) -> Nanos {
        let Some(bound) = facts.skew else { return end };
        let next = self.iterations.peek(0).map(|next| Moments::of(&next.row, &facts.dialect));
        let next = next.map(|next| if facts.overlapping { next.end } else { next.decided });
        let gap = next.map_or(bound, |next| Nanos(next.saturating_sub(end).0 / 2));
        end.saturating_add(bound.min(gap))
    }

    /// The moment up to which outputs may belong to a step that ends at `end`, if the next one follows
    /// so closely that its decision may be stamped before them: no nearer to the next output.
    pub(super) fn outputs_until(&self, end: Nanos, facts: &LogFacts) -> Option<Nanos> {
        let bound = facts.skew.filter(|_| !facts.overlapping)?;
        let next = &self.iterations.peek(0)?.row;
        let has_output = next.total_tokens > Tokens::ZERO;
        let gap = Moments::of(next, &facts.dialect).end.saturating_sub(end).0 / 2;
        Some(end.saturating_add(if has_output { bound.min(Nanos(gap)) } else { bound }))
    }

    /// Up to when decisions that name no step are those of a step.
    pub(super) fn decided(&self, step: Moments, facts: &LogFacts) -> Decided {
        let (at, next) = (step.decided, self.next_decision(facts));
        if !facts.overlapping && self.slack == Nanos::ZERO {
            // Of a file that is cut, the next one may be decided as the last one ends.
            return Decided { at, until: None, next: Some(next.unwrap_or(step.end)) };
        }
        let skewed = next.filter(|next| *next > at && self.slack > Nanos::ZERO);
        let middle = skewed.map(|next| {
            let middle = at.saturating_add(Nanos(next.saturating_sub(at).0 / 2));
            // Some loggers stamp a decision late in its step.
            if facts.overlapping { middle } else { middle.max(next.saturating_sub(self.slack)) }
        });
        let latest = facts.overlapping.then(|| at.saturating_add(self.slack));
        Decided { at, until: latest.into_iter().chain(middle).min(), next: None }
    }

    /// Whether a decision that names no step may be of the step before or behind, as those were taken
    /// within the skew of the clock, or at the very same moment by a scheduler that takes no time.
    pub(super) fn is_blurred(&self, step: Moments, facts: &LogFacts) -> bool {
        if self.names_steps {
            return false;
        }
        let (mut others, id) = (Vec::new(), self.recent.last().map(|(id, _)| *id));
        // A step that stands twice is no other one.
        let next = self.iterations.peek(0).filter(|next| Some(next.row.iteration_id) != id);
        others.extend(next.and_then(|_| self.next_decision(facts)));
        let before = self.recent.iter().rev().nth(1).filter(|(before, _)| Some(*before) != id);
        others.extend(before.map(|(_, moments)| moments.decided));
        let near = |other: Nanos| {
            let apart = other.0.abs_diff(step.decided.0);
            apart <= self.slack.0.saturating_mul(2)
        };
        others.into_iter().any(near)
    }

    fn next_decision(&self, facts: &LogFacts) -> Option<Nanos> {
        self.iterations.peek(0).map(|next| Moments::of(&next.row, &facts.dialect).decided)
    }

    /// Reads all events that are left.
    pub(super) fn rest_of_events(&mut self, every: &mut Vec<Located<EventRow>>) {
        while every.len() < 1024 {
            let Some(event) = self.events.pop(&mut self.shared) else { return };
            self.note_event(&event);
            every.push(event);
        }
    }

    fn note_event(&mut self, event: &Located<EventRow>) {
        self.end.last_event = self.end.last_event.max(Some(event.row.timestamp));
        self.names_steps |=
            event.row.event_type.is_decision() && event.row.details.iteration_id.is_some();
        let Some(key) = event.row.request_id else { return };
        use EventType as T;
        if matches!(event.row.event_type, T::KvCacheAllocated | T::KvCacheFreed) {
            return;
        }
        self.groups.touch(key, &mut self.histories).note(event);
        if event.row.event_type == T::RequestCompleted {
            self.consider_retiring(key);
        }
    }

    /// Takes the problems found since the last call, noting whose rows were lost.
    pub(super) fn take_problems(&mut self, facts: &mut LogFacts) -> Vec<FormProblem> {
        let problems = std::mem::take(&mut self.shared.problems);
        for problem in problems.iter().filter(|problem| problem.kind.loses_row()) {
            let table = &mut facts.tables[problem.table as usize];
            table.truncated |= problem.kind.cuts_file();
            table.lost = true;
            match problem.request {
                Some(key) => {
                    let history = self.groups.touch(key, &mut self.histories);
                    history.damaged = true;
                    history.rows_lost |= problem.table == Table::PerIterationRequests;
                }
                None => {
                    table.blind = true;
                    // Perhaps a request that the other files will tell of.
                    if let Some(name) = &problem.stranger
                        && self.strangers < MOST_STRANGERS
                    {
                        self.strangers += 1;
                        let key = self.shared.ids.intern(name);
                        let history = self.groups.touch(key, &mut self.histories);
                        history.damaged = true;
                        history.rows_lost |= problem.table == Table::PerIterationRequests;
                    }
                }
            }
            let current = || self.rows.peek().map(|row| row.row.iteration_id);
            if problem.table == Table::PerIterationRequests {
                self.damaged_steps.extend(problem.iteration.or_else(current));
            }
        }
        problems
    }

    /// All that is known of a request that is over.
    pub(super) fn take_history(&mut self, key: RequestKey) -> Option<Box<RequestHistory>> {
        self.histories.get(key)?;
        self.groups.touch(key, &mut self.histories);
        self.histories.take(key)
    }

    /// Whether rows of the step could not be read; asked once per step.
    pub(super) fn step_is_damaged(&mut self, id: IterationId) -> bool {
        self.damaged_steps.remove(&id)
    }
}

/// When a step was decided, and up to when its decisions may be stamped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    at: Nanos,
    /// Where steps overlap, the step's own decision; where the clock is read more than once no nearer to the
    /// next one.
    until: Option<Nanos>,
    /// Else the end of the step says, but where the next one is decided at that very moment.
    next: Option<Nanos>,
}

impl Decided {
    /// Whether a decision of this moment that names no step is of a later one.
    fn is_over_at(self, moment: Nanos) -> bool {
        self.until.is_some_and(|until| moment > until)
            || self.next == Some(moment) && moment > self.at
    }
}

/// Whether the event is of an output that a step brought.
fn is_output(event: &EventRow) -> bool {
    match event.event_type {
        EventType::FirstTokenGenerated => true,
        EventType::KvCacheFreed => event.details.is_empty(),
        EventType::RequestCompleted => !event.details.finish_reason.is_some_and(|it| it.is_drop()),
        _ => false,
    }
}

/// Notes whose rows were lost while a step was read: what follows in it lacks them already.
#[cold]
fn note_lost_rows(shared: &Shared, groups: &mut Groups, histories: &mut Histories) {
    for problem in &shared.problems {
        let lost = problem.table == Table::PerIterationRequests && problem.kind.loses_row();
        let stranger = || shared.ids.get(problem.stranger.as_deref()?);
        if let Some(key) = problem.request.or_else(stranger).filter(|_| lost) {
            groups.touch(key, histories).rows_lost = true;
        }
    }
}
