//! C004: blocks are held while running.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request's blocks never get fewer while it runs, and are 0 while it waits or is preempted.
    ///
    /// A running request keeps all its blocks; a preemption frees them all at once (vLLM:
    /// `_preempt_request`).
    ///
    /// Blind spot: blocks that are lost and got back within one step.
    ///
    /// Example: a preempted row that still shows the blocks of the step before.
    pub static C004 = {
        name: "blocks-only-grow",
        reads: [PerIterationRequests(request_id, state, kv_cache_blocks)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        cx.exercised(view.rows.len());
        for row in view.changed() {
            let held = row.kv_cache_blocks;
            let holds = match row.state {
                State::Waiting | State::Preempted => held == Blocks::ZERO,
                // A step decided before the output came may have preempted the request.
                State::Completed if cx.facts.overlapping && held == Blocks::ZERO => true,
                State::Running | State::Completed => row.before.is_none_or(|before| {
                    // Behind a gap it may have been preempted and resumed.
                    let gap = before.row.iteration_id != view.id
                        && Some(before.row.iteration_id) < view.previous_group;
                    gap || before.row.state != State::Running || held >= before.row.kv_cache_blocks
                }),
            };
            if holds {
                continue;
            }
            let (message, expected) = match (row.state, row.before) {
                (State::Running | State::Completed, Some(before)) => {
                    let bound = format!("at least {}", before.row.kv_cache_blocks);
                    ("a running request loses blocks", bound)
                }
                _ => ("a request that does not run holds blocks", "0".to_owned()),
            };
            cx.found(
                Finding::new(message)
                    .at(row.row.at(), "kv_cache_blocks")
                    .with_row(row.before.as_ref().map(Located::at), "the row before")
                    .of(row.request_id, cx.ids)
                    .in_iteration(view.id)
                    .values(expected, held),
            );
        }
    }
}
