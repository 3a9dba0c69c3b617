//! The content of blocks as chained hashes. Stands for `v1/core/kv_cache_utils.py:
//! hash_block_tokens` and `get_request_block_hasher` of vLLM 0.32.
//!
//! Only equality of contents decides anything, so the hash function is free to differ: 128-bit xxh3
//! over the previous hash and the block's maximal token runs. The runs of a block are determined by
//! its tokens alone. vLLM hashes a block as soon as its tokens are known; here a block is hashed
//! when a lookup or a registration first asks, which decides the same.

use xxhash_rust::xxh3::xxh3_128;

use crate::units::{TokenRun, Tokens};

/// The content of a block and of all blocks before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockHash(pub u128);

/// The hashes of a request's full blocks, as far as somebody asked.
#[derive(Clone, Debug)]
pub struct HashChain {
    /// What the chain starts from, the salt, which thereby separates all blocks; then the blocks.
    hashes: Vec<BlockHash>,
    /// The run, and the position in it, at which the next block starts.
    run: u32,
    offset: Tokens,
}

impl HashChain {
    /// The empty chain of a request; an empty salt is none.
    #[must_use]
    pub fn new(salt: &str) -> Self {
        let root = BlockHash(xxh3_128(salt.as_bytes()));
        Self { hashes: vec![root], run: 0, offset: Tokens::ZERO }
    }

    /// Takes over the buffer of a chain that is no longer needed.
    pub(crate) fn reuse_buffer(&mut self, old: &mut Self) {
        old.hashes.clear();
        old.hashes.append(&mut self.hashes);
        self.hashes = std::mem::take(&mut old.hashes);
    }

    /// The hash of block `index`, which must be full in `tokens`. Earlier blocks must not have
    /// changed since they were hashed (a request's tokens are only ever appended).
    pub fn get(
        &mut self,
        index: usize,
        tokens: &[TokenRun],
        block_size: u32,
        scratch: &mut Vec<u8>,
    ) -> BlockHash {
        while self.hashes.len() <= index + 1 {
            let hash = self.next(tokens, block_size, scratch);
            self.hashes.push(hash);
        }
        self.hashes[index + 1]
    }

    fn next(&mut self, tokens: &[TokenRun], block_size: u32, scratch: &mut Vec<u8>) -> BlockHash {
        scratch.clear();
        if let Some(parent) = self.hashes.last() {
            scratch.extend_from_slice(&parent.0.to_le_bytes());
        }
        let mut missing = Tokens(block_size);
        while missing > Tokens::ZERO {
            let Some(run) = tokens.get(self.run as usize) else {
                debug_assert!(false, "a block was hashed before it was full");
                break;
            };
            let taken = missing.min(run.len - self.offset);
            if taken > Tokens::ZERO {
                let first = run.first.0 + u64::from(self.offset.0);
                scratch.extend_from_slice(&first.to_le_bytes());
                scratch.extend_from_slice(&taken.0.to_le_bytes());
            }
            missing -= taken;
            self.offset += taken;
            // The last run may still grow, so it is left only when a later block needs more.
            if self.offset == run.len && missing > Tokens::ZERO {
                self.run += 1;
                self.offset = Tokens::ZERO;
            }
        }
        BlockHash(xxh3_128(scratch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{TokenId, push_run};

    fn runs(pieces: &[(u64, u32)]) -> Vec<TokenRun> {
        let mut runs = Vec::new();
        for &(first, len) in pieces {
            push_run(&mut runs, TokenRun { first: TokenId(first), len: Tokens(len) });
        }
        runs
    }

    fn hashes(tokens: &[TokenRun], salt: &str) -> Vec<BlockHash> {
        let mut chain = HashChain::new(salt);
        let full = tokens.iter().map(|run| run.len.0).sum::<u32>() / 4;
        (0..full as usize).map(|index| chain.get(index, tokens, 4, &mut Vec::new())).collect()
    }

    #[test]
    fn equal_tokens_have_equal_hashes_however_they_arrived() {
        let whole = runs(&[(0, 6), (100, 6)]);
        let mut grown = runs(&[(0, 4)]);
        let mut chain = HashChain::new("");
        let mut seen = vec![chain.get(0, &grown, 4, &mut Vec::new())];
        for token in [4, 5, 100, 101, 102, 103, 104, 105] {
            push_run(&mut grown, TokenRun { first: TokenId(token), len: Tokens(1) });
        }
        seen.extend([1, 2].map(|index| chain.get(index, &grown, 4, &mut Vec::new())));
        assert_eq!(seen, hashes(&whole, ""));
    }

    #[test]
    fn a_block_stands_for_all_tokens_before_it_and_the_salt() {
        let base = hashes(&runs(&[(0, 12)]), "");
        let other_start = hashes(&runs(&[(50, 4), (4, 8)]), "");
        assert!(base.iter().zip(&other_start).all(|(a, b)| a != b));
        let salted = hashes(&runs(&[(0, 12)]), "a");
        assert!(base.iter().zip(&salted).all(|(a, b)| a != b));
    }
}
