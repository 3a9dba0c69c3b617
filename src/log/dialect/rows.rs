//! Which rows of per_iteration_requests.csv a log never writes.
//!
//! A row that is missing is a mistake, unless the log has none of its kind anywhere: so the whole
//! file is asked, not a sample, but only where the counts of the steps say that there should be one.

use std::io::{BufRead, BufReader};

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{Input, Item, Location, LogDir, LogDirError, TableReader};
use crate::log::schema::{EventRow, IterationRow, RequestRow, Row, Table};
use crate::log::values::{EventType, State};
use crate::units::{IterationId, Nanos};

/// The files up to where a second run was appended to them.
#[derive(Clone, Copy)]
pub(super) struct FirstRun<'a> {
    pub(super) dir: &'a LogDir,
    pub(super) cuts: &'a [Option<Location>; 5],
}

impl FirstRun<'_> {
    fn reader<R: Row>(&self) -> Result<Option<Until<R>>, LogDirError> {
        let cut = self.cuts[R::SCHEMA.table as usize];
        Ok(self.dir.reader()?.map(|reader| Until { reader, cut }))
    }
}

/// The rows of a file up to a place.
struct Until<R: Row> {
    reader: TableReader<R, Input>,
    cut: Option<Location>,
}

impl<R: Row> Until<R> {
    fn next(&mut self, ids: &mut IdTable) -> Option<Item<R>> {
        let item = self.reader.next(ids)?;
        let at = match &item {
            Item::Row(row) => Some(row.at()),
            Item::Problem(problem) => problem.at,
        };
        let behind = self.cut.is_some_and(|cut| at >= Some(cut));
        (!behind).then_some(item)
    }
}

/// What the counts of steps say of the states that should have rows: the first step of each that should.
#[derive(Clone, Debug, Default)]
pub struct StepCounts {
    waiting: Option<IterationId>,
    preempted: Option<IterationId>,
    completed: Option<IterationId>,
    /// `D` of the first steps that count requests waiting for their first scheduling.
    waited_at: Vec<Nanos>,
    /// Those of them at which the step behind is decided, too.
    again_at: Vec<Nanos>,
    /// At most so many of the waiting requests have run before.
    away: u64,
}

impl StepCounts {
    /// By all steps, read to the end or until every state is wanted.
    pub(super) fn read(run: FirstRun<'_>) -> Result<Self, LogDirError> {
        let mut counts = Self::default();
        let Some(mut reader) = run.reader::<IterationRow>()? else { return Ok(counts) };
        let mut ids = IdTable::default();
        while let Some(item) = reader.next(&mut ids)
            && !counts.are_settled()
        {
            if let Item::Row(row) = item {
                counts.note(&row);
            }
        }
        Ok(counts)
    }

    /// Whether every state is wanted, so that more steps tell nothing new.
    fn are_settled(&self) -> bool {
        let all = self.waiting.and(self.preempted).and(self.completed).is_some();
        all && self.waited_at.len() == WAITED_STEPS
    }

    /// Takes in the next step.
    pub(crate) fn note(&mut self, row: &IterationRow) {
        if self.are_settled() {
            return;
        }
        let id = Some(row.iteration_id);
        let decided = row.start_time.saturating_add(row.scheduling_overhead);
        if self.waited_at.last() == Some(&decided) {
            self.again_at.push(decided);
        }
        self.away += u64::from(row.preempted_count.0);
        self.away = self.away.saturating_sub(u64::from(row.resumed_count.unwrap_or_default().0));
        if u64::from(row.waiting_count.0) > self.away {
            self.waiting = self.waiting.or(id);
            if self.waited_at.len() < WAITED_STEPS {
                self.waited_at.push(decided);
            }
        }
        // Those among them that gave up wait no more.
        self.away = self.away.min(u64::from(row.waiting_count.0));
        if row.preempted_count.0 > 0 {
            self.preempted = self.preempted.or(id);
        }
        if row.completed_count.is_some_and(|count| count.0 > 0) {
            self.completed = self.completed.or(id);
        }
    }

    /// Notes `D` of a step that requests waited in.
    pub(super) fn waited(&mut self, at: Nanos) {
        self.waited_at.push(at);
    }

    /// Whether the state should have rows.
    pub(super) fn is(&self, state: State) -> bool {
        self.step(state).is_some()
    }

    /// Notes that a state should have rows, by what else the log says of its first steps.
    pub(super) fn want(&mut self, state: State) {
        self.want_from(state, None);
    }

    /// Notes that a state should have rows from a step on.
    pub(super) fn want_from(&mut self, state: State, from: Option<IterationId>) {
        let step = match state {
            State::Waiting => &mut self.waiting,
            State::Preempted => &mut self.preempted,
            State::Completed => &mut self.completed,
            State::Running => return,
        };
        *step = step.or(from).or(Some(IterationId::ZERO));
    }

    fn step(&self, state: State) -> Option<IterationId> {
        match state {
            State::Waiting => self.waiting,
            State::Preempted => self.preempted,
            State::Completed => self.completed,
            State::Running => None,
        }
    }
}

/// Steps of which requests are asked whether they waited then.
const WAITED_STEPS: usize = 64;

/// Whether a request waited at the decision of a step that counts waiting requests: it had arrived and
/// was scheduled, or over, later. A count without any is a wrong count.
fn somebody_waited(run: FirstRun<'_>, wanted: &StepCounts) -> Result<bool, LogDirError> {
    let Some(mut reader) = run.reader::<RequestRow>()? else { return Ok(true) };
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        let row = match item {
            Item::Row(row) => row,
            // It may have been the request of the row that is gone.
            Item::Problem(problem) if problem.kind.loses_row() || problem.kind.cuts_file() => {
                return Ok(true);
            }
            Item::Problem(_) => continue,
        };
        ids.release(row.request_id);
        // A 0 may stand for a moment that never came.
        let came = |moment: Option<Nanos>| moment.filter(|at| *at > Nanos::ZERO);
        let until = came(row.first_scheduled_time).or_else(|| came(row.completion_time));
        // The step behind may have taken it in at the same moment.
        let before =
            |at: &Nanos, until: Nanos| *at < until || *at == until && wanted.again_at.contains(at);
        let waits =
            |at: &Nanos| row.arrival_time <= *at && until.is_none_or(|until| before(at, until));
        if wanted.waited_at.iter().any(waits) {
            return Ok(true);
        }
    }
    Ok(wanted.waited_at.is_empty() || lacks_requests(run)? || somebody_untold_waited(run, wanted)?)
}

/// Whether a request waited then of which per_request.csv, cut before its end, has no row: by the events.
fn somebody_untold_waited(run: FirstRun<'_>, wanted: &StepCounts) -> Result<bool, LogDirError> {
    let (Some(mut requests), Some(mut events)) =
        (run.reader::<RequestRow>()?, run.reader::<EventRow>()?)
    else {
        return Ok(true);
    };
    // Their keys are kept, so that they are those of the events too.
    let mut ids = IdTable::default();
    let mut told: HashSet<RequestKey, FxBuildHasher> = HashSet::default();
    while let Some(item) = requests.next(&mut ids) {
        if let Item::Row(row) = item {
            told.insert(row.row.request_id);
        }
    }
    let mut arrived: HashMap<RequestKey, Nanos, FxBuildHasher> = HashMap::default();
    let waits = |from: Nanos, until: Option<Nanos>| {
        let within = |at: &Nanos| from <= *at && until.is_none_or(|until| *at < until);
        wanted.waited_at.iter().any(within)
    };
    while let Some(item) = events.next(&mut ids) {
        let Item::Row(event) = item else { continue };
        let Some(key) = event.row.request_id.filter(|key| !told.contains(key)) else { continue };
        let now = event.row.timestamp;
        if event.row.event_type == EventType::RequestArrived {
            arrived.entry(key).or_insert(now);
        } else if arrived.remove(&key).is_some_and(|from| waits(from, Some(now))) {
            return Ok(true);
        }
    }
    Ok(arrived.into_values().any(|from| waits(from, None)))
}

/// Whether somebody has no row in per_request.csv, which is in order of the ends: of those who run in the
/// last step that anybody runs in, none is over before it.
fn lacks_requests(run: FirstRun<'_>) -> Result<bool, LogDirError> {
    let (Some(mut steps), Some(mut requests)) =
        (run.reader::<IterationRow>()?, run.reader::<RequestRow>()?)
    else {
        return Ok(true);
    };
    let mut ids = IdTable::default();
    let mut last = None;
    while let Some(item) = steps.next(&mut ids) {
        if let Item::Row(row) = item
            && row.running_count.0 > 0
        {
            last = Some((row.start_time, row.running_count.0));
        }
    }
    let Some((start, running)) = last else { return Ok(false) };
    let mut told = 0;
    while let Some(item) = requests.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        ids.release(row.request_id);
        // Who gave up in the queue ran in no step.
        let ran = row.first_scheduled_time.is_some_and(|at| at > Nanos::ZERO);
        let over = row.completion_time.is_some_and(|end| end > Nanos::ZERO && end < start);
        told += u32::from(ran && !over);
    }
    Ok(told < running)
}

/// The states of these that should have rows and have none in the whole file.
pub(super) fn never_written(
    run: FirstRun<'_>,
    states: &[State],
    wanted: &StepCounts,
) -> Result<Vec<State>, LogDirError> {
    let mut open: Vec<_> =
        states.iter().copied().filter(|state| wanted.step(*state).is_some()).collect();
    let file = run.dir.file(Table::PerIterationRequests).filter(|_| !open.is_empty());
    let Some(file) = file else { return Ok(Vec::new()) };
    let mut input = BufReader::with_capacity(1 << 16, file.open()?);
    let (mut line, mut last) = (Vec::new(), None);
    let mut queues_are_whole = false;
    let mut queues = Queues::default();
    let cut = run.cuts[Table::PerIterationRequests as usize];
    let mut left = cut.map_or(u64::MAX, |cut| cut.offset);
    while !open.is_empty() {
        line.clear();
        // What cannot be read is the reader's business.
        if left == 0 || !matches!(input.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            break;
        }
        left = left.saturating_sub(line.len() as u64);
        let told = state_of(&line);
        if let Some(step) = step(&line) {
            queues_are_whole &= last == Some(step);
            if last != Some(step) {
                queues = Queues::default();
            }
            queues.note(&line, told);
            last = Some(step);
        }
        queues_are_whole |= has_state(&line, told, State::Completed);
        open.retain(|state| !has_state(&line, told, *state));
    }
    // The last step may have been cut, but not within its queues if completed requests stand behind them.
    let is_open = |state| open.contains(&state);
    let hides_queued = is_open(State::Waiting) || is_open(State::Preempted);
    let mut ends_are_left_out = false;
    if let Some(last) = last.filter(|last| wanted.completed >= Some(*last) && cut.is_none())
        && is_open(State::Completed)
    {
        ends_are_left_out = queues.are_all_of(run, last, hides_queued)? && !lacks_requests(run)?;
    }
    open.retain(|state| {
        let whole = queues_are_whole && *state != State::Completed;
        wanted.step(*state) < last
            || whole && wanted.step(*state) == last
            || *state == State::Completed && ends_are_left_out
    });
    if open.contains(&State::Waiting) && !somebody_waited(run, wanted)? {
        open.retain(|state| *state != State::Waiting);
    }
    Ok(open)
}

/// The rows of one step.
#[derive(Debug, Default)]
struct Queues {
    running: u32,
    rows: u32,
    /// Whether the last of them is whole.
    is_whole: bool,
}

impl Queues {
    fn note(&mut self, line: &[u8], told: Option<State>) {
        self.rows += 1;
        self.running += u32::from(has_state(line, told, State::Running));
        self.is_whole = line.ends_with(b"\n");
    }

    /// Whether they are those of the last step that anybody runs in, of which none is missing but those of the
    /// requests that it finished: then these are never written, or the file was cut just before them, which
    /// nothing tells apart.
    fn are_all_of(
        &self,
        run: FirstRun<'_>,
        step: IterationId,
        hides_queued: bool,
    ) -> Result<bool, LogDirError> {
        let Some(mut steps) = run.reader::<IterationRow>()? else { return Ok(false) };
        let mut ids = IdTable::default();
        let mut own = None;
        while let Some(item) = steps.next(&mut ids) {
            let Item::Row(row) = item else { return Ok(false) };
            if row.iteration_id == step {
                own = Some((row.running_count.0, row.waiting_count.0));
            } else if own.is_some() && row.running_count.0 > 0 {
                return Ok(false);
            }
        }
        let all = |(running, waiting): (u32, u32)| {
            self.running == running
                && (hides_queued || self.rows == running.saturating_add(waiting))
        };
        Ok(self.is_whole && own.is_some_and(all))
    }
}

fn step(line: &[u8]) -> Option<IterationId> {
    let field = unquoted(&line[..memchr::memchr(b',', line)?]);
    std::str::from_utf8(field).ok()?.parse().ok().map(IterationId)
}

/// A field without the quotes around it.
fn unquoted(field: &[u8]) -> &[u8] {
    let inner = field.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(field)
}

/// The state of a row, its third field; none of a line that is a part of a row.
fn state_of(line: &[u8]) -> Option<State> {
    let mut rest = line;
    for _ in 0..2 {
        let end = field_end(rest)?;
        rest = rest.get(end..)?.strip_prefix(b",")?;
    }
    State::from_bytes(unquoted(&rest[..field_end(rest)?]))
}

/// Where the first field ends.
fn field_end(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return memchr::memchr(b',', text);
    }
    let mut at = 1;
    loop {
        at += memchr::memchr(b'"', &text[at..])? + 1;
        // Two of them are one that belongs to the field.
        match text.get(at) {
            Some(b'"') => at += 1,
            _ => return Some(at),
        }
    }
}

/// Whether the line is of a row with this state; where that is not told, whether any field is.
fn has_state(line: &[u8], told: Option<State>, state: State) -> bool {
    let word = state.as_str().as_bytes();
    match told {
        Some(told) => told == state,
        None => line.split(|byte| *byte == b',').any(|field| unquoted(field) == word),
    }
}
