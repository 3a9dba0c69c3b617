//! The reference's KV cache: block by block where prompts are known, by number where they are not.

use crate::conform::log::counted::CountedCache;
use crate::scheduler::allocation::KvCacheManager;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::{Refusal, Request};
use crate::units::{BlockId, Blocks, Tokens};

/// One of the two.
#[derive(Clone, Debug)]
pub(super) enum Cache {
    /// The model of vLLM's cache.
    Content(KvCacheManager),
    /// Its blocks by number.
    Counted(CountedCache),
}

macro_rules! either {
    ($own:expr, $cache:ident => $call:expr) => {
        match $own {
            Self::Content($cache) => $call,
            Self::Counted($cache) => $call,
        }
    };
}

impl Cache {
    /// The fewest and the most blocks that may be in use, of so many usable ones.
    pub(super) fn used(&self, usable: Blocks) -> (u32, u32) {
        match self {
            Self::Content(cache) => {
                let used = usable.0 - cache.free_blocks().0;
                (used, used)
            }
            Self::Counted(cache) => cache.used(),
        }
    }
}

impl KvCache for Cache {
    fn free_blocks(&self) -> Blocks {
        either!(self, cache => cache.free_blocks())
    }

    fn evicted(&self) -> Blocks {
        either!(self, cache => cache.evicted())
    }

    fn tokens_in(&self, blocks: usize) -> Tokens {
        either!(self, cache => cache.tokens_in(blocks))
    }

    fn lookup(&mut self, request: &mut Request, hits: &mut Vec<BlockId>) {
        either!(self, cache => cache.lookup(request, hits));
    }

    fn allocate_running(&mut self, request: &mut Request, new: Tokens) -> Result<(), Refusal> {
        either!(self, cache => cache.allocate_running(request, new))
    }

    fn allocate_admission(
        &mut self,
        request: &mut Request,
        new: Tokens,
        hits: &[BlockId],
        others_run: bool,
    ) -> Result<(), Refusal> {
        either!(self, cache => cache.allocate_admission(request, new, hits, others_run))
    }

    fn register(&mut self, request: &mut Request, computed: Tokens) {
        either!(self, cache => cache.register(request, computed));
    }

    fn free(&mut self, request: &mut Request) {
        either!(self, cache => cache.free(request));
    }
}
