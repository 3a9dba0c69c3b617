//! Mistakes that only bounds show: in logs without rows, without settings or of fixed columns alone.

use super::{Mutant, mutant, written, written_in};
use crate::sheets::{Sheet, Sheets};

/// A log of the level `summary`.
fn summary(s: &mut Sheets) {
    s.r = Sheet::default();
    s.e.rows.retain(|row| !row[1].starts_with("kv_cache"));
    s.run["log_level"] = "summary".into();
}

fn in_summary(s: &mut Sheets, mistake: impl Fn(&mut Sheets)) {
    written(s, &[], summary, mistake);
}

/// Each phase has the tokens of the other.
fn exchange_phases(s: &mut Sheets) {
    for row in 0..s.i.len() {
        let (prefill, decode) = (s.i.n(row, "prefill_tokens"), s.i.n(row, "decode_tokens"));
        s.i.set(row, "prefill_tokens", decode);
        s.i.set(row, "decode_tokens", prefill);
    }
}

/// Steps that resume and admit nobody have decode tokens alone.
fn resumptions_decode(s: &mut Sheets) {
    for row in 0..s.i.len() {
        if s.i.n(row, "resumed_count") > 0 && s.i.n(row, "admitted_count") == 0 {
            let total = s.i.n(row, "total_tokens");
            s.i.set(row, "prefill_tokens", 0);
            s.i.set(row, "decode_tokens", total);
        }
    }
}

/// evicted_blocks is counted over the whole run.
fn evictions_of_the_run(s: &mut Sheets) {
    let mut evicted = 0;
    for row in 0..s.i.len() {
        evicted += s.i.n(row, "evicted_blocks");
        s.i.set(row, "evicted_blocks", evicted);
    }
}

/// The tokens of a step include those that were found for who is admitted.
pub(crate) fn found_is_scheduled(s: &mut Sheets) {
    for event in s.e.where_is("event_type", "request_scheduled") {
        let (Some(step), Some(found)) =
            (s.detail(event, "iteration_id"), s.detail(event, "cached_tokens"))
        else {
            continue;
        };
        let step = s.step(step);
        s.i.add(step, "total_tokens", found);
        s.i.add(step, "prefill_tokens", found);
    }
}

/// Blocks that preempted requests gave back are counted as evicted.
fn preempted_are_evicted(s: &mut Sheets) {
    for row in s.r.where_is("state", "preempted") {
        let Some(before) = s.row_before(row).filter(|it| s.r.text(*it, "state") == "running")
        else {
            continue;
        };
        let (step, held) = (s.step(s.r.n(row, "iteration_id")), s.r.n(before, "kv_cache_blocks"));
        s.i.add(step, "evicted_blocks", held);
    }
}

/// The drafts of requests that have caught up are in no count.
fn leave_drafts_out(s: &mut Sheets) {
    if s.setting("num_speculative_tokens") == 0 {
        return;
    }
    let chunks = with_chunks(s);
    for row in s.r.where_is("state", "running") {
        let (given, computed) = (s.r.n(row, "scheduled_tokens"), s.r.n(row, "computed_tokens"));
        if given < 2 || computed == 0 || chunks.contains(&row) {
            continue;
        }
        let step = s.step(s.r.n(row, "iteration_id"));
        if s.i.n(step, "decode_tokens") >= given {
            s.i.add(step, "decode_tokens", 1 - given);
            s.i.add(step, "total_tokens", 1 - given);
        }
    }
}

/// Chunks behind the first one of a prompt are counted as decode.
fn chunks_decode(s: &mut Sheets) {
    for row in with_chunks(s) {
        let (step, tokens) = (s.step(s.r.n(row, "iteration_id")), s.r.n(row, "scheduled_tokens"));
        s.i.add(step, "prefill_tokens", -tokens);
        s.i.add(step, "decode_tokens", tokens);
    }
}

/// Running rows of requests within their prompts.
fn with_chunks(s: &Sheets) -> Vec<usize> {
    let within = |row: &usize| {
        let input = s.request(s.r.text(*row, "request_id")).map(|it| s.p.n(it, "input_tokens"));
        let computed = s.r.num(*row, "computed_tokens").unwrap_or(0);
        computed > 0 && input.is_some_and(|input| computed < input)
    };
    s.r.where_is("state", "running").into_iter().filter(within).collect()
}

/// Another run's run.json: without prefix caching.
pub(crate) fn without_caching(s: &mut Sheets) {
    let finds = |event: usize| s.detail(event, "cached_tokens").is_some_and(|found| found > 0);
    if (0..s.e.len()).any(finds) {
        s.run["config"]["enable_prefix_caching"] = false.into();
    }
}

/// Whoever waits for memory is said to wait for the budget.
pub(crate) fn memory_is_budget(s: &mut Sheets) {
    s.r.map_text("waiting_reason", |reason| match reason {
        "memory_insufficient" => "max_num_batched_tokens".to_owned(),
        other => other.to_owned(),
    });
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("summary-phases-exchanged", "the two counters are mixed up", &["K001"], |s| {
        in_summary(s, exchange_phases);
    }),
    mutant("summary-resumptions-decode", "whoever ran before decodes", &["K001"], |s| {
        in_summary(s, resumptions_decode);
    }),
    mutant("summary-evictions-of-the-run", "a counter that is never set back", &["C010"], |s| {
        in_summary(s, evictions_of_the_run);
    }),
    mutant("summary-evictions-beyond-the-cache", "bytes are counted", &["C010"], |s| {
        in_summary(s, |s| {
            s.run["engine"] = "vllm 0.32.0".into();
            let more = s.i.n(0, "kv_cache_total") + 1;
            let row = s.i.len() / 2;
            s.i.set(row, "evicted_blocks", more);
        });
    }),
    mutant("summary-preempted-are-evicted", "what is given back is lost", &["C010"], |s| {
        if s.run["config"]["policy"] == "fcfs" {
            in_summary(s, preempted_are_evicted);
        }
    }),
    mutant("bare-drafts-are-not-counted", "one token for each request", &["K001"], |s| {
        written_in(s, &["fixed-columns-only"], leave_drafts_out);
    }),
    mutant("bare-chunks-decode", "whoever runs decodes", &["K002"], |s| {
        if s.run["overlapping_steps"] == false {
            written_in(s, &["fixed-columns-only"], chunks_decode);
        }
    }),
    mutant("summary-without-prefix-caching", "run.json is of another run", &["K009"], |s| {
        in_summary(s, without_caching);
    }),
    mutant("bare-found-is-scheduled", "the whole prompt is counted", &["K002"], |s| {
        written(s, &["fixed-columns-only"], |_| {}, found_is_scheduled);
    }),
    mutant("bare-ended-have-a-place", "0 where there is none", &["Q005"], |s| {
        written_in(s, &["fixed-columns-only"], |s| {
            for row in s.r.where_is("state", "completed") {
                s.r.set(row, "queue_position", 0);
            }
        });
    }),
    mutant("bare-memory-is-budget", "one reason for all", &["Q008"], |s| {
        // Where steps overlap, there are too few of them to tell.
        if s.run["overlapping_steps"] == false {
            written_in(s, &["fixed-columns-only"], memory_is_budget);
        }
    }),
];
