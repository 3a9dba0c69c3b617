//! The scheduler's settings as the scheduler sees them: resolved, every default filled in.
//!
//! What a user may write, with names, defaults and meanings, is in [`crate::settings`]; resolving
//! those gives this.

use serde::{Deserialize, Serialize};

use crate::units::{Blocks, Priority, Requests, Tokens};

/// How the waiting queue is ordered and who is preempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// First come, first served: the order of `add_request`.
    #[default]
    Fcfs,
    /// By (priority, arrival time, request id); the least urgent running request is preempted.
    Priority,
}

impl Policy {
    /// The priority that the scheduler goes by: what the request was given, or 0 under fcfs, which knows none.
    #[must_use]
    pub const fn priority_of(self, given: Priority) -> Priority {
        match self {
            Self::Fcfs => Priority(0),
            Self::Priority => given,
        }
    }
}

/// Where draft tokens come from; decides what a draft costs in slots and look-ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum SpeculativeMethod {
    /// Prompt lookup on the CPU.
    Ngram,
    /// Prompt lookup on the device; works with asynchronous scheduling.
    NgramGpu,
    /// EAGLE heads.
    Eagle,
    /// EAGLE-3 heads.
    Eagle3,
    /// Multi-token prediction heads.
    Mtp,
    /// A separate draft model.
    DraftModel,
}

/// Speculative decoding as the scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speculative {
    /// The proposer.
    pub method: SpeculativeMethod,
    /// Drafts per request and step (`k`), at least 1.
    pub num_speculative_tokens: Tokens,
    /// KV slots reserved past the scheduled tokens.
    pub num_lookahead_tokens: Tokens,
    /// Slots charged to the input budget for each scheduled request.
    pub draft_slots: Tokens,
    /// Whether the last block of a prefix hit is dropped (EAGLE family).
    pub eagle_block_drop: bool,
    /// Known tokens past the end of a prefill chunk that the drafter reads; a chunk leaves as many of
    /// a prompt, or none. 1 for the EAGLE family, more only with several MTP modules.
    pub num_prefill_lookahead: Tokens,
}

impl Speculative {
    /// The proposer's usual costs: vLLM's `SpeculativeConfig` for one drafting module.
    #[must_use]
    pub fn new(method: SpeculativeMethod, num_speculative_tokens: Tokens) -> Self {
        use SpeculativeMethod as M;
        let eagle_family = matches!(method, M::Eagle | M::Eagle3 | M::Mtp);
        let draft_model = method == M::DraftModel;
        Self {
            method,
            num_speculative_tokens,
            num_lookahead_tokens: if eagle_family || draft_model {
                num_speculative_tokens
            } else {
                Tokens::ZERO
            },
            draft_slots: if draft_model { Tokens(1) } else { Tokens::ZERO },
            eagle_block_drop: eagle_family,
            num_prefill_lookahead: Tokens(u32::from(eagle_family)),
        }
    }
}

/// Every setting that the scheduler model reads, under vLLM's names, fully resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Queue order and choice of victims.
    pub policy: Policy,
    /// Tokens per KV cache block.
    pub block_size: u32,
    /// KV cache blocks, the null block included.
    pub num_gpu_blocks: Blocks,
    /// The most sequences the engine is built for.
    pub max_num_seqs: Requests,
    /// The most requests that may run at a time; at most `max_num_seqs`.
    pub max_num_active_seqs: Requests,
    /// The input budget of a step, drafting slots included.
    pub max_num_batched_tokens: Tokens,
    /// The budget of scheduled tokens of a step.
    pub max_num_scheduled_tokens: Tokens,
    /// The longest sequence, prompt and output together.
    pub max_model_len: Tokens,
    /// Whether a prompt may be split over several steps.
    pub enable_chunked_prefill: bool,
    /// The most tokens one request gets per step while others are present; 0 is off.
    pub long_prefill_token_threshold: Tokens,
    /// Whether the threshold grows to an equal share of the budget.
    pub long_prefill_token_threshold_adaptive: bool,
    /// Whether full blocks are shared between requests with equal prefixes.
    pub enable_prefix_caching: bool,
    /// Blocks that an admission leaves free while others run: `watermark * num_gpu_blocks`.
    pub watermark_blocks: Blocks,
    /// Whether a request is admitted only if all its known tokens fit.
    pub scheduler_reserve_full_isl: bool,
    /// Whether a step is scheduled before the previous one's output is known.
    pub async_scheduling: bool,
    /// Batches in flight at a time: 1 synchronous, 2 asynchronous.
    pub max_concurrent_batches: u32,
    /// Speculative decoding, if any.
    pub speculative: Option<Speculative>,
}

impl SchedulerConfig {
    /// Blocks that requests can hold: all but the null block.
    #[must_use]
    pub fn usable_blocks(&self) -> Blocks {
        self.num_gpu_blocks.saturating_sub(Blocks(1))
    }

    /// The number of draft tokens per request and step, 0 without speculative decoding.
    #[must_use]
    pub fn num_speculative_tokens(&self) -> Tokens {
        self.speculative.map_or(Tokens::ZERO, |s| s.num_speculative_tokens)
    }

    /// KV slots reserved past the scheduled tokens.
    #[must_use]
    pub fn num_lookahead_tokens(&self) -> Tokens {
        self.speculative.map_or(Tokens::ZERO, |s| s.num_lookahead_tokens)
    }

    /// Slots charged to the input budget for each scheduled request.
    #[must_use]
    pub fn draft_slots(&self) -> Tokens {
        self.speculative.map_or(Tokens::ZERO, |s| s.draft_slots)
    }

    /// Known tokens of a prompt that a chunk leaves, if it leaves any; 0 and 1 have no effect.
    #[must_use]
    pub fn num_prefill_lookahead(&self) -> Tokens {
        self.speculative.map_or(Tokens::ZERO, |s| s.num_prefill_lookahead)
    }

    /// Whether prefix hits lose their last block.
    #[must_use]
    pub fn eagle_block_drop(&self) -> bool {
        self.speculative.is_some_and(|s| s.eagle_block_drop)
    }
}
