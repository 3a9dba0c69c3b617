//! The running loop. Stands for the first loop of `v1/core/sched/scheduler.py: Scheduler.schedule`
//! of vLLM 0.32.
//!
//! Prefill and decode are not told apart: a request gets the tokens that it lacks, in the order of
//! the running queue. One that cannot be scheduled is passed over; one that lacks blocks makes others
//! give way.

use crate::scheduler::allocation::Refusal;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{BatchEntry, Budget, Kind, Pass, TokenBound};
use crate::scheduler::request::Request;
use crate::scheduler::slab::Slot;
use crate::scheduler::{Scheduler, asynchronous, speculative};
use crate::units::{Blocks, Tokens};

impl<K: KvCache> Scheduler<K> {
    /// Schedules the running requests, as far as budget and blocks go.
    pub(crate) fn schedule_running(&mut self, pass: &mut Pass) {
        let limits = Limits {
            prefill_cap: pass.prefill_cap,
            max_model_len: self.config.max_model_len,
            prefill_lookahead: self.config.num_prefill_lookahead(),
        };
        let mut index = 0;
        while index < self.running.len() && !pass.budget.is_spent() {
            let slot = self.running[index];
            let request = &mut self.requests[slot];
            index += 1;
            if asynchronous::is_sure_to_end(request) {
                continue;
            }
            let (tokens, bound) = limits.tokens(request, &pass.budget);
            if tokens == Tokens::ZERO {
                continue;
            }
            let (held, prefilling) = (request.held_blocks(), request.prefilling);
            let entry = match self.kv.allocate_running(request, tokens) {
                Ok(()) => batch_entry(request, slot, tokens, bound, held),
                Err(refusal) => {
                    if !self.make_room(slot, tokens, refusal, &mut index, pass) {
                        return;
                    }
                    batch_entry(&mut self.requests[slot], slot, tokens, bound, held)
                }
            };
            pass.prefill_scheduled |= prefilling;
            pass.budget.spend(tokens);
            pass.entries.push(entry);
        }
    }

    /// Preempts until a running request, whose allocation was refused, has its blocks. False if the
    /// request itself had to give way, which ends the loop. `index` is where the loop goes on.
    #[cold]
    fn make_room(
        &mut self,
        slot: Slot,
        tokens: Tokens,
        mut refusal: Refusal,
        index: &mut usize,
        pass: &mut Pass,
    ) -> bool {
        loop {
            let at = self.choose_victim();
            let victim = self.running.remove(at);
            if at < *index {
                *index -= 1;
            }
            self.preempt(victim, slot, refusal, pass);
            if victim == slot {
                return false;
            }
            match self.kv.allocate_running(&mut self.requests[slot], tokens) {
                Ok(()) => return true,
                Err(again) => refusal = again,
            }
        }
    }
}

/// What limits the tokens of a running request, beside the budget.
#[derive(Clone, Copy)]
struct Limits {
    prefill_cap: Tokens,
    max_model_len: Tokens,
    prefill_lookahead: Tokens,
}

impl Limits {
    /// How many tokens a running request can use now, and what limits them; the budget is not spent.
    #[inline]
    fn tokens(self, request: &Request, budget: &Budget) -> (Tokens, TokenBound) {
        let wanted = request.len + request.spec + request.placeholders;
        let mut tokens = wanted.saturating_sub(request.computed);
        let mut bound = TokenBound::Demand;
        // Neither of the two can cut a single token.
        if tokens > Tokens(1) {
            if Tokens::ZERO < self.prefill_cap && self.prefill_cap < tokens {
                (tokens, bound) = (self.prefill_cap, TokenBound::PrefillThreshold);
            }
            if budget.room() < tokens {
                (tokens, bound) = (budget.room(), TokenBound::Budget);
            }
        }
        // The last position's token is never computed, only sampled.
        let positions = self.max_model_len.saturating_sub(request.computed + Tokens(1));
        if positions < tokens {
            (tokens, bound) = (positions, TokenBound::ModelLen);
        }
        let remaining = request.len.saturating_sub(request.computed + tokens);
        speculative::keep_prefill_lookahead(remaining, self.prefill_lookahead, tokens, bound)
    }
}

/// The entry of a running request that has its blocks; `held` are those it had before.
#[inline]
fn batch_entry(
    request: &mut Request,
    slot: Slot,
    tokens: Tokens,
    bound: TokenBound,
    held: Blocks,
) -> BatchEntry {
    BatchEntry {
        slot,
        kind: Kind::Running,
        bound,
        prefill: is_prefill(request, request.computed),
        samples: false,
        tokens,
        computed: request.computed,
        hit: Tokens::ZERO,
        drafts: speculative::take_drafts(request, tokens),
        new_from: held.0,
        allocated: request.held_blocks() - held,
    }
}

/// Whether the tokens that follow `computed` ones are prefill: the prompt, or what is recomputed
/// after a preemption. Only the newest token, known or promised, is decoded.
pub(crate) fn is_prefill(request: &Request, computed: Tokens) -> bool {
    let known = request.len + request.placeholders;
    computed < request.prompt_len.max(known.saturating_sub(Tokens(1)))
}
