//! One pass: its budgets, the two loops, and what changes when it ends. Stands for
//! `v1/core/sched/scheduler.py: Scheduler.schedule` and `_update_after_schedule` of vLLM 0.32.

use thiserror::Error;

use crate::scheduler::admission::AdmissionStop;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{Budget, Pass};
use crate::scheduler::slab::Slot;
use crate::scheduler::{Scheduler, asynchronous};
use crate::units::Tokens;

/// An assertion of vLLM 0.32 that fails, which ends the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SchedulerAssertion {
    /// `assert num_new_tokens == 1 + self.num_spec_tokens` in `Scheduler.schedule`: a request was
    /// padded to a full set of drafts and then cut by `long_prefill_token_threshold`.
    #[error("a request padded to {padded} tokens was cut to {cut} by long_prefill_token_threshold")]
    PaddingCut {
        /// The request at the head of the waiting queue.
        slot: Slot,
        /// Tokens after padding.
        padded: Tokens,
        /// Tokens after the cut.
        cut: Tokens,
    },
}

impl<K: KvCache> Scheduler<K> {
    /// Decides the next batch into `pass`, whose former content is dropped.
    ///
    /// # Errors
    /// Where vLLM's own scheduler dies on an assertion; the scheduler is of no use afterwards.
    pub fn schedule(&mut self, pass: &mut Pass) -> Result<(), SchedulerAssertion> {
        self.requests.recycle();
        self.step += 1;
        let budget = Budget {
            tokens: self.config.max_num_scheduled_tokens,
            input: self.config.max_num_batched_tokens,
            slots: self.config.draft_slots(),
        };
        pass.reset(self.step, budget, self.prefill_cap());
        let evicted = self.kv.evicted();
        self.schedule_running(pass);
        if pass.preempted.is_empty() {
            self.schedule_waiting(pass)?;
        } else if let Some(first) = self.waiting.first() {
            pass.admission_stop = Some(AdmissionStop::Preempted);
            pass.stopped_at = Some(first);
        }
        pass.evicted_blocks = self.kv.evicted() - evicted;
        self.end_pass(pass);
        Ok(())
    }

    /// The most tokens that one request gets in this pass, 0 for no limit: nobody is there to be
    /// starved by a lone request.
    fn prefill_cap(&self) -> Tokens {
        let everyone = self.running.len() + self.waiting.len();
        let threshold = self.config.long_prefill_token_threshold;
        if everyone <= 1 || threshold == Tokens::ZERO {
            return Tokens::ZERO;
        }
        if !self.config.long_prefill_token_threshold_adaptive {
            return threshold;
        }
        let everyone = u32::try_from(everyone).unwrap_or(u32::MAX);
        threshold.max(Tokens(self.config.max_num_batched_tokens.0 / everyone))
    }

    /// Counts the batch as computed, before the model has run, and hands out the ends.
    fn end_pass(&mut self, pass: &mut Pass) {
        let num_spec_tokens = self.config.num_speculative_tokens();
        let promises = self.config.async_scheduling;
        for entry in &mut pass.entries {
            let request = &mut self.requests[entry.slot];
            request.pins += 1;
            request.computed += entry.tokens;
            request.in_flight += entry.tokens;
            request.prefilling = request.computed < request.len + request.placeholders;
            entry.samples = !request.prefilling;
            pass.total_tokens += entry.tokens;
            if promises && entry.samples {
                asynchronous::promise_output(request, entry.drafts, num_spec_tokens);
            }
        }
        for preemption in &pass.preempted {
            self.requests[preemption.slot].pins += 1;
        }
        for &slot in &pass.set_aside {
            self.requests[slot].pins += 1;
        }
        if let Some(slot) = pass.stopped_at {
            self.requests[slot].pins += 1;
        }
        // The pin of the list passes to the pass.
        pass.finished.append(&mut self.finished);
    }

    /// Lets go of the requests that a processed pass names outside its batch.
    pub(crate) fn unpin_others(&mut self, pass: &Pass) {
        for preemption in &pass.preempted {
            self.requests.unpin(preemption.slot);
        }
        for &slot in pass.finished.iter().chain(&pass.set_aside).chain(&pass.stopped_at) {
            self.requests.unpin(slot);
        }
    }
}
