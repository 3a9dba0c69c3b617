//! Preemption: who gives way to a running request that lacks blocks, and what becomes of it. Stands
//! for the choice of `preempted_req` in `v1/core/sched/scheduler.py: Scheduler.schedule` and for
//! `Scheduler._preempt_request` of vLLM 0.32.
//!
//! Nobody is ever preempted for a waiting request.

use crate::config::Policy;
use crate::scheduler::Scheduler;
use crate::scheduler::allocation::Refusal;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{Pass, Preemption};
use crate::scheduler::request::Status;
use crate::scheduler::slab::Slot;
use crate::units::Tokens;

impl<K: KvCache> Scheduler<K> {
    /// The position in the running queue of the request that gives way: the last one; under the
    /// priority policy the least urgent, latest arrived, and among equals the first.
    pub(crate) fn choose_victim(&self) -> usize {
        let last = self.running.len() - 1;
        if self.config.policy == Policy::Fcfs {
            return last;
        }
        let key = |at: usize| {
            let request = &self.requests[self.running[at]];
            (request.priority, request.arrival_time)
        };
        (1..=last).fold(0, |victim, at| if key(at) > key(victim) { at } else { victim })
    }

    /// Sends a request, already out of the running queue, back to wait: it keeps its tokens and
    /// loses its blocks. If this pass had scheduled it, it leaves the batch and its budget is free.
    pub(crate) fn preempt(&mut self, victim: Slot, by: Slot, refusal: Refusal, pass: &mut Pass) {
        let scheduled = match self.config.policy {
            // Under FCFS the victim is behind everything scheduled so far.
            Policy::Fcfs => None,
            Policy::Priority => pass.entries.iter().position(|entry| entry.slot == victim),
        };
        if let Some(at) = scheduled {
            let entry = pass.entries.remove(at);
            pass.budget.restore(entry.tokens);
        }
        let request = &mut self.requests[victim];
        pass.preempted.push(Preemption {
            slot: victim,
            by,
            refusal,
            computed: request.computed,
            blocks: request.held_blocks(),
            left_batch: scheduled.is_some(),
        });
        self.kv.free(request);
        request.status = Status::Preempted;
        request.computed = Tokens::ZERO;
        request.spec = Tokens::ZERO;
        request.stale = request.in_flight;
        request.placeholders = Tokens::ZERO;
        request.preemptions += 1;
        self.waiting.push_front(victim, &self.requests[victim]);
    }
}
