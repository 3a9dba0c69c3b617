//! What the scheduler knows of a request. Stands for `v1/request.py: Request` and the scheduler's
//! per-request tables (`req_to_blocks`, `num_cached_block`) of vLLM 0.32.

use crate::scheduler::content::Content;
use crate::units::{BlockId, Blocks, Nanos, Priority, RequestId, TokenId, TokenRun, Tokens};

/// A request as a client hands it in.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRequest {
    /// Its name; the priority queue's last tie-break.
    pub id: RequestId,
    /// Its content, as maximal runs of consecutive tokens (see [`push_run`](crate::units::push_run)).
    pub prompt: Vec<TokenRun>,
    /// The most tokens it may generate.
    pub max_tokens: Tokens,
    /// Lower is served first; only the priority policy looks at it.
    pub priority: Priority,
    /// The client's clock; only its order counts, and only under the priority policy.
    pub arrival_time: Nanos,
    /// Requests share cached blocks only if their salts are equal; empty is none.
    pub cache_salt: Option<String>,
    /// Whether it never takes blocks from the prefix cache (it still feeds it).
    pub skip_reading_prefix_cache: bool,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In the waiting queue, never admitted so far.
    Waiting,
    /// In the running queue.
    Running,
    /// Back in the waiting queue after it had run.
    Preempted,
    /// Gone from the queues.
    Finished(FinishReason),
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FinishReason {
    /// It generated the end-of-sequence token or a stop token.
    Stop,
    /// It reached `max_tokens` or `max_model_len`.
    Length,
    /// The client gave up.
    Abort,
}

impl FinishReason {
    /// The name in logs and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
        }
    }
}

/// A request inside the scheduler.
///
/// A step touches every running request several times, so what it reads and writes of one that decodes
/// fills the first cache line, and the end of its content the second. All in all it is an odd number of
/// lines, so that the first ones are spread over the whole of a cache.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Request {
    /// `num_computed_tokens`: tokens whose KV is computed or scheduled, drafts included until they
    /// are rejected. Moves when a pass ends, not when the model returns.
    pub(crate) computed: Tokens,
    /// Prompt and accepted output together.
    pub(crate) len: Tokens,
    /// The prompt's part of `len`.
    pub(crate) prompt_len: Tokens,
    pub(crate) max_tokens: Tokens,
    /// Draft tokens attached for the next verification.
    pub(crate) spec: Tokens,
    /// `num_output_placeholders`: outputs promised by batches in flight (asynchronous only).
    pub(crate) placeholders: Tokens,
    /// Tokens scheduled in batches that are not processed yet.
    pub(crate) in_flight: Tokens,
    /// The part of `in_flight` that was scheduled before the last preemption.
    pub(crate) stale: Tokens,
    pub(crate) blocks: Vec<BlockId>,
    /// Leading blocks that are registered in the prefix cache.
    pub(crate) cached_blocks: u32,
    /// Passes and lists that still name this request; its slot is not reused before they are gone.
    /// There are no more than batches in flight, and a few.
    pub(crate) pins: u16,
    pub(crate) status: Status,
    /// `is_prefill_chunk`: whether the last pass that scheduled it left known tokens uncomputed.
    pub(crate) prefilling: bool,
    pub(crate) content: Content,
    pub(crate) priority: Priority,
    pub(crate) arrival_time: Nanos,
    pub(crate) id: RequestId,
    pub(crate) preemptions: u32,
    pub(crate) skip_reading_prefix_cache: bool,
}

const _: () = assert!(size_of::<Request>() == 192, "an odd number of cache lines");

impl Request {
    /// The request at its arrival.
    #[must_use]
    pub fn new(new: NewRequest) -> Self {
        let prompt_len = new.prompt.iter().map(|run| run.len).sum();
        Self {
            computed: Tokens::ZERO,
            len: prompt_len,
            prompt_len,
            max_tokens: new.max_tokens,
            spec: Tokens::ZERO,
            placeholders: Tokens::ZERO,
            in_flight: Tokens::ZERO,
            stale: Tokens::ZERO,
            status: Status::Waiting,
            prefilling: false,
            skip_reading_prefix_cache: new.skip_reading_prefix_cache,
            cached_blocks: 0,
            pins: 0,
            preemptions: 0,
            blocks: Vec::new(),
            content: Content::new(new.prompt, new.cache_salt.as_deref().unwrap_or_default()),
            priority: new.priority,
            arrival_time: new.arrival_time,
            id: new.id,
        }
    }

    #[inline]
    pub(crate) fn append_output(&mut self, token: TokenId) {
        self.content.push(token);
        self.len += Tokens(1);
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether it has left the queues for good.
    #[must_use]
    #[inline]
    pub fn is_finished(&self) -> bool {
        matches!(self.status, Status::Finished(_))
    }

    /// The length of the prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> Tokens {
        self.prompt_len
    }

    /// Output tokens accepted so far; they survive preemption.
    #[must_use]
    pub fn output_tokens(&self) -> Tokens {
        self.len - self.prompt_len
    }

    /// Prompt and accepted output tokens together.
    #[must_use]
    pub fn total_tokens(&self) -> Tokens {
        self.len
    }

    /// The most tokens it may generate.
    #[must_use]
    pub fn max_tokens(&self) -> Tokens {
        self.max_tokens
    }

    /// Tokens whose KV is computed or scheduled (`num_computed_tokens`).
    #[must_use]
    pub fn computed_tokens(&self) -> Tokens {
        self.computed
    }

    /// Draft tokens attached for the next pass.
    #[must_use]
    pub fn draft_tokens(&self) -> Tokens {
        self.spec
    }

    /// Outputs promised by batches in flight (`num_output_placeholders`).
    #[must_use]
    pub fn output_placeholders(&self) -> Tokens {
        self.placeholders
    }

    /// Whether output that predates its last preemption is still in flight.
    #[must_use]
    pub fn has_stale_output(&self) -> bool {
        self.stale > Tokens::ZERO
    }

    /// Its block table.
    #[must_use]
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The length of its block table.
    #[must_use]
    #[inline]
    pub fn held_blocks(&self) -> Blocks {
        // A table has no more blocks than there are, which is a u32.
        Blocks(self.blocks.len() as u32)
    }

    /// How often it was preempted.
    #[must_use]
    pub fn preemptions(&self) -> u32 {
        self.preemptions
    }

    /// Its priority as given; FCFS ignores it.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Its arrival on the client's clock, as given.
    #[must_use]
    pub fn arrival_time(&self) -> Nanos {
        self.arrival_time
    }
}
