//! Draft tokens: who verifies how many, and how an admission is padded with them. Stands for the
//! speculative parts of `v1/core/sched/scheduler.py: Scheduler.schedule`,
//! `update_draft_token_ids`, `_reserve_prefill_lookahead` and `update_from_output` of vLLM 0.32.
//!
//! Only the number of drafts decides anything; their content is the model's affair.

use crate::scheduler::Scheduler;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{Pass, TokenBound};
use crate::scheduler::request::Request;
use crate::units::Tokens;

/// How an admission with one token to compute is padded to the size of a decode with drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Not at all.
    None,
    /// With this many placeholder drafts.
    Drafts(Tokens),
    /// The padded request does not fit in the budget, and it is not admitted without.
    NoRoom {
        /// Tokens with padding.
        needed: Tokens,
    },
}

impl<K: KvCache> Scheduler<K> {
    /// Attaches the drafter's proposals, one count per entry of a processed batch, to the requests
    /// that are still there and have caught up (`update_draft_token_ids`).
    pub fn update_draft_token_ids(&mut self, pass: &Pass, drafts: &[Tokens]) {
        for (entry, &count) in pass.entries.iter().zip(drafts) {
            let request = &mut self.requests[entry.slot];
            if !request.is_finished() {
                request.spec = if request.prefilling { Tokens::ZERO } else { count };
            }
        }
    }

    /// Whether an admission with one token to compute, in a batch without prefill, is padded.
    pub(crate) fn pad_with_drafts(
        &self,
        computed: Tokens,
        any_running_scheduled: bool,
        room: Tokens,
    ) -> Padding {
        let drafts = self.config.num_speculative_tokens();
        if drafts == Tokens::ZERO || !(any_running_scheduled || computed > Tokens::ZERO) {
            return Padding::None;
        }
        let needed = Tokens(1) + drafts;
        if computed + needed + Tokens(1) > self.config.max_model_len {
            return Padding::None;
        }
        if needed > room { Padding::NoRoom { needed } } else { Padding::Drafts(drafts) }
    }
}

/// Multi-module MTP: a chunk of `tokens` ends the prompt, or leaves enough of it, of which `remaining`
/// tokens are known, for all modules to read.
#[inline]
pub(crate) fn keep_prefill_lookahead(
    remaining: Tokens,
    lookahead: Tokens,
    tokens: Tokens,
    bound: TokenBound,
) -> (Tokens, TokenBound) {
    if Tokens::ZERO < remaining && remaining < lookahead {
        let tokens = tokens.saturating_sub(lookahead - remaining);
        return (tokens, TokenBound::PrefillLookahead);
    }
    (tokens, bound)
}

/// Takes the drafts that fit in a running request's tokens; the others are dropped, not kept.
pub(crate) fn take_drafts(request: &mut Request, tokens: Tokens) -> Tokens {
    if request.spec == Tokens::ZERO {
        return Tokens::ZERO;
    }
    let reached = request.computed + tokens;
    let drafts = reached.saturating_sub(request.len + request.placeholders).min(request.spec);
    request.spec = Tokens::ZERO;
    drafts
}

/// Takes back the positions of rejected drafts. Their blocks stay in the table.
pub(crate) fn reject_drafts(request: &mut Request, rejected: Tokens) {
    request.computed = request.computed.saturating_sub(rejected);
    request.placeholders = request.placeholders.saturating_sub(rejected);
}
