//! Which dialect a log is written in, found from a bounded sample of its files.
//!
//! A dialect changes how a value is read, never what must be true of it. Habits that would excuse
//! a missing row are believed only where the whole file has no row of that kind: a log that has
//! some and lost others is wrong.

mod outputs;
mod rows;
mod skew;
mod undefined;

use std::collections::BTreeSet;

use crate::log::ids::IdTable;
use crate::log::moments::Moments;
use crate::log::reader::{Item, Location, LogDir, LogDirError};
use crate::log::schema::{
    EventRow, Group, IterationRequestRow, IterationRow, Layout, RequestRow, Row, Table,
    TransitionRow,
};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::{IterationId, Nanos};

/// Rows of each file that are looked at.
const SAMPLE_ROWS: usize = 2_000;

/// Rows of either kind that make a mixture.
const SEVERAL: usize = 2;

/// First schedulings that are looked at for a resumption beside them.
const PAIRED_EVENTS: usize = 100;

pub use rows::StepCounts;
pub use skew::{COARSE, Compared, DEFAULT_SKEW_BOUND};

macro_rules! habits {
    ($( $(#[doc = $doc:literal])* $variant:ident = $name:literal, )*) => {
        /// One way in which a log differs from the reference format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Habit { $( $(#[doc = $doc])* $variant, )* }

        impl Habit {
            /// Every habit.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// What it means.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $( Self::$variant => concat!($($doc),*), )* }
            }
        }
    };
}

habits! {
    /// state_transitions.csv is not written.
    NoTransitions = "no-transitions",
    /// per_request.csv has only its first 15 columns.
    FifteenColumns = "fifteen-columns",
    /// None of the columns behind the fixed ones is there.
    FixedColumnsOnly = "fixed-columns-only",
    /// `forward_duration` instead of `forward_pass_duration`.
    ForwardDuration = "forward-duration",
    /// `output_processing_duration` is not written.
    NoOutputDuration = "no-output-duration",
    /// `end_time` and `duration` end at the decision, not at the end of the step.
    EndsAtDecision = "ends-at-decision",
    /// `scheduler_action` has several values joined by `;`.
    JoinedActions = "joined-actions",
    /// `batch_size` is the length of the running queue.
    BatchIsRunning = "batch-is-running",
    /// per_iteration_requests.csv has no rows of requests that wait for their first scheduling.
    NoInitialRows = "no-initial-rows",
    /// per_iteration_requests.csv has no rows of preempted requests.
    NoPreemptedRows = "no-preempted-rows",
    /// per_iteration_requests.csv has no `completed` rows.
    NoCompletedRows = "no-completed-rows",
    /// `queue_position` is -1 for running requests.
    NoRunningPosition = "no-running-position",
    /// `queue_position` is -1 for some running requests and a place for others: two dialects in one log.
    MixedRunningPosition = "mixed-running-position",
    /// `request_resumed` is written at the first scheduling too.
    ResumedAtFirst = "resumed-at-first",
    /// `details` is always empty.
    NoDetails = "no-details",
    /// 0 is written where a value is undefined.
    ZeroForUndefined = "zero-for-undefined",
    /// `tpot` has a fraction.
    FractionalTpot = "fractional-tpot",
    /// `throughput` has two decimals.
    TwoDecimalThroughput = "two-decimal-throughput",
    /// The clock is read more than once for one moment, so that most times differ by a little.
    ClockSkew = "clock-skew",
}

/// The habits of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    habits: BTreeSet<Habit>,
    /// Whether most sampled steps begin before the one before has ended. None if per_iteration.csv ends
    /// too early to tell.
    pub steps_overlap: Option<bool>,
    /// Whether a sampled step has more decode tokens than requests run, as only draft tokens make them.
    pub shows_drafts: bool,
    /// Whether sampled decisions are stamped a little off the `D` of their steps. Where the dialect is
    /// not [exact](Self::is_exact) this is no habit of its own.
    pub stamps_vary: bool,
    /// Whether sampled outputs are stamped a little off the `E` of their steps, which is no habit of its own
    /// there either.
    pub ends_vary: bool,
    /// What differs by exactly the times inside of steps in the samples, and so by no readings of the
    /// clock.
    pub mistaken: BTreeSet<Compared>,
    /// How much two readings of one moment may differ, if the clock is read more than once: what was
    /// asked for, and at most a quarter of a usual step.
    pub skew_bound: Nanos,
    /// Whether all sampled moments are in [coarse](COARSE) units, in the log of a logger that may have rounded
    /// them: what came at one moment may have come in any order.
    pub is_coarse: bool,
    /// Whether most sampled decisions are stamped with the `D` of a step exactly.
    pub decisions_at_d: bool,
    /// The unit of the clock, if most sampled first tokens and ends are stamped with moments of steps and
    /// the clock is fine enough for that to be no chance.
    pub output_unit: Option<Nanos>,
    /// Whether per_iteration_requests.csv is not there and no sampled event is about blocks, as at log
    /// level `summary`.
    pub is_summary: bool,
}

impl Dialect {
    /// Whether the log has this habit.
    #[must_use]
    pub fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    /// The habits, in the order of their declaration.
    pub fn habits(&self) -> impl Iterator<Item = Habit> {
        self.habits.iter().copied()
    }

    /// Whether the log is in the reference format.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.habits.is_empty()
    }

    /// Whether the log has columns of the reference format behind the fixed ones and its steps end
    /// where they do there, so that it is held to the reference's moments.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.has(Habit::FixedColumnsOnly) && !self.has(Habit::EndsAtDecision)
    }

    /// Whether the log does not show every waiting request.
    #[must_use]
    pub fn hides_waiting(&self) -> bool {
        self.has(Habit::NoInitialRows) || self.has(Habit::NoPreemptedRows)
    }

    /// Whether nothing in per_iteration.csv says when a step ended.
    #[must_use]
    pub fn hides_ends(&self) -> bool {
        self.has(Habit::EndsAtDecision) && self.has(Habit::NoOutputDuration)
    }

    /// Takes away zeros that stand for undefined values, naming the column of each.
    pub fn undefine(&self, row: &mut RequestRow, mut note: impl FnMut(&'static str)) {
        let zero = Some(Nanos::ZERO);
        if row.ttft == zero && row.output_tokens.0 == 0 {
            row.ttft = None;
            note("ttft");
        }
        if row.tpot.is_some_and(|tpot| tpot.mantissa == 0) && row.output_tokens.0 < 2 {
            row.tpot = None;
            note("tpot");
        }
        // A moment 0 of a request that arrived at 0 may be true; where zeros stand for undefined values
        // the other times tell.
        let habit = self.has(Habit::ZeroForUndefined);
        let late = row.arrival_time > Nanos::ZERO;
        let lived = row.waiting_time.saturating_add(row.execution_time) > Nanos::ZERO;
        if row.completion_time == zero && (late || habit && lived) {
            row.completion_time = None;
            note("completion_time");
            if row.e2e_latency == zero {
                row.e2e_latency = None;
                note("e2e_latency");
            }
        }
        let never_ran = row.execution_time == Nanos::ZERO && row.output_tokens.0 == 0;
        if row.first_scheduled_time == zero && (late || habit && never_ran) {
            row.first_scheduled_time = None;
            note("first_scheduled_time");
        }
        let immediate = row.e2e_latency.is_none_or(|e2e| e2e == Nanos::ZERO);
        if row.throughput.is_some_and(|rate| rate.mantissa == 0) && immediate {
            row.throughput = None;
            note("throughput");
        }
    }

    /// Looks at the first rows of each file.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn detect(dir: &LogDir, skew_bound: Nanos) -> Result<Self, LogDirError> {
        Self::detect_until(dir, skew_bound, &[None; 5], None)
    }

    /// Looks at the first rows of each file, and at none behind the place where it is cut; at the counts of all
    /// steps if they are not known.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn detect_until(
        dir: &LogDir,
        skew_bound: Nanos,
        cuts: &[Option<Location>; 5],
        counts: Option<StepCounts>,
    ) -> Result<Self, LogDirError> {
        let mut dialect = Self::default();
        let mut ids = IdTable::default();
        let iterations = sample::<IterationRow>(dir, cuts, &mut ids)?;
        let rows = sample::<IterationRequestRow>(dir, cuts, &mut ids)?;
        let requests = sample::<RequestRow>(dir, cuts, &mut ids)?;
        let events = sample::<EventRow>(dir, cuts, &mut ids)?;
        // Where the file has gone, or is there and is none, that is damage and no habit.
        let is_lost = dir.is_no_file(Table::StateTransitions) || dir.is_of_reference_logger();
        let has_none = dir.file(Table::StateTransitions).is_none();
        dialect.set(Habit::NoTransitions, has_none && !is_lost);
        dialect.look_at_headers(&iterations, &rows, &requests);
        dialect.look_at_iterations(&iterations);
        dialect.look_for_overlap(&iterations.rows, &rows.rows, &events.rows);
        dialect.look_at_queues(&rows, &iterations);
        dialect.look_for_rows((dir, cuts), counts, &rows, &iterations, &events)?;
        dialect.is_summary = dir.file(Table::PerIterationRequests).is_none()
            && !events.rows.iter().any(|event| {
                matches!(event.event_type, EventType::KvCacheAllocated | EventType::KvCacheFreed)
            });
        dialect.look_at_requests(&requests);
        // This product's own logger reads its clock once per call.
        if !dir.is_of_reference_logger() {
            dialect.skew_bound = skew::bound(&iterations.rows, &dialect, skew_bound);
        }
        dialect.look_at_events(&events);
        let transitions = sample::<TransitionRow>(dir, cuts, &mut ids)?;
        let samples = skew::Samples {
            iterations: &iterations.rows,
            rows: &rows.rows,
            requests: &requests.rows,
            transitions: &transitions.rows,
            events: &events.rows,
        };
        if !dir.is_of_reference_logger() {
            let reading = skew::Reading::of(&samples, &dialect);
            dialect.set(Habit::ClockSkew, reading.skewed);
            dialect.skew_bound = dialect.skew_bound.max(reading.coarse.unwrap_or_default());
            dialect.is_coarse = reading.is_coarse;
            dialect.stamps_vary = reading.stamps_vary;
            dialect.ends_vary = reading.ends_vary;
            dialect.mistaken = reading.mistaken;
        }
        dialect.decisions_at_d = skew::decisions_are_exact(&samples, &dialect);
        dialect.output_unit = outputs::unit(&iterations.rows, &events.rows, &dialect);
        Ok(dialect)
    }

    fn set(&mut self, habit: Habit, present: bool) {
        if present {
            self.habits.insert(habit);
        }
    }

    fn look_at_headers(
        &mut self,
        iterations: &Sample<IterationRow>,
        rows: &Sample<IterationRequestRow>,
        requests: &Sample<RequestRow>,
    ) {
        self.set(Habit::ForwardDuration, iterations.aliased);
        self.set(
            Habit::FifteenColumns,
            requests.present
                && !requests.has("kv_cache_memory_bytes")
                && !requests.has("priority_score"),
        );
        let bare = [
            (iterations.present, iterations.has_ours),
            (rows.present, rows.has_ours),
            (requests.present, requests.has_ours),
        ];
        self.set(
            Habit::FixedColumnsOnly,
            bare.iter().any(|(present, _)| *present) && bare.iter().all(|(_, ours)| !ours),
        );
    }

    fn look_at_iterations(&mut self, sample: &Sample<IterationRow>) {
        let rows = &sample.rows;
        self.shows_drafts = rows.iter().any(|row| row.decode_tokens.0 > row.running_count.0);
        self.set(Habit::JoinedActions, rows.iter().any(|row| row.scheduler_action.len() > 1));
        self.set(
            Habit::EndsAtDecision,
            all(rows, |row| row.duration == row.scheduling_overhead)
                && rows.iter().any(|row| {
                    let processing = row.output_processing_duration.unwrap_or_default();
                    row.forward_pass_duration > Nanos::ZERO || processing > Nanos::ZERO
                }),
        );
        self.set(
            Habit::NoOutputDuration,
            sample.present && !sample.has("output_processing_duration"),
        );
    }

    /// Whether steps overlap: if not, one that decodes begins behind the one before it.
    fn look_for_overlap(
        &mut self,
        iterations: &[IterationRow],
        rows: &[IterationRequestRow],
        events: &[EventRow],
    ) {
        let end = |row: &IterationRow| Moments::of(row, self).end;
        let pairs = || iterations.windows(2);
        let overlaps = pairs().filter(|pair| pair[1].start_time < end(&pair[0])).count();
        let serial = |pair: &[IterationRow]| {
            pair[1].decode_tokens.0 > 0 && pair[1].start_time >= end(&pair[0])
        };
        let last = iterations.last();
        // A decision at the very end of a step is that of the next one.
        let last_end = last.map(end);
        let behind = |event: &EventRow| match event.event_type.is_decision() {
            true => Some(event.timestamp) >= last_end,
            false => Some(event.timestamp) > last_end,
        };
        let goes_on = rows.last().map(|row| row.iteration_id) > last.map(|step| step.iteration_id)
            || events.last().is_some_and(behind);
        let is_cut = iterations.len() < SAMPLE_ROWS && goes_on;
        // A single step with a batch tells nothing.
        let alone = iterations.iter().filter(|row| row.total_tokens.0 > 0).count() < 2;
        self.steps_overlap = match overlaps * 2 > iterations.len() {
            true => Some(true),
            false if (is_cut || overlaps > 0 || alone) && !pairs().any(serial) => None,
            false => Some(false),
        };
    }

    fn look_at_queues(
        &mut self,
        sample: &Sample<IterationRequestRow>,
        iterations: &Sample<IterationRow>,
    ) {
        let rows = &sample.rows;
        let running: Vec<_> = rows.iter().filter(|row| row.state == State::Running).collect();
        let hidden = |row: &&&IterationRequestRow| {
            row.queue_position.is_some_and(|position| position.0 == -1)
        };
        let without = running.iter().filter(hidden).count();
        self.set(Habit::NoRunningPosition, without > 0 && without == running.len());
        // One cell is a mistake, several are a habit.
        let mixed = without >= SEVERAL && running.len() - without >= SEVERAL;
        self.set(Habit::MixedRunningPosition, mixed);
        let equal = all(&iterations.rows, |row| row.batch_size == row.running_count);
        // In most logs nearly every running request is scheduled; then the tokens must tell.
        let told = sample.has("scheduled_tokens") || !sample.present && iterations.has_ours;
        let differs = || {
            let more = |row: &IterationRow| row.batch_size.0 > row.total_tokens.0;
            iterations.rows.iter().any(more) || batches_differ(rows, &iterations.rows)
        };
        let seen = sample.present || iterations.has_ours;
        self.set(Habit::BatchIsRunning, equal && seen && (!told || differs()));
    }

    fn look_for_rows(
        &mut self,
        (dir, cuts): (&LogDir, &[Option<Location>; 5]),
        counts: Option<StepCounts>,
        sample: &Sample<IterationRequestRow>,
        iterations: &Sample<IterationRow>,
        events: &Sample<EventRow>,
    ) -> Result<(), LogDirError> {
        let none = |state: &State| !sample.rows.iter().any(|row| row.state == *state);
        let states = [State::Waiting, State::Preempted, State::Completed];
        let absent: Vec<_> = states.into_iter().filter(none).collect();
        // The rows of a state may be those that cannot be read.
        if !sample.present || absent.is_empty() || sample.unread >= SEVERAL {
            return Ok(());
        }
        let run = rows::FirstRun { dir, cuts };
        let mut wanted = match counts {
            Some(counts) => counts,
            None => StepCounts::read(run)?,
        };
        // Requests that ended while they were preempted stay counted as away; the rows tell.
        if !(absent.contains(&State::Preempted) && wanted.is(State::Preempted))
            && let Some(at) = waiting_missing(sample, iterations)
        {
            wanted.want(State::Waiting);
            wanted.waited(at);
        }
        let counted = iterations.rows.iter().any(|row| row.completed_count.is_some());
        if let Some(step) = completions_missing(iterations, events).filter(|_| !counted) {
            wanted.want_from(State::Completed, Some(step));
        }
        // Behind the end of the steps the events tell who was preempted; where steps overlap, it may have
        // been before that end.
        let last = iterations.rows.last();
        let behind = |event: &&EventRow| {
            event.event_type == EventType::RequestPreempted
                && match event.details.iteration_id {
                    Some(step) => Some(step) > last.map(|row| row.iteration_id),
                    None => Some(event.timestamp) > last.map(|row| row.end_time),
                }
        };
        let uncounted = iterations.rows.len() < SAMPLE_ROWS && !wanted.is(State::Preempted);
        if let Some(event) = events.rows.iter().find(behind).filter(|_| uncounted) {
            wanted.want_from(State::Preempted, event.details.iteration_id);
        }
        let never = rows::never_written(run, &absent, &wanted)?;
        self.set(Habit::NoInitialRows, never.contains(&State::Waiting));
        self.set(Habit::NoPreemptedRows, never.contains(&State::Preempted));
        self.set(Habit::NoCompletedRows, never.contains(&State::Completed));
        Ok(())
    }

    fn look_at_requests(&mut self, sample: &Sample<RequestRow>) {
        let rows = &sample.rows;
        self.set(
            Habit::FractionalTpot,
            rows.iter().any(|row| row.tpot.is_some_and(|tpot| tpot.scale > 0)),
        );
        let throughputs: Vec<_> = rows.iter().filter_map(|row| row.throughput).collect();
        self.set(
            Habit::TwoDecimalThroughput,
            all(&throughputs, |throughput| throughput.scale <= 2)
                && throughputs.iter().any(|throughput| throughput.scale > 0),
        );
        let undefined: Vec<bool> = rows.iter().flat_map(undefined::zeros).collect();
        self.set(Habit::ZeroForUndefined, all(&undefined, |zero| *zero));
    }

    fn look_at_events(&mut self, sample: &Sample<EventRow>) {
        let events = &sample.rows;
        self.set(Habit::NoDetails, all(events, |event| event.details.is_empty()));
        // What stands beside the last ones may be behind the end of the sample.
        let end = events.last().map(|event| event.timestamp);
        let scheduled: Vec<_> = events
            .iter()
            .filter(|event| event.event_type == EventType::RequestScheduled)
            .take(PAIRED_EVENTS)
            .collect();
        let before_end = scheduled.iter().copied().filter(|event| Some(event.timestamp) < end);
        let before_end: Vec<_> = before_end.collect();
        let within = self.skew_bound.0;
        let resumed_too = |event: &&EventRow| {
            events.iter().any(|other| {
                other.event_type == EventType::RequestResumed
                    && other.request_id == event.request_id
                    && other.timestamp.0.abs_diff(event.timestamp.0) <= within
            })
        };
        let paired = match before_end.is_empty() {
            false => all(&before_end, resumed_too),
            // All are of the last moment, within which the file may have been cut.
            true => {
                let whole = scheduled.iter().take_while(|event| resumed_too(event)).count();
                whole > 0 && !scheduled[whole..].iter().any(resumed_too)
            }
        };
        self.set(Habit::ResumedAtFirst, paired);
    }
}

/// Whether the rows of a step have tokens for another number of requests than its batch. Where a row
/// is lost, or the sample ends inside of the step, the others do not tell.
fn batches_differ(rows: &[IterationRequestRow], iterations: &[IterationRow]) -> bool {
    let mut steps = iterations.iter();
    rows.chunk_by(|one, other| one.iteration_id == other.iteration_id).any(|group| {
        let id = group[0].iteration_id;
        let has_tokens = |row: &&IterationRequestRow| {
            row.state != State::Completed && row.scheduled_tokens.is_some_and(|n| n.0 > 0)
        };
        let scheduled = group.iter().filter(has_tokens).count();
        let running = group.iter().filter(|row| row.state == State::Running).count();
        let step = steps.by_ref().find(|step| step.iteration_id >= id);
        let batch = step.filter(|step| step.iteration_id == id);
        let whole = batch.filter(|step| step.running_count.0 as usize == running);
        whole.is_some_and(|step| step.batch_size.0 as usize != scheduled)
    })
}

/// `D` of the first step of the sample that has more waiting requests than rows of them.
fn waiting_missing(
    sample: &Sample<IterationRequestRow>,
    iterations: &Sample<IterationRow>,
) -> Option<Nanos> {
    let last = sample.rows.last().map(|row| row.iteration_id)?;
    let waits = |row: &&IterationRequestRow| matches!(row.state, State::Waiting | State::Preempted);
    let mut waiting = sample.rows.iter().filter(waits).peekable();
    let mut covered = iterations.rows.iter().filter(|step| step.iteration_id < last);
    let missing = covered.find(|step| {
        let mut rows = 0;
        while waiting.next_if(|row| row.iteration_id <= step.iteration_id).is_some() {
            rows += 1;
        }
        step.waiting_count.0 > rows
    });
    missing.map(|step| step.start_time.saturating_add(step.scheduling_overhead))
}

/// The step of the first end that an output brought, by the events of the sample.
fn completions_missing(
    iterations: &Sample<IterationRow>,
    events: &Sample<EventRow>,
) -> Option<IterationId> {
    let ends = events.rows.iter().filter(|event| {
        event.event_type == EventType::RequestCompleted
            && !event.details.finish_reason.is_some_and(FinishReason::is_drop)
    });
    let first = ends.map(|event| event.timestamp).min()?;
    let own = iterations.rows.iter().find(|step| step.end_time >= first)?;
    Some(own.iteration_id)
}

fn all<T>(items: &[T], holds: impl Fn(&T) -> bool) -> bool {
    !items.is_empty() && items.iter().all(holds)
}

/// The first rows of one file.
struct Sample<R> {
    rows: Vec<R>,
    present: bool,
    layout: Layout,
    has_ours: bool,
    aliased: bool,
    /// Rows with a state that is none.
    unread: usize,
}

impl<R: Row> Sample<R> {
    fn has(&self, column: &str) -> bool {
        R::SCHEMA.column(column).is_some_and(|column| self.layout.has(column))
    }
}

fn sample<R: Row>(
    dir: &LogDir,
    cuts: &[Option<Location>; 5],
    ids: &mut IdTable,
) -> Result<Sample<R>, LogDirError> {
    let mut sample = Sample {
        rows: Vec::new(),
        present: false,
        layout: Layout { positions: Vec::new() },
        has_ours: false,
        aliased: false,
        unread: 0,
    };
    let Some(mut reader) = dir.reader::<R>()? else { return Ok(sample) };
    // A file without a whole header tells nothing of how the log is written.
    sample.present = reader.header().usable;
    sample.layout = reader.header().layout.clone();
    sample.aliased = !reader.header().aliases.is_empty();
    sample.has_ours = R::SCHEMA
        .columns
        .iter()
        .enumerate()
        .any(|(index, column)| column.group == Group::Ours && sample.layout.has(index));
    let until = cuts[R::SCHEMA.table as usize];
    let mut tries = 0;
    while tries < 2 * SAMPLE_ROWS && sample.rows.len() < SAMPLE_ROWS {
        tries += 1;
        match reader.next(ids) {
            Some(Item::Row(row)) if until.is_some_and(|until| row.at() >= until) => break,
            Some(Item::Row(row)) => sample.rows.push(row.row),
            Some(Item::Problem(problem)) => {
                sample.unread += usize::from(problem.column == Some("state"));
            }
            None => break,
        }
    }
    Ok(sample)
}
