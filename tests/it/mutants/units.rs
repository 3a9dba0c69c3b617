//! Times that are off by one or of another unit.

use super::{Mutant, mutant};
use crate::sheets::{Sheet, Sheets};

/// Adds one to the middle number of a column.
fn off(sheet: &mut Sheet, column: &str) {
    let rows: Vec<_> = (0..sheet.len()).filter(|row| sheet.num(*row, column).is_some()).collect();
    if let Some(row) = rows.get(rows.len() / 2) {
        sheet.add(*row, column, 1);
    }
}

fn off_event(s: &mut Sheets, kind: &str) {
    let rows = s.e.where_is("event_type", kind);
    if let Some(row) = rows.get(rows.len() / 2).copied() {
        s.e.add(row, "timestamp", 1);
        // The log stays in order.
        if row + 1 < s.e.len() && s.e.n(row, "timestamp") > s.e.n(row + 1, "timestamp") {
            s.e.rows[row..].sort_by_key(|row| row[0].parse::<i64>().unwrap());
        }
    }
}

fn off_change(s: &mut Sheets, state: &str) {
    let rows = s.t.where_is("state", state);
    if let Some(row) = rows.get(rows.len() / 2).copied() {
        s.t.add(row, "timestamp", 1);
        s.t.add(row, "duration_in_prev_state", 1);
        let same =
            row + 1 < s.t.len() && s.t.text(row, "request_id") == s.t.text(row + 1, "request_id");
        if same {
            s.t.add(row + 1, "duration_in_prev_state", -1);
        }
    }
}

pub(crate) const REQUEST_TIMES: [&str; 8] = [
    "arrival_time",
    "first_scheduled_time",
    "completion_time",
    "waiting_time",
    "execution_time",
    "e2e_latency",
    "ttft",
    "tpot",
];

pub(crate) const STEP_TIMES: [&str; 6] = [
    "start_time",
    "end_time",
    "duration",
    "scheduling_overhead",
    "forward_pass_duration",
    "output_processing_duration",
];

fn requests_in(s: &mut Sheets, unit: i64) {
    REQUEST_TIMES.iter().for_each(|column| s.p.map(column, |time| time / unit));
}

fn steps_in(s: &mut Sheets, unit: i64) {
    STEP_TIMES.iter().for_each(|column| s.i.map(column, |time| time / unit));
}

fn all_in(s: &mut Sheets, unit: i64) {
    requests_in(s, unit);
    steps_in(s, unit);
    s.e.map("timestamp", |time| time / unit);
    s.t.map("timestamp", |time| time / unit);
    s.t.map("duration_in_prev_state", |time| time / unit);
    s.r.map("time_in_state", |time| time / unit);
}

fn seconds(sheet: &mut Sheet, column: &str) {
    sheet.map_text(column, |text| {
        text.parse::<i64>().map_or(text.to_owned(), |time| format!("{}", time as f64 / 1e9))
    });
}

/// Through a 32-bit float of seconds and back.
fn through_f32(time: i64) -> i64 {
    (f64::from((time as f64 / 1e9) as f32) * 1e9) as i64
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("arrival-off-by-one", "rounded up in one place", &["M015"], |s| {
        off(&mut s.p, "arrival_time")
    }),
    mutant("first-scheduled-off-by-one", "rounded up in one place", &["M006"], |s| {
        off(&mut s.p, "first_scheduled_time")
    }),
    mutant("completion-off-by-one", "rounded up in one place", &["M001"], |s| {
        off(&mut s.p, "completion_time")
    }),
    mutant("waiting-off-by-one", "rounded up in one place", &["M002", "M003"], |s| {
        off(&mut s.p, "waiting_time")
    }),
    mutant("execution-off-by-one", "rounded up in one place", &["M002", "M003"], |s| {
        off(&mut s.p, "execution_time")
    }),
    mutant("e2e-off-by-one", "rounded up in one place", &["M001"], |s| {
        off(&mut s.p, "e2e_latency")
    }),
    mutant("ttft-off-by-one", "rounded up in one place", &["M007"], |s| off(&mut s.p, "ttft")),
    mutant("tpot-off-by-one", "rounded up instead of down", &["M008"], |s| off(&mut s.p, "tpot")),
    mutant("start-off-by-one", "rounded up in one place", &["M010"], |s| {
        off(&mut s.i, "start_time")
    }),
    mutant("end-off-by-one", "rounded up in one place", &["M010"], |s| off(&mut s.i, "end_time")),
    mutant("duration-off-by-one", "rounded up in one place", &["M010"], |s| {
        off(&mut s.i, "duration")
    }),
    mutant("scheduling-off-by-one", "rounded up in one place", &["M010"], |s| {
        off(&mut s.i, "scheduling_overhead")
    }),
    mutant("forward-off-by-one", "rounded up in one place", &["M010"], |s| {
        off(&mut s.i, "forward_pass_duration")
    }),
    mutant("output-off-by-one", "rounded up in one place", &["M010"], |s| {
        off(&mut s.i, "output_processing_duration")
    }),
    mutant(
        "decision-off-by-one",
        "D of one step, its parts still adding up",
        &["M006", "M013", "M015"],
        |s| {
            let row = s.i.len() / 2;
            s.i.add(row, "scheduling_overhead", 1);
            s.i.add(row, "forward_pass_duration", -1);
        },
    ),
    mutant("time-in-state-off-by-one", "rounded up in one place", &["M013"], |s| {
        off(&mut s.r, "time_in_state")
    }),
    mutant("change-duration-off-by-one", "rounded up in one place", &["M004"], |s| {
        off(&mut s.t, "duration_in_prev_state")
    }),
    mutant(
        "running-change-off-by-one",
        "a clock read of its own",
        &["M006", "M003", "M015"],
        |s| off_change(s, "running"),
    ),
    mutant("preempted-change-off-by-one", "a clock read of its own", &["M003", "M015"], |s| {
        off_change(s, "preempted")
    }),
    mutant("completed-change-off-by-one", "a clock read of its own", &["S003"], |s| {
        off_change(s, "completed")
    }),
    mutant("arrival-event-off-by-one", "a clock read of its own", &["M015"], |s| {
        off_event(s, "request_arrived")
    }),
    mutant("scheduled-event-off-by-one", "a clock read of its own", &["M006"], |s| {
        off_event(s, "request_scheduled")
    }),
    mutant("preempted-event-off-by-one", "a clock read of its own", &["M015"], |s| {
        off_event(s, "request_preempted")
    }),
    mutant("resumed-event-off-by-one", "a clock read of its own", &["M015"], |s| {
        off_event(s, "request_resumed")
    }),
    mutant("evicted-event-off-by-one", "a clock read of its own", &["M015"], |s| {
        off_event(s, "request_evicted")
    }),
    mutant("first-token-event-off-by-one", "a clock read of its own", &["M007", "M014"], |s| {
        off_event(s, "first_token_generated")
    }),
    mutant("completion-event-off-by-one", "a clock read of its own", &["M015"], |s| {
        off_event(s, "request_completed")
    }),
    mutant("allocation-event-off-by-one", "a clock read of its own", &["M015"], |s| {
        off_event(s, "kv_cache_allocated")
    }),
    mutant("freeing-event-off-by-one", "a clock read of its own", &["M015"], |s| {
        off_event(s, "kv_cache_freed")
    }),
    mutant("requests-in-us", "one file in microseconds", &["M006", "M015"], |s| {
        requests_in(s, 1_000)
    }),
    mutant("requests-in-ms", "one file in milliseconds", &["M006", "M015"], |s| {
        requests_in(s, 1_000_000)
    }),
    mutant("steps-in-us", "one file in microseconds", &["M014", "M015"], |s| steps_in(s, 1_000)),
    mutant("steps-in-ms", "one file in milliseconds", &["M014", "M015"], |s| {
        steps_in(s, 1_000_000)
    }),
    mutant("events-in-us", "one file in microseconds", &["M015", "M006"], |s| {
        s.e.map("timestamp", |time| time / 1_000)
    }),
    mutant("changes-in-us", "one file in microseconds", &["S003", "M003"], |s| {
        s.t.map("timestamp", |time| time / 1_000);
        s.t.map("duration_in_prev_state", |time| time / 1_000);
    }),
    mutant("log-in-us", "all files in microseconds", &["M009"], |s| all_in(s, 1_000)),
    mutant("time-in-state-in-us", "one column in microseconds", &["M013"], |s| {
        s.r.map("time_in_state", |time| time / 1_000)
    }),
    mutant("tpot-in-us", "one column in microseconds", &["M008"], |s| {
        s.p.map("tpot", |time| time / 1_000)
    }),
    mutant("ttft-in-ms", "one column in milliseconds", &["M007"], |s| {
        s.p.map("ttft", |time| time / 1_000_000)
    }),
    mutant("requests-in-seconds", "floats of seconds", &["F003"], |s| {
        REQUEST_TIMES.iter().for_each(|column| seconds(&mut s.p, column))
    }),
    mutant("steps-in-seconds", "floats of seconds", &["F003"], |s| {
        STEP_TIMES.iter().for_each(|column| seconds(&mut s.i, column))
    }),
    mutant("events-in-seconds", "floats of seconds", &["F003"], |s| seconds(&mut s.e, "timestamp")),
    mutant(
        "requests-through-f32",
        "times kept in 32-bit floats",
        &["M001", "M002", "M003", "M006"],
        |s| {
            REQUEST_TIMES.iter().for_each(|column| s.p.map(column, through_f32));
        },
    ),
    mutant("steps-through-f32", "times kept in 32-bit floats", &["M010"], |s| {
        STEP_TIMES.iter().for_each(|column| s.i.map(column, through_f32));
    }),
];
