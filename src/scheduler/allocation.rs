//! Block tables: what an allocation needs, whether it may have it, and what it publishes. Stands for
//! `v1/core/kv_cache_manager.py: KVCacheManager.get_computed_blocks`, `allocate_slots`, `free` and
//! `cache_blocks` of vLLM 0.32, with one full-attention group.

use crate::config::SchedulerConfig;
use crate::scheduler::block_pool::BlockPool;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::request::Request;
use crate::units::{BlockId, Blocks, Tokens};

/// Which of the two checks of an admission refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocationCheck {
    /// `scheduler_reserve_full_isl`: all known tokens of the request must fit.
    FullSequence,
    /// The slots of the tokens scheduled now, look-ahead included, must fit.
    Slots,
}

/// A refused allocation, with the numbers that decided it: `needed + watermark > free`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The check that failed.
    pub check: AllocationCheck,
    /// Blocks that would leave the free queue, hit blocks that lie in it included.
    pub needed: Blocks,
    /// Blocks that it needs beside those: it found them in use by others.
    pub shared: Blocks,
    /// Blocks that an admission must leave free; zero where the watermark does not apply.
    pub watermark: Blocks,
    /// Free blocks.
    pub free: Blocks,
}

impl Refusal {
    /// Whether it would have fitted but for the watermark.
    #[must_use]
    pub fn watermark_binds(&self) -> bool {
        self.needed <= self.free
    }
}

/// The KV cache of one engine.
#[derive(Clone, Debug)]
pub struct KvCacheManager {
    pool: BlockPool,
    block_size: u32,
    max_model_len: Tokens,
    lookahead: Tokens,
    caching: bool,
    eagle_block_drop: bool,
    reserve_full_sequence: bool,
    watermark: Blocks,
    /// Trailing tokens that multi-module MTP may compute again, which are therefore not published.
    reprefillable: Tokens,
    scratch: Vec<u8>,
}

impl KvCacheManager {
    /// An empty cache.
    #[must_use]
    pub fn new(config: &SchedulerConfig) -> Self {
        Self {
            pool: BlockPool::new(config.num_gpu_blocks),
            block_size: config.block_size,
            max_model_len: config.max_model_len,
            lookahead: config.num_lookahead_tokens(),
            caching: config.enable_prefix_caching,
            eagle_block_drop: config.eagle_block_drop(),
            reserve_full_sequence: config.scheduler_reserve_full_isl,
            watermark: config.watermark_blocks,
            reprefillable: config.num_prefill_lookahead().saturating_sub(Tokens(1)),
            scratch: Vec::new(),
        }
    }

    /// The free blocks, next to be handed out first.
    pub fn free_queue(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.pool.free().iter()
    }

    /// Distinct cached contents.
    #[must_use]
    pub fn cached_hashes(&self) -> usize {
        self.pool.cache().len()
    }

    /// Whether so many blocks have room for `tokens`.
    #[inline]
    fn hold(&self, blocks: Blocks, tokens: Tokens) -> bool {
        u64::from(tokens.0) <= u64::from(blocks.0) * u64::from(self.block_size)
    }

    /// Whether `filled` tokens fill more blocks of a request than are registered.
    #[inline]
    fn fill_more(&self, request: &Request, filled: Tokens) -> bool {
        (u64::from(request.cached_blocks) + 1) * u64::from(self.block_size) <= u64::from(filled.0)
    }

    /// Takes the blocks that a running request lacks for its first `end` tokens.
    #[inline(never)]
    fn extend(&mut self, request: &mut Request, end: Tokens) -> Result<(), Refusal> {
        let missing = end.blocks_ceil(self.block_size) - request.held_blocks();
        self.check(AllocationCheck::Slots, missing, Blocks::ZERO, Blocks::ZERO)?;
        self.pool.take(missing, &mut request.blocks);
        Ok(())
    }

    /// Registers the blocks within the first `filled` tokens that are not registered yet.
    #[inline(never)]
    fn register_filled(&mut self, request: &mut Request, filled: Tokens) {
        while self.fill_more(request, filled) {
            let index = request.cached_blocks as usize;
            let hash = request.content.hash(index, self.block_size, &mut self.scratch);
            self.pool.register(request.blocks[index], hash);
            request.cached_blocks += 1;
        }
    }

    fn check(
        &self,
        check: AllocationCheck,
        needed: Blocks,
        shared: Blocks,
        watermark: Blocks,
    ) -> Result<(), Refusal> {
        let free = self.free_blocks();
        if needed.saturating_add(watermark) > free {
            return Err(Refusal { check, needed, shared, watermark, free });
        }
        Ok(())
    }
}

impl KvCache for KvCacheManager {
    fn free_blocks(&self) -> Blocks {
        self.pool.free().len()
    }

    fn evicted(&self) -> Blocks {
        self.pool.evicted()
    }

    #[inline]
    fn tokens_in(&self, blocks: usize) -> Tokens {
        Tokens(u32::try_from(blocks).unwrap_or(u32::MAX).saturating_mul(self.block_size))
    }

    fn lookup(&mut self, request: &mut Request, hits: &mut Vec<BlockId>) {
        hits.clear();
        if !self.caching || request.skip_reading_prefix_cache {
            return;
        }
        let limit = request.len.0.saturating_sub(1) / self.block_size;
        for index in 0..limit as usize {
            let hash = request.content.hash(index, self.block_size, &mut self.scratch);
            match self.pool.cache().get(hash) {
                Some(block) => hits.push(block),
                None => break,
            }
        }
        if self.eagle_block_drop {
            hits.pop();
        }
    }

    #[inline]
    fn allocate_running(&mut self, request: &mut Request, new: Tokens) -> Result<(), Refusal> {
        let reached = request.computed + new;
        let end = (reached + self.lookahead).min(self.max_model_len);
        if !self.hold(request.held_blocks(), end) {
            self.extend(request, end)?;
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
        let watermark = if others_run { self.watermark } else { Blocks::ZERO };
        let free_hits = hits.iter().filter(|&&block| self.pool.is_free(block)).count();
        let shared = count(hits.len() - free_hits);
        let base = self.tokens_in(hits.len());
        let known = request.len.min(self.max_model_len);
        let reached = base.min(self.max_model_len) + new;
        let end = (reached + self.lookahead).min(self.max_model_len);
        let beyond_hits =
            |tokens: Tokens| tokens.blocks_ceil(self.block_size).saturating_sub(count(hits.len()));
        if self.reserve_full_sequence {
            let needed = beyond_hits(known) + count(free_hits);
            self.check(AllocationCheck::FullSequence, needed, shared, watermark)?;
        }
        let missing = beyond_hits(end);
        self.check(AllocationCheck::Slots, missing + count(free_hits), shared, watermark)?;
        for &block in hits {
            self.pool.touch(block);
        }
        request.blocks.extend_from_slice(hits);
        request.cached_blocks = count(hits.len()).0;
        self.pool.take(missing, &mut request.blocks);
        self.register(request, reached);
        Ok(())
    }

    #[inline]
    fn register(&mut self, request: &mut Request, computed: Tokens) {
        let filled = computed.min(request.len).saturating_sub(self.reprefillable);
        if self.caching && self.fill_more(request, filled) {
            self.register_filled(request, filled);
        }
    }

    fn free(&mut self, request: &mut Request) {
        self.pool.release(&request.blocks);
        request.blocks.clear();
        request.cached_blocks = 0;
    }
}

fn count(blocks: usize) -> Blocks {
    Blocks(u32::try_from(blocks).unwrap_or(u32::MAX))
}
