//! Moments of steps and of events: the wrong one, another clock, another step.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

const WALL: i64 = 1_700_000_000_000_000_000;

/// Moves every event of a kind from one moment of its step to another.
fn move_events(s: &mut Sheets, kind: &str, from: usize, to: usize) {
    for row in s.e.where_is("event_type", kind) {
        if let Some(step) = s.step_at(s.e.n(row, "timestamp"), from) {
            let at = s.moments(step)[to];
            s.e.set(row, "timestamp", at);
        }
    }
    s.e.rows.sort_by_key(|row| row[0].parse::<i64>().unwrap());
}

fn move_changes(s: &mut Sheets, state: &str, to: usize) {
    for row in s.t.where_is("state", state) {
        if let Some(step) = s.step_at(s.t.n(row, "timestamp"), 1) {
            let delta = s.moments(step)[to] - s.moments(step)[1];
            s.t.add(row, "timestamp", delta);
            s.t.add(row, "duration_in_prev_state", delta);
            if row + 1 < s.t.len() && s.t.text(row, "request_id") == s.t.text(row + 1, "request_id")
            {
                s.t.add(row + 1, "duration_in_prev_state", -delta);
            }
        }
    }
}

/// Row by row: the row was written before its forward pass had ended.
fn unfinished_row(s: &mut Sheets, every: usize) {
    for row in (0..s.i.len()).filter(|row| row % every == every - 1) {
        if s.i.n(row, "batch_size") > 0 {
            s.i.set(row, "forward_pass_duration", 0);
            s.i.set(row, "output_processing_duration", 0);
        }
    }
}

/// The same, with times that add up.
fn consistent_unfinished_row(s: &mut Sheets, every: usize) {
    for row in (0..s.i.len()).filter(|row| row % every == every - 1) {
        let decided = s.moments(row)[1];
        if s.i.n(row, "batch_size") > 0 {
            s.i.set(row, "forward_pass_duration", 0);
            s.i.set(row, "output_processing_duration", 0);
            let overhead = s.i.n(row, "scheduling_overhead");
            s.i.set(row, "duration", overhead);
            s.i.set(row, "end_time", decided);
        }
    }
}

/// A step begins where the one before ended, also after a sleep.
fn sleep_is_scheduling(s: &mut Sheets) {
    for row in 1..s.i.len() {
        let gap = s.i.n(row, "start_time") - s.i.n(row - 1, "end_time");
        if gap > 500_000 {
            s.i.add(row, "start_time", -gap);
            s.i.add(row, "scheduling_overhead", gap);
            s.i.add(row, "duration", gap);
        }
    }
}

/// The clock is set back in the middle of the run.
fn clock_set_back(s: &mut Sheets) {
    let (middle, back) = (s.i.len() / 2, 5_000_000);
    for row in middle..s.i.len() {
        s.i.add(row, "start_time", -back);
        s.i.add(row, "end_time", -back);
    }
}

fn details_of_next_step(s: &mut Sheets) {
    for row in 0..s.e.len() {
        if let Some(step) = s.detail(row, "iteration_id") {
            s.set_detail(row, "iteration_id", step + 1);
        }
    }
}

fn ids_from_one(s: &mut Sheets) {
    s.i.map("iteration_id", |id| id + 1);
    s.r.map("iteration_id", |id| id + 1);
    details_of_next_step(s);
}

fn every_other_id(s: &mut Sheets) {
    s.i.map("iteration_id", |id| id * 2);
    s.r.map("iteration_id", |id| id * 2);
    for row in 0..s.e.len() {
        if let Some(step) = s.detail(row, "iteration_id") {
            s.set_detail(row, "iteration_id", step * 2);
        }
    }
}

/// The engine does not count passes that schedule nothing.
fn empty_passes_left_out(s: &mut Sheets) {
    let idle: Vec<i64> =
        s.i.where_is("batch_size", "0").into_iter().map(|row| s.i.n(row, "iteration_id")).collect();
    // The flush pass at the very end is missed by nothing else.
    let last = s.i.n(s.i.len() - 1, "iteration_id");
    if idle.iter().any(|id| *id != last) {
        s.i.rows.retain(|row| !idle.contains(&row[0].parse().unwrap()));
        s.r.rows.retain(|row| !idle.contains(&row[0].parse().unwrap()));
    }
}

/// As before, but what is left is numbered as if there had been nothing else.
fn idle_passes_left_out(s: &mut Sheets) {
    let idle: Vec<i64> =
        s.i.where_is("batch_size", "0").into_iter().map(|row| s.i.n(row, "iteration_id")).collect();
    let renumbered = |id: i64| id - idle.iter().filter(|other| **other < id).count() as i64;
    for sheet in [&mut s.i, &mut s.r] {
        sheet.rows.retain(|row| !idle.contains(&row[0].parse().unwrap()));
        sheet.map("iteration_id", renumbered);
    }
    for row in 0..s.e.len() {
        if let Some(step) = s.detail(row, "iteration_id") {
            s.set_detail(row, "iteration_id", renumbered(step));
        }
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("scheduled-at-s", "the event is written as the step begins", &["M006"], |s| {
        move_events(s, "request_scheduled", 1, 0)
    }),
    mutant("scheduled-at-e", "the event is written as the step ends", &["M006"], |s| {
        move_events(s, "request_scheduled", 1, 3)
    }),
    mutant("first-token-at-d", "the event is written with the decision", &["M007", "M015"], |s| {
        move_events(s, "first_token_generated", 3, 1)
    }),
    mutant(
        "first-token-at-o",
        "the event is written as the output comes",
        &["M007", "M015"],
        |s| move_events(s, "first_token_generated", 3, 2),
    ),
    mutant("preempted-at-s", "the event is written as the step begins", &["M015"], |s| {
        move_events(s, "request_preempted", 1, 0)
    }),
    mutant("preempted-at-e", "the event is written as the step ends", &["M015"], |s| {
        move_events(s, "request_preempted", 1, 3)
    }),
    mutant("resumed-at-e", "the event is written as the step ends", &["M015"], |s| {
        move_events(s, "request_resumed", 1, 3)
    }),
    mutant("completed-at-o", "the event is written as the output comes", &["M015"], |s| {
        move_events(s, "request_completed", 3, 2)
    }),
    mutant("freed-at-o", "the event is written as the output comes", &["M015"], |s| {
        move_events(s, "kv_cache_freed", 3, 2)
    }),
    mutant("allocated-at-s", "the event is written as the step begins", &["M015"], |s| {
        move_events(s, "kv_cache_allocated", 1, 0)
    }),
    mutant("running-change-at-s", "the change carries the beginning", &["M006", "M003"], |s| {
        move_changes(s, "running", 0)
    }),
    mutant("running-change-at-e", "the change carries the end", &["M006", "M003"], |s| {
        move_changes(s, "running", 3)
    }),
    mutant("preempted-change-at-s", "the change carries the beginning", &["M003", "M015"], |s| {
        move_changes(s, "preempted", 0)
    }),
    mutant(
        "events-on-the-wall-clock",
        "time.time_ns() instead of the monotonic clock",
        &["M014", "M015"],
        |s| s.e.map("timestamp", |time| time + WALL),
    ),
    mutant(
        "changes-on-the-wall-clock",
        "time.time_ns() instead of the monotonic clock",
        &["M003", "M004", "S003"],
        |s| s.t.map("timestamp", |time| time + WALL),
    ),
    mutant("arrivals-on-the-wall-clock", "the client's clock", &["M001", "M005"], |s| {
        s.p.map("arrival_time", |time| time + WALL)
    }),
    mutant(
        "steps-on-the-wall-clock",
        "time.time_ns() instead of the monotonic clock",
        &["M014", "M015"],
        |s| {
            s.i.map("start_time", |time| time + WALL);
            s.i.map("end_time", |time| time + WALL);
        },
    ),
    mutant(
        "clock-set-back",
        "the wall clock is corrected during the run",
        &["M010", "M014", "M015"],
        clock_set_back,
    ),
    mutant("row-before-forward-pass", "each flush writes the row that is open", &["M010"], |s| {
        unfinished_row(s, 10)
    }),
    mutant(
        "closed-before-forward-pass",
        "each flush closes the row that is open",
        &["M016", "M015", "M014"],
        |s| consistent_unfinished_row(s, 10),
    ),
    mutant("no-forward-pass", "forward_pass_duration is never set", &["M010"], |s| {
        s.i.map("forward_pass_duration", |_| 0)
    }),
    mutant("forward-includes-scheduling", "the forward pass is timed from S", &["M010"], |s| {
        for row in 0..s.i.len() {
            let overhead = s.i.n(row, "scheduling_overhead");
            s.i.add(row, "forward_pass_duration", overhead);
        }
    }),
    mutant("forward-of-last-step", "the value of the step before", &["M010"], |s| {
        let before: Vec<_> =
            (0..s.i.len()).map(|row| s.i.n(row, "forward_pass_duration")).collect();
        (1..s.i.len()).for_each(|row| s.i.set(row, "forward_pass_duration", before[row - 1]));
    }),
    mutant("duration-without-output", "the output processing is not counted", &["M010"], |s| {
        for row in 0..s.i.len() {
            let output = s.i.n(row, "output_processing_duration");
            s.i.add(row, "duration", -output);
        }
    }),
    mutant("duration-to-next-start", "a step lasts until the next begins", &["M010"], |s| {
        for row in 1..s.i.len() {
            let (start, next) = (s.i.n(row - 1, "start_time"), s.i.n(row, "start_time"));
            s.i.set(row - 1, "duration", next - start);
        }
    }),
    mutant(
        "sleep-is-scheduling",
        "a step begins where the one before ended",
        &["Q004"],
        sleep_is_scheduling,
    ),
    mutant("end-before-start", "two columns swapped", &["M010"], |s| {
        for row in 0..s.i.len() {
            let (start, end) = (s.i.n(row, "start_time"), s.i.n(row, "end_time"));
            s.i.set(row, "start_time", end);
            s.i.set(row, "end_time", start);
        }
    }),
    mutant(
        "details-of-next-step",
        "the id was taken after it had been raised",
        &["M014"],
        details_of_next_step,
    ),
    mutant("ids-from-one", "steps are counted from 1", &["M011"], ids_from_one),
    mutant("every-other-id", "two counters share the ids", &["M011"], every_other_id),
    mutant(
        "empty-passes-left-out",
        "a pass that schedules nothing is no step",
        &["M011"],
        empty_passes_left_out,
    ),
    mutant(
        "idle-passes-left-out",
        "a pass that schedules nothing has neither a row nor a number",
        &["M021"],
        idle_passes_left_out,
    ),
    mutant("whole-log-on-the-wall-clock", "nothing is since the start", &["M019"], |s| {
        s.p.map("arrival_time", |time| time + WALL);
        s.p.map("first_scheduled_time", |time| time + WALL);
        s.p.map("completion_time", |time| time + WALL);
        s.i.map("start_time", |time| time + WALL);
        s.i.map("end_time", |time| time + WALL);
        s.e.map("timestamp", |time| time + WALL);
        s.t.map("timestamp", |time| time + WALL);
    }),
    mutant("events-of-another-start", "the event log counts from its own start", &["M019"], |s| {
        if s.p.len() >= 3 && s.p.where_is("completion_time", "").len() + 3 <= s.p.len() {
            s.e.map("timestamp", |time| time + 300_000);
        }
    }),
];
