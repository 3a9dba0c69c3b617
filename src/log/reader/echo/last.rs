//! The text that the next row of a request has if it only goes on decoding.

use wide::u8x16;

use crate::log::reader::echo::text::{Digits, MASKS, MOST_BYTES, Prefix, Short, agree};
use crate::log::reader::splitter::PADDING;
use crate::log::scan::digits;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;

/// Bytes of a name, and of what stands behind it in the row of a running request.
pub(super) const LEAD_BYTES: usize = MOST_BYTES;
pub(super) const RUNNING: &[u8] = b",running,";
/// Bytes of what stands behind the position, line break included.
const TAIL_BYTES: usize = 48;
/// Numbers of tokens and blocks that are too many for eight digits, by far.
const MOST: u32 = 50_000_000;
/// The first time that has more than sixteen digits.
const MOST_TIME: u64 = 10_000_000_000_000_000;

/// What the last row of a name said, and the text of the one that is an echo of it.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Last {
    /// The name and [`RUNNING`].
    pub(super) lead: [u8; LEAD_BYTES],
    /// What stands behind the position of an echo, and the bits of it that are known before.
    tail: [u8; TAIL_BYTES],
    known: [u8; TAIL_BYTES],
    pub(super) lead_len: usize,
    tail_len: usize,
    /// Where the time stands in the tail, and the computed tokens.
    time_at: Part,
    computed_at: Part,
    /// The digits of tokens, computed tokens and blocks of an echo, and how many digits tokens have.
    tokens_digits: Digits,
    computed_digits: Digits,
    blocks_digits: Digits,
    tokens_len: usize,
    /// The first time that has too many digits for the tail.
    pub(super) time_limit: u64,
    pub(super) time: u64,
    /// The step of the row, by the count of the reader.
    pub(super) step: u64,
    /// Of the row for which the tail was made, or of the last one told in full.
    tokens: u32,
    computed: u32,
    /// The blocks of the row, and of an echo.
    pub(super) held: u32,
    pub(super) blocks: u32,
    /// How many echoes have followed since, for how many the tail can be kept up to date, and for how many
    /// until a number gets another digit.
    pub(super) echoes: u32,
    pub(super) most_echoes: u32,
    same_digits: u32,
    /// Whether there may be an echo of it.
    pub(super) runs: bool,
}

/// A part of the tail.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    at: usize,
    len: usize,
}

/// A tail that is being written.
struct Tail {
    text: [u8; TAIL_BYTES],
    len: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self { text: [0; TAIL_BYTES], len: 0 }
    }
}

impl Tail {
    /// Writes a number and what stands behind it; where the number stands. There is room for three
    /// of at most eight digits, the time of at most sixteen, and what stands between them.
    fn number(&mut self, number: u64, behind: &[u8]) -> Part {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let part = Part { at: self.len, len: digits.len() };
        for piece in [digits, behind] {
            self.text[self.len..][..piece.len()].copy_from_slice(piece);
            self.len += piece.len();
        }
        part
    }
}

impl Last {
    pub(super) const NOBODY: Self = Self {
        lead: [0; LEAD_BYTES],
        tail: [0; TAIL_BYTES],
        known: [0; TAIL_BYTES],
        lead_len: 0,
        tail_len: 0,
        time_at: Part { at: 0, len: 0 },
        computed_at: Part { at: 0, len: 0 },
        tokens_digits: Digits(0),
        computed_digits: Digits(0),
        blocks_digits: Digits(0),
        tokens_len: 0,
        time_limit: 0,
        time: 0,
        step: 0,
        tokens: 0,
        computed: 0,
        held: 0,
        blocks: 0,
        echoes: 0,
        most_echoes: 0,
        same_digits: 0,
        runs: false,
    };

    pub(super) fn name(&self) -> &[u8] {
        &self.lead[..self.lead_len.saturating_sub(RUNNING.len())]
    }

    pub(super) fn is_of(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.name() == name
    }

    /// How long the row is with which `text` begins, if it is an echo of this one, so much time later.
    #[inline(always)]
    pub(super) fn echo(
        &self,
        text: &[u8; PADDING],
        prefix: &Prefix,
        position: Short,
        passed: u64,
    ) -> Option<usize> {
        let head = u8x16::new(*text.first_chunk()?).simd_eq(u8x16::new(prefix.text)).to_bitmask();
        if head & prefix.mask != prefix.mask {
            return None;
        }
        let mask = MASKS.get(MOST_BYTES - self.lead_len..)?.first_chunk()?;
        if !agree(text.get(prefix.len..)?.first_chunk()?, &self.lead, mask) {
            return None;
        }
        let at = prefix.len + self.lead_len;
        let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        if word & position.mask != position.text {
            return None;
        }
        let at = at + position.len;
        let tail = text.get(at..)?.first_chunk()?;
        if !agree(tail, &self.tail, &self.known) {
            return None;
        }
        let (time, odd) = self.time_of(tail);
        (odd == 0 && time == self.time.wrapping_add(passed)).then_some(at + self.tail_len)
    }

    /// The time in a tail, and something that is not zero if a digit of it is none.
    #[inline(always)]
    fn time_of(&self, tail: &[u8; TAIL_BYTES]) -> (u64, u64) {
        let Part { at, len } = self.time_at;
        let word = |at: usize| {
            let bytes = tail.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        };
        if len <= 8 {
            return digits(word(at), len);
        }
        let (high, odd_high) = digits(word(at), len - 8);
        let (low, odd_low) = digits(word(at + len - 8), 8);
        (high * 100_000_000 + low, odd_high | odd_low)
    }

    /// Takes in an echo of the row.
    #[inline(always)]
    pub(super) fn follow(&mut self, passed: u64, step: u64) {
        self.tokens_digits = self.tokens_digits.next();
        self.tokens_digits.write(&mut self.tail, self.tokens_len);
        self.computed_digits = self.computed_digits.next();
        let Part { at, len } = self.computed_at;
        if let Some(text) = self.tail.get_mut(at..) {
            self.computed_digits.write(text, len);
        }
        self.echoes += 1;
        self.held = self.blocks;
        self.time += passed;
        self.step = step;
    }

    /// Takes in a row that is told in full.
    pub(super) fn note(&mut self, row: &IterationRequestRow, step: u64) {
        let computed = row.computed_tokens.unwrap_or_default().0;
        (self.tokens, self.computed) = (row.tokens_generated.0, computed);
        self.held = row.kv_cache_blocks.0;
        self.time = row.time_in_state.0;
        self.runs = row.state == State::Running && row.computed_tokens.is_some();
        self.step = step;
        // The tail is made when it is asked for.
        (self.echoes, self.most_echoes, self.same_digits, self.time_limit) = (0, 0, 0, 0);
    }

    /// Brings the tail up to that of the next echo where a digit more is not enough. Says whether there is
    /// one: there is none of a row that does not run.
    #[cold]
    pub(super) fn renew(&mut self, block_size: u64, passed: u64, line_break: &str) -> bool {
        let in_time = self.time.saturating_add(passed) < self.time_limit;
        if in_time && self.echoes < self.same_digits {
            // Only the block is full.
            self.blocks += 1;
            self.blocks_digits = self.blocks_digits.next();
            let len = self.time_at.at - self.tokens_len - 2;
            self.blocks_digits.write(&mut self.tail[self.tokens_len + 1..], len);
            let size = u32::try_from(block_size).unwrap_or(MOST);
            self.most_echoes = self.most_echoes.saturating_add(size).min(self.same_digits);
        } else if self.runs {
            self.make_tail(block_size, passed, line_break);
        }
        self.runs
    }

    /// Makes the tail of the next echo. There is none of a row whose numbers are very large, or that does
    /// not have the blocks that its tokens take.
    fn make_tail(&mut self, block_size: u64, passed: u64, line_break: &str) {
        self.tokens += self.echoes;
        self.computed += self.echoes;
        self.echoes = 0;
        let (tokens, computed) = (self.tokens + 1, self.computed + 1);
        let blocks = match block_size {
            0 => self.held,
            // A request has no more blocks than tokens.
            size => (u64::from(computed) + 1).div_ceil(size) as u32,
        };
        let time = self.time.saturating_add(passed);
        let few = tokens.max(computed).max(blocks) < MOST && time < MOST_TIME;
        self.runs = few && blocks.wrapping_sub(self.held) <= 1;
        if !self.runs {
            return;
        }
        self.blocks = blocks;
        let mut tail = Tail::default();
        self.tokens_len = tail.number(u64::from(tokens), b",").len;
        let blocks_len = tail.number(u64::from(blocks), b",").len;
        self.time_at = tail.number(time, b",1,");
        self.computed_at = tail.number(u64::from(computed), line_break.as_bytes());
        (self.tail, self.tail_len) = (tail.text, tail.len);
        self.known = [0; TAIL_BYTES];
        self.known[..tail.len].fill(u8::MAX);
        self.known[self.time_at.at..][..self.time_at.len].fill(0);
        (self.tokens_digits, self.computed_digits) = (Digits::of(tokens), Digits::of(computed));
        self.blocks_digits = Digits::of(blocks);
        self.time_limit = 10u64.pow(self.time_at.len as u32);
        // As long as no number gets another digit, and the blocks have room.
        let room = |number: u32, len: usize| 10u32.pow(len as u32) - number;
        let in_blocks = match block_size {
            0 => MOST,
            size => (u64::from(blocks) * size - u64::from(computed)).min(u64::from(MOST)) as u32,
        };
        let in_digits = room(tokens, self.tokens_len).min(room(computed, self.computed_at.len));
        // The blocks get one more for as many tokens as one has.
        let more = u64::from(room(blocks, blocks_len) - 1).saturating_mul(block_size.max(1));
        let in_blocks_digits = u64::from(in_blocks).saturating_add(more);
        self.same_digits = in_digits.min(u32::try_from(in_blocks_digits).unwrap_or(MOST));
        self.most_echoes = in_blocks.min(self.same_digits);
    }
}
