//! The waiting loop. Stands for the second loop of `v1/core/sched/scheduler.py: Scheduler.schedule`
//! of vLLM 0.32.
//!
//! The head of the queue is a wall: if it cannot be admitted, nobody behind it is tried. Only a
//! request whose stale output is still in flight is passed over.

use crate::scheduler::allocation::Refusal;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{BatchEntry, Budget, Kind, Pass, TokenBound};
use crate::scheduler::request::Status;
use crate::scheduler::running::is_prefill;
use crate::scheduler::schedule::SchedulerAssertion;
use crate::scheduler::slab::Slot;
use crate::scheduler::speculative::Padding;
use crate::scheduler::{Scheduler, speculative};
use crate::units::{BlockId, Blocks, Requests, Tokens};

/// What ended the scan of the waiting queue: the constraint that kept the request at which it ended,
/// and those behind it, out of this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionStop {
    /// A running request was preempted in this pass, which admits nobody then.
    Preempted,
    /// The running queue is full.
    MaxNumSeqs {
        /// `max_num_active_seqs`.
        limit: Requests,
    },
    /// The step's budget is spent.
    BudgetSpent {
        /// Left of `max_num_scheduled_tokens`.
        tokens: Tokens,
        /// Left of `max_num_batched_tokens`.
        input: Tokens,
        /// Drafting slots that one more request would cost on top of its tokens.
        slots: Tokens,
    },
    /// Without chunked prefill, the prompt does not fit in what is left of the budget.
    PromptNotChunked {
        /// Tokens that it would need at once.
        needed: Tokens,
        /// What is left.
        room: Tokens,
    },
    /// With drafting, a full set of drafts does not fit in what is left of the budget.
    DraftPadding {
        /// Tokens with padding.
        needed: Tokens,
        /// What is left.
        room: Tokens,
    },
    /// The room left would end the chunk too close to the end of the prompt.
    PrefillLookahead {
        /// What is left.
        room: Tokens,
    },
    /// The blocks do not suffice.
    Memory(Refusal),
}

/// What the head of the queue would get.
#[derive(Clone, Copy, Debug)]
struct Plan {
    tokens: Tokens,
    bound: TokenBound,
    drafts: Tokens,
}

impl<K: KvCache> Scheduler<K> {
    /// Admits waiting requests until one cannot be.
    pub(crate) fn schedule_waiting(&mut self, pass: &mut Pass) -> Result<(), SchedulerAssertion> {
        let any_running_scheduled = !pass.entries.is_empty();
        let mut hits = std::mem::take(&mut self.hits);
        let mut next = self.waiting.first();
        let mut stop = None;
        while let Some(slot) = next {
            next = self.waiting.after(slot, &self.requests[slot]);
            if let Some(gate) = self.closed_gate(pass) {
                stop = Some((slot, gate));
                break;
            }
            if self.requests[slot].has_stale_output() {
                pass.set_aside.push(slot);
                continue;
            }
            self.kv.lookup(&mut self.requests[slot], &mut hits);
            let admitted = match self.plan_admission(slot, hits.len(), any_running_scheduled, pass)
            {
                Ok(plan) => self.admit(slot, plan, &hits, pass)?,
                Err(stop) => Err(stop),
            };
            if let Err(reason) = admitted {
                stop = Some((slot, reason));
                break;
            }
        }
        self.hits = hits;
        if let Some((slot, reason)) = stop {
            (pass.stopped_at, pass.admission_stop) = (Some(slot), Some(reason));
        }
        Ok(())
    }

    /// What keeps out whoever comes next.
    fn closed_gate(&self, pass: &Pass) -> Option<AdmissionStop> {
        if pass.budget.is_spent() {
            let Budget { tokens, input, slots } = pass.budget;
            return Some(AdmissionStop::BudgetSpent { tokens, input, slots });
        }
        let limit = self.config.max_num_active_seqs;
        (self.running.len() >= limit.0 as usize).then_some(AdmissionStop::MaxNumSeqs { limit })
    }

    /// How many tokens the request at which `pass` ended its admissions would have got with so many
    /// blocks `found` in the prefix cache, or which limit of tokens would have kept it out.
    pub(crate) fn tokens_with_hits(
        &self,
        slot: Slot,
        found: usize,
        pass: &Pass,
    ) -> Result<Tokens, AdmissionStop> {
        let any_running_scheduled = pass.entries.iter().any(|entry| entry.kind == Kind::Running);
        Ok(self.plan_admission(slot, found, any_running_scheduled, pass)?.tokens)
    }

    /// How many tokens the request would get with so many blocks `found` in the prefix cache, given
    /// what is left of the budgets.
    fn plan_admission(
        &self,
        slot: Slot,
        found: usize,
        any_running_scheduled: bool,
        pass: &Pass,
    ) -> Result<Plan, AdmissionStop> {
        let request = &self.requests[slot];
        let computed = self.kv.tokens_in(found);
        let room = pass.budget.room();
        let mut tokens = request.len.saturating_sub(computed);
        let mut bound = TokenBound::Demand;
        let mut drafts = Tokens::ZERO;
        if tokens == Tokens(1) && !pass.prefill_scheduled {
            match self.pad_with_drafts(computed, any_running_scheduled, room) {
                Padding::None => {}
                Padding::Drafts(count) => {
                    drafts = count;
                    (tokens, bound) = (Tokens(1) + count, TokenBound::DraftPadding);
                }
                Padding::NoRoom { needed } => {
                    return Err(AdmissionStop::DraftPadding { needed, room });
                }
            }
        }
        if Tokens::ZERO < pass.prefill_cap && pass.prefill_cap < tokens {
            (tokens, bound) = (pass.prefill_cap, TokenBound::PrefillThreshold);
        }
        if room < tokens {
            if !self.config.enable_chunked_prefill {
                return Err(AdmissionStop::PromptNotChunked { needed: tokens, room });
            }
            (tokens, bound) = (room, TokenBound::Budget);
        }
        let remaining = request.len.saturating_sub(computed + tokens);
        let lookahead = self.config.num_prefill_lookahead();
        (tokens, bound) = speculative::keep_prefill_lookahead(remaining, lookahead, tokens, bound);
        if tokens == Tokens::ZERO {
            return Err(AdmissionStop::PrefillLookahead { room });
        }
        Ok(Plan { tokens, bound, drafts })
    }

    /// Gives the request its blocks and moves it to the running queue, or says why not.
    fn admit(
        &mut self,
        slot: Slot,
        plan: Plan,
        hits: &[BlockId],
        pass: &mut Pass,
    ) -> Result<Result<(), AdmissionStop>, SchedulerAssertion> {
        let others_run = !self.running.is_empty();
        let request = &mut self.requests[slot];
        if let Err(refusal) = self.kv.allocate_admission(request, plan.tokens, hits, others_run) {
            return Ok(Err(AdmissionStop::Memory(refusal)));
        }
        if plan.drafts > Tokens::ZERO && plan.tokens != Tokens(1) + plan.drafts {
            let padded = Tokens(1) + plan.drafts;
            return Err(SchedulerAssertion::PaddingCut { slot, padded, cut: plan.tokens });
        }
        self.waiting.remove(slot, &self.requests[slot]);
        self.running.push(slot);
        let request = &mut self.requests[slot];
        let computed = self.kv.tokens_in(hits.len());
        let kind = match request.status {
            Status::Preempted => Kind::Resumed,
            _ => Kind::New,
        };
        request.status = Status::Running;
        request.computed = computed;
        pass.budget.spend(plan.tokens);
        pass.entries.push(BatchEntry {
            slot,
            kind,
            bound: plan.bound,
            prefill: is_prefill(request, computed),
            samples: false,
            tokens: plan.tokens,
            computed,
            hit: computed,
            drafts: plan.drafts,
            new_from: 0,
            allocated: request.held_blocks() - Blocks(u32::try_from(hits.len()).unwrap_or(0)),
        });
        Ok(Ok(()))
    }
}
