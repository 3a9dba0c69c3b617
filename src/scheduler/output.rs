//! What the model returned. Stands for `v1/core/sched/scheduler.py: Scheduler.update_from_output`,
//! `_update_request_with_output` and `v1/core/sched/utils.py: check_stop` of vLLM 0.32.

use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{BatchEntry, Pass};
use crate::scheduler::request::{FinishReason, Status};
use crate::scheduler::slab::Slot;
use crate::scheduler::{Scheduler, asynchronous, speculative};
use crate::units::{Blocks, TokenId, Tokens};

/// The tokens that end a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopTokens {
    /// `eos_token_id`.
    pub eos_token_id: Option<TokenId>,
    /// `stop_token_ids`.
    pub stop_token_ids: Vec<TokenId>,
}

impl StopTokens {
    fn contains(&self, token: TokenId) -> bool {
        self.eos_token_id == Some(token) || self.stop_token_ids.contains(&token)
    }
}

/// The tokens that the model returned, one list per entry of a batch. The buffer is reused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelOutput {
    tokens: Vec<TokenId>,
    ends: Vec<usize>,
}

impl ModelOutput {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.ends.clear();
    }

    /// Adds the tokens of the next entry of the batch: none for a prefill chunk or a request that
    /// is gone; with drafts, the accepted ones and then one more.
    pub fn push(&mut self, tokens: impl IntoIterator<Item = TokenId>) {
        self.tokens.extend(tokens);
        self.ends.push(self.tokens.len());
    }

    /// Adds the next list as `fill` appends it, and passes on what `fill` returns.
    pub(crate) fn push_with<T>(&mut self, fill: impl FnOnce(&mut Vec<TokenId>) -> T) -> T {
        let result = fill(&mut self.tokens);
        self.ends.push(self.tokens.len());
        result
    }

    /// The number of lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The tokens of an entry; none beyond the last list.
    #[must_use]
    pub fn get(&self, entry: usize) -> &[TokenId] {
        let Some(&end) = self.ends.get(entry) else { return &[] };
        let start = if entry == 0 { 0 } else { self.ends[entry - 1] };
        &self.tokens[start..end]
    }
}

/// What became of a batch's output. The buffer is reused.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// One per entry of the batch, in its order.
    pub entries: Vec<UpdateEntry>,
    /// The requests that it finished, in that order.
    pub finished: Vec<Finished>,
}

/// What became of one request's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateEntry {
    /// The request.
    pub slot: Slot,
    /// Whether it had ended before, so that its output was dropped.
    pub gone: bool,
    /// Whether the output predates the request's last preemption.
    pub stale: bool,
    /// Whether `appended` begins with its first output token.
    pub first_token: bool,
    /// Tokens kept.
    pub appended: Tokens,
    /// Drafts rejected.
    pub rejected: Tokens,
}

/// A request that an output finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The request.
    pub slot: Slot,
    /// Why.
    pub reason: FinishReason,
    /// The blocks that it held just before they were freed.
    pub blocks: Blocks,
}

impl<K: KvCache> Scheduler<K> {
    /// Takes in the output of a batch, in the order of the batch.
    pub fn update_from_output(&mut self, pass: &Pass, output: &ModelOutput, update: &mut Update) {
        update.entries.clear();
        update.finished.clear();
        for (at, entry) in pass.entries.iter().enumerate() {
            self.update_entry(entry, output.get(at), update);
            self.requests.unpin(entry.slot);
        }
        if !update.finished.is_empty() {
            self.running.retain(|&slot| !self.requests[slot].is_finished());
        }
        self.unpin_others(pass);
    }

    fn update_entry(&mut self, entry: &BatchEntry, returned: &[TokenId], update: &mut Update) {
        let slot = entry.slot;
        let request = &mut self.requests[slot];
        let mut result = UpdateEntry {
            slot,
            gone: request.is_finished(),
            stale: false,
            first_token: false,
            appended: Tokens::ZERO,
            rejected: Tokens::ZERO,
        };
        if !result.gone {
            result.stale = asynchronous::return_from_flight(request, entry.tokens);
            if !returned.is_empty() {
                result.first_token = request.output_tokens() == Tokens::ZERO;
                self.take_output(entry, returned, &mut result, &mut update.finished);
            }
        }
        update.entries.push(result);
    }

    fn take_output(
        &mut self,
        entry: &BatchEntry,
        returned: &[TokenId],
        result: &mut UpdateEntry,
        finished: &mut Vec<Finished>,
    ) {
        let request = &mut self.requests[entry.slot];
        let returned_len = Tokens(u32::try_from(returned.len()).unwrap_or(u32::MAX));
        if entry.drafts > Tokens::ZERO {
            result.rejected = (entry.drafts + Tokens(1)).saturating_sub(returned_len);
            if !result.stale {
                speculative::reject_drafts(request, result.rejected);
            }
        }
        let status = request.status;
        let (appended, reason) = self.append(entry.slot, returned);
        result.appended = appended;
        let request = &mut self.requests[entry.slot];
        if self.config.async_scheduling {
            if !result.stale {
                request.placeholders = request.placeholders.saturating_sub(appended);
            }
            if status == Status::Running {
                let known = request.computed.saturating_sub(request.placeholders);
                self.kv.register(request, known);
            }
        }
        if let Some(reason) = reason {
            if status == Status::Preempted {
                self.waiting.remove(entry.slot, &self.requests[entry.slot]);
            }
            let blocks = self.finish(entry.slot, reason);
            finished.push(Finished { slot: entry.slot, reason, blocks });
        }
    }

    /// Appends tokens until one ends the request; those behind it are dropped.
    fn append(&mut self, slot: Slot, tokens: &[TokenId]) -> (Tokens, Option<FinishReason>) {
        let request = &mut self.requests[slot];
        let mut appended = Tokens::ZERO;
        for &token in tokens {
            request.append_output(token);
            appended += Tokens(1);
            if self.stop_tokens.contains(token) {
                return (appended, Some(FinishReason::Stop));
            }
            if request.len >= self.config.max_model_len
                || request.output_tokens() >= request.max_tokens
            {
                return (appended, Some(FinishReason::Length));
            }
        }
        (appended, None)
    }
}
