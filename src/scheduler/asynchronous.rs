//! Scheduling ahead of the model's output. Stands for `v1/core/sched/async_scheduler.py:
//! AsyncScheduler` of vLLM 0.32 and the parts of `Scheduler` that read `num_output_placeholders`.
//!
//! A batch that computes a request's last token promises an output; the promise counts as a token
//! until the output arrives, so that the next batch can be built without it.

use crate::scheduler::request::Request;
use crate::units::Tokens;

/// Counts the outputs that a batch with `drafts` drafts promises, and gives the request placeholder
/// drafts for the next one (`AsyncScheduler._update_after_schedule`).
pub(crate) fn promise_output(request: &mut Request, drafts: Tokens, num_spec_tokens: Tokens) {
    request.placeholders += Tokens(1) + drafts;
    request.spec = num_spec_tokens;
}

/// Whether the batches in flight are certain to reach `max_tokens`, even if all their drafts are
/// rejected; such a request stays in the running queue without being scheduled.
pub(crate) fn is_sure_to_end(request: &Request) -> bool {
    request.placeholders > Tokens::ZERO
        && request.computed + Tokens(2)
            >= (request.prompt_len.saturating_add(request.max_tokens))
                .saturating_add(request.placeholders)
}

/// Counts a batch of `tokens` tokens as returned. True if it was scheduled before the request was
/// last preempted: its output is kept, but the positions it was for no longer count.
pub(crate) fn return_from_flight(request: &mut Request, tokens: Tokens) -> bool {
    request.in_flight = request.in_flight.saturating_sub(tokens);
    let stale = request.stale > Tokens::ZERO;
    request.stale = request.stale.saturating_sub(tokens);
    stale
}
