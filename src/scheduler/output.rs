//! What the model returned. Stands for `v1/core/sched/scheduler.py: Scheduler.update_from_output`,
//! `_update_request_with_output` and `v1/core/sched/utils.py: check_stop` of vLLM 0.32.

use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{BatchEntry, Pass};
use crate::scheduler::request::{FinishReason, Request, Status};
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
    ends: Vec<u32>,
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
        self.push_with(|all| all.extend(tokens));
    }

    /// Adds the list of an entry that got one token.
    #[inline]
    pub fn push_one(&mut self, token: TokenId) {
        self.push_with(|all| all.push(token));
    }

    /// Adds the next list as `fill` appends it, and passes on what `fill` returns.
    pub(crate) fn push_with<T>(&mut self, fill: impl FnOnce(&mut Vec<TokenId>) -> T) -> T {
        let result = fill(&mut self.tokens);
        // A batch has no more tokens than the scheduler counts, in a u32.
        self.ends.push(self.tokens.len() as u32);
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
        &self.tokens[start as usize..end as usize]
    }

    /// The lists, in the order of the batch.
    pub fn lists(&self) -> impl Iterator<Item = &[TokenId]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let list = &self.tokens[start as usize..end as usize];
            start = end;
            list
        })
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

impl UpdateEntry {
    fn untouched(slot: Slot) -> Self {
        Self {
            slot,
            gone: false,
            stale: false,
            first_token: false,
            appended: Tokens::ZERO,
            rejected: Tokens::ZERO,
        }
    }
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
        let Update { entries, finished } = update;
        finished.clear();
        entries.clear();
        entries.extend(pass.entries.iter().map(|entry| UpdateEntry::untouched(entry.slot)));
        let mut lists = output.lists();
        for (entry, updated) in pass.entries.iter().zip(entries) {
            let returned = lists.next().unwrap_or_default();
            if let Some(reason) = self.update_entry(entry, returned, updated) {
                finished.push(self.finish_by_output(entry.slot, reason));
            }
        }
        if !finished.is_empty() {
            self.running.retain(|&slot| !self.requests[slot].is_finished());
        }
        self.unpin_others(pass);
    }

    /// Takes in what was returned for one entry; why that ends the request, if it does.
    #[inline]
    fn update_entry(
        &mut self,
        entry: &BatchEntry,
        returned: &[TokenId],
        updated: &mut UpdateEntry,
    ) -> Option<FinishReason> {
        let request = &mut self.requests[entry.slot];
        if request.is_finished() {
            updated.gone = true;
            self.requests.unpin(entry.slot);
            return None;
        }
        // Who has not ended is not forgotten, whoever names him.
        request.pins -= 1;
        updated.stale = asynchronous::return_from_flight(request, entry.tokens);
        if returned.is_empty() {
            return None;
        }
        updated.first_token = request.output_tokens() == Tokens::ZERO;
        if entry.drafts > Tokens::ZERO {
            let returned = Tokens(u32::try_from(returned.len()).unwrap_or(u32::MAX));
            updated.rejected = (entry.drafts + Tokens(1)).saturating_sub(returned);
            if !updated.stale {
                speculative::reject_drafts(request, updated.rejected);
            }
        }
        let before = request.len;
        let reason = append(request, returned, &self.stop_tokens, self.config.max_model_len);
        updated.appended = request.len - before;
        if self.config.async_scheduling {
            if !updated.stale {
                request.placeholders = request.placeholders.saturating_sub(updated.appended);
            }
            if request.status == Status::Running {
                let known = request.computed.saturating_sub(request.placeholders);
                self.kv.register(request, known);
            }
        }
        reason
    }

    #[inline(never)]
    fn finish_by_output(&mut self, slot: Slot, reason: FinishReason) -> Finished {
        let request = &self.requests[slot];
        if request.status == Status::Preempted {
            self.waiting.remove(slot, request);
        }
        let blocks = self.finish(slot, reason);
        Finished { slot, reason, blocks }
    }
}

/// Appends tokens until one ends the request, and tells why it does; those behind it are dropped.
#[inline]
fn append(
    request: &mut Request,
    tokens: &[TokenId],
    stop: &StopTokens,
    max_model_len: Tokens,
) -> Option<FinishReason> {
    for &token in tokens {
        request.append_output(token);
        if stop.contains(token) {
            return Some(FinishReason::Stop);
        }
        if request.len >= max_model_len || request.output_tokens() >= request.max_tokens {
            return Some(FinishReason::Length);
        }
    }
    None
}
