//! What one pass decided. Stands for `v1/core/sched/output.py: SchedulerOutput` of vLLM 0.32, and
//! adds why: which limit cut a request's tokens, for whom another one was preempted, what ended
//! the admissions.

use crate::scheduler::admission::AdmissionStop;
use crate::scheduler::allocation::Refusal;
use crate::scheduler::slab::Slot;
use crate::units::{Blocks, Tokens};

/// A pass. The buffer is reused from pass to pass.
///
/// Every slot in it stays valid until the pass was processed.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// The ordinal of the pass, counted from 1.
    pub step: u64,
    /// The batch, in its order: running requests, then admissions.
    pub entries: Vec<BatchEntry>,
    /// Requests preempted by this pass, in that order.
    pub preempted: Vec<Preemption>,
    /// Requests whose end was handed out by this pass, in the order in which they ended.
    pub finished: Vec<Slot>,
    /// Waiting requests that admission passed over because output that predates their preemption
    /// is still in flight.
    pub set_aside: Vec<Slot>,
    /// What ended the scan of the waiting queue before its end, if anything did.
    pub admission_stop: Option<AdmissionStop>,
    /// The request at which it ended.
    pub stopped_at: Option<Slot>,
    /// Cached blocks whose content this pass dropped to hand the block out.
    pub evicted_blocks: Blocks,
    /// Tokens scheduled.
    pub total_tokens: Tokens,
    /// What is left of the budgets.
    pub budget: Budget,
    /// The effective `long_prefill_token_threshold` of this pass, 0 where it is off.
    pub prefill_cap: Tokens,
    /// Whether a request of the running part was still prefilling when the pass began.
    pub(crate) prefill_scheduled: bool,
}

impl Pass {
    /// Whether nothing is scheduled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn reset(&mut self, step: u64, budget: Budget, prefill_cap: Tokens) {
        self.step = step;
        self.entries.clear();
        self.preempted.clear();
        self.finished.clear();
        self.set_aside.clear();
        self.admission_stop = None;
        self.stopped_at = None;
        self.evicted_blocks = Blocks::ZERO;
        self.total_tokens = Tokens::ZERO;
        self.budget = budget;
        self.prefill_cap = prefill_cap;
        self.prefill_scheduled = false;
    }
}

/// The token budgets of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Of `max_num_scheduled_tokens`.
    pub tokens: Tokens,
    /// Of `max_num_batched_tokens`, to which the drafting slots are charged too.
    pub input: Tokens,
    /// The drafting slots charged for each request.
    pub slots: Tokens,
}

impl Budget {
    /// Whether no further request can be scheduled.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.tokens == Tokens::ZERO || self.input <= self.slots
    }

    /// The most tokens that one more request can get.
    #[must_use]
    pub fn room(&self) -> Tokens {
        self.tokens.min(self.input.saturating_sub(self.slots))
    }

    pub(crate) fn spend(&mut self, tokens: Tokens) {
        self.tokens -= tokens;
        self.input -= tokens + self.slots;
    }

    pub(crate) fn restore(&mut self, tokens: Tokens) {
        self.tokens += tokens;
        self.input += tokens + self.slots;
    }
}

/// How a request came into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Admitted for the first time.
    New,
    /// Admitted again after a preemption.
    Resumed,
    /// It was running already.
    Running,
}

impl Kind {
    /// The name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Resumed => "resumed",
            Self::Running => "running",
        }
    }
}

/// What decided how many tokens a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenBound {
    /// It got all that it could use.
    Demand,
    /// `long_prefill_token_threshold`.
    PrefillThreshold,
    /// What was left of the step's budget.
    Budget,
    /// `max_model_len`.
    ModelLen,
    /// A chunk must not end this close to the end of the prompt.
    PrefillLookahead,
    /// Padded to a full set of drafts.
    DraftPadding,
}

/// One request of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// The request.
    pub slot: Slot,
    /// How it came in.
    pub kind: Kind,
    /// What decided `tokens`.
    pub bound: TokenBound,
    /// Whether its tokens are prefill: it had not caught up with its known and promised tokens.
    pub prefill: bool,
    /// Whether the model returns a token for it: this batch computes its last known or promised one.
    pub samples: bool,
    /// Tokens scheduled.
    pub tokens: Tokens,
    /// Tokens computed before: for an admission, those found in the prefix cache.
    pub computed: Tokens,
    /// Tokens found in the prefix cache; zero unless admitted.
    pub hit: Tokens,
    /// Draft tokens among `tokens`.
    pub drafts: Tokens,
    /// Its table's length before this pass; `blocks[new_from..]` of the request are new
    /// (for an admission, hits included, the whole table).
    pub new_from: u32,
    /// Blocks taken from the free supply for it, hit blocks excluded.
    pub allocated: Blocks,
}

/// One preemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// The victim.
    pub slot: Slot,
    /// The running request that needed the blocks; possibly the victim itself.
    pub by: Slot,
    /// What it could not get.
    pub refusal: Refusal,
    /// The victim's computed tokens, before they were reset.
    pub computed: Tokens,
    /// The blocks that it gave back.
    pub blocks: Blocks,
    /// Whether it had already been scheduled in this pass, and left the batch.
    pub left_batch: bool,
}
