//! Q010: lost work.

use std::collections::BTreeMap;

use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::log::schema::IterationRow;
use crate::units::IterationId;

declare_invariant! {
    /// No step leaves out work that would have fitted.
    ///
    /// While there is a seat in the running queue, budget and memory, the head of the waiting queue is
    /// admitted; and while there is budget, every running request gets tokens. A step that leaves one
    /// out costs throughput and nobody sees it.
    ///
    /// Where waiting requests have no rows, one that is never admitted must have been kept out of all but a
    /// few steps by something: those in which all that wait would fit, and are as many as are counted,
    /// admit it.
    ///
    /// What the head needs is bounded from above: all its known tokens, look-ahead and watermark.
    ///
    /// Blind spot: speculative decoding (drafts are charged to the budget and look ahead); requests that fit only
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

/// Steps with room that a request may be left out of where nothing tells what kept it out.
const FEW: u64 = 8;

#[derive(Default)]
struct Check {
    /// Of a log without their rows: the requests that wait and have never run.
    hidden: BTreeMap<RequestKey, LeftOut>,
}

/// Steps that had room for a request.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    arrived: Nanos,
    steps: u64,
    first: Option<(IterationId, Location)>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        let settings = &cx.facts.settings;
        let Some(budget) = settings.token_budget() else { return };
        let row = &step.row;
        let left = budget.saturating_sub(row.total_tokens.0);
        // What a preempting step does not admit is not lost.
        let drafts =
            settings.num_speculative_tokens.map_or(cx.facts.dialect.shows_drafts, |it| it > 0);
        let plain = !drafts && row.preempted_count == Requests::ZERO;
        if cx.facts.dialect.hides_waiting() {
            self.see(view);
            // Behind the end of the events one may have given up, and another come.
            if plain && left > 0 && cx.facts.covers(Table::Events, row.start_time) {
                self.count(step, left, view, cx);
            }
        }
        if !plain || left == 0 || view.rows.is_empty() {
            return;
        }
        cx.exercised(1);
        left_out(view, cx);
        let seats = settings.running_limit().is_some_and(|limit| row.running_count.0 < limit);
        let head = view.changed().find(|row| waits(row)).filter(|row| row.is_head());
        let Some(head) = head.filter(|head| seats && !blocks_itself(head, cx)) else { return };
        let input = view.history(head.request_id).and_then(RequestHistory::input_tokens);
        let known = input.map(|input| input.saturating_add(head.tokens_generated).0);
        let Some(need) = known.and_then(|known| would_fit(known, left, view, cx)) else { return };
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

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let left_out = self.hidden.remove(&request.key);
        let Some(arrival) = request.event(EventType::RequestArrived) else { return };
        let Some(LeftOut { steps, first: Some((id, at)), .. }) = left_out else { return };
        let runs = request.last().is_some()
            || request.record.as_ref().is_some_and(|row| row.row.first_scheduled_time.is_some());
        if steps > FEW && !runs && !request.damaged {
            cx.found(
                Finding::new(format!(
                    "the request is never admitted, although {steps} steps had a seat, budget and \
                     memory for all that wait"
                ))
                .at(arrival.at(), "request_id")
                .with_row(Some(at), "the first of them")
                .of(request.key, cx.ids)
                .in_iteration(id),
            );
        }
    }
}

impl Check {
    /// Notes who waits for its first scheduling.
    fn see(&mut self, view: &IterationView<'_>) {
        for event in view.events {
            let Some(key) = event.row.request_id else { continue };
            match event.row.event_type {
                EventType::RequestArrived => {
                    let left_out = LeftOut { arrived: event.row.timestamp, steps: 0, first: None };
                    self.hidden.insert(key, left_out);
                }
                EventType::RequestScheduled
                | EventType::RequestResumed
                | EventType::RequestCompleted => {
                    self.hidden.remove(&key);
                }
                _ => {}
            }
        }
    }

    /// Counts a step that would have had room for each of those that wait.
    fn count(
        &mut self,
        step: &Located<IterationRow>,
        left: u32,
        view: &IterationView<'_>,
        cx: &Cx<'_>,
    ) {
        let settings = &cx.facts.settings;
        let seats = settings.running_limit().is_some_and(|limit| step.row.running_count.0 < limit);
        let mut waiting = self.hidden.iter_mut().filter(|(_, it)| it.arrived < step.row.start_time);
        let fits = |key: &RequestKey| {
            let input = view.history(*key).and_then(RequestHistory::input_tokens);
            let known = input.map(|input| input.0).or(settings.max_model_len);
            known.and_then(|known| would_fit(known, left, view, cx)).is_some()
        };
        if !seats || step.row.waiting_count == Requests::ZERO {
            return;
        }
        let mut all: Vec<_> = waiting.by_ref().collect();
        if all.len() != step.row.waiting_count.0 as usize || !all.iter().all(|(key, _)| fits(key)) {
            return;
        }
        for (_, left_out) in &mut all {
            left_out.steps += 1;
            left_out.first = left_out.first.or(Some((view.id, step.at())));
        }
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
fn would_fit(known: u32, left: u32, view: &IterationView<'_>, cx: &Cx<'_>) -> Option<u32> {
    let settings = &cx.facts.settings;
    let step = &view.iteration?.row;
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
