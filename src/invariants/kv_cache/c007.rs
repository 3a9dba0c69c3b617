//! C007: preemption for want of memory.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A step preempts only when memory was short.
    ///
    /// A request is preempted because the next blocks of a running one could not be allocated. So what
    /// is free at `D` is less than what the victims gave back and the preempting request still asked
    /// for: more free blocks than that were free before, and nobody needed to go.
    ///
    /// Blind spot: the rule bounds the request's need from above, so a preemption that was only just
    /// needless passes.
    ///
    /// Example: a preemption to serve a more urgent request that waits, with half of the cache free.
    pub static C007 = {
        name: "preemption-needs-shortage",
        reads: [
            PerIteration(preempted_count, kv_cache_used, kv_cache_total),
            PerIterationRequests(request_id, state, kv_cache_blocks),
        ],
        needs: [BlockSize, MaxNumBatchedTokens],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        if step.row.preempted_count == Requests::ZERO || view.rows.is_empty() {
            return;
        }
        let settings = &cx.facts.settings;
        let (Some(block_size), Some(budget)) =
            (settings.block_size.filter(|size| *size > 0), settings.token_budget())
        else {
            return;
        };
        let victims = view.changed().filter(|row| row.state == State::Preempted);
        let (mut given_back, mut known) = (0u32, 0u32);
        for victim in victims {
            let Some(before) = victim.earlier() else { continue };
            if before.row.state == State::Running {
                given_back = given_back.saturating_add(before.row.kv_cache_blocks.0);
                known += 1;
            }
        }
        // Where steps overlap the rows may not show what every victim held.
        if known < step.row.preempted_count.0 {
            return;
        }
        // One request asks for no more than the whole budget and its look-ahead, and a victim may
        // have been given as much in this very step.
        let ahead = settings.num_lookahead_tokens.unwrap_or(settings.drafts());
        let need = budget.saturating_add(ahead).div_ceil(block_size).saturating_add(1);
        let bound = given_back.saturating_add(need);
        let free = step.row.kv_cache_total.0.saturating_sub(step.row.kv_cache_used.0);
        cx.expect(free < bound, |_| {
            let victim = view.changed().find(|row| row.state == State::Preempted);
            Finding::new(format!("the step preempts although {free} blocks are free behind it"))
                .at(step.at(), "preempted_count")
                .with_row(victim.map(|row| row.row.at()), "a victim")
                .in_iteration(view.id)
                .values(format!("less than {bound} free"), free)
        });
    }
}
