//! States, counters and ends of requests.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

fn preempted_twice(s: &Sheets) -> Vec<usize> {
    (0..s.p.len()).filter(|row| s.p.n(*row, "preemption_count") > 0).collect()
}

fn relabel(s: &mut Sheets, from: &str, to: &str) {
    s.r.map_text("state", |state| if state == from { to.to_owned() } else { state.to_owned() });
}

/// The state is the one that the request had before the step.
fn stale_states(s: &mut Sheets) {
    let before: Vec<_> = (0..s.r.len())
        .map(|row| match s.row_before(row) {
            Some(before) => s.r.text(before, "state").to_owned(),
            None => "waiting".to_owned(),
        })
        .collect();
    for (row, state) in before.into_iter().enumerate() {
        if s.r.text(row, "state") == "running" && state != "running" {
            s.r.set(row, "state", state);
        }
    }
}

fn change_duration_from_arrival(s: &mut Sheets) {
    for row in 0..s.t.len() {
        if let Some(request) = s.request(s.t.text(row, "request_id")) {
            let time = s.t.n(row, "timestamp") - s.p.n(request, "arrival_time");
            s.t.set(row, "duration_in_prev_state", time);
        }
    }
}

/// All that happens twice under one id.
fn reuse_id(s: &mut Sheets) {
    if s.p.len() < 2 {
        return;
    }
    let (first, second) =
        (s.p.text(0, "request_id").to_owned(), s.p.text(s.p.len() - 1, "request_id").to_owned());
    let rename = |id: &str| if id == second { first.clone() } else { id.to_owned() };
    for sheet in [&mut s.p, &mut s.r, &mut s.e, &mut s.t] {
        sheet.map_text("request_id", rename);
    }
}

fn unfinished_left_out(s: &mut Sheets) {
    // The last request, as if the run had been stopped before its end, and no row of it.
    let id = s.p.text(s.p.len() - 1, "request_id").to_owned();
    s.p.rows.pop();
    s.t.rows.retain(|row| row[0] != id);
    s.e.rows
        .retain(|row| row[2] != id || row[1] != "request_completed" && row[1] != "kv_cache_freed");
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "preemptions-reset",
        "the counter is part of what a preemption resets",
        &["S005"],
        |s| {
            for row in preempted_twice(s) {
                s.p.set(row, "preemption_count", 0);
            }
        },
    ),
    mutant("preemptions-once-more", "the end counts as a preemption", &["S005"], |s| {
        s.p.map("preemption_count", |count| count + 1)
    }),
    mutant("preemptions-at-most-one", "a flag instead of a counter", &["S005"], |s| {
        s.p.map("preemption_count", |count| count.min(1));
        let row = s.p.len() / 2;
        if s.p.n(row, "preemption_count") == 1 {
            s.p.set(row, "preemption_count", 2);
        }
    }),
    mutant("evictions-are-blocks", "lost blocks are counted", &["C006"], |s| {
        s.p.map("eviction_count", |count| count * 4)
    }),
    mutant("evictions-never", "the counter is never raised", &["C006"], |s| {
        s.p.map("eviction_count", |_| 0)
    }),
    mutant("evictions-are-preemptions", "every preemption is an eviction", &["C006"], |s| {
        for row in 0..s.p.len() {
            let count = s.p.n(row, "preemption_count");
            s.p.set(row, "eviction_count", count);
        }
    }),
    mutant("preempted-rows-wait", "a preempted request is listed as waiting", &["S007"], |s| {
        relabel(s, "preempted", "waiting")
    }),
    mutant("waiting-rows-preempted", "all that waits is listed as preempted", &["S007"], |s| {
        relabel(s, "waiting", "preempted")
    }),
    mutant("completed-rows-run", "the state is set after the row", &["S006", "Q001"], |s| {
        relabel(s, "completed", "running")
    }),
    mutant("stale-states", "the state is set after the row", &["S004", "Q001"], stale_states),
    mutant("prev-state-is-state", "the new state in both columns", &["S001"], |s| {
        for row in 0..s.t.len() {
            let state = s.t.text(row, "state").to_owned();
            s.t.set(row, "prev_state", state);
        }
    }),
    mutant("preempted-change-waits", "a preempted request waits", &["S001"], |s| {
        s.t.map_text("state", |state| {
            if state == "preempted" { "waiting".to_owned() } else { state.to_owned() }
        });
    }),
    mutant("preempted-change-evicted", "a preempted request is named so", &["F006"], |s| {
        s.t.map_text("state", |state| {
            if state == "preempted" { "evicted".to_owned() } else { state.to_owned() }
        });
    }),
    mutant(
        "change-durations-from-arrival",
        "the timer is never set back",
        &["M004"],
        change_duration_from_arrival,
    ),
    mutant("change-durations-of-new-state", "the time in the new state", &["M004"], |s| {
        let durations: Vec<_> =
            (0..s.t.len()).map(|row| s.t.n(row, "duration_in_prev_state")).collect();
        for row in 0..s.t.len() {
            let next = row + 1 < s.t.len()
                && s.t.text(row, "request_id") == s.t.text(row + 1, "request_id");
            s.t.set(row, "duration_in_prev_state", if next { durations[row + 1] } else { 0 });
        }
    }),
    mutant("initial-row", "a request starts with a row waiting", &["S001"], |s| {
        let row = vec![
            s.p.text(0, "request_id").to_owned(),
            s.p.text(0, "arrival_time").to_owned(),
            "waiting".to_owned(),
            "0".to_owned(),
            String::new(),
        ];
        let at = s.changes(&row[0])[0];
        s.t.rows.insert(at, row);
    }),
    mutant("finish-reason-guessed", "always stop", &["X007"], |s| {
        s.p.map_text("finish_reason", |_| "stop".to_owned())
    }),
    mutant("abort-is-length", "an abort is an end like others", &["X007", "K007"], |s| {
        s.p.map_text("finish_reason", |reason| {
            if reason == "abort" { "length".to_owned() } else { reason.to_owned() }
        });
    }),
    mutant("finished-is-unfinished", "the reason is set after the row", &["X007"], |s| {
        s.p.map_text("finish_reason", |_| "unfinished".to_owned())
    }),
    mutant("no-finish-reason", "the reason is set after the row", &["X007"], |s| {
        s.p.map_text("finish_reason", |_| String::new())
    }),
    mutant("id-used-again", "two requests of one id", &["F007", "X002"], reuse_id),
    mutant("ids-with-suffix", "the engine's ids in one file", &["X001", "X003"], |s| {
        s.r.map_text("request_id", |id| format!("{id}-0"))
    }),
    mutant("events-with-suffix", "the engine's ids in one file", &["X001", "X003"], |s| {
        s.e.map_text("request_id", |id| format!("cmpl-{id}-0"))
    }),
    mutant("changes-with-suffix", "the engine's ids in one file", &["X001", "X003"], |s| {
        s.t.map_text("request_id", |id| format!("cmpl-{id}-0"))
    }),
    mutant(
        "ids-swapped",
        "two requests swapped in one file",
        &["M001", "M003", "M006", "M015"],
        |s| {
            let last = s.p.len() - 1;
            let (first, other) =
                (s.p.text(0, "request_id").to_owned(), s.p.text(last, "request_id").to_owned());
            s.p.set(0, "request_id", other);
            s.p.set(last, "request_id", first);
        },
    ),
    mutant("priority-of-another", "the priority is not the request's", &["X007"], |s| {
        s.p.map("priority_score", |priority| priority + 1)
    }),
    mutant("no-priority", "the score is never set", &["X007"], |s| {
        s.p.map("priority_score", |_| 0)
    }),
    mutant("unfinished-left-out", "no shutdown", &["X005", "X003"], unfinished_left_out),
];
