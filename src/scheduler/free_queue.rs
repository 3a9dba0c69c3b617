//! The order in which free blocks are handed out. Stands for
//! `v1/core/kv_cache_utils.py: FreeKVCacheBlockQueue` of vLLM 0.32.
//!
//! A doubly linked list threaded through the block ids: a prefix hit takes a block out of the
//! middle in constant time. The null block, which is never free, closes the ring.

use crate::units::{BlockId, Blocks};

/// The null block, and the two ends of the queue.
pub const NULL_BLOCK: BlockId = BlockId(0);

#[derive(Clone, Copy, Debug)]
struct Link {
    before: BlockId,
    after: BlockId,
}

/// Free blocks, next to be handed out first.
#[derive(Clone, Debug)]
pub struct FreeQueue {
    links: Vec<Link>,
    len: u32,
}

impl FreeQueue {
    /// All blocks but the null block, in the order of their ids.
    #[must_use]
    pub fn new(num_gpu_blocks: Blocks) -> Self {
        let count = num_gpu_blocks.0.max(1);
        let links = (0..count)
            .map(|id| Link {
                before: BlockId(if id == 0 { count - 1 } else { id - 1 }),
                after: BlockId(if id + 1 == count { 0 } else { id + 1 }),
            })
            .collect();
        Self { links, len: count - 1 }
    }

    /// How many blocks are free.
    #[must_use]
    pub fn len(&self) -> Blocks {
        Blocks(self.len)
    }

    /// Whether no block is free.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next block (`popleft`); `None` if there is none.
    pub fn pop_front(&mut self) -> Option<BlockId> {
        let block = self.links[0].after;
        if block == NULL_BLOCK {
            return None;
        }
        self.remove(block);
        Some(block)
    }

    /// Takes a free block out from wherever it is (`remove`).
    pub fn remove(&mut self, block: BlockId) {
        let Link { before, after } = self.links[block.0 as usize];
        self.links[before.0 as usize].after = after;
        self.links[after.0 as usize].before = before;
        self.len -= 1;
    }

    /// Puts a block behind another free one, or in front of all behind [`NULL_BLOCK`]
    /// (`prepend_n` is a series of these).
    pub fn insert_after(&mut self, before: BlockId, block: BlockId) {
        let after = self.links[before.0 as usize].after;
        self.links[block.0 as usize] = Link { before, after };
        self.links[before.0 as usize].after = block;
        self.links[after.0 as usize].before = block;
        self.len += 1;
    }

    /// Puts a block at the back (`append`).
    pub fn push_back(&mut self, block: BlockId) {
        self.insert_after(self.links[0].before, block);
    }

    /// The free blocks, next to be handed out first.
    pub fn iter(&self) -> impl Iterator<Item = BlockId> + '_ {
        let mut at = NULL_BLOCK;
        std::iter::from_fn(move || {
            at = self.links[at.0 as usize].after;
            (at != NULL_BLOCK).then_some(at)
        })
    }
}
