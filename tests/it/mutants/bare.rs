//! Mistakes in logs that leave something out: rows, details, settings.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

/// Whether the rows stand for something else than the state that they leave out.
fn without_completed_rows(s: &mut Sheets) {
    s.r.rows.retain(|row| row[2] != "completed");
}

/// Does something to a log that leaves something out, if that changes it.
fn in_dialect(s: &mut Sheets, leave_out: impl Fn(&mut Sheets), change: impl Fn(&mut Sheets)) {
    let correct = s.clone();
    leave_out(s);
    let left_out = s.clone();
    change(s);
    if *s == left_out {
        *s = correct;
    }
}

/// The first row behind a `completed` row of the same request.
fn behind_the_end(s: &Sheets) -> Option<usize> {
    (0..s.r.len()).find(|row| {
        s.row_before(*row).is_some_and(|before| s.r.text(before, "state") == "completed")
    })
}

fn without_details(s: &mut Sheets) {
    s.e.map_text("details", |_| String::new());
    s.run = serde_json::Value::Null;
}

/// Every file that tells of first tokens tells of the end of the step after theirs.
fn first_tokens_a_step_late(s: &mut Sheets) {
    let ends: Vec<i64> = (0..s.i.len()).map(|row| s.i.n(row, "end_time")).collect();
    for event in s.e.where_is("event_type", "first_token_generated") {
        let at = s.e.n(event, "timestamp");
        let later = ends.iter().copied().find(|end| *end > at);
        let id = s.e.text(event, "request_id").to_owned();
        let row = s.request(&id).filter(|row| s.p.num(*row, "e2e_latency").is_some());
        let (Some(later), Some(row)) = (later, row) else { continue };
        let left = s.p.n(row, "completion_time") - later;
        if left < 0 {
            continue;
        }
        s.e.set(event, "timestamp", later);
        if let Some(step) = s.detail(event, "iteration_id") {
            s.set_detail(event, "iteration_id", step + 1);
        }
        s.p.set(row, "ttft", later - s.p.n(row, "arrival_time"));
        let gaps = s.p.n(row, "output_tokens") - 1;
        if gaps > 0 {
            s.p.set(row, "tpot", left / gaps);
        }
    }
    let at = s.e.column("timestamp");
    s.e.rows.sort_by_key(|row| row[at].parse::<i64>().unwrap_or_default());
}

fn without_settings(s: &mut Sheets) {
    s.run = serde_json::Value::Null;
}

/// Steps end at their decisions, and nothing says how long the output was processed.
fn ends_at_decision(s: &mut Sheets) {
    for row in 0..s.i.len() {
        let [start, decided, ..] = s.moments(row);
        s.i.set(row, "end_time", decided);
        s.i.set(row, "duration", decided - start);
    }
    let column = s.i.column("output_processing_duration");
    s.i.header.remove(column);
    s.i.rows.iter_mut().for_each(|row| drop(row.remove(column)));
}

/// Two requests that ended at one moment, in the other order.
fn swap_ends(s: &mut Sheets) {
    let ends = |s: &Sheets, row: usize| s.p.text(row, "completion_time").to_owned();
    let pair = (1..s.p.len()).find(|row| {
        let changes = |row: usize| s.changes(s.p.text(row, "request_id")).len();
        ends(s, *row) == ends(s, row - 1) && changes(*row) > 0 && changes(row - 1) > 0
    });
    if let Some(row) = pair {
        s.p.rows.swap(row - 1, row);
    }
}

fn waits_for(s: &mut Sheets, reason: &str) {
    for row in s.r.where_is("state", "waiting") {
        s.r.set(row, "waiting_reason", reason);
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("completion-in-an-idle-step", "a request is counted a step late", &["Q001"], |s| {
        if let Some(row) = s.i.where_is("scheduler_action", "idle").into_iter().next() {
            s.i.add(row, "completed_count", 1);
        }
    }),
    mutant("unseen-completion-counted", "an abort is counted as an end", &["Q001"], |s| {
        in_dialect(s, without_completed_rows, |s| {
            let row = s.i.len() / 2;
            s.i.add(row, "completed_count", 1);
        });
    }),
    mutant("unseen-completion-lost", "one end of each step is counted", &["Q001"], |s| {
        in_dialect(s, without_completed_rows, |s| {
            if let Some(row) = (0..s.i.len()).find(|row| s.i.n(*row, "completed_count") > 0) {
                s.i.add(row, "completed_count", -1);
            }
        });
    }),
    mutant(
        "tokens-lost-behind-the-end",
        "the row is of a request that was reset",
        &["K004"],
        |s| {
            if let Some(row) = behind_the_end(s) {
                s.r.set(row, "tokens_generated", 0);
            }
        },
    ),
    mutant("tokens-known-behind-the-end", "the row shows the final count", &["K004"], |s| {
        if let Some(row) = behind_the_end(s) {
            s.r.add(row, "tokens_generated", 1);
        }
    }),
    mutant(
        "computed-lost-behind-the-end",
        "the row is of a request that was reset",
        &["K006"],
        |s| {
            if let Some(row) = behind_the_end(s) {
                s.r.set(row, "computed_tokens", 0);
            }
        },
    ),
    mutant("computed-behind-one-end", "one of two code paths counts the step", &["K006"], |s| {
        let ends = s.r.where_is("state", "completed");
        if let Some(row) = ends.get(1) {
            s.r.add(*row, "computed_tokens", 1);
        }
    }),
    mutant("changes-as-they-happen", "rows are written when a state changes", &["X008"], |s| {
        let column = s.t.column("timestamp");
        s.t.rows.sort_by_key(|row| row[column].parse::<i64>().unwrap());
    }),
    mutant("requests-in-another-order", "two threads write the ends", &["X008"], swap_ends),
    mutant("rate-without-latency", "divided by the time so far", &["M009"], |s| {
        for row in s.p.where_is("throughput", "") {
            s.p.set(row, "throughput", "7.000000");
        }
    }),
    mutant("rate-of-nothing", "0 stands for what is not defined", &["F005"], |s| {
        for row in s.p.where_is("throughput", "") {
            s.p.set(row, "throughput", "0.000000");
        }
    }),
    mutant("rate-in-seven-decimals", "another format string", &["M009"], |s| {
        s.p.map_text("throughput", |text| match text.parse::<f64>() {
            Ok(_) => format!("{text}0"),
            Err(_) => text.to_owned(),
        });
    }),
    mutant("rate-of-nothing-left-out-once", "one of two code paths", &["M009"], |s| {
        let nothing = s.p.where_is("throughput", "0.000000");
        if nothing.len() > 1 {
            s.p.set(nothing[0], "throughput", "");
        }
    }),
    mutant("memory-blamed-without-details", "a guess from what is nearly full", &["Q008"], |s| {
        let no_details = |s: &mut Sheets| s.e.map_text("details", |_| String::new());
        in_dialect(s, no_details, |s| {
            for row in s.r.where_is("waiting_reason", "max_num_batched_tokens") {
                s.r.set(row, "waiting_reason", "memory_insufficient");
            }
        });
    }),
    mutant("waits-for-an-adapter", "a reason of a feature that is off", &["Q008"], |s| {
        waits_for(s, "lora_limit");
    }),
    mutant("waits-for-a-grammar", "a reason of a feature that is off", &["Q008"], |s| {
        waits_for(s, "waiting_for_fsm");
    }),
    mutant("waits-for-remote-blocks", "a reason of a feature that is off", &["Q008"], |s| {
        waits_for(s, "waiting_for_remote_kvs");
    }),
    mutant("waits-for-an-encoder", "a reason of a feature that is off", &["Q008"], |s| {
        waits_for(s, "encoder_budget");
    }),
    mutant("waits-for-an-output-it-never-had", "a flag that is never cleared", &["Q008"], |s| {
        waits_for(s, "waiting_for_output");
    }),
    mutant("no-evictions", "what the cache lost is noted nowhere", &["C006"], |s| {
        s.e.rows.retain(|row| row[1] != "request_evicted");
        s.p.map("eviction_count", |_| 0);
    }),
    mutant("first-token-a-step-late", "the answer is noted by the next step", &["M018"], |s| {
        first_tokens_a_step_late(s);
    }),
    mutant("used-at-end-without-details", "blocks of the finished are gone", &["C003"], |s| {
        in_dialect(s, without_details, super::blocks::used_at_end);
    }),
    mutant("no-prompt", "the length is read before it is known", &["K012"], |s| {
        in_dialect(s, without_details, |s| {
            for row in 0..s.p.len() {
                if !s.p.text(row, "first_scheduled_time").is_empty() {
                    s.p.set(row, "input_tokens", 0);
                }
            }
        });
    }),
    mutant("an-end-called-abort", "the wrong constant", &["S008"], |s| {
        in_dialect(s, without_details, |s| {
            if let Some(row) = s.p.where_is("finish_reason", "length").first() {
                s.p.set(*row, "finish_reason", "abort");
            }
        });
    }),
    mutant("an-abort-called-stop", "the wrong constant", &["S008"], |s| {
        in_dialect(s, without_details, |s| {
            if let Some(row) = s.p.where_is("finish_reason", "abort").first() {
                s.p.set(*row, "finish_reason", "stop");
            }
        });
    }),
    mutant("one-size-doubled", "keys and values counted in one path only", &["C005"], |s| {
        in_dialect(s, without_settings, |s| {
            let sized: Vec<_> = (0..s.p.len())
                .filter(|row| s.p.num(*row, "kv_cache_memory_bytes").is_some_and(|bytes| bytes > 0))
                .collect();
            if sized.len() > 1 {
                let bytes = s.p.n(sized[1], "kv_cache_memory_bytes");
                s.p.set(sized[1], "kv_cache_memory_bytes", bytes * 2);
            }
        });
    }),
    mutant("forward-pass-into-the-next-step", "measured with the wait behind it", &["M010"], |s| {
        if s.run["overlapping_steps"] == true {
            return;
        }
        in_dialect(s, ends_at_decision, |s| {
            let row = s.i.len() / 2;
            let next = s.i.n(row + 1, "start_time");
            let [_, decided, ..] = s.moments(row);
            s.i.set(row, "forward_pass_duration", next - decided + 1);
        });
    }),
    mutant("last-blocks-not-freed", "the hook is not called at the shutdown", &["C008"], |s| {
        if s.e.rows.last().is_some_and(|row| row[1] == "kv_cache_freed") {
            s.e.rows.pop();
        }
    }),
];
