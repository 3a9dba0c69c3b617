//! Mistakes that what is left of a log still shows: without details, settings, changes or rows.

use super::{Mutant, mutant, rates, sort_events, written, written_in};
use crate::sheets::Sheets;

/// With run.json.
fn with_settings(s: &mut Sheets, habits: &[&str], mistake: impl Fn(&mut Sheets)) {
    written(s, habits, |_| {}, mistake);
}

/// Every first token one step early where that is behind the first scheduling, in all files; the events
/// are stamped by a clock of their own.
fn first_tokens_a_step_early(s: &mut Sheets) {
    let correct = s.clone();
    for event in s.e.where_is("event_type", "first_token_generated") {
        let Some(step) = s.detail(event, "iteration_id").filter(|step| *step > 0) else { continue };
        let earlier = s.i.n(s.step(step - 1), "end_time");
        let Some(row) = s.request(s.e.text(event, "request_id")) else { continue };
        if earlier >= s.p.n(row, "first_scheduled_time") {
            s.e.set(event, "timestamp", earlier);
            s.set_detail(event, "iteration_id", step - 1);
            s.p.set(row, "ttft", earlier - s.p.n(row, "arrival_time"));
            if s.p.num(row, "e2e_latency").is_some() {
                rates(s, row);
            }
        }
    }
    if *s != correct {
        sort_events(s);
        *s = crate::skew::stamps(s, 2);
        s.t = correct.t;
    }
}

/// waiting_count leaves out those that have run before.
fn preempted_do_not_wait(s: &mut Sheets) {
    for row in 0..s.i.len() {
        let id = s.i.text(row, "iteration_id").to_owned();
        let rows = s.r.where_is("iteration_id", &id).into_iter();
        let preempted = rows.filter(|row| s.r.text(*row, "state") == "preempted").count();
        s.i.add(row, "waiting_count", -(preempted as i64));
    }
}

/// Neither rows nor counts of requests that wait.
fn nobody_waits(s: &mut Sheets) {
    if s.r.where_is("state", "preempted").is_empty() {
        return;
    }
    s.r.rows.retain(|row| row[2] != "waiting" && row[2] != "preempted");
    s.i.map("waiting_count", |_| 0);
}

/// A request that was aborted as it waited stands in the queue for one more step.
fn aborted_request_stays(s: &mut Sheets) {
    let aborted = s.p.where_is("finish_reason", "abort").into_iter();
    let mut stays = aborted.filter_map(|request| {
        let id = s.p.text(request, "request_id");
        let last = s.r.where_is("request_id", id).pop()?;
        let step = s.r.n(last, "iteration_id");
        let waits = s.r.text(last, "state") == "waiting";
        (waits && step + 1 < s.i.len() as i64).then_some((last, step))
    });
    let Some((last, step)) = stays.next_back() else { return };
    let (now, next) = (s.step(step), s.step(step + 1));
    let mut row = s.r.rows[last].clone();
    let in_queue =
        |s: &Sheets, row: &usize| matches!(s.r.text(*row, "state"), "waiting" | "preempted");
    let id = s.i.text(next, "iteration_id").to_owned();
    let own = s.r.where_is("iteration_id", &id);
    let queue: Vec<_> = own.iter().copied().filter(|row| in_queue(s, row)).collect();
    let passed = s.moments(next)[1] - s.moments(now)[1];
    let waited = s.r.n(last, "time_in_state") + passed;
    row[s.r.column("iteration_id")] = id;
    row[s.r.column("time_in_state")] = waited.to_string();
    row[s.r.column("queue_position")] = queue.len().to_string();
    if let Some(other) = queue.last() {
        let reason = s.r.column("waiting_reason");
        row[reason] = s.r.rows[*other][reason].clone();
    }
    let ends = |row: &&usize| s.r.text(**row, "state") == "completed";
    let behind = own.iter().find(ends).copied().or(own.last().map(|row| row + 1));
    s.r.rows.insert(behind.unwrap_or(s.r.len()), row);
    s.i.add(next, "waiting_count", 1);
}

/// One output more than there was of the first request that reached its limit.
fn one_output_more(s: &mut Sheets) {
    let Some(row) = s.p.where_is("finish_reason", "length").into_iter().next() else { return };
    let id = s.p.text(row, "request_id").to_owned();
    s.p.add(row, "output_tokens", 1);
    rates(s, row);
    for event in s.e.where_is("request_id", &id) {
        if let Some(tokens) = s.detail(event, "output_tokens") {
            s.set_detail(event, "output_tokens", tokens + 1);
        }
    }
    for row in s.r.where_is("request_id", &id) {
        if s.r.text(row, "state") == "completed" {
            s.r.add(row, "tokens_generated", 1);
        }
    }
}

/// The whole prompt counts in the step that admits it, and nothing in those behind.
fn prompt_at_admission(s: &mut Sheets) {
    let mut admitted = vec![0; s.i.len()];
    for event in s.e.where_is("event_type", "request_scheduled") {
        let row = s.request(s.e.text(event, "request_id"));
        if let (Some(step), Some(row)) = (s.detail(event, "iteration_id"), row) {
            let cached = s.detail(event, "cached_tokens").unwrap_or(0);
            admitted[s.step(step)] += s.p.n(row, "input_tokens") - cached;
        }
    }
    let lost = |s: &Sheets, row: usize| {
        admitted[row] == 0 && s.i.n(row, "prefill_tokens") > 0 && s.i.n(row, "decode_tokens") > 0
    };
    let shows = (0..s.i.len() - 1).any(|row| {
        let tokens = |row: usize| {
            let id = s.i.text(row, "iteration_id").to_owned();
            let rows = s.r.where_is("iteration_id", &id).into_iter();
            rows.map(|row| s.r.n(row, "tokens_generated")).sum::<i64>()
        };
        let ended = s.i.n(row, "completed_count") + s.i.n(row + 1, "admitted_count");
        let others = s.i.n(row, "decode_tokens");
        lost(s, row) && ended == 0 && tokens(row + 1) - tokens(row) > others
    });
    if !shows || s.run["overlapping_steps"] == true {
        return;
    }
    for (row, prefill) in admitted.into_iter().enumerate() {
        s.i.set(row, "prefill_tokens", prefill);
        let decode = s.i.n(row, "decode_tokens");
        s.i.set(row, "total_tokens", prefill + decode);
    }
}

/// Drafts are not counted.
fn drafts_are_no_tokens(s: &mut Sheets) {
    if s.setting("num_speculative_tokens") == 0 || s.run["overlapping_steps"] == true {
        return;
    }
    for row in s.r.where_is("state", "running") {
        let drafts = s.r.n(row, "scheduled_tokens") - 1;
        let decodes = s.r.n(row, "tokens_generated") > 0;
        if decodes && (1..=s.setting("num_speculative_tokens")).contains(&drafts) {
            let step = s.step(s.r.n(row, "iteration_id"));
            s.i.add(step, "decode_tokens", -drafts);
            s.i.add(step, "total_tokens", -drafts);
        }
    }
}

/// Decisions are stamped as their step begins.
fn decisions_at_start(s: &mut Sheets) {
    let starts: Vec<_> = (0..s.i.len()).map(|row| s.moments(row)).collect();
    let start = |at: i64| starts.iter().find(|moments| moments[1] == at).map(|moments| moments[0]);
    for row in 0..s.p.len() {
        let Some(at) = s.p.num(row, "first_scheduled_time").and_then(start) else { continue };
        let at = at.max(s.p.n(row, "arrival_time"));
        let by = s.p.n(row, "first_scheduled_time") - at;
        s.p.set(row, "first_scheduled_time", at);
        s.p.add(row, "waiting_time", -by);
        s.p.add(row, "execution_time", by);
    }
    for event in s.e.where_is("event_type", "request_scheduled") {
        let row = s.request(s.e.text(event, "request_id"));
        let at = row.and_then(|row| s.p.num(row, "first_scheduled_time"));
        if let Some(at) = at {
            s.e.set(event, "timestamp", at);
        }
    }
    sort_events(s);
}

/// A step begins when the one before has ended, also where the engine slept between.
fn steps_begin_with_the_sleep(s: &mut Sheets) {
    for row in 1..s.i.len() {
        let (end, start) = (s.i.n(row - 1, "end_time"), s.i.n(row, "start_time"));
        let decided = s.moments(row)[1];
        let first = s.p.where_is("first_scheduled_time", &decided.to_string());
        let slept = start > end && first.iter().any(|row| s.p.n(*row, "arrival_time") > end);
        if slept {
            s.i.set(row, "start_time", end);
            s.i.add(row, "duration", start - end);
            s.i.add(row, "scheduling_overhead", start - end);
        }
    }
}

/// Evictions are noted with the preemption.
fn evicted_as_preempted(s: &mut Sheets) {
    for event in s.e.where_is("event_type", "request_evicted") {
        let id = s.e.text(event, "request_id").to_owned();
        let before = (0..event).rfind(|other| {
            s.e.text(*other, "request_id") == id
                && s.e.text(*other, "event_type") == "request_preempted"
        });
        if let Some(before) = before {
            let at = s.e.n(before, "timestamp");
            s.e.set(event, "timestamp", at);
        }
    }
    sort_events(s);
}

fn recomputed_zero(s: &mut Sheets) {
    s.p.map("recomputed_tokens", |_| 0);
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "skewed-first-token-a-step-early",
        "stamped with the end of the step before, by another clock",
        &["M018"],
        first_tokens_a_step_early,
    ),
    mutant("nobody-waits", "the waiting queue is never looked at", &["Q001"], nobody_waits),
    mutant("unseen-preempted-do-not-wait", "only new requests count", &["Q001"], |s| {
        written_in(s, &["no-preempted-rows"], preempted_do_not_wait);
    }),
    mutant("bare-preempted-do-not-wait", "only new requests count", &["Q001"], |s| {
        written_in(s, &["no-preempted-rows", "fixed-columns-only"], preempted_do_not_wait);
    }),
    mutant("aborted-request-stays", "the abort comes to the queue a step late", &["S002"], |s| {
        written_in(s, &["no-transitions"], aborted_request_stays);
    }),
    mutant("silent-priorities-negated", "more is more urgent", &["Q011"], |s| {
        let urgency = |s: &Sheets, row: usize| s.p.n(row, "priority_score");
        // Nobody waits behind another of other urgency elsewhere.
        if s.run["config"]["policy"] == "priority" && (0..s.p.len()).any(|row| urgency(s, row) > 0)
        {
            with_settings(s, &["no-details"], |s| s.p.map("priority_score", |score| -score));
        }
    }),
    mutant("bare-prompt-of-others", "the prompt is that of another request", &["C009"], |s| {
        let longer = 3 * s.setting("block_size");
        with_settings(s, &["fixed-columns-only", "no-details"], |s| {
            let ends = s.r.where_is("state", "completed");
            let id = s.r.text(ends[0], "request_id").to_owned();
            if let Some(row) = s.request(&id) {
                s.p.add(row, "input_tokens", longer);
            }
        });
    }),
    mutant("silent-recomputed-zero", "recomputation is not counted", &["K007"], |s| {
        let drafts = s.setting("num_speculative_tokens") > 0;
        if !drafts {
            with_settings(s, &["no-details"], recomputed_zero);
        }
    }),
    mutant("unsettled-recomputed-zero", "recomputation is not counted", &["K011"], |s| {
        written_in(s, &[], recomputed_zero);
    }),
    mutant("bare-one-output-more", "the stop token counts twice", &["K004"], |s| {
        // Of several drafts any number may have been accepted.
        if s.setting("num_speculative_tokens") == 0 {
            with_settings(s, &["fixed-columns-only"], one_output_more);
        }
    }),
    mutant("bare-prompt-at-admission", "chunks are not told apart", &["K002"], |s| {
        written_in(s, &["fixed-columns-only"], prompt_at_admission);
    }),
    mutant("bare-drafts-are-no-tokens", "only sampled tokens count", &["K002"], |s| {
        written_in(s, &["fixed-columns-only"], drafts_are_no_tokens);
    }),
    mutant("bare-cache-read-empty", "read while it was reset", &["C003"], |s| {
        written_in(s, &["fixed-columns-only", "no-details"], |s| {
            let row = s.i.len() / 2;
            if s.i.n(row, "running_count") > 0 {
                s.i.set(row, "kv_cache_used", 0);
            }
        });
    }),
    mutant("bare-decisions-at-start", "stamped as the step begins", &["M015"], |s| {
        written_in(s, &["fixed-columns-only", "no-transitions"], decisions_at_start);
    }),
    mutant("bare-step-begins-with-the-sleep", "the loop is timed, not the step", &["Q004"], |s| {
        written_in(s, &["fixed-columns-only"], steps_begin_with_the_sleep);
    }),
    mutant("silent-evicted-as-preempted", "noted as the blocks are freed", &["C006"], |s| {
        written_in(s, &["no-details"], evicted_as_preempted);
    }),
    mutant("unsettled-freed-zero", "counted after they were freed", &["C008"], |s| {
        written_in(s, &[], |s| {
            for event in s.e.where_is("event_type", "kv_cache_freed") {
                s.set_detail(event, "blocks", 0);
            }
        });
    }),
];
