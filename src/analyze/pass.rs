//! One streaming pass over the five files of a log, merged by time; any number of sinks look on.
//!
//! Whatever completed by the decision of a step is read before the rows of that step, so a request
//! is shown complete and then forgotten: memory is proportional to the requests alive at a time.

use std::path::Path;

use crate::analyze::figures::{RequestFigures, Step};
use crate::analyze::live::{Live, Tells};
use crate::analyze::source::{FileDescription, LogDescription, Source};
use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::moments::Moments;
use crate::log::reader::{Ahead, Input, Located, LogDir, LogDirError, Shared, TableReader};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};
use crate::log::values::State;
use crate::units::Nanos;

/// Looks at a log while it is read. Everything is shown once, in an order of time.
pub trait Sink {
    /// The files and columns that there are; called first.
    fn begin(&mut self, source: &Source) {
        let _ = source;
    }

    /// A row of per_iteration_requests.csv with the moments of its step, if that has a row.
    fn row(&mut self, row: &IterationRequestRow, moments: Option<&Moments>, ids: &IdTable) {
        let _ = (row, moments, ids);
    }

    /// A step; after its rows, once the next step has begun.
    fn step(&mut self, step: &Step) {
        let _ = step;
    }

    /// An event.
    fn event(&mut self, event: &EventRow, ids: &IdTable) {
        let _ = (event, ids);
    }

    /// A stay in a state that ended, by state_transitions.csv.
    fn stay(&mut self, state: State, duration: Nanos) {
        let _ = (state, duration);
    }

    /// A request of which everything is known; those alive at the end come last.
    fn request(&mut self, request: &RequestFigures) {
        let _ = request;
    }
}

/// Reads the log in a directory and shows it to every sink.
///
/// # Errors
/// If the directory is not a log or a file in it cannot be opened. Rows that cannot be read are
/// left out and counted in the description.
pub fn read_log(path: &Path, sinks: &mut [&mut dyn Sink]) -> Result<LogDescription, LogDirError> {
    let dir = LogDir::open(path)?;
    let mut pass = Pass::open(&dir, sinks)?;
    pass.steps();
    pass.rest();
    Ok(pass.describe(&dir))
}

struct Pass<'a, 'b> {
    source: Source,
    tells: Tells,
    iterations: Ahead<IterationRow, Input, 1>,
    rows: Ahead<IterationRequestRow, Input, 1>,
    requests: Ahead<RequestRow, Input, 1>,
    events: Ahead<EventRow, Input, 1>,
    transitions: Ahead<TransitionRow, Input, 1>,
    shared: Shared,
    live: Vec<Option<Box<Live>>>,
    /// Requests with a record that unread rows still hold on to, or whose end is not reached.
    ended: Vec<RequestRow>,
    pending: Option<Pending>,
    log_end: Nanos,
    shown: u64,
    unreadable: [u64; 5],
    sinks: &'a mut [&'b mut dyn Sink],
}

/// A step that is shown once its successor is known.
struct Pending {
    row: IterationRow,
    moments: Moments,
    completed_rows: u32,
}

impl<'a, 'b> Pass<'a, 'b> {
    fn open(dir: &LogDir, sinks: &'a mut [&'b mut dyn Sink]) -> Result<Self, LogDirError> {
        let mut source = Source::detect(dir)?;
        let mut shared = Shared::default();
        let requests = open_table(&mut source, dir, &mut shared)?;
        let iterations = open_table(&mut source, dir, &mut shared)?;
        let rows = open_table(&mut source, dir, &mut shared)?;
        let events = open_table(&mut source, dir, &mut shared)?;
        let transitions = open_table(&mut source, dir, &mut shared)?;
        for sink in sinks.iter_mut() {
            sink.begin(&source);
        }
        let tells =
            Tells { changes: source.changes(), rows: source.has(Table::PerIterationRequests) };
        Ok(Self {
            source,
            tells,
            iterations: Ahead::new(iterations, None, &mut shared),
            rows: Ahead::new(rows, None, &mut shared),
            requests: Ahead::new(requests, None, &mut shared),
            events: Ahead::new(events, None, &mut shared),
            transitions: Ahead::new(transitions, None, &mut shared),
            shared,
            live: Vec::new(),
            ended: Vec::new(),
            pending: None,
            log_end: Nanos::ZERO,
            shown: 0,
            unreadable: [0; 5],
            sinks,
        })
    }

    fn steps(&mut self) {
        loop {
            let row = self.iterations.peek(0).map(|row| row.row.iteration_id);
            let group = self.rows.peek(0).map(|row| row.row.iteration_id);
            let rowless = group.is_some_and(|group| row.is_none_or(|row| group < row));
            if rowless {
                self.group(None);
            } else if row.is_some() {
                self.step();
            } else {
                break;
            }
            self.count_problems();
        }
    }

    fn step(&mut self) {
        let Some(Located { row, .. }) = self.iterations.pop(&mut self.shared) else { return };
        let moments = Moments::of(&row, &self.source.dialect);
        self.show_pending(Some(&moments));
        self.log_end = self.log_end.max(moments.end);
        self.advance(moments.decided);
        let mut completed_rows = 0;
        if self.rows.peek(0).is_some_and(|first| first.row.iteration_id == row.iteration_id) {
            completed_rows = self.group(Some(&moments));
        }
        self.pending = Some(Pending { row, moments, completed_rows });
    }

    /// Reads the rows of the step that comes next; returns how many completed.
    fn group(&mut self, moments: Option<&Moments>) -> u32 {
        let id = self.rows.peek(0).map(|row| row.row.iteration_id);
        let mut completed = 0;
        while self.rows.peek(0).map(|row| row.row.iteration_id) == id {
            let Some(Located { row, .. }) = self.rows.pop(&mut self.shared) else { break };
            completed += u32::from(row.state == State::Completed);
            if let Some(moments) = moments {
                let tells = self.tells;
                self.live(row.request_id).row(&row, moments.decided, moments.end, tells);
            }
            for sink in self.sinks.iter_mut() {
                sink.row(&row, moments, &self.shared.ids);
            }
        }
        completed
    }

    fn show_pending(&mut self, next: Option<&Moments>) {
        let Some(Pending { row, moments, completed_rows }) = self.pending.take() else { return };
        let until = next.map_or(moments.end, |next| next.decided);
        let gap = next.map_or(Nanos::ZERO, |next| next.start.saturating_sub(moments.end));
        let completed = row.completed_count.map_or(completed_rows, |count| count.0);
        let left = row.running_count.0.saturating_sub(completed);
        let empty = if left == 0 && row.waiting_count.0 == 0 { gap } else { Nanos::ZERO };
        let hold = until.saturating_sub(moments.decided).saturating_sub(empty);
        let step = Step { row, moments, hold, empty };
        for sink in self.sinks.iter_mut() {
            sink.step(&step);
        }
    }

    /// Reads what events, changes and requests tell up to `moment`, and shows who is over.
    fn advance(&mut self, moment: Nanos) {
        while self.events.peek(0).is_some_and(|event| event.row.timestamp <= moment) {
            self.read_event();
        }
        while self.transitions.peek(0).is_some_and(|change| change.row.timestamp <= moment) {
            self.read_transition();
        }
        let due = |row: &RequestRow| row.completion_time.is_some_and(|at| at <= moment);
        while self.requests.peek(0).is_some_and(|request| due(&request.row)) {
            self.read_request();
        }
        self.show_ended(Some(moment));
    }

    fn read_event(&mut self) {
        let Some(Located { row, .. }) = self.events.pop(&mut self.shared) else { return };
        self.log_end = self.log_end.max(row.timestamp);
        for sink in self.sinks.iter_mut() {
            sink.event(&row, &self.shared.ids);
        }
        let tells = self.tells;
        let Some(key) = row.request_id else { return };
        self.live(key).event(&row, tells);
    }

    fn read_transition(&mut self) {
        let Some(Located { row, .. }) = self.transitions.pop(&mut self.shared) else { return };
        let tells = self.tells;
        let left = self.live(row.request_id).transition(&row, tells);
        for sink in self.sinks.iter_mut() {
            sink.stay(left, row.duration_in_prev_state);
        }
    }

    fn read_request(&mut self) {
        let Some(Located { mut row, .. }) = self.requests.pop(&mut self.shared) else { return };
        self.source.dialect.undefine(&mut row, |_| {});
        self.log_end = self.log_end.max(row.completion_time.unwrap_or(Nanos::ZERO));
        self.live(row.request_id);
        self.shared.pin(row.request_id);
        self.ended.push(row);
    }

    /// Shows the requests that completed by `moment`, and forgets them.
    fn show_ended(&mut self, moment: Option<Nanos>) {
        let ended = std::mem::take(&mut self.ended);
        for row in ended {
            let over = moment.is_none_or(|moment| row.completion_time <= Some(moment));
            self.shared.unpin(row.request_id);
            if moment.is_some() && (!over || self.shared.pinned(row.request_id)) {
                self.shared.pin(row.request_id);
                self.ended.push(row);
            } else {
                self.show(row.request_id, Some(&row));
            }
        }
    }

    fn show(&mut self, key: RequestKey, record: Option<&RequestRow>) {
        let Some(live) = self.live.get_mut(key.index()).and_then(Option::take) else { return };
        let id = self.shared.ids.id(key).to_owned();
        let mut figures = live.figures(id, record, self.log_end, self.tells);
        figures.ordinal = self.shown;
        self.shown += 1;
        for sink in self.sinks.iter_mut() {
            sink.request(&figures);
        }
        if !self.shared.pinned(key) {
            self.shared.ids.release(key);
        }
    }

    /// What is left when no step is.
    fn rest(&mut self) {
        self.show_pending(None);
        // Without steps, the completions lead through the files.
        while let Some(completion) = self.requests.peek(0).and_then(|row| row.row.completion_time) {
            self.advance(completion);
        }
        while self.requests.peek(0).is_some() {
            self.read_request();
        }
        while self.events.peek(0).is_some() {
            self.read_event();
        }
        while self.transitions.peek(0).is_some() {
            self.read_transition();
        }
        self.count_problems();
        self.show_ended(None);
        let keys = (0..self.live.len()).map(|index| RequestKey(index as u32));
        let mut alive: Vec<_> = keys.filter(|key| self.live[key.index()].is_some()).collect();
        // Keys are reused, so only the ids have an order.
        alive.sort_by(|a, b| self.shared.ids.id(*a).cmp(self.shared.ids.id(*b)));
        for key in alive {
            self.show(key, None);
        }
    }

    fn live(&mut self, key: RequestKey) -> &mut Live {
        if self.live.len() <= key.index() {
            self.live.resize_with(key.index() + 1, || None);
        }
        self.live[key.index()].get_or_insert_default()
    }

    fn count_problems(&mut self) {
        for problem in self.shared.problems.drain(..) {
            self.unreadable[problem.table as usize] += u64::from(problem.kind.loses_row());
        }
    }

    fn describe(self, dir: &LogDir) -> LogDescription {
        let rows = [
            self.requests.rows(),
            self.iterations.rows(),
            self.rows.rows(),
            self.events.rows(),
            self.transitions.rows(),
        ];
        let file = |table: Table| FileDescription {
            table: table.file_name().trim_end_matches(".csv"),
            file: dir.file(table).map(|file| file.name()),
            rows: rows[table as usize],
            unreadable: self.unreadable[table as usize],
        };
        let info = dir.run_info.as_ref();
        let producer = info.map(|info| format!("{} {}", info.producer.name, info.producer.version));
        let mut cannot_say = self.source.cannot_say();
        if let Some(error) = &dir.run_info_error {
            cannot_say.push(format!("settings: run.json is there but was not read: {error}"));
        } else if info.is_none() {
            cannot_say.push("settings and producer: there is no run.json".to_owned());
        }
        LogDescription {
            producer,
            engine: info.map(|info| info.engine.clone()),
            log_level: info.map(|info| info.log_level),
            overlapping_steps: info
                .map_or(self.source.dialect.steps_overlap == Some(true), |info| {
                    info.overlapping_steps
                }),
            dialect: self.source.dialect.habits().map(|habit| habit.name()).collect(),
            files: Table::ALL.map(file).into(),
            cannot_say,
        }
    }
}

fn open_table<R: Row>(
    source: &mut Source,
    dir: &LogDir,
    shared: &mut Shared,
) -> Result<Option<TableReader<R, Input>>, LogDirError> {
    let reader = source.open::<R>(dir)?;
    if let Some(reader) = &reader {
        shared.problems.extend(reader.header().problems.iter().cloned());
    }
    Ok(reader)
}
