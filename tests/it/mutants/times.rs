//! Times of requests taken between the wrong moments, or with a part missing.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

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
