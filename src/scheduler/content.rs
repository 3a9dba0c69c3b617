//! What a request consists of: its tokens, and the hashes of the blocks that they fill.

use crate::scheduler::hashing::{BlockHash, HashChain};
use crate::units::{TokenId, TokenRun, Tokens};

/// The tokens of a request and their hashes.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Content {
    /// The token that would continue the last run. That run's length in `runs` is brought up to date
    /// when somebody reads it, so that a token that continues it changes this number alone.
    next: TokenId,
    /// Maximal runs of consecutive tokens, at least one.
    runs: Vec<TokenRun>,
    hashes: HashChain,
}

impl Content {
    /// The content of a prompt; an empty salt is none.
    pub(crate) fn new(mut prompt: Vec<TokenRun>, salt: &str) -> Self {
        let last = match prompt.last() {
            Some(&run) => run,
            None => {
                let empty = TokenRun { first: TokenId(0), len: Tokens::ZERO };
                prompt.push(empty);
                empty
            }
        };
        let next = TokenId(last.first.0.wrapping_add(last.len.0.into()));
        Self { next, runs: prompt, hashes: HashChain::new(salt) }
    }

    /// Takes over the buffers of a content that is no longer needed.
    pub(crate) fn reuse_buffers(&mut self, old: &mut Self) {
        self.hashes.reuse_buffer(&mut old.hashes);
    }

    /// Appends a token.
    #[inline]
    pub(crate) fn push(&mut self, token: TokenId) {
        if token != self.next {
            self.begin_run(token);
        }
        self.next = TokenId(token.0.wrapping_add(1));
    }

    fn begin_run(&mut self, token: TokenId) {
        self.settle();
        self.runs.push(TokenRun { first: token, len: Tokens(1) });
    }

    /// Brings the length of the last run up to date.
    fn settle(&mut self) {
        if let Some(last) = self.runs.last_mut() {
            // No longer than a request, whose length is a u32.
            last.len = Tokens(self.next.0.wrapping_sub(last.first.0) as u32);
        }
    }

    /// The hash of block `index`, which must be full.
    pub(crate) fn hash(
        &mut self,
        index: usize,
        block_size: u32,
        scratch: &mut Vec<u8>,
    ) -> BlockHash {
        self.settle();
        self.hashes.get(index, &self.runs, block_size, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::push_run;

    /// However the tokens come, their hashes are those of their maximal runs.
    #[test]
    fn tokens_appended_one_by_one_make_the_runs_of_the_whole() {
        let tokens = [5, 6, 7, 100, 101, 0, 1, 2, 3, 9, 8, u64::MAX].map(TokenId);
        let (size, scratch) = (2, &mut Vec::new());
        let mut runs = Vec::new();
        for token in tokens {
            push_run(&mut runs, TokenRun { first: token, len: Tokens(1) });
        }
        let mut whole = HashChain::new("");
        for prompt in 0..=tokens.len() {
            let mut start = Vec::new();
            for &token in &tokens[..prompt] {
                push_run(&mut start, TokenRun { first: token, len: Tokens(1) });
            }
            let mut content = Content::new(start, "");
            for (at, &token) in tokens.iter().enumerate().skip(prompt) {
                content.push(token);
                if at % 2 == 1 {
                    let expected = whole.get(at / 2, &runs, size, scratch);
                    assert_eq!(content.hash(at / 2, size, scratch), expected);
                }
            }
        }
    }
}
