//! Times that are off by one, of another unit, of another clock, or taken at another moment.

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

const REQUEST_TIMES: [&str; 8] = [
    "arrival_time",
    "first_scheduled_time",
    "completion_time",
    "waiting_time",
    "execution_time",
    "e2e_latency",
    "ttft",
    "tpot",
];

const STEP_TIMES: [&str; 6] = [
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

fn by_request(s: &mut Sheets, change: impl Fn(&Sheets, usize) -> Vec<(&'static str, i64)>) {
    for row in 0..s.p.len() {
        for (column, value) in change(s, row) {
            s.p.set(row, column, value);
        }
    }
}

/// Time in each state of a request by its changes: waiting, running, preempted.
fn times(s: &Sheets, row: usize) -> [i64; 3] {
    let mut sums = [0; 3];
    for change in s.changes(s.p.text(row, "request_id")) {
        let side = match s.t.text(change, "prev_state") {
            "waiting" => 0,
            "running" => 1,
            _ => 2,
        };
        sums[side] += s.t.n(change, "duration_in_prev_state");
    }
    sums
}

fn finished(s: &Sheets, row: usize) -> bool {
    s.p.num(row, "completion_time").is_some()
}

fn last_duration(s: &Sheets, row: usize, state: &str) -> Option<i64> {
    let changes = s.changes(s.p.text(row, "request_id"));
    let last = changes.iter().rfind(|change| s.t.text(**change, "prev_state") == state)?;
    s.t.num(*last, "duration_in_prev_state")
}

/// The step that produced the first token of a request.
fn first_token_step(s: &Sheets, row: usize) -> Option<usize> {
    let at = s.p.n(row, "arrival_time") + s.p.num(row, "ttft")?;
    s.step_at(at, 3)
}

fn ttft_at(s: &mut Sheets, moment: usize) {
    by_request(s, |s, row| {
        let Some(step) = first_token_step(s, row) else { return vec![] };
        vec![("ttft", s.moments(step)[moment] - s.p.n(row, "arrival_time"))]
    });
}

fn ttft_from_scheduling(s: &mut Sheets) {
    by_request(s, |s, row| match (s.p.num(row, "ttft"), s.p.num(row, "first_scheduled_time")) {
        (Some(ttft), Some(first)) => vec![("ttft", ttft - (first - s.p.n(row, "arrival_time")))],
        _ => vec![],
    });
}

fn tpot_by(s: &mut Sheets, tpot: impl Fn(i64, i64, i64) -> i64) {
    by_request(s, |s, row| {
        let numbers =
            (s.p.num(row, "e2e_latency"), s.p.num(row, "ttft"), s.p.n(row, "output_tokens"));
        match numbers {
            (Some(latency), Some(ttft), tokens) if tokens > 1 => {
                vec![("tpot", tpot(latency, ttft, tokens))]
            }
            _ => vec![],
        }
    });
}

fn throughput_by(s: &mut Sheets, rate: impl Fn(&Sheets, usize) -> Option<String>) {
    for row in 0..s.p.len() {
        if let Some(rate) = rate(s, row).filter(|_| s.p.num(row, "e2e_latency") > Some(0)) {
            s.p.set(row, "throughput", rate);
        }
    }
}

/// The request is known from the moment at which a step notices it.
fn arrival_is_noticed(s: &mut Sheets) {
    for row in 0..s.p.len() {
        let (Some(first), Some(latency)) =
            (s.p.num(row, "first_scheduled_time"), s.p.num(row, "e2e_latency"))
        else {
            continue;
        };
        let arrival = s.p.n(row, "arrival_time");
        let late = s.moments(s.step_at(first, 1).unwrap())[0] - arrival;
        s.p.set(row, "arrival_time", arrival + late);
        s.p.set(row, "e2e_latency", latency - late);
        s.p.add(row, "waiting_time", -late);
        s.p.add(row, "ttft", -late);
    }
}

/// An aborted request ends when the next step notices.
fn abort_is_noticed(s: &mut Sheets) {
    for row in s.p.where_is("finish_reason", "abort") {
        let end = s.p.n(row, "completion_time");
        let next = (0..s.i.len()).map(|step| s.i.n(step, "start_time")).find(|start| *start > end);
        if let Some(next) = next {
            let column = if s.p.num(row, "first_scheduled_time").is_some() {
                "execution_time"
            } else {
                "waiting_time"
            };
            s.p.set(row, "completion_time", next);
            s.p.add(row, "e2e_latency", next - end);
            s.p.add(row, column, next - end);
        }
    }
}

fn completion_at(s: &mut Sheets, moment: usize) {
    by_request(s, |s, row| {
        let Some(step) = s.p.num(row, "completion_time").and_then(|end| s.step_at(end, 3)) else {
            return vec![];
        };
        let at = s.moments(step)[moment];
        let late = s.p.n(row, "completion_time") - at;
        if s.p.n(row, "execution_time") < late {
            return vec![];
        }
        vec![
            ("completion_time", at),
            ("e2e_latency", s.p.n(row, "e2e_latency") - late),
            ("execution_time", s.p.n(row, "execution_time") - late),
        ]
    });
}

fn time_in_state(s: &mut Sheets, change: impl Fn(&Sheets, usize) -> Option<i64>) {
    for row in 0..s.r.len() {
        if s.r.text(row, "state") != "completed"
            && let Some(value) = change(s, row)
        {
            s.r.set(row, "time_in_state", value);
        }
    }
}

fn moment_of_row(s: &Sheets, row: usize, moment: usize) -> i64 {
    s.moments(s.step(s.r.n(row, "iteration_id")))[moment]
}

fn since_arrival(s: &Sheets, row: usize) -> Option<i64> {
    let request = s.request(s.r.text(row, "request_id"))?;
    Some(moment_of_row(s, row, 1) - s.p.n(request, "arrival_time"))
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
    mutant("preempted-time-nowhere", "time spent preempted is not counted", &["M002"], |s| {
        by_request(s, |s, row| {
            vec![("waiting_time", s.p.n(row, "waiting_time") - times(s, row)[2])]
        });
    }),
    mutant("preempted-time-twice", "time spent preempted is on both sides", &["M002"], |s| {
        by_request(s, |s, row| {
            vec![("execution_time", s.p.n(row, "execution_time") + times(s, row)[2])]
        });
    }),
    mutant(
        "preempted-time-is-running",
        "time spent preempted is on the other side",
        &["M003"],
        |s| {
            by_request(s, |s, row| {
                let preempted = times(s, row)[2];
                vec![
                    ("waiting_time", s.p.n(row, "waiting_time") - preempted),
                    ("execution_time", s.p.n(row, "execution_time") + preempted),
                ]
            });
        },
    ),
    mutant("waiting-restarts", "waiting_time is set, not added to", &["M002"], |s| {
        by_request(s, |s, row| match last_duration(s, row, "preempted") {
            Some(last) => vec![("waiting_time", last)],
            None => vec![],
        });
    }),
    mutant("execution-restarts", "execution_time starts again at a resumption", &["M002"], |s| {
        by_request(s, |s, row| match last_duration(s, row, "running") {
            Some(last) if finished(s, row) => vec![("execution_time", last)],
            _ => vec![],
        });
    }),
    mutant("waiting-swapped-with-execution", "two columns swapped", &["M003"], |s| {
        by_request(s, |s, row| {
            vec![
                ("waiting_time", s.p.n(row, "execution_time")),
                ("execution_time", s.p.n(row, "waiting_time")),
            ]
        });
    }),
    mutant("e2e-from-scheduling", "the latency begins with the first scheduling", &["M001"], |s| {
        by_request(s, |s, row| {
            match (s.p.num(row, "completion_time"), s.p.num(row, "first_scheduled_time")) {
                (Some(end), Some(first)) => vec![("e2e_latency", end - first)],
                _ => vec![],
            }
        });
    }),
    mutant("e2e-is-execution", "the latency without the waiting", &["M001"], |s| {
        by_request(s, |s, row| match s.p.num(row, "e2e_latency") {
            Some(_) => vec![("e2e_latency", s.p.n(row, "execution_time"))],
            None => vec![],
        });
    }),
    mutant(
        "ttft-from-scheduling",
        "ttft begins with the first scheduling",
        &["M007"],
        ttft_from_scheduling,
    ),
    mutant("ttft-at-decision", "ttft ends at D", &["M007"], |s| ttft_at(s, 1)),
    mutant("ttft-at-output", "ttft ends at O", &["M007"], |s| ttft_at(s, 2)),
    mutant("ttft-is-absolute", "a moment instead of a time", &["M007"], |s| {
        by_request(s, |s, row| match s.p.num(row, "ttft") {
            Some(ttft) => vec![("ttft", ttft + s.p.n(row, "arrival_time"))],
            None => vec![],
        });
    }),
    mutant("tpot-by-n", "divided by all tokens", &["M008"], |s| {
        tpot_by(s, |e2e, ttft, n| (e2e - ttft) / n)
    }),
    mutant("tpot-with-ttft", "the time to the first token is in it", &["M008"], |s| {
        tpot_by(s, |e2e, _, n| e2e / (n - 1))
    }),
    mutant("tpot-rounded", "rounded to the nearest", &["M008"], |s| {
        tpot_by(s, |e2e, ttft, n| ((e2e - ttft) as f64 / (n - 1) as f64).round() as i64)
    }),
    mutant("throughput-of-execution", "tokens by execution_time", &["M009"], |s| {
        throughput_by(s, |s, row| {
            Some(s.p.n(row, "execution_time")).filter(|time| *time > 0).map(|time| {
                format!("{:.6}", s.p.n(row, "output_tokens") as f64 * 1e9 / time as f64)
            })
        });
    }),
    mutant("throughput-of-all-tokens", "prompt tokens are counted too", &["M009"], |s| {
        throughput_by(s, |s, row| {
            let tokens = s.p.n(row, "output_tokens") + s.p.n(row, "input_tokens");
            Some(format!("{:.6}", tokens as f64 * 1e9 / s.p.num(row, "e2e_latency")? as f64))
        });
    }),
    mutant("throughput-cut", "cut behind the third decimal, written with six", &["M009"], |s| {
        throughput_by(s, |s, row| {
            let rate: f64 = s.p.text(row, "throughput").parse().ok()?;
            Some(format!("{:.3}000", (rate * 1e3).floor() / 1e3))
        });
    }),
    mutant("throughput-per-ms", "tokens per millisecond", &["M009"], |s| {
        throughput_by(s, |s, row| {
            let rate: f64 = s.p.text(row, "throughput").parse().ok()?;
            Some(format!("{:.6}", rate / 1e3))
        });
    }),
    mutant(
        "first-scheduled-at-s",
        "the beginning of the step instead of its decision",
        &["M006"],
        |s| {
            by_request(s, |s, row| match s.p.num(row, "first_scheduled_time") {
                Some(first) => {
                    vec![("first_scheduled_time", s.moments(s.step_at(first, 1).unwrap())[0])]
                }
                None => vec![],
            });
        },
    ),
    mutant("first-scheduled-is-last", "overwritten by each resumption", &["M006"], |s| {
        by_request(s, |s, row| {
            let id = s.p.text(row, "request_id");
            let running =
                s.changes(id).into_iter().rfind(|change| s.t.text(*change, "state") == "running");
            running
                .map_or(vec![], |change| vec![("first_scheduled_time", s.t.n(change, "timestamp"))])
        });
    }),
    mutant(
        "arrival-is-noticed",
        "a request arrives when a step first sees it",
        &["M015"],
        arrival_is_noticed,
    ),
    mutant(
        "abort-is-noticed",
        "an abort ends when a step first sees it",
        &["S003", "M015"],
        abort_is_noticed,
    ),
    mutant("completion-at-output", "the end is O", &["S003"], |s| completion_at(s, 2)),
    mutant("completion-at-decision", "the end is D", &["S003"], |s| completion_at(s, 1)),
    mutant("time-in-state-since-arrival", "the timer is never set back", &["M013"], |s| {
        time_in_state(s, since_arrival)
    }),
    mutant("time-in-state-at-end", "the rows are read at E", &["M013"], |s| {
        time_in_state(s, |s, row| {
            Some(s.r.n(row, "time_in_state") + moment_of_row(s, row, 3) - moment_of_row(s, row, 1))
        });
    }),
    mutant("time-in-state-at-start", "the rows are read at S", &["M013"], |s| {
        time_in_state(s, |s, row| {
            Some(s.r.n(row, "time_in_state") + moment_of_row(s, row, 0) - moment_of_row(s, row, 1))
                .filter(|time| *time >= 0)
        });
    }),
    mutant("time-in-state-of-last-step", "the value of the step before", &["M013"], |s| {
        let before: Vec<_> = (0..s.r.len())
            .map(|row| s.row_before(row).map(|row| s.r.n(row, "time_in_state")))
            .collect();
        time_in_state(s, |_, row| before[row]);
    }),
];
