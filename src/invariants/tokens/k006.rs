//! K006: computed tokens advance by what was scheduled.

use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::log::schema::IterationRequestRow;

declare_invariant! {
    /// From step to step computed_tokens advances by exactly what was scheduled, less rejected
    /// drafts; it falls only by a preemption, and a request enters the running queue with what the
    /// prefix cache holds of it.
    ///
    /// A waiting or preempted request has nothing computed (the row of the preempting step may still
    /// show what was lost). vLLM: `_update_after_schedule` advances, `_preempt_request` sets to 0.
    ///
    /// The rows behind a `completed` row, of steps decided before the end was known, go on from the
    /// last row before it. A `completed` row has what was computed before its step, or behind it: all
    /// of them the same.
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

/// Steps that may be decided before an end is known; more than any engine keeps in flight.
const STEPS_BEHIND: u64 = 16;

#[derive(Default)]
struct Check {
    /// Whether `completed` rows have what was computed before their step, by the first that tells.
    before_step: Option<bool>,
    /// The last rows in a queue of requests that have ended, where rows may stand behind the end.
    ended: Vec<(RequestKey, Located<IterationRequestRow>)>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        cx.exercised(view.rows.len());
        for row in view.changed() {
            let Some(computed) = row.computed_tokens else { continue };
            if !row.queued() {
                self.completed(row, computed, view, cx);
                continue;
            }
            // A repetition within a step is S006's business.
            if row.before.is_some() && row.earlier().is_none() {
                continue;
            }
            let allowed = match row.state {
                State::Running if row.admitted() => cached(row, view, cx),
                State::Running => {
                    let before = row.earlier().copied();
                    let before = match before.filter(|b| b.row.state == State::Completed) {
                        Some(_) => self.last_queued(row.request_id),
                        None => before,
                    };
                    before.and_then(|before| advanced(row, &before, view, cx))
                }
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

impl Check {
    /// What a request had computed when a step finished it, or before that step.
    fn completed(
        &mut self,
        row: &RowView,
        computed: Tokens,
        view: &IterationView<'_>,
        cx: &mut Cx<'_>,
    ) {
        let Some(last) = row.before.filter(|before| before.row.state != State::Completed) else {
            return;
        };
        if cx.facts.overlapping {
            // A key is given anew once its request is forgotten.
            self.ended.retain(|(key, old)| {
                let recent = old.row.iteration_id.0.saturating_add(STEPS_BEHIND) >= view.id.0;
                recent && *key != row.request_id
            });
            self.ended.push((row.request_id, last));
        }
        let runs = last.row.iteration_id == view.id && last.row.state == State::Running;
        let (true, Some(base), Some(scheduled)) =
            (runs, last.row.computed_tokens, last.row.scheduled_tokens)
        else {
            return;
        };
        let tells = scheduled > Tokens::ZERO;
        let before_step = match self.before_step {
            None if tells => *self.before_step.insert(computed == base),
            known => known.unwrap_or(computed == base),
        };
        let (low, high) =
            if before_step { (base.0, base.0) } else { behind_step(base.0, scheduled.0, cx) };
        if !(low..=high).contains(&computed.0) {
            report(row, view, low, high, cx);
        }
    }

    /// The last row in a queue of a request that has ended; asked once.
    fn last_queued(&mut self, key: RequestKey) -> Option<Located<IterationRequestRow>> {
        let index = self.ended.iter().position(|(ended, _)| *ended == key)?;
        Some(self.ended.swap_remove(index).1)
    }
}

/// What may be computed behind a step that scheduled these tokens.
fn behind_step(base: u32, scheduled: u32, cx: &Cx<'_>) -> (u32, u32) {
    let most = base.saturating_add(scheduled);
    let drafts = cx.facts.settings.num_speculative_tokens;
    if cx.facts.overlapping {
        // Steps in flight have been counted too.
        let each = drafts.unwrap_or(scheduled).saturating_add(1);
        return (base, most.saturating_add(each.saturating_mul(STEPS_IN_FLIGHT)));
    }
    let rejected = drafts.unwrap_or(scheduled.saturating_sub(1));
    (most.saturating_sub(rejected.min(scheduled)), most)
}

/// What a request that stays running has computed.
fn advanced(
    row: &RowView,
    before: &Located<IterationRequestRow>,
    view: &IterationView<'_>,
    cx: &Cx<'_>,
) -> Option<(u32, u32)> {
    if before.row.state != State::Running {
        return None;
    }
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
