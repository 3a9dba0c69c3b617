//! The KV cache by number: how many blocks are in use, without knowing which.
//!
//! A log has no prompt content, so nothing in it tells which requests share blocks. What it does tell
//! is how many tokens each admission found in the prefix cache. Every block that was not found
//! was taken from the free supply, so with `held` blocks in all tables, `hits` of them found and not
//! taken, between `held - hits` and `held` are in use. Without hits (and always without prefix
//! caching) both ends meet and every check is exact. Where they do not meet, a check that either
//! end decides is decided; between the ends the log is believed.
//!
//! How many are in use behind a pass is told, too. What the admissions of the log add to that is at most
//! what their rows hold, so the rest was in use before: an admission for which that left no room is
//! refused, though blocks that are shared might have left it.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::config::SchedulerConfig;
use crate::log::values::WaitingReason;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::{AllocationCheck, Refusal, Request};
use crate::units::{BlockId, Blocks, RequestId, Tokens};

/// What the log says of a request that the pass at hand admits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    /// Tokens that it found in the prefix cache.
    pub(super) hit: Tokens,
    /// Blocks that it holds behind the pass.
    pub(super) blocks: Blocks,
}

/// What the log says of the pass at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The requests that the pass admits.
    pub(super) admitted: HashMap<RequestId, Admitted, FxBuildHasher>,
    /// Blocks that those of them hold behind the pass that it has not admitted yet.
    pub(super) to_come: Blocks,
    /// Blocks that are in use behind the pass, where the rows tell who holds them.
    pub(super) used: Option<Blocks>,
    /// Requests that it preempts.
    pub(super) preempted: HashSet<RequestId, FxBuildHasher>,
    /// Of these, those behind which nobody is scheduled.
    pub(super) last: HashSet<RequestId, FxBuildHasher>,
    /// Preemptions still to come.
    pub(super) preemptions: usize,
    /// What keeps the head of the waiting queue out.
    pub(super) stop: Option<WaitingReason>,
    /// Whether it has no row that would tell.
    pub(super) stop_hidden: bool,
}

/// A cache of which only the number of used blocks is known, between two bounds.
#[derive(Clone, Debug)]
pub(super) struct CountedCache {
    config: SchedulerConfig,
    /// Blocks in all tables.
    held: u32,
    /// Blocks of them that were found in the cache, per request and together.
    hits_of: HashMap<RequestId, u32, FxBuildHasher>,
    hits: u32,
    /// The fewest and the most blocks that may be in use.
    used: (u32, u32),
    /// Blocks that the pass at hand took from the free supply.
    pub(super) taken: Blocks,
    /// The longest chain of blocks that was ever registered.
    deepest: u32,
    pub(super) told: Told,
    /// Whether the request looked up last is not admitted by the log, so that its hits are unknown.
    unknown: bool,
    /// Whether the log was believed in a choice that it may not tell fully.
    pub(super) guessed: bool,
}

impl CountedCache {
    /// An empty cache; `fresh` if nothing can be found in it yet.
    pub(super) fn new(config: SchedulerConfig, fresh: bool) -> Self {
        Self {
            config,
            held: 0,
            hits_of: HashMap::default(),
            hits: 0,
            used: (0, 0),
            taken: Blocks::ZERO,
            deepest: if fresh { 0 } else { u32::MAX },
            told: Told::default(),
            unknown: false,
            guessed: false,
        }
    }

    /// The cache of a log at a step: the tables of its requests, with as many blocks of each as may have
    /// been found, and how many are in use.
    pub(super) fn at(
        config: SchedulerConfig,
        tables: impl Iterator<Item = (RequestId, u32, u32)>,
        deepest: u32,
        used: Blocks,
    ) -> Self {
        let mut cache = Self { deepest, ..Self::new(config, false) };
        for (id, blocks, hits) in tables {
            cache.held += blocks;
            if hits > 0 {
                cache.hits += hits;
                cache.hits_of.insert(id, hits);
            }
        }
        cache.used = (used.0, used.0);
        cache.clamp();
        cache
    }

    /// The most blocks of a request that may be shared.
    pub(super) fn hits_of(&self, id: &RequestId) -> u32 {
        self.hits_of.get(id).copied().unwrap_or(0)
    }

    /// The longest chain of blocks that was ever registered.
    pub(super) fn deepest(&self) -> u32 {
        self.deepest
    }

    /// The fewest and the most blocks that may be in use.
    pub(super) fn used(&self) -> (u32, u32) {
        self.used
    }

    /// The log says how many are in use, and it may be so.
    pub(super) fn settle(&mut self, used: Blocks) {
        self.used = (used.0, used.0);
    }

    fn usable(&self) -> u32 {
        self.config.usable_blocks().0
    }

    /// The fewest and the most blocks that may be free.
    fn free_range(&self) -> (u32, u32) {
        let usable = self.usable();
        (usable.saturating_sub(self.used.1), usable.saturating_sub(self.used.0))
    }

    /// Keeps the bounds within what the tables allow.
    fn clamp(&mut self) {
        let (fewest, most) = (self.held - self.hits.min(self.held), self.held);
        self.used = (self.used.0.clamp(fewest, most), self.used.1.clamp(fewest, most));
    }

    fn take(&mut self, blocks: u32) {
        self.held += blocks;
        self.taken += Blocks(blocks);
        self.used = (self.used.0 + blocks, self.used.1 + blocks);
        self.clamp();
    }

    /// Whether between `least` and `most` blocks are to be had; `believed` decides between the
    /// bounds.
    fn decide(&mut self, (least, most): (u32, u32), believed: bool) -> bool {
        let (free_least, free_most) = self.free_range();
        if most <= free_least {
            return true;
        }
        if least > free_most {
            return false;
        }
        if believed {
            // So at least that many were free.
            self.used.1 = self.used.1.min(self.usable().saturating_sub(least));
            self.clamp();
        }
        believed
    }

    /// Before an admission, what the log says of the end of the pass: a number of used blocks that can
    /// be.
    fn look_ahead(&mut self) {
        let to_come = self.told.to_come;
        if let Some(used) = self.told.used.filter(|used| used.0 <= self.held + to_come.0) {
            let before = used.saturating_sub(to_come).0;
            self.used.0 = self.used.0.max(before.min(self.used.1));
        }
    }

    /// Why between `least` and `most` blocks are not to be had beside the watermark; the least if even they
    /// are not.
    fn refusal(
        &self,
        check: AllocationCheck,
        (least, most): (u32, u32),
        watermark: Blocks,
    ) -> Refusal {
        let (free_least, free_most) = self.free_range();
        let (needed, free) = if least.saturating_add(watermark.0) > free_most {
            (least, free_most)
        } else {
            (most, free_least)
        };
        let shared = Blocks(if self.unknown { 0 } else { most - needed });
        Refusal { check, needed: Blocks(needed), shared, watermark, free: Blocks(free) }
    }

    fn blocks(&self, tokens: Tokens) -> u32 {
        tokens.blocks_ceil(self.config.block_size).0
    }

    /// Whether the hits of the request at which admission ended are unknown.
    pub(super) fn is_head_unknown(&self) -> bool {
        self.unknown
    }

    /// The most blocks that a request may find: no chain is found that was never there, and the EAGLE
    /// family drops its last block.
    pub(super) fn most_hits(&self, request: &Request) -> u32 {
        let limit = request.total_tokens().0.saturating_sub(1) / self.config.block_size;
        limit.min(self.deepest).saturating_sub(u32::from(self.config.eagle_block_drop()))
    }

    /// Whether an admission of `new` tokens that finds `hits` blocks may fail for want of blocks where
    /// the log says how many are in use: each of the hits may have to come from the free supply.
    pub(super) fn may_refuse(
        &self,
        request: &Request,
        new: Tokens,
        hits: u32,
        others_run: bool,
        used: Blocks,
    ) -> bool {
        let watermark = self.watermark(others_run);
        let ((_, most), _) = self.needs_with(request, new, hits);
        let free = self.usable().saturating_sub(used.0.clamp(self.used.0, self.used.1));
        most.saturating_add(watermark.0) > free
    }

    /// What an admission has to leave free.
    fn watermark(&self, others_run: bool) -> Blocks {
        if others_run { self.config.watermark_blocks } else { Blocks::ZERO }
    }

    /// A number of hits of a request that the log does not admit. Any up to `limit` is possible; with
    /// all of them it may be kept out for want of room for its drafts, as the log may say.
    fn possible_hits(&self, request: &Request, limit: u32) -> u32 {
        let tokens = request.total_tokens();
        let padded = self.config.speculative.is_some()
            && tokens.0 - limit * self.config.block_size == 1
            && (self.config.enable_chunked_prefill
                || tokens <= self.config.num_speculative_tokens());
        let no_room =
            self.told.stop_hidden || self.told.stop == Some(WaitingReason::MaxNumBatchedTokens);
        if padded && no_room { limit } else { 0 }
    }

    /// The least and the most that an admission may need, and the check that needs the most.
    fn admission_needs(
        &self,
        request: &Request,
        new: Tokens,
        hits: u32,
    ) -> ((u32, u32), AllocationCheck) {
        if self.unknown {
            let lookahead = self.config.num_lookahead_tokens();
            let drafts = self.config.num_speculative_tokens();
            let reach = request.total_tokens() + lookahead + drafts;
            let most = self.blocks(reach.min(self.config.max_model_len));
            return ((1, most), AllocationCheck::FullSequence);
        }
        self.needs_with(request, new, hits)
    }

    /// The same of one that finds `hits` blocks, whether the log tells so or not.
    fn needs_with(
        &self,
        request: &Request,
        new: Tokens,
        hits: u32,
    ) -> ((u32, u32), AllocationCheck) {
        let limit = self.config.max_model_len;
        let lookahead = self.config.num_lookahead_tokens();
        let known = request.total_tokens().min(limit);
        let base = self.tokens_in(hits as usize).min(limit);
        let slots = self.blocks((base + new + lookahead).min(limit)).saturating_sub(hits);
        let full = if self.config.scheduler_reserve_full_isl {
            self.blocks(known).saturating_sub(hits)
        } else {
            0
        };
        let check =
            if full > slots { AllocationCheck::FullSequence } else { AllocationCheck::Slots };
        let least = full.max(slots);
        ((least, least + hits), check)
    }
}

impl KvCache for CountedCache {
    fn free_blocks(&self) -> Blocks {
        Blocks(self.free_range().0)
    }

    /// The most that may have been: each block that was taken may have held content.
    fn evicted(&self) -> Blocks {
        if self.config.enable_prefix_caching { self.taken } else { Blocks::ZERO }
    }

    fn tokens_in(&self, blocks: usize) -> Tokens {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        Tokens(blocks.saturating_mul(self.config.block_size))
    }

    fn lookup(&mut self, request: &mut Request, hits: &mut Vec<BlockId>) {
        hits.clear();
        if !self.config.enable_prefix_caching {
            return;
        }
        let (size, limit) = (self.config.block_size, self.most_hits(request));
        let told = self.told.admitted.get(request.id()).map(|it| it.hit);
        self.unknown = told.is_none() && limit > 0;
        let found = match told {
            Some(tokens) => (tokens.0 / size).min(limit),
            None => self.possible_hits(request, limit),
        };
        hits.resize(found as usize, BlockId::default());
    }

    fn allocate_running(&mut self, request: &mut Request, new: Tokens) -> Result<(), Refusal> {
        let reached = request.computed_tokens() + new;
        let end = (reached + self.config.num_lookahead_tokens()).min(self.config.max_model_len);
        let missing = self.blocks(end).saturating_sub(request.held_blocks().0);
        if missing > 0 {
            let (free_least, free_most) = self.free_range();
            let open = free_least < missing && missing <= free_most;
            let refused = if self.told.preempted.contains(request.id()) {
                self.told.last.contains(request.id())
            } else {
                self.told.preemptions > 0
            };
            self.guessed |= open && self.told.preemptions > 0;
            if !self.decide((missing, missing), !refused) {
                self.told.preemptions = self.told.preemptions.saturating_sub(1);
                let needs = (missing, missing);
                return Err(self.refusal(AllocationCheck::Slots, needs, Blocks::ZERO));
            }
            self.take(missing);
            request.blocks.resize(request.blocks.len() + missing as usize, BlockId::default());
        }
        self.register(request, reached);
        Ok(())
    }

    fn allocate_admission(
        &mut self,
        request: &mut Request,
        new: Tokens,
        hits: &[BlockId],
        others_run: bool,
    ) -> Result<(), Refusal> {
        let found = u32::try_from(hits.len()).unwrap_or(u32::MAX);
        let watermark = self.watermark(others_run);
        let ((least, most), check) = self.admission_needs(request, new, found);
        let bounds = (least.saturating_add(watermark.0), most.saturating_add(watermark.0));
        let believed = self.told.admitted.contains_key(request.id());
        if believed {
            self.look_ahead();
        }
        if !self.decide(bounds, believed) {
            return Err(self.refusal(check, (least, most), watermark));
        }
        if let Some(admitted) = self.told.admitted.remove(request.id()) {
            self.told.to_come = self.told.to_come.saturating_sub(admitted.blocks);
        }
        let base = self.tokens_in(hits.len()).min(self.config.max_model_len);
        let end = (base + new + self.config.num_lookahead_tokens()).min(self.config.max_model_len);
        let missing = self.blocks(end).saturating_sub(found);
        request.blocks.resize((found + missing) as usize, BlockId::default());
        request.cached_blocks = found;
        if found > 0 {
            self.hits += found;
            self.held += found;
            self.hits_of.insert(request.id().clone(), found);
            // Each of them was in use already, or leaves the free supply.
            self.used.1 += found;
            self.clamp();
        }
        self.take(missing);
        self.register(request, base + new);
        Ok(())
    }

    fn register(&mut self, request: &mut Request, computed: Tokens) {
        if !self.config.enable_prefix_caching {
            return;
        }
        let reprefillable = self.config.num_prefill_lookahead().saturating_sub(Tokens(1));
        let known = computed.min(request.total_tokens()).saturating_sub(reprefillable);
        request.cached_blocks = request.cached_blocks.max(known.0 / self.config.block_size);
        self.deepest = self.deepest.max(request.cached_blocks);
    }

    fn free(&mut self, request: &mut Request) {
        let table = request.held_blocks().0;
        let own = self.hits_of.remove(request.id()).unwrap_or(0);
        self.hits -= own;
        self.held -= table;
        // Blocks that it found with others, or others found with it, may stay in use.
        let shared = (self.hits + own).min(table);
        self.used.0 = self.used.0.saturating_sub(table);
        self.used.1 = self.used.1.saturating_sub(table - shared);
        self.clamp();
        request.blocks.clear();
        request.cached_blocks = 0;
    }
}
