//! Which block holds which content. Stands for `v1/core/block_pool.py: BlockHashToBlockMap` of
//! vLLM 0.32.
//!
//! Several blocks may hold the same content (two requests computed it at the same time); they are
//! kept in order of registration, threaded through the block ids, and the earliest is served.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::scheduler::free_queue::NULL_BLOCK;
use crate::scheduler::hashing::BlockHash;
use crate::units::{BlockId, Blocks};

/// The place of a block among those that hold the same.
#[derive(Clone, Copy, Debug)]
struct Holder {
    /// The lower half of the hash of what it holds.
    hash: u64,
    /// The block registered before; for the first one, the last, so that one that is alone is its own.
    /// The null block stands where the block is not registered.
    before: BlockId,
    /// The block registered after; the null block ends the list.
    after: BlockId,
}

const NONE: Holder = Holder { hash: 0, before: NULL_BLOCK, after: NULL_BLOCK };

/// The index from contents to blocks.
///
/// It holds block ids alone, and finds their contents in tables by block: it is a fifth as large as one of
/// contents and blocks, and only the id is compared where a block is taken out.
#[derive(Clone, Debug)]
pub struct PrefixCache {
    /// The first block of every content.
    firsts: HashTable<BlockId>,
    holders: Vec<Holder>,
    /// The upper half of the hash of what a block holds; apart, as only a find looks at it.
    upper: Vec<u64>,
}

impl PrefixCache {
    /// An empty index for this many blocks.
    #[must_use]
    pub fn new(num_gpu_blocks: Blocks) -> Self {
        let blocks = num_gpu_blocks.0.max(1) as usize;
        Self { firsts: HashTable::new(), holders: vec![NONE; blocks], upper: vec![0; blocks] }
    }

    /// Distinct contents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Whether nothing is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.firsts.is_empty()
    }

    /// The earliest registered block with this content (`get_one_block`).
    #[must_use]
    pub fn get(&self, hash: BlockHash) -> Option<BlockId> {
        let (lower, upper) = halves(hash);
        self.find(lower, upper)
    }

    fn find(&self, lower: u64, upper: u64) -> Option<BlockId> {
        let same = |&first: &BlockId| {
            let at = first.0 as usize;
            self.holders[at].hash == lower && self.upper[at] == upper
        };
        self.firsts.find(lower, same).copied()
    }

    /// Whether the index knows what the block holds.
    #[must_use]
    pub fn is_registered(&self, block: BlockId) -> bool {
        self.holders[block.0 as usize].before != NULL_BLOCK
    }

    /// Registers a block, which must not be registered (`insert`).
    pub fn insert(&mut self, hash: BlockHash, block: BlockId) {
        let (lower, upper) = halves(hash);
        let holders = &mut self.holders;
        let same = |&first: &BlockId| {
            let at = first.0 as usize;
            holders[at].hash == lower && self.upper[at] == upper
        };
        let mut before = block;
        match self.firsts.entry(lower, same, |&first| holders[first.0 as usize].hash) {
            Entry::Vacant(entry) => {
                entry.insert(block);
            }
            Entry::Occupied(entry) => {
                let first = &mut holders[entry.get().0 as usize];
                before = std::mem::replace(&mut first.before, block);
                holders[before.0 as usize].after = block;
            }
        }
        holders[block.0 as usize] = Holder { hash: lower, before, after: NULL_BLOCK };
        self.upper[block.0 as usize] = upper;
    }

    /// Forgets what a block holds (`pop`). False if it was not registered.
    pub fn remove(&mut self, block: BlockId) -> bool {
        let Holder { hash, before, after } =
            std::mem::replace(&mut self.holders[block.0 as usize], NONE);
        if before == NULL_BLOCK {
            return false;
        }
        if before == block {
            if let Ok(entry) = self.firsts.find_entry(hash, |&first| first == block) {
                entry.remove();
            }
        } else if self.holders[before.0 as usize].after == NULL_BLOCK {
            // The last comes before it, so it is the first.
            if let Some(first) = self.firsts.find_mut(hash, |&first| first == block) {
                *first = after;
            }
            self.holders[after.0 as usize].before = before;
        } else {
            self.holders[before.0 as usize].after = after;
            let follower = if after == NULL_BLOCK {
                self.find(hash, self.upper[block.0 as usize]).unwrap_or(before)
            } else {
                after
            };
            self.holders[follower.0 as usize].before = before;
        }
        true
    }
}

/// The lower and the upper half of a hash. Each of its bits is as good as random, so half of it is a hash
/// of the whole.
fn halves(hash: BlockHash) -> (u64, u64) {
    (hash.0 as u64, (hash.0 >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks that hold one of three contents come and go; the index is held to a plain list.
    #[test]
    fn the_earliest_holder_is_served_whoever_leaves() {
        let hash_of = |block: u32| BlockHash(u128::from(block % 3) << 64 | 7);
        let mut cache = PrefixCache::new(Blocks(13));
        let mut registered: Vec<u32> = Vec::new();
        let mut state = 1_u32;
        for _ in 0..4000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let block = 1 + (state >> 16) % 12;
            let listed = registered.iter().position(|&other| other == block);
            assert_eq!(cache.is_registered(BlockId(block)), listed.is_some());
            assert_eq!(cache.remove(BlockId(block)), listed.is_some());
            match listed {
                Some(at) => {
                    registered.remove(at);
                }
                None => {
                    cache.insert(hash_of(block), BlockId(block));
                    registered.push(block);
                }
            }
            for content in 0..3 {
                let first = registered.iter().find(|&&other| other % 3 == content);
                assert_eq!(cache.get(hash_of(content)), first.map(|&block| BlockId(block)));
            }
            assert_eq!(cache.is_empty(), registered.is_empty());
        }
    }
}
