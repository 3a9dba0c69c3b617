//! The reference model of vLLM 0.32's v1 scheduler, for one engine with one full-attention KV cache
//! group.
//!
//! One module stands for one mechanism, so that a change in a later vLLM is one place here:
//!
//! | module | mechanism | vLLM 0.32 |
//! |---|---|---|
//! | [`request`] | what is known of a request | `v1/request.py: Request` |
//! | [`slab`] | where requests live, when a slot is reused | `Scheduler.requests` |
//! | [`waiting`] | the waiting queue, FCFS and priority | `v1/core/sched/request_queue.py` |
//! | [`schedule`] | a pass: its budget, start and end | `Scheduler.schedule`, `_update_after_schedule` |
//! | [`running`] | the running loop | `Scheduler.schedule`, first loop |
//! | [`preemption`] | choice of a victim and its effects | `Scheduler._preempt_request` |
//! | [`admission`] | the waiting loop | `Scheduler.schedule`, second loop |
//! | [`kv_cache`] | what the rest asks of the KV cache | the methods of `KVCacheManager` |
//! | [`allocation`] | admission checks and block tables | `KVCacheManager.allocate_slots`, `free` |
//! | [`block_pool`], [`free_queue`] | blocks, their order of reuse | `BlockPool`, `FreeKVCacheBlockQueue` |
//! | `content` | the tokens of a request | `Request._all_token_ids`, `block_hashes` |
//! | [`prefix_cache`], [`hashing`] | which block holds which content | `BlockHashToBlockMap`, `hash_block_tokens` |
//! | [`speculative`] | draft tokens | `Scheduler.update_draft_token_ids` and parts of `schedule` |
//! | [`asynchronous`] | promised outputs, stale outputs | `AsyncScheduler` |
//! | [`output`] | what the model returned | `Scheduler.update_from_output`, `check_stop` |
//! | [`pass`] | what a pass decided | `SchedulerOutput` |
//! | `adopt` | an observer's scheduler follows another one's decision | nothing |
//!
//! Nothing here knows of time, logs or records. All order is explicit: no decision and no output
//! depends on the order of a hash map.

pub mod admission;
pub(crate) mod adopt;
pub mod allocation;
pub mod asynchronous;
pub mod block_pool;
mod content;
pub mod free_queue;
pub mod hashing;
pub mod kv_cache;
pub mod output;
pub mod pass;
pub mod preemption;
pub mod prefix_cache;
pub mod request;
pub mod running;
pub mod schedule;
pub mod slab;
pub mod speculative;
#[cfg(test)]
mod tests;
pub mod waiting;

pub use admission::AdmissionStop;
pub use allocation::{AllocationCheck, Refusal};
pub use output::{Finished, ModelOutput, StopTokens, Update, UpdateEntry};
pub use pass::{BatchEntry, Kind, Pass, Preemption, TokenBound};
pub use request::{FinishReason, NewRequest, Request, Status};
pub use schedule::SchedulerAssertion;
pub use slab::Slot;

use crate::config::SchedulerConfig;
use crate::scheduler::allocation::KvCacheManager;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::slab::Slab;
use crate::scheduler::waiting::WaitingQueue;
use crate::units::{BlockId, Blocks, Tokens};

/// The scheduler: its queues, its requests and its KV cache blocks.
#[derive(Clone, Debug)]
pub struct Scheduler<K = KvCacheManager> {
    config: SchedulerConfig,
    stop_tokens: StopTokens,
    requests: Slab,
    /// Requests that hold blocks and are served at every step, in order of admission.
    running: Vec<Slot>,
    waiting: WaitingQueue,
    /// Requests that finished since the last pass; the next pass hands them out.
    finished: Vec<Slot>,
    kv: K,
    /// Passes so far, empty ones included.
    step: u64,
    /// The hit blocks of the lookup at hand; kept for its capacity.
    hits: Vec<BlockId>,
}

/// A request that was aborted, as it was just before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// The request.
    pub slot: Slot,
    /// Where it was.
    pub from: Status,
    /// The blocks it held.
    pub blocks: Blocks,
}

impl Scheduler {
    /// An idle scheduler with all blocks free.
    #[must_use]
    pub fn new(config: SchedulerConfig, stop_tokens: StopTokens) -> Self {
        let kv = KvCacheManager::new(&config);
        Self::with_cache(config, stop_tokens, kv)
    }

    /// The free blocks in the order in which they would be handed out.
    pub fn free_queue(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.kv.free_queue()
    }

    /// Distinct block contents that the prefix cache can serve.
    #[must_use]
    pub fn cached_hashes(&self) -> usize {
        self.kv.cached_hashes()
    }
}

impl<K: KvCache> Scheduler<K> {
    /// An idle scheduler over a cache of which nothing is in use.
    #[must_use]
    pub fn with_cache(config: SchedulerConfig, stop_tokens: StopTokens, kv: K) -> Self {
        Self {
            stop_tokens,
            requests: Slab::default(),
            running: Vec::new(),
            waiting: WaitingQueue::new(config.policy),
            finished: Vec::new(),
            kv,
            step: 0,
            hits: Vec::new(),
            config,
        }
    }

    /// Takes a request into the waiting queue; nothing else happens until the next pass.
    /// Stands for `Scheduler.add_request`.
    ///
    /// The slot stays valid until every pass that names it has been processed and its end was handed
    /// out by a pass; after that it may name another request.
    pub fn add_request(&mut self, request: NewRequest) -> Slot {
        let slot = self.requests.insert(request);
        self.waiting.push_back(slot, &self.requests[slot]);
        slot
    }

    /// Takes a request out at once: its blocks are free for the next pass, outputs still in flight
    /// for it are dropped. `None` if it has already finished.
    /// Stands for `Scheduler.finish_requests`.
    pub fn abort(&mut self, slot: Slot) -> Option<Aborted> {
        let from = self.requests[slot].status();
        match from {
            Status::Finished(_) => return None,
            Status::Running => self.running.retain(|&other| other != slot),
            Status::Waiting | Status::Preempted => {
                self.waiting.remove(slot, &self.requests[slot]);
            }
        }
        let blocks = self.finish(slot, FinishReason::Abort);
        Some(Aborted { slot, from, blocks })
    }

    /// Releases the blocks of a request that ends now and notes its end for the next pass.
    /// Stands for `Scheduler._free_request`. The queues are the caller's.
    fn finish(&mut self, slot: Slot, reason: FinishReason) -> Blocks {
        let request = &mut self.requests[slot];
        request.status = Status::Finished(reason);
        request.pins += 1;
        let blocks = request.held_blocks();
        self.kv.free(request);
        self.finished.push(slot);
        blocks
    }

    /// Whether a pass is worth running: somebody waits or runs, or ends are still to be handed out.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty() || !self.finished.is_empty()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// A request, running, waiting, or finished and still named by a pass.
    #[must_use]
    pub fn request(&self, slot: Slot) -> &Request {
        &self.requests[slot]
    }

    /// The running queue.
    #[must_use]
    pub fn running(&self) -> &[Slot] {
        &self.running
    }

    /// The waiting queue in the order in which it would be served, preempted requests included.
    pub fn waiting(&self) -> impl Iterator<Item = Slot> + '_ {
        self.waiting.iter()
    }

    /// The length of the waiting queue, preempted requests included.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Blocks that no request holds.
    #[must_use]
    pub fn free_blocks(&self) -> Blocks {
        self.kv.free_blocks()
    }

    /// Blocks that at least one request holds.
    #[must_use]
    pub fn used_blocks(&self) -> Blocks {
        self.config.usable_blocks() - self.kv.free_blocks()
    }

    /// The KV cache.
    #[must_use]
    pub fn kv_cache(&self) -> &K {
        &self.kv
    }

    /// The KV cache, for whoever tells it more than the scheduler does.
    pub(crate) fn kv_cache_mut(&mut self) -> &mut K {
        &mut self.kv
    }

    /// Lowers the most tokens that a request may generate: its observer learnt of it late.
    pub(crate) fn lower_max_tokens(&mut self, slot: Slot, max_tokens: Tokens) {
        let request = &mut self.requests[slot];
        request.max_tokens = request.max_tokens.min(max_tokens);
    }

    /// Raises the number of output tokens at which a request ends.
    pub(crate) fn raise_max_tokens(&mut self, slot: Slot, max_tokens: Tokens) {
        let request = &mut self.requests[slot];
        request.max_tokens = request.max_tokens.max(max_tokens);
    }

    /// Drops all but the first `drafts` draft tokens attached to a request.
    pub(crate) fn keep_drafts(&mut self, slot: Slot, drafts: Tokens) {
        let request = &mut self.requests[slot];
        request.spec = request.spec.min(drafts);
    }

    /// Adds drafts to an entry of a pass that was not processed yet: its observer learnt of them late.
    pub(crate) fn add_drafts(&mut self, entry: &mut BatchEntry, more: Tokens) {
        let request = &mut self.requests[entry.slot];
        request.computed += more;
        request.in_flight += more;
        entry.tokens += more;
        entry.drafts += more;
    }

    /// Passes so far, empty ones included.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.step
    }
}
