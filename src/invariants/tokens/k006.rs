//! K006: computed tokens advance by what was scheduled.

use crate::invariants::prelude::*;

declare_invariant! {
    /// From step to step computed_tokens advances by exactly what was scheduled, less rejected
    /// drafts; it falls only by a preemption, and a request enters the running queue with what the
    /// prefix cache holds of it.
    ///
    /// A waiting or preempted request has nothing computed (the row of the preempting step may still
    /// show what was lost). vLLM: `_update_after_schedule` advances, `_preempt_request` sets to 0.
    ///
    /// Blind spot: which of the drafts were rejected, where steps overlap.
    ///
    /// Example: computed_tokens that skips the chunk scheduled by the step before.
    pub static K006 = {
        name: "computed-tokens-advance",
        reads: [PerIterationRequests(request_id, state, scheduled_tokens, computed_tokens)],
        also: [Events(details)],
        severity: Error,
    } => Check
}

/// More than any engine has.
const STEPS_IN_FLIGHT: u32 = 4;

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        cx.exercised(view.rows.len());
        for row in view.rows {
            let Some(computed) = row.computed_tokens else { continue };
            if !row.queued() {
                completed(row, computed, view, cx);
                continue;
            }
            // A repetition within a step is S006's business.
            if row.before.is_some() && row.earlier().is_none() {
                continue;
            }
            let allowed = match row.state {
                State::Running if row.admitted() => cached(row, view, cx),
                State::Running => advanced(row, view, cx),
                State::Preempted if view.event_or_entry(row) => {
                    // Some logs show what it had before the step took its blocks.
                    let event = view.event(row.request_id, EventType::RequestPreempted);
                    let told = event.and_then(|event| event.row.details.computed_tokens);
                    if told.is_none_or(|told| told == computed) {
                        continue;
                    }
                    Some((0, 0))
                }
                _ => Some((0, 0)),
            };
            let Some((low, high)) = allowed else { continue };
            if computed.0 < low || computed.0 > high {
                report(row, view, low, high, cx);
            }
        }
    }
}

impl IterationView<'_> {
    /// Whether the row is of the step that preempted the request.
    fn event_or_entry(&self, row: &RowView) -> bool {
        row.earlier().is_none_or(|before| before.row.state == State::Running)
    }
}

/// What a request had computed when a step finished it. Some logs repeat what it had before the step.
fn completed(row: &RowView, computed: Tokens, view: &IterationView<'_>, cx: &mut Cx<'_>) {
    let before = row
        .before
        .filter(|before| before.row.iteration_id == view.id && before.row.state == State::Running);
    let Some(before) = before else { return };
    let (Some(base), Some(scheduled)) = (before.row.computed_tokens, before.row.scheduled_tokens)
    else {
        return;
    };
    let most = base.0.saturating_add(scheduled.0);
    let drafts = cx.facts.settings.num_speculative_tokens;
    let (low, high) = if cx.facts.overlapping {
        // Steps in flight have been counted too.
        let each = drafts.unwrap_or(scheduled.0).saturating_add(1);
        (base.0, most.saturating_add(each.saturating_mul(STEPS_IN_FLIGHT)))
    } else {
        let rejected = drafts.unwrap_or(scheduled.0.saturating_sub(1));
        (most.saturating_sub(rejected.min(scheduled.0)), most)
    };
    if computed != base && !(low..=high).contains(&computed.0) {
        report(row, view, low, high, cx);
    }
}

/// What a request that stays running has computed.
fn advanced(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Option<(u32, u32)> {
    let before = row.earlier().filter(|before| before.row.state == State::Running)?;
    let scheduled = before.row.scheduled_tokens?.0;
    let base = before.row.computed_tokens?.0.saturating_add(scheduled);
    let drafts = match cx.facts.settings.num_speculative_tokens {
        Some(drafts) => drafts,
        // Any token but the first may have been a draft.
        None => scheduled.saturating_sub(1),
    };
    if drafts > 0 && !cx.facts.overlapping {
        let history = view.history(row.request_id).filter(|_| !row.past_lost);
        let samples = history.and_then(|history| history.phase(&before.row))?.samples;
        // All but the newest token are computed: what came back tells how many drafts were kept.
        let known = history?.input_tokens()?.0.saturating_add(row.tokens_generated.0);
        let computed = if samples { base.min(known.saturating_sub(1)) } else { base };
        return Some((computed, computed));
    }
    if cx.facts.overlapping && cx.facts.settings.num_speculative_tokens.is_none() {
        // Drafts of any step in flight may be rejected; what has come back is computed.
        let input = view.history(row.request_id)?.input_tokens()?.0;
        let come_back = input.saturating_add(row.tokens_generated.0).saturating_sub(1);
        return Some((base.min(come_back), base));
    }
    // Where steps overlap, drafts of several steps may be rejected between two decisions.
    let rejected = if cx.facts.overlapping { drafts.saturating_mul(2) } else { drafts };
    Some((base.saturating_sub(rejected), base))
}

/// What a request that enters the running queue has computed: the tokens found in the cache.
fn cached(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Option<(u32, u32)> {
    let resumed = row.before.is_some_and(|before| before.row.state == State::Preempted);
    let kind = if resumed { EventType::RequestResumed } else { EventType::RequestScheduled };
    let told = view.event(row.request_id, kind).and_then(|event| event.row.details.cached_tokens);
    match told {
        Some(tokens) => Some((tokens.0, tokens.0)),
        None if cx.facts.settings.enable_prefix_caching == Some(false) => Some((0, 0)),
        None => None,
    }
}

fn report(row: &RowView, view: &IterationView<'_>, low: u32, high: u32, cx: &mut Cx<'_>) {
    let message = match row.state {
        State::Running if row.admitted() => {
            "the request enters the running queue with other tokens than the cache had"
        }
        State::Running => "computed_tokens does not go on from the row before",
        State::Completed => "the request ends with other tokens than the step leaves computed",
        _ => "a request that holds nothing has computed tokens",
    };
    let expected = if low == high { low.to_string() } else { format!("{low} to {high}") };
    let actual = row.computed_tokens.unwrap_or_default();
    cx.found(
        Finding::new(message)
            .at(row.row.at(), "computed_tokens")
            .with_row(row.before.as_ref().map(Located::at), "the row before")
            .of(row.request_id, cx.ids)
            .in_iteration(view.id)
            .values(expected, actual),
    );
}
