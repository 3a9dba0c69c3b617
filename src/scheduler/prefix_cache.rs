//! Which block holds which content. Stands for `v1/core/block_pool.py: BlockHashToBlockMap` of
//! vLLM 0.32.
//!
//! Several blocks may hold the same content (two requests computed it at the same time); they are
//! kept in order of registration, threaded through the block ids, and the earliest is served.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rustc_hash::FxBuildHasher;

use crate::scheduler::hashing::BlockHash;
use crate::units::{BlockId, Blocks};

/// The blocks that hold one content, in order of registration.
#[derive(Clone, Copy, Debug)]
struct Holders {
    first: BlockId,
    last: BlockId,
}

/// The next and the previous holder of the same content; the null block ends the list.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    before: BlockId,
    after: BlockId,
}

/// The index from contents to blocks.
#[derive(Debug)]
pub struct PrefixCache {
    holders: HashMap<BlockHash, Holders, FxBuildHasher>,
    links: Vec<Link>,
}

impl PrefixCache {
    /// An empty index for this many blocks.
    #[must_use]
    pub fn new(num_gpu_blocks: Blocks) -> Self {
        Self {
            holders: HashMap::default(),
            links: vec![Link::default(); num_gpu_blocks.0.max(1) as usize],
        }
    }

    /// Distinct contents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Whether nothing is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// The earliest registered block with this content (`get_one_block`).
    #[must_use]
    pub fn get(&self, hash: BlockHash) -> Option<BlockId> {
        self.holders.get(&hash).map(|holders| holders.first)
    }

    /// Registers a block, which must not be registered (`insert`).
    pub fn insert(&mut self, hash: BlockHash, block: BlockId) {
        let mut link = Link::default();
        match self.holders.entry(hash) {
            Entry::Vacant(entry) => {
                entry.insert(Holders { first: block, last: block });
            }
            Entry::Occupied(mut entry) => {
                link.before = std::mem::replace(&mut entry.get_mut().last, block);
                self.links[link.before.0 as usize].after = block;
            }
        }
        self.links[block.0 as usize] = link;
    }

    /// Forgets what a block holds (`pop`).
    pub fn remove(&mut self, hash: BlockHash, block: BlockId) {
        let Entry::Occupied(mut entry) = self.holders.entry(hash) else {
            debug_assert!(false, "a hashed block is in the index");
            return;
        };
        let null = BlockId::default();
        let Link { before, after } = self.links[block.0 as usize];
        match (before == null, after == null) {
            (true, true) => {
                entry.remove();
            }
            (true, false) => {
                entry.get_mut().first = after;
                self.links[after.0 as usize].before = null;
            }
            (false, true) => {
                entry.get_mut().last = before;
                self.links[before.0 as usize].after = null;
            }
            (false, false) => {
                self.links[before.0 as usize].after = after;
                self.links[after.0 as usize].before = before;
            }
        }
    }
}
