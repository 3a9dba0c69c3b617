//! The running loop. Stands for the first loop of `v1/core/sched/scheduler.py: Scheduler.schedule`
//! of vLLM 0.32.
//!
//! Prefill and decode are not told apart: a request gets the tokens that it lacks, in the order of
//! the running queue. One that cannot be scheduled is passed over; one that lacks blocks makes others
//! give way.

use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{BatchEntry, Kind, Pass, TokenBound};
use crate::scheduler::request::Request;
use crate::scheduler::slab::Slot;
use crate::scheduler::{Scheduler, asynchronous, speculative};
use crate::units::{Blocks, Tokens};

impl<K: KvCache> Scheduler<K> {
    /// Schedules the running requests, as far as budget and blocks go.
    pub(crate) fn schedule_running(&mut self, pass: &mut Pass) {
        let mut index = 0;
        while index < self.running.len() && !pass.budget.is_spent() {
            let slot = self.running[index];
            let request = &self.requests[slot];
            if asynchronous::is_sure_to_end(request) {
                index += 1;
                continue;
            }
            let (tokens, bound) = self.running_tokens(request, pass);
            if tokens == Tokens::ZERO {
                index += 1;
                continue;
            }
            let held = request.blocks.len();
            if !self.make_room(slot, tokens, &mut index, pass) {
                return;
            }
            index += 1;
            self.enter_batch(slot, tokens, bound, held, pass);
        }
    }

    /// How many tokens a running request can use now, and what limits them.
    fn running_tokens(&self, request: &Request, pass: &Pass) -> (Tokens, TokenBound) {
        let wanted = request.len + request.spec + request.placeholders;
        let mut tokens = wanted.saturating_sub(request.computed);
        let mut bound = TokenBound::Demand;
        if Tokens::ZERO < pass.prefill_cap && pass.prefill_cap < tokens {
            (tokens, bound) = (pass.prefill_cap, TokenBound::PrefillThreshold);
        }
        if pass.budget.room() < tokens {
            (tokens, bound) = (pass.budget.room(), TokenBound::Budget);
        }
        // The last position's token is never computed, only sampled.
        let positions = self.config.max_model_len.saturating_sub(request.computed + Tokens(1));
        if positions < tokens {
            (tokens, bound) = (positions, TokenBound::ModelLen);
        }
        self.keep_prefill_lookahead(request, request.computed, tokens, bound)
    }

    /// Allocates for a running request, preempting as long as blocks are missing. False if the
    /// request itself had to give way, which ends the loop.
    fn make_room(
        &mut self,
        slot: Slot,
        tokens: Tokens,
        index: &mut usize,
        pass: &mut Pass,
    ) -> bool {
        loop {
            let Err(refusal) = self.kv.allocate_running(&mut self.requests[slot], tokens) else {
                return true;
            };
            let at = self.choose_victim();
            let victim = self.running.remove(at);
            if at < *index {
                *index -= 1;
            }
            self.preempt(victim, slot, refusal, pass);
            if victim == slot {
                return false;
            }
        }
    }

    fn enter_batch(
        &mut self,
        slot: Slot,
        tokens: Tokens,
        bound: TokenBound,
        held: usize,
        pass: &mut Pass,
    ) {
        let request = &mut self.requests[slot];
        pass.prefill_scheduled |= request.prefilling;
        pass.budget.spend(tokens);
        pass.entries.push(BatchEntry {
            slot,
            kind: Kind::Running,
            bound,
            prefill: is_prefill(request, request.computed),
            samples: false,
            tokens,
            computed: request.computed,
            hit: Tokens::ZERO,
            drafts: speculative::take_drafts(request, tokens),
            new_from: u32::try_from(held).unwrap_or(u32::MAX),
            allocated: Blocks(u32::try_from(request.blocks.len() - held).unwrap_or(u32::MAX)),
        });
    }
}

/// Whether the tokens that follow `computed` ones are prefill: the prompt, or what is recomputed
/// after a preemption. Only the newest token, known or promised, is decoded.
pub(crate) fn is_prefill(request: &Request, computed: Tokens) -> bool {
    let known = request.len + request.placeholders;
    computed < request.prompt_len.max(known.saturating_sub(Tokens(1)))
}
