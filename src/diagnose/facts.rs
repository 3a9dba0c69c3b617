//! What the second pass finds for the recognisers of causes, besides the stories.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::Finding;
use crate::diagnose::excerpt::Excerpts;
use crate::diagnose::story::Sums;
use crate::log::reader::{Located, Location};
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow, Table};
use crate::log::values::State;
use crate::units::{Blocks, IterationId, Nanos};

/// Rows of a file of which whole columns are looked at.
pub(super) const MOST_ROWS: usize = 2_048;

/// Units that times are rounded to, in nanoseconds: those of milliseconds and microseconds.
pub(crate) const COARSE_UNITS: [u64; 2] = [1_000_000, 1_000];

/// What the second pass found besides the stories.
#[derive(Debug, Default)]
pub struct Facts {
    /// How long the requests of findings were in each state.
    pub sums: BTreeMap<String, Sums>,
    /// What the requests of findings say of themselves.
    pub own: BTreeMap<String, Own>,
    /// Rows of per_request.csv of requests that were preempted.
    pub preempted_requests: u64,
    /// Rows of per_request.csv.
    pub requests: u64,
    /// The last iteration of per_iteration.csv.
    pub last_iteration: Option<IterationId>,
    /// `S`, `D`, `O` and `E` of the steps that findings name, and of those before and behind.
    pub moments: BTreeMap<u64, [i128; 4]>,
    /// Those of the steps whose `D` or `E` is the [moment](moment_of) of a finding, by that.
    pub met: BTreeMap<i128, [i128; 4]>,
    /// Rows of per_iteration.csv.
    pub steps: u64,
    /// Of these, rows of which neither moment is a whole number of a [coarse unit](COARSE_UNITS).
    pub fine_steps: [u64; COARSE_UNITS.len()],
    /// The largest value of columns that are moments, and of those that last until one.
    pub largest: BTreeMap<(Table, &'static str), Nanos>,
    /// Rows of which whole columns are looked at: those of per_iteration.csv around the first wrong one, and
    /// the first ones of per_request.csv.
    pub windows: BTreeMap<Table, Vec<Location>>,
    /// The steps of the first of these.
    pub window: (Option<IterationId>, Option<IterationId>),
    /// What the rows of those steps add up to.
    pub tallies: BTreeMap<IterationId, Tally>,
    /// The blocks of the requests that run.
    pub(super) held: BTreeMap<String, Blocks>,
}

/// What a request says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its arrival.
    pub arrival: Nanos,
    /// Its first scheduling.
    pub first_scheduled: Option<Nanos>,
}

impl Own {
    pub(super) const fn of(row: &RequestRow) -> Self {
        Self { arrival: row.arrival_time, first_scheduled: row.first_scheduled_time }
    }
}

/// The rows of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there are of each state.
    pub rows: [u64; 4],
    /// Blocks that the `completed` ones held.
    pub ended_blocks: u64,
    /// Blocks that those held which ran in their row before and are preempted in this.
    pub preempted_blocks: u64,
}

/// The `D` or `E` that the finding of a rule expects, where it names no step.
pub(crate) fn moment_of(rule: &str, finding: &Finding, excerpts: &Excerpts) -> Option<i128> {
    let expected: i128 = finding.expected.as_ref()?.parse().ok()?;
    match rule {
        "M006" | "S003" => Some(expected),
        "M007" => {
            let own = finding.primary.as_ref()?.at;
            expected.checked_add(excerpts.number(own, "arrival_time")?)
        }
        _ => None,
    }
}

impl Facts {
    /// Whether the clock of the log ticks in a finer unit than this one of [`COARSE_UNITS`]: both
    /// moments of most steps are no whole numbers of it. Where one of them is, the other may as well
    /// have been moved.
    pub(crate) fn is_finer_than(&self, unit: usize) -> bool {
        self.steps > 0 && self.fine_steps[unit] * 2 > self.steps
    }

    pub(super) fn note_moments(
        &mut self,
        row: &IterationRow,
        near: &BTreeSet<u64>,
        wanted: &BTreeSet<i128>,
    ) {
        let start = i128::from(row.start_time.0);
        let decision = start + i128::from(row.scheduling_overhead.0);
        let output = decision + i128::from(row.forward_pass_duration.0);
        let moments = [start, decision, output, i128::from(row.end_time.0)];
        if near.contains(&row.iteration_id.0) {
            self.moments.insert(row.iteration_id.0, moments);
        }
        for index in [1, 3] {
            if wanted.contains(&moments[index]) {
                self.met.insert(moments[index], moments);
            }
        }
    }

    /// Takes in a row of per_iteration.csv; whole columns are looked at from `first` on.
    pub(super) fn note_step(&mut self, row: &Located<IterationRow>, first: Option<IterationId>) {
        self.steps += 1;
        self.last_iteration = self.last_iteration.max(Some(row.iteration_id));
        let table = Table::PerIteration;
        self.note_time((table, "start_time"), row.start_time);
        self.note_time((table, "end_time"), row.end_time);
        self.note_time((table, "duration"), row.duration);
        for (fine, unit) in self.fine_steps.iter_mut().zip(COARSE_UNITS) {
            let both =
                !row.start_time.0.is_multiple_of(unit) && !row.end_time.0.is_multiple_of(unit);
            *fine += u64::from(both);
        }
        if first.is_some_and(|first| row.iteration_id >= first) && self.keep(row.at()) {
            self.window.0.get_or_insert(row.iteration_id);
            self.window.1 = self.window.1.max(Some(row.iteration_id));
        }
    }

    pub(super) fn note_request(&mut self, row: &Located<RequestRow>) {
        self.requests += 1;
        self.preempted_requests += u64::from(row.preemption_count.0 > 0);
        let table = Table::PerRequest;
        self.note_time((table, "completion_time"), row.completion_time.unwrap_or_default());
        self.note_time((table, "e2e_latency"), row.e2e_latency.unwrap_or_default());
        self.keep(row.at());
    }

    pub(super) fn note_time(&mut self, column: (Table, &'static str), time: Nanos) {
        let largest = self.largest.entry(column).or_default();
        *largest = time.max(*largest);
    }

    /// Takes in a row of per_iteration_requests.csv.
    pub(super) fn note_row(&mut self, row: &IterationRequestRow, id: &str) {
        let step = Some(row.iteration_id);
        if self.window.0.is_none() || step > self.window.1 {
            return;
        }
        let held = self.hold(row, id);
        if step < self.window.0 {
            return;
        }
        let tally = self.tallies.entry(row.iteration_id).or_default();
        tally.rows[row.state as usize] += 1;
        if row.state == State::Completed {
            tally.ended_blocks += u64::from(row.kv_cache_blocks.0);
        }
        if row.state == State::Preempted {
            tally.preempted_blocks += u64::from(held.0);
        }
    }

    /// Notes what the request holds while it runs; what it held in its row before if it does no longer.
    fn hold(&mut self, row: &IterationRequestRow, id: &str) -> Blocks {
        if row.state != State::Running {
            return self.held.remove(id).unwrap_or_default();
        }
        match self.held.get_mut(id) {
            Some(held) => std::mem::replace(held, row.kv_cache_blocks),
            None => self.held.insert(id.to_owned(), row.kv_cache_blocks).unwrap_or_default(),
        }
    }

    fn keep(&mut self, at: Location) -> bool {
        let window = self.windows.entry(at.table).or_default();
        let room = window.len() < MOST_ROWS;
        if room {
            window.push(at);
        }
        room
    }
}
