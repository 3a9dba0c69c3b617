//! Q010: lost work.

use crate::invariants::prelude::*;

declare_invariant! {
    /// No step leaves out work that would have fitted.
    ///
    /// While there is a seat in the running queue, budget and memory, the head of the waiting queue is
    /// admitted; and while there is budget, every running request gets tokens. A step that leaves one
    /// out costs throughput and nobody sees it.
    ///
    /// What the head needs is bounded from above: all its known tokens, look-ahead and watermark.
    ///
    /// Blind spot: speculative decoding (drafts are charged to the budget); requests that fit only
    /// thanks to the prefix cache; running requests where steps overlap (one that is certain to reach
    /// its last token is left out rightly).
    ///
    /// Example: 400 of 500 blocks and 2000 tokens of the budget are free, 3 of 8 seats are taken, and
    /// a prompt of 100 tokens waits.
    pub static Q010 = {
        name: "no-work-is-lost",
        reads: [
            PerIteration(running_count, total_tokens, preempted_count, kv_cache_used, kv_cache_total),
            PerIterationRequests(state, tokens_generated),
        ],
        also: [
            PerIterationRequests(waiting_reason, scheduled_tokens, computed_tokens),
            Events(details),
            PerRequest(input_tokens),
        ],
        needs: [MaxNumSeqs, MaxNumBatchedTokens, BlockSize],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        let settings = &cx.facts.settings;
        let Some(budget) = settings.token_budget() else { return };
        let row = &step.row;
        let left = budget.saturating_sub(row.total_tokens.0);
        // What a preempting step does not admit is not lost.
        let plain = settings.drafts() == 0 && row.preempted_count == Requests::ZERO;
        if !plain || left == 0 || view.rows.is_empty() {
            return;
        }
        cx.exercised(1);
        left_out(view, cx);
        let seats = settings.running_limit().is_some_and(|limit| row.running_count.0 < limit);
        let head = view.changed().find(|row| waits(row)).filter(|row| row.is_head());
        let Some(head) = head.filter(|head| seats && !blocks_itself(head, cx)) else { return };
        let Some(need) = would_fit(head, left, view, cx) else { return };
        let free = row.kv_cache_total.0.saturating_sub(row.kv_cache_used.0);
        cx.found(
            Finding::new(format!(
                "the request waits, although there is a seat, {left} tokens of the budget and \
                 memory for it"
            ))
            .at(head.row.at(), "state")
            .with_row(Some(step.at()), "the step")
            .of(head.request_id, cx.ids)
            .in_iteration(view.id)
            .values(format!("admitted with {need} blocks"), format!("{free} free")),
        );
    }
}

fn waits(row: &RowView) -> bool {
    matches!(row.state, State::Waiting | State::Preempted)
}

/// Whether something of its own keeps the request out, or it has an output in flight.
fn blocks_itself(row: &RowView, cx: &Cx<'_>) -> bool {
    use WaitingReason as W;
    let stale = cx.facts.overlapping && row.state == State::Preempted;
    stale
        || matches!(
            row.waiting_reason,
            Some(W::WaitingForRemoteKvs | W::WaitingForFsm | W::LoraLimit | W::EncoderBudget)
        )
}

/// The blocks that the request needs at most, if they are free and the budget suffices.
fn would_fit(head: &RowView, left: u32, view: &IterationView<'_>, cx: &Cx<'_>) -> Option<u32> {
    let settings = &cx.facts.settings;
    let step = &view.iteration?.row;
    let input = view.history(head.request_id)?.input_tokens()?.0;
    let known = input.saturating_add(head.tokens_generated.0);
    if !settings.enable_chunked_prefill? && known > left {
        return None;
    }
    let block_size = settings.block_size.filter(|size| *size > 0)?;
    let tokens = known.saturating_add(settings.num_lookahead_tokens.unwrap_or(0));
    let blocks = settings.num_gpu_blocks.unwrap_or(step.kv_cache_total.0.saturating_add(1));
    let margin = (settings.watermark? * f64::from(blocks)) as u32;
    let need = tokens.div_ceil(block_size);
    let free = step.kv_cache_total.0.saturating_sub(step.kv_cache_used.0);
    (need.saturating_add(margin) <= free).then_some(need)
}

/// Running requests that get nothing.
fn left_out(view: &IterationView<'_>, cx: &mut Cx<'_>) {
    let longest = cx.facts.settings.max_model_len;
    let (Some(step), Some(longest), false) = (view.iteration, longest, cx.facts.overlapping) else {
        return;
    };
    for row in view.changed().filter(|row| row.state == State::Running) {
        let (Some(scheduled), Some(computed)) = (row.scheduled_tokens, row.computed_tokens) else {
            return;
        };
        // At the longest length there is nothing more to compute.
        if scheduled == Tokens::ZERO && computed.0.saturating_add(1) < longest {
            cx.found(
                Finding::new("the request runs and gets nothing, although there is budget")
                    .at(row.row.at(), "scheduled_tokens")
                    .with_row(Some(step.at()), "the step")
                    .of(row.request_id, cx.ids)
                    .in_iteration(view.id)
                    .values("at least 1", 0),
            );
        }
    }
}
