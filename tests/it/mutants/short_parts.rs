//! Times counted from or to the wrong moment of a step, in logs of schedulers whose calls take only some
//! microseconds: less than two readings of a clock may differ.

use std::collections::{BTreeMap, BTreeSet};

use super::{Mutant, mutant, rates};
use crate::dialect_writer::another_logger;
use crate::sheets::Sheets;

/// Where each moment of a log stands in the one with short calls.
struct NewTimes(BTreeMap<i64, i64>);

impl NewTimes {
    fn of(s: &Sheets) -> Self {
        let steps: Vec<_> = (0..s.i.len()).map(|row| s.moments(row)).collect();
        let mut moments: BTreeSet<i64> = steps.iter().flatten().copied().collect();
        moments.insert(0);
        for row in 0..s.p.len() {
            let arrival = s.p.n(row, "arrival_time");
            moments.insert(arrival);
            moments.extend(s.p.num(row, "completion_time"));
            moments.extend(s.p.num(row, "ttft").map(|ttft| arrival + ttft));
        }
        moments.extend((0..s.e.len()).map(|row| s.e.n(row, "timestamp")));
        moments.extend((0..s.t.len()).map(|row| s.t.n(row, "timestamp")));
        let calls: Vec<_> =
            steps.iter().flat_map(|step| [step[0]..step[1], step[2]..step[3]]).collect();
        let (mut times, mut before, mut now) = (BTreeMap::new(), 0, 0);
        for (index, moment) in moments.into_iter().enumerate() {
            let in_call = calls.iter().any(|call| call.contains(&before));
            let gap = if in_call { (moment - before) / 8 } else { moment - before };
            if index > 0 {
                // No two calls take the same time.
                now += gap + 1 + (index as i64 * 7_919) % 2_003;
            }
            times.insert(moment, now);
            before = moment;
        }
        Self(times)
    }

    fn at(&self, moment: i64) -> i64 {
        self.0[&moment]
    }

    /// How long it is from one moment to another.
    fn between(&self, since: i64, until: i64) -> i64 {
        self.at(until) - self.at(since)
    }
}

/// The log of the same decisions by another logger, with calls of the scheduler that take 3 to 40 us.
pub(crate) fn with_short_calls(log: &Sheets) -> Sheets {
    let (times, mut short) = (NewTimes::of(log), log.clone());
    another_logger(&mut short.run);
    for row in 0..log.i.len() {
        let [start, decided, output, end] = log.moments(row);
        short.i.set(row, "start_time", times.at(start));
        short.i.set(row, "end_time", times.at(end));
        short.i.set(row, "duration", times.between(start, end));
        short.i.set(row, "scheduling_overhead", times.between(start, decided));
        short.i.set(row, "forward_pass_duration", times.between(decided, output));
        short.i.set(row, "output_processing_duration", times.between(output, end));
    }
    for row in 0..log.r.len() {
        if log.r.text(row, "state") != "completed" {
            let decided = log.moments(log.step(log.r.n(row, "iteration_id")))[1];
            let entered = decided - log.r.n(row, "time_in_state");
            short.r.set(row, "time_in_state", times.between(entered, decided));
        }
    }
    short.e.map("timestamp", |at| times.at(at));
    for row in 0..log.p.len() {
        let id = log.p.text(row, "request_id");
        let arrival = log.p.n(row, "arrival_time");
        let (mut since, mut sums) = (arrival, [0, 0]);
        for change in log.changes(id) {
            let now = log.t.n(change, "timestamp");
            let lasted = times.between(since, now);
            sums[usize::from(log.t.text(change, "prev_state") == "running")] += lasted;
            short.t.set(change, "timestamp", times.at(now));
            short.t.set(change, "duration_in_prev_state", lasted);
            since = now;
        }
        short.p.set(row, "arrival_time", times.at(arrival));
        if let Some(first) = log.p.num(row, "first_scheduled_time") {
            short.p.set(row, "first_scheduled_time", times.at(first));
        }
        if let Some(ttft) = log.p.num(row, "ttft") {
            short.p.set(row, "ttft", times.between(arrival, arrival + ttft));
        }
        if let Some(end) = log.p.num(row, "completion_time") {
            short.p.set(row, "completion_time", times.at(end));
            short.p.set(row, "e2e_latency", times.between(arrival, end));
            short.p.set(row, "waiting_time", sums[0]);
            short.p.set(row, "execution_time", sums[1]);
        }
        rates(&mut short, row);
    }
    short
}

/// A mistake in the log with short calls, if it shows there.
fn short(s: &mut Sheets, mistake: impl Fn(&mut Sheets)) {
    let right = with_short_calls(s);
    let mut wrong = right.clone();
    mistake(&mut wrong);
    if wrong != right {
        *s = wrong;
    }
}

/// Sets a column of each step by its moments.
fn by_step(s: &mut Sheets, column: &str, value: impl Fn([i64; 4]) -> i64) {
    for row in 0..s.i.len() {
        let moments = s.moments(row);
        s.i.set(row, column, value(moments));
    }
}

/// Adds to a column of each request what is told by the step with this moment of it.
fn by_end(s: &mut Sheets, columns: &[&str], moment: usize, by: impl Fn([i64; 4]) -> i64) {
    for row in 0..s.p.len() {
        let at = if moment == 3 { "completion_time" } else { "first_scheduled_time" };
        let step = s.p.num(row, at).and_then(|at| s.step_at(at, moment));
        if let Some(step) = step {
            let by = by(s.moments(step));
            columns.iter().for_each(|column| s.p.add(row, column, by));
            rates(s, row);
        }
    }
}

fn ttft_at_output(s: &mut Sheets) {
    for row in 0..s.p.len() {
        let arrival = s.p.n(row, "arrival_time");
        let step = s.p.num(row, "ttft").and_then(|ttft| s.step_at(arrival + ttft, 3));
        if let Some(step) = step {
            let output = s.moments(step)[2];
            s.p.set(row, "ttft", output - arrival);
            rates(s, row);
        }
    }
}

fn rows_at_start(s: &mut Sheets) {
    for row in 0..s.r.len() {
        if s.r.text(row, "state") != "completed" {
            let [start, decided, ..] = s.moments(s.step(s.r.n(row, "iteration_id")));
            let held = s.r.n(row, "time_in_state") - (decided - start);
            s.r.set(row, "time_in_state", held.max(0));
        }
    }
}

/// The duration of the state that a change leaves is short of what `by` tells of the step of the change
/// before, or of that of its own.
fn changes_by(s: &mut Sheets, state: &str, moment: usize, by: impl Fn([i64; 4]) -> i64) {
    for row in s.t.where_is("state", state) {
        if let Some(step) = s.step_at(s.t.n(row, "timestamp"), moment) {
            s.t.add(row, "duration_in_prev_state", by(s.moments(step)));
        }
    }
}

/// The duration of a step is taken before its output is processed.
pub(crate) const DURATION_LACKS_OUTPUT: fn(&mut Sheets) =
    |s| by_step(s, "duration", |[start, _, output, _]| output - start);

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("short-duration-lacks-output", "taken before the output is processed", &["M010"], |s| {
        short(s, DURATION_LACKS_OUTPUT);
    }),
    mutant("short-duration-lacks-scheduling", "taken from the decision on", &["M010"], |s| {
        short(s, |s| by_step(s, "duration", |[_, decided, _, end]| end - decided));
    }),
    mutant("short-forward-has-scheduling", "one timer for both", &["M010"], |s| {
        short(s, |s| by_step(s, "forward_pass_duration", |[start, _, output, _]| output - start));
    }),
    mutant("short-end-at-output", "end_time is when the output arrives", &["M010"], |s| {
        short(s, |s| by_step(s, "end_time", |[_, _, output, _]| output));
    }),
    mutant(
        "short-wait-lacks-scheduling",
        "the wait ends with the step's start",
        &["M002", "M017"],
        |s| {
            short(s, |s| by_end(s, &["waiting_time"], 1, |[start, decided, ..]| start - decided));
        },
    ),
    mutant("short-first-at-start", "scheduled when the step starts", &["M006"], |s| {
        short(s, |s| {
            by_end(s, &["first_scheduled_time"], 1, |[start, decided, ..]| start - decided)
        });
    }),
    mutant("short-latency-to-output", "up to the output's arrival", &["M001"], |s| {
        short(s, |s| by_end(s, &["e2e_latency"], 3, |[_, _, output, end]| output - end));
    }),
    mutant("short-completion-at-output", "over when the output arrives", &["M001", "M015"], |s| {
        short(s, |s| by_end(s, &["completion_time"], 3, |[_, _, output, end]| output - end));
    }),
    mutant("short-execution-to-output", "up to the output's arrival", &["M002"], |s| {
        short(s, |s| by_end(s, &["execution_time"], 3, |[_, _, output, end]| output - end));
    }),
    mutant("short-ttft-to-output", "up to the output's arrival", &["M007"], |s| {
        short(s, ttft_at_output);
    }),
    mutant("short-rows-at-start", "rows are of the step's start", &["M013"], |s| {
        short(s, rows_at_start);
    }),
    mutant("short-change-to-output", "a run ends with the output's arrival", &["M004"], |s| {
        short(s, |s| changes_by(s, "completed", 3, |[_, _, output, end]| output - end));
    }),
    mutant("short-change-to-start", "a wait ends with the step's start", &["M004"], |s| {
        short(s, |s| changes_by(s, "running", 1, |[start, decided, ..]| start - decided));
    }),
];
