//! Counts, queues, reasons and actions of steps.

use super::{Mutant, mutant, rates, sort_events, written_in};
use crate::sheets::Sheets;

/// Sets a number of each step from its rows and its own row.
fn per_step(s: &mut Sheets, column: &str, value: impl Fn(&Sheets, usize) -> Option<i64>) {
    for row in 0..s.i.len() {
        if let Some(value) = value(s, row) {
            s.i.set(row, column, value);
        }
    }
}

fn rows_in(s: &Sheets, step: usize, state: &str) -> i64 {
    let id = s.i.text(step, "iteration_id");
    (0..s.r.len())
        .filter(|row| s.r.text(*row, "iteration_id") == id && s.r.text(*row, "state") == state)
        .count() as i64
}

/// A number of the step before.
pub(super) fn of_last_step(s: &mut Sheets, column: &str) {
    let before: Vec<_> = (0..s.i.len()).map(|row| s.i.text(row, column).to_owned()).collect();
    for row in 1..s.i.len() {
        s.i.set(row, column, &before[row - 1]);
    }
}

fn positions(s: &mut Sheets, states: &[&str], change: impl Fn(i64) -> i64) {
    for row in 0..s.r.len() {
        if states.contains(&s.r.text(row, "state"))
            && let Some(position) = s.r.num(row, "queue_position")
        {
            s.r.set(row, "queue_position", change(position));
        }
    }
}

const WAIT: [&str; 2] = ["waiting", "preempted"];

fn reasons(s: &mut Sheets, reason: impl Fn(&Sheets, usize, &str) -> Option<String>) {
    for row in 0..s.r.len() {
        if WAIT.contains(&s.r.text(row, "state")) {
            let old = s.r.text(row, "waiting_reason").to_owned();
            if let Some(reason) = reason(s, row, &old) {
                s.r.set(row, "waiting_reason", reason);
            }
        }
    }
}

fn reason_of_last_step(s: &mut Sheets) {
    let before: Vec<_> = (0..s.r.len())
        .map(|row| s.row_before(row).map(|row| s.r.text(row, "waiting_reason").to_owned()))
        .collect();
    reasons(s, |_, row, old| {
        before[row].clone().filter(|reason| !reason.is_empty() && reason != old)
    });
}

/// A guess from what is full, without a look at where the scan stopped.
fn guess(s: &mut Sheets, from: &str, to: &str) {
    reasons(s, |_, _, old| (old == from).then(|| to.to_owned()));
}

/// Only the request at the head has the reason, those behind it another.
fn head_only(s: &mut Sheets, rest: &str) {
    reasons(s, |s, row, _| (s.r.num(row, "queue_position") > Some(0)).then(|| rest.to_owned()));
}

fn actions(s: &mut Sheets, from: &str, to: &str) {
    let change = |action: &str| if action == from { to.to_owned() } else { action.to_owned() };
    s.i.map_text("scheduler_action", change);
}

/// The waiting queue as it was before the step.
fn stale_waiting(s: &mut Sheets) {
    let steps: Vec<_> = s.i.rows.iter().map(|row| row[0].clone()).collect();
    let queue = |s: &Sheets, id: &str| -> Vec<Vec<String>> {
        let rows = s.r.rows.iter().filter(|row| row[0] == id && WAIT.contains(&&*row[2]));
        rows.cloned().collect()
    };
    let queues: Vec<_> = steps.iter().map(|id| queue(s, id)).collect();
    let mut rows = Vec::new();
    for (index, id) in steps.iter().enumerate() {
        let (own, others): (Vec<_>, Vec<_>) =
            s.r.rows
                .iter()
                .filter(|row| row[0] == *id)
                .cloned()
                .partition(|row| WAIT.contains(&&*row[2]));
        let stale = if index == 0 { own } else { queues[index - 1].clone() };
        let split = others.iter().position(|row| row[2] == "completed").unwrap_or(others.len());
        rows.extend(others[..split].iter().cloned());
        rows.extend(stale.into_iter().map(|mut row| {
            row[0].clone_from(id);
            row
        }));
        rows.extend(others[split..].iter().cloned());
    }
    s.r.rows = rows;
}

fn reversed(s: &mut Sheets, states: &[&str]) {
    let mut from = 0;
    while from < s.r.len() {
        let key = |row: &Vec<String>| (row[0].clone(), states.contains(&&*row[2]));
        let first = key(&s.r.rows[from]);
        let len = s.r.rows[from..].iter().take_while(|row| key(row) == first).count();
        if first.1 {
            s.r.rows[from..from + len].reverse();
            for (position, row) in (from..from + len).enumerate() {
                s.r.set(row, "queue_position", position);
            }
        }
        from += len;
    }
}

/// The request arrived so much later, by all files.
fn arrived_later(s: &mut Sheets, id: &str, by: i64) {
    let request = s.request(id).unwrap();
    s.p.add(request, "arrival_time", by);
    for column in ["waiting_time", "e2e_latency", "ttft"] {
        s.p.add(request, column, -by);
    }
    rates(s, request);
    let own = s.e.where_is("request_id", id).into_iter();
    for event in
        own.filter(|row| s.e.text(*row, "event_type") == "request_arrived").collect::<Vec<_>>()
    {
        s.e.add(event, "timestamp", by);
    }
    sort_events(s);
    if let Some(first) = s.changes(id).first() {
        s.t.add(*first, "duration_in_prev_state", -by);
    }
    for row in s.r.where_is("request_id", id) {
        if s.r.text(row, "state") == "waiting" {
            s.r.add(row, "time_in_state", -by);
        }
    }
}

/// Two equally urgent requests that were first seen by one step are served in the other order.
fn equals_last_first(s: &mut Sheets) {
    if s.run["config"]["policy"] != "priority" {
        return;
    }
    let first_row = |id: &str| {
        let row = s.r.where_is("request_id", id).into_iter().next()?;
        (s.r.text(row, "state") == "waiting").then(|| s.r.text(row, "iteration_id").to_owned())
    };
    let requests: Vec<_> = (0..s.p.len())
        .filter_map(|row| {
            let id = s.p.text(row, "request_id").to_owned();
            let step = first_row(&id)?;
            Some((s.p.n(row, "priority_score"), step, s.p.n(row, "arrival_time"), id))
        })
        .collect();
    let pairs = requests.iter().flat_map(|one| requests.iter().map(move |other| (one, other)));
    let equal = pairs
        .into_iter()
        .find(|(one, other)| one.0 == other.0 && one.1 == other.1 && one.2 < other.2);
    if let Some(((.., first, one), (.., second, other))) = equal {
        let (one, other, by) = (one.clone(), other.clone(), second - first);
        arrived_later(s, &one, by);
        arrived_later(s, &other, -by);
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "preempted-wait-twice",
        "waiting_count adds the preempted to a queue that has them",
        &["Q001"],
        |s| {
            per_step(s, "waiting_count", |s, row| {
                Some(s.i.n(row, "waiting_count") + rows_in(s, row, "preempted"))
            });
        },
    ),
    mutant("preempted-do-not-wait", "only requests that never ran are counted", &["Q001"], |s| {
        per_step(s, "waiting_count", |s, row| Some(rows_in(s, row, "waiting")));
    }),
    mutant("preempted-run", "a preempted request is still counted as running", &["Q001"], |s| {
        per_step(s, "running_count", |s, row| {
            Some(s.i.n(row, "running_count") + s.i.n(row, "preempted_count"))
        });
    }),
    mutant("running-at-end", "counted after the finished requests had left", &["Q001"], |s| {
        per_step(s, "running_count", |s, row| {
            Some(s.i.n(row, "running_count") - s.i.n(row, "completed_count"))
                .filter(|count| *count >= 0)
        });
    }),
    mutant("running-at-start", "counted before the admissions", &["Q001"], |s| {
        per_step(s, "running_count", |s, row| {
            Some(
                s.i.n(row, "running_count")
                    - s.i.n(row, "admitted_count")
                    - s.i.n(row, "resumed_count"),
            )
        });
    }),
    mutant("waiting-at-start", "counted before the admissions", &["Q001"], |s| {
        per_step(s, "waiting_count", |s, row| {
            Some(
                s.i.n(row, "waiting_count")
                    + s.i.n(row, "admitted_count")
                    + s.i.n(row, "resumed_count"),
            )
        });
    }),
    mutant("running-of-last-step", "a counter set too late", &["Q001"], |s| {
        of_last_step(s, "running_count")
    }),
    mutant("waiting-of-last-step", "a counter set too late", &["Q001"], |s| {
        of_last_step(s, "waiting_count")
    }),
    mutant("preempted-never-reset", "preemptions of the run, not of the step", &["Q001"], |s| {
        let mut sum = 0;
        for row in 0..s.i.len() {
            sum += s.i.n(row, "preempted_count");
            s.i.set(row, "preempted_count", sum);
        }
    }),
    mutant("admitted-never-reset", "admissions of the run, not of the step", &["Q001"], |s| {
        let mut sum = 0;
        for row in 0..s.i.len() {
            sum += s.i.n(row, "admitted_count");
            s.i.set(row, "admitted_count", sum);
        }
    }),
    mutant("completed-never-reset", "completions of the run, not of the step", &["Q001"], |s| {
        let mut sum = 0;
        for row in 0..s.i.len() {
            sum += s.i.n(row, "completed_count");
            s.i.set(row, "completed_count", sum);
        }
    }),
    mutant("completed-of-last-step", "completions are counted at the next step", &["Q001"], |s| {
        of_last_step(s, "completed_count")
    }),
    mutant("resumed-are-admitted", "a resumption is an admission", &["Q001"], |s| {
        per_step(s, "admitted_count", |s, row| {
            Some(s.i.n(row, "admitted_count") + s.i.n(row, "resumed_count"))
        });
    }),
    mutant("batch-of-last-step", "the batch of the step before", &["Q003"], |s| {
        of_last_step(s, "batch_size")
    }),
    mutant("batch-is-everyone", "waiting requests are counted too", &["Q003"], |s| {
        // Where nobody waits, this is the known dialect with the length of the running queue.
        if (0..s.i.len()).all(|row| s.i.n(row, "waiting_count") == 0) {
            return;
        }
        per_step(s, "batch_size", |s, row| {
            Some(s.i.n(row, "running_count") + s.i.n(row, "waiting_count"))
        });
    }),
    mutant("bare-batch-of-none", "the batch is counted before it is filled", &["Q003"], |s| {
        written_in(s, &["fixed-columns-only"], |s| {
            let first = (0..s.i.len()).find(|row| s.i.n(*row, "total_tokens") > 0);
            first.into_iter().for_each(|row| s.i.set(row, "batch_size", 0));
        });
    }),
    mutant("batch-is-tokens", "tokens instead of requests", &["Q003"], |s| {
        per_step(s, "batch_size", |s, row| Some(s.i.n(row, "total_tokens")));
    }),
    mutant("running-positions-from-one", "positions are counted from 1", &["Q005"], |s| {
        positions(s, &["running"], |at| at + 1)
    }),
    mutant("waiting-positions-from-one", "positions are counted from 1", &["Q005"], |s| {
        positions(s, &WAIT, |at| at + 1)
    }),
    mutant(
        "positions-go-on",
        "waiting requests are counted behind the running ones",
        &["Q005"],
        |s| {
            for row in 0..s.r.len() {
                if WAIT.contains(&s.r.text(row, "state")) {
                    let step = s.step(s.r.n(row, "iteration_id"));
                    let running = s.i.n(step, "running_count");
                    s.r.add(row, "queue_position", running);
                }
            }
        },
    ),
    mutant("positions-all-zero", "the position is never set", &["Q005"], |s| {
        positions(s, &["running", "waiting", "preempted"], |_| 0)
    }),
    mutant("completed-has-position", "its old place in the queue", &["Q005"], |s| {
        for row in s.r.where_is("state", "completed") {
            s.r.set(row, "queue_position", 0);
        }
    }),
    mutant(
        "waiting-reversed",
        "the queue is listed from its tail",
        &["Q005", "Q006", "Q011"],
        |s| reversed(s, &WAIT),
    ),
    mutant("equals-last-first", "a heap by urgency alone", &["Q011"], equals_last_first),
    mutant("running-reversed", "the queue is listed from its tail", &["Q011"], |s| {
        reversed(s, &["running"])
    }),
    mutant(
        "stale-waiting-queue",
        "the queue as it was before the step",
        &["Q001", "S006", "Q004"],
        stale_waiting,
    ),
    mutant("reason-always-seqs", "a guess", &["Q008"], |s| {
        reasons(s, |_, _, _| Some("max_num_seqs".to_owned()))
    }),
    mutant("reason-always-memory", "a guess", &["Q008"], |s| {
        reasons(s, |_, _, _| Some("memory_insufficient".to_owned()))
    }),
    mutant("reason-always-budget", "a guess", &["Q008"], |s| {
        reasons(s, |_, _, _| Some("max_num_batched_tokens".to_owned()))
    }),
    mutant("reason-always-preempted", "a guess", &["Q008"], |s| {
        reasons(s, |_, _, _| Some("preempted".to_owned()))
    }),
    mutant("reason-unknown", "nobody asked the scheduler", &["Q008"], |s| {
        reasons(s, |_, _, _| Some("unknown".to_owned()))
    }),
    mutant("reason-initial", "the reason is never set", &["Q008"], |s| {
        reasons(s, |_, _, _| Some("initial_waiting".to_owned()))
    }),
    mutant("reason-decode-priority", "a guess of an older scheduler", &["Q008"], |s| {
        reasons(s, |_, _, _| Some("decode_priority".to_owned()))
    }),
    mutant("reason-empty", "the reason is never set", &["Q008"], |s| {
        reasons(s, |_, _, _| Some(String::new()))
    }),
    mutant("reason-of-last-step", "the reason of the step before", &["Q008"], reason_of_last_step),
    mutant(
        "reason-of-state",
        "a preempted request waits because it was preempted",
        &["Q008"],
        |s| {
            reasons(s, |s, row, _| {
                (s.r.text(row, "state") == "preempted").then(|| "preempted".to_owned())
            });
        },
    ),
    mutant("reason-seqs-for-memory", "the limit is asked first", &["Q008"], |s| {
        guess(s, "memory_insufficient", "max_num_seqs")
    }),
    mutant("reason-memory-for-seqs", "the cache is asked first", &["Q008"], |s| {
        guess(s, "max_num_seqs", "memory_insufficient")
    }),
    mutant("reason-memory-for-preempted", "the cause behind the cause", &["Q008"], |s| {
        guess(s, "preempted", "memory_insufficient")
    }),
    mutant("reason-of-head-only", "those behind the head were not looked at", &["Q008"], |s| {
        head_only(s, "initial_waiting")
    }),
    mutant("reason-of-those-behind", "those behind the head wait for their turn", &["Q008"], |s| {
        head_only(s, "max_num_batched_tokens")
    }),
    mutant("reason-of-running", "the reason is not cleared", &["Q008"], |s| {
        for row in s.r.where_is("state", "running") {
            s.r.set(row, "waiting_reason", "max_num_seqs");
        }
    }),
    mutant("action-always-continue", "the action is set first and never changed", &["Q009"], |s| {
        s.i.map_text("scheduler_action", |_| "continue".to_owned())
    }),
    mutant("action-of-last-step", "the action of the step before", &["Q009"], |s| {
        of_last_step(s, "scheduler_action")
    }),
    mutant("resume-is-admit", "a resumption is an admission", &["Q009"], |s| {
        actions(s, "resume", "admit_new")
    }),
    mutant("preempt-is-continue", "a preemption is no action", &["Q009"], |s| {
        actions(s, "preempt", "continue")
    }),
    mutant("idle-is-continue", "an empty pass is a step like others", &["Q009"], |s| {
        actions(s, "idle", "continue")
    }),
];
