//! What the scheduler asks of the KV cache: how much is free, what a request would hit, and blocks.
//!
//! The queues and budgets do not care how blocks are accounted for. [`KvCacheManager`] is the model of
//! vLLM's cache, block by block; whoever knows less than the content of every prompt (a reader of a
//! log) can account for blocks by number instead.
//!
//! [`KvCacheManager`]: crate::scheduler::allocation::KvCacheManager

use crate::scheduler::allocation::Refusal;
use crate::scheduler::request::Request;
use crate::units::{BlockId, Blocks, Tokens};

/// The KV cache of one engine, as the scheduler sees it.
pub trait KvCache {
    /// Blocks that no request holds.
    fn free_blocks(&self) -> Blocks;

    /// Blocks whose cached content was dropped so far.
    fn evicted(&self) -> Blocks;

    /// Tokens in so many blocks.
    fn tokens_in(&self, blocks: usize) -> Tokens;

    /// Finds the cached blocks that a waiting request starts with; changes nothing
    /// (`get_computed_blocks`). At least the last token is always left to compute.
    fn lookup(&mut self, request: &mut Request, hits: &mut Vec<BlockId>);

    /// Extends the table of a running request to `new` more tokens.
    ///
    /// # Errors
    /// Says what is missing; a refusal changes nothing.
    fn allocate_running(&mut self, request: &mut Request, new: Tokens) -> Result<(), Refusal>;

    /// Gives a waiting request its table: the hit blocks, and new ones for `new` tokens more.
    ///
    /// # Errors
    /// Says which check refused it; a refusal changes nothing.
    fn allocate_admission(
        &mut self,
        request: &mut Request,
        new: Tokens,
        hits: &[BlockId],
        others_run: bool,
    ) -> Result<(), Refusal>;

    /// Registers the blocks that `computed` tokens fill, as far as the tokens are known: drafts and
    /// promised outputs never are (`cache_blocks`). The KV itself may still be about to be
    /// computed by the batch being built.
    fn register(&mut self, request: &mut Request, computed: Tokens);

    /// Takes all blocks from a request (`free`).
    fn free(&mut self, request: &mut Request);
}
