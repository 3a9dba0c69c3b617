//! Blocks and who holds them. Stands for `v1/core/block_pool.py: BlockPool` of vLLM 0.32.

use crate::scheduler::free_queue::{FreeQueue, NULL_BLOCK};
use crate::scheduler::hashing::BlockHash;
use crate::scheduler::prefix_cache::PrefixCache;
use crate::units::{BlockId, Blocks};

/// All blocks, their free queue and the prefix index.
#[derive(Clone, Debug)]
pub struct BlockPool {
    /// By block: how many requests hold it. It is in the free queue exactly while none does.
    holders: Vec<u32>,
    free: FreeQueue,
    cache: PrefixCache,
    /// Blocks whose cached content was dropped so far.
    evicted: Blocks,
}

impl BlockPool {
    /// All blocks free and empty.
    #[must_use]
    pub fn new(num_gpu_blocks: Blocks) -> Self {
        Self {
            holders: vec![0; num_gpu_blocks.0.max(1) as usize],
            free: FreeQueue::new(num_gpu_blocks),
            cache: PrefixCache::new(num_gpu_blocks),
            evicted: Blocks::ZERO,
        }
    }

    /// The free queue.
    #[must_use]
    pub fn free(&self) -> &FreeQueue {
        &self.free
    }

    /// The prefix index.
    #[must_use]
    pub fn cache(&self) -> &PrefixCache {
        &self.cache
    }

    /// Blocks whose cached content was dropped so far.
    #[must_use]
    pub fn evicted(&self) -> Blocks {
        self.evicted
    }

    /// Whether nobody holds the block.
    #[must_use]
    pub fn is_free(&self, block: BlockId) -> bool {
        self.holders[block.0 as usize] == 0
    }

    /// Hands out the next `count` free blocks, dropping what they held (`get_new_blocks`,
    /// `_maybe_evict_cached_block`). The caller has checked that there are as many.
    pub fn take(&mut self, count: Blocks, table: &mut Vec<BlockId>) {
        for _ in 0..count.0 {
            let Some(id) = self.free.pop_front() else {
                debug_assert!(false, "blocks were taken without a check");
                return;
            };
            self.holders[id.0 as usize] = 1;
            if self.cache.remove(id) {
                self.evicted += Blocks(1);
            }
            table.push(id);
        }
    }

    /// Adds a holder to a cached block, taking it out of the free queue if need be (`touch`).
    pub fn touch(&mut self, id: BlockId) {
        let holders = &mut self.holders[id.0 as usize];
        if *holders == 0 {
            self.free.remove(id);
        }
        *holders += 1;
    }

    /// Takes the blocks of a table from their holder, last block first (`free_blocks`).
    ///
    /// Blocks with nothing to remember go to the front as a group, so that they are reused first;
    /// cached ones to the back, so that the least recently released is evicted first.
    pub fn release(&mut self, table: &[BlockId]) {
        let mut front = NULL_BLOCK;
        for &id in table.iter().rev() {
            let holders = &mut self.holders[id.0 as usize];
            *holders -= 1;
            if *holders > 0 {
                continue;
            }
            if self.cache.is_registered(id) {
                self.free.push_back(id);
            } else {
                self.free.insert_after(front, id);
                front = id;
            }
        }
    }

    /// Notes what a held block holds (`cache_full_blocks`).
    pub fn register(&mut self, id: BlockId, hash: BlockHash) {
        debug_assert!(!self.cache.is_registered(id), "a block is registered once");
        self.cache.insert(hash, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_puts_unhashed_in_front_and_hashed_behind_tail_first() {
        let mut pool = BlockPool::new(Blocks(8));
        let (mut first, mut table) = (Vec::new(), Vec::new());
        pool.take(Blocks(3), &mut first);
        pool.register(BlockId(3), BlockHash(3));
        pool.take(Blocks(3), &mut table);
        assert_eq!(table, [4, 5, 6].map(BlockId));
        pool.release(&[BlockId(3)]);
        pool.register(BlockId(4), BlockHash(4));
        pool.register(BlockId(5), BlockHash(5));
        pool.release(&table);
        let order: Vec<_> = pool.free().iter().map(|id| id.0).collect();
        assert_eq!(order, [6, 7, 3, 5, 4]);
    }

    #[test]
    fn the_earliest_registered_of_equal_blocks_is_served() {
        let mut pool = BlockPool::new(Blocks(4));
        let mut table = Vec::new();
        pool.take(Blocks(3), &mut table);
        for id in [2, 1, 3] {
            pool.register(BlockId(id), BlockHash(7));
        }
        assert_eq!(pool.cache().get(BlockHash(7)), Some(BlockId(2)));
        assert_eq!(pool.cache().len(), 1);
        pool.release(&[BlockId(2)]);
        pool.take(Blocks(1), &mut table);
        assert_eq!(table.last(), Some(&BlockId(2)));
        assert_eq!(pool.evicted(), Blocks(1));
        assert_eq!(pool.cache().get(BlockHash(7)), Some(BlockId(1)));
    }

    #[test]
    fn a_touched_block_leaves_the_free_queue_with_its_content() {
        let mut pool = BlockPool::new(Blocks(4));
        let mut table = Vec::new();
        pool.take(Blocks(2), &mut table);
        pool.register(BlockId(1), BlockHash(1));
        pool.release(&table);
        assert!(pool.is_free(BlockId(1)));
        pool.touch(BlockId(1));
        assert_eq!(pool.free().iter().map(|id| id.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(pool.cache().get(BlockHash(1)), Some(BlockId(1)));
    }
}
