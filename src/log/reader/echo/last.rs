//! The text that the next row of a request has if it only goes on decoding.

use wide::u8x16;

use crate::log::reader::echo::text::{MASKS, MOST_BYTES, Prefix, Short, count_up, differ};
use crate::log::reader::splitter::PADDING;
use crate::log::scan::sixteen_digits;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;

/// Bytes of a name, and of what stands behind it in the row of a running request.
pub(super) const LEAD_BYTES: usize = MOST_BYTES;
pub(super) const RUNNING: &[u8] = b",running,";
/// Bytes of what stands behind the position, line break included.
const TAIL_BYTES: usize = 48;
/// Numbers are counted up in words of eight bytes, so there are as many before the first one's last digit.
const BEFORE_TAIL: usize = 8;
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
    tail: [u8; BEFORE_TAIL + TAIL_BYTES],
    known: [u8; TAIL_BYTES],
    pub(super) lead_len: usize,
    tail_len: usize,
    /// Where the time ends in the tail, and the bytes that are its digits, of the eight that end there and of
    /// the eight before.
    time_end: usize,
    time_masks: [u64; 2],
    /// Where tokens, computed tokens and blocks end in the tail; what [`count_up`] takes.
    tokens_at: usize,
    computed_at: usize,
    blocks_at: usize,
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

/// What the echoes of a step have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) prefix: Prefix,
    /// How much later the step is than the one before, and its number by the count of the reader.
    pub(super) passed: u64,
    pub(super) step: u64,
    /// The tokens of a block, 0 if that is not known.
    pub(super) block_size: u64,
    pub(super) line_break: &'a str,
}

/// A tail that is being written.
struct Tail {
    text: [u8; BEFORE_TAIL + TAIL_BYTES],
    len: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self { text: [0; _], len: 0 }
    }
}

impl Tail {
    /// Writes a number and what stands behind it; where its digits end and how many there are. There is
    /// room for three numbers of at most eight digits, the time of at most sixteen, and what stands between
    /// them.
    fn number(&mut self, number: u64, behind: &[u8]) -> (usize, usize) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let end = self.len + digits.len();
        for piece in [digits, behind] {
            self.text[BEFORE_TAIL + self.len..][..piece.len()].copy_from_slice(piece);
            self.len += piece.len();
        }
        (end, digits.len())
    }
}

impl Last {
    pub(super) const NOBODY: Self = Self {
        lead: [0; LEAD_BYTES],
        tail: [0; _],
        known: [0; _],
        lead_len: 0,
        tail_len: 0,
        time_end: 0,
        time_masks: [0; 2],
        tokens_at: 0,
        computed_at: 0,
        blocks_at: 0,
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
        common: &Common<'_>,
        position: Short,
    ) -> Option<usize> {
        let Common { prefix, passed, .. } = common;
        // The remainders only spare comparisons with the end of the text, which is longer than all parts are.
        let mut at = prefix.len % 32;
        let head = differ(text.first_chunk()?, &prefix.text, &prefix.mask);
        let mask = MASKS.get((MOST_BYTES - self.lead_len) % MOST_BYTES..)?.first_chunk()?;
        let lead = differ(text.get(at..)?.first_chunk()?, &self.lead, mask);
        at += self.lead_len % 128;
        let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        at += position.len % 16;
        let known = self.tail.last_chunk()?;
        let tail = differ(text.get(at..)?.first_chunk()?, known, &self.known);
        // There are more bytes before the time's last digit: those of the lead.
        let digits = text.get((at + self.time_end).wrapping_sub(16) % 256..)?.first_chunk()?;
        let (time, odd) = sixteen_digits(digits, self.time_masks);
        let differ = (head | lead | tail).simd_eq(u8x16::ZERO).to_bitmask() & 0xffff ^ 0xffff;
        let differ = u64::from(differ) | odd | (word & position.mask ^ position.text);
        (differ == 0 && time == self.time.wrapping_add(*passed)).then_some(at + self.tail_len)
    }

    /// Takes in an echo of the row.
    #[inline(always)]
    pub(super) fn follow(&mut self, common: &Common<'_>) {
        count_up(&mut self.tail, self.tokens_at);
        count_up(&mut self.tail, self.computed_at);
        self.echoes += 1;
        self.held = self.blocks;
        self.time += common.passed;
        self.step = common.step;
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
        (self.echoes, self.most_echoes, self.same_digits) = (0, 0, 0);
    }

    /// Brings the tail up to that of the next echo where a digit more is not enough. Says whether there is
    /// one: there is none of a row that does not run.
    #[cold]
    pub(super) fn renew(&mut self, common: &Common<'_>) -> bool {
        if self.echoes < self.same_digits {
            // Only the block is full.
            self.blocks += 1;
            count_up(&mut self.tail, self.blocks_at);
            let size = u32::try_from(common.block_size).unwrap_or(MOST);
            self.most_echoes = self.most_echoes.saturating_add(size).min(self.same_digits);
            true
        } else {
            self.renew_all(common)
        }
    }

    /// As [`echo`](Self::echo), where the time may have got another digit, so that the tail is another one.
    #[cold]
    pub(super) fn longer_echo(
        &mut self,
        text: &[u8; PADDING],
        common: &Common<'_>,
        position: Short,
    ) -> Option<usize> {
        let [high, low] = self.time_masks.map(|mask| mask.count_ones() / 8);
        let time = self.time.saturating_add(common.passed);
        let longer = time.checked_ilog10().unwrap_or(0) + 1 > high + low;
        (longer && self.renew_all(common)).then(|| self.echo(text, common, position))?
    }

    /// Makes the tail of the next echo anew; says whether there is one.
    #[cold]
    fn renew_all(&mut self, common: &Common<'_>) -> bool {
        if self.runs {
            self.make_tail(common);
        }
        self.runs
    }

    /// Makes the tail of the next echo. There is none of a row whose numbers are very large, or that does
    /// not have the blocks that its tokens take.
    fn make_tail(&mut self, common: &Common<'_>) {
        let Common { passed, block_size, line_break, .. } = *common;
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
        let (tokens_end, tokens_len) = tail.number(u64::from(tokens), b",");
        let (blocks_end, blocks_len) = tail.number(u64::from(blocks), b",");
        let (time_end, time_len) = tail.number(time, b",1,");
        let (computed_end, computed_len) = tail.number(u64::from(computed), line_break.as_bytes());
        (self.tail, self.tail_len) = (tail.text, tail.len);
        self.known = [0; TAIL_BYTES];
        self.known[..tail.len].fill(u8::MAX);
        self.known[time_end - time_len..time_end].fill(0);
        (self.tokens_at, self.blocks_at) = (tokens_end, blocks_end);
        (self.computed_at, self.time_end) = (computed_end, time_end);
        let digits = |len: usize| u64::MAX.checked_shl(64 - 8 * len as u32).unwrap_or(0);
        self.time_masks = [digits(time_len.saturating_sub(8)), digits(time_len.min(8))];
        // As long as no number gets another digit, and the blocks have room.
        let room = |number: u32, len: usize| 10u32.pow(len as u32) - number;
        let in_blocks = match block_size {
            0 => MOST,
            size => (u64::from(blocks) * size - u64::from(computed)).min(u64::from(MOST)) as u32,
        };
        let in_digits = room(tokens, tokens_len).min(room(computed, computed_len));
        // The blocks get one more for as many tokens as one has.
        let more = u64::from(room(blocks, blocks_len) - 1).saturating_mul(block_size.max(1));
        let in_blocks_digits = u64::from(in_blocks).saturating_add(more);
        self.same_digits = in_digits.min(u32::try_from(in_blocks_digits).unwrap_or(MOST));
        self.most_echoes = in_blocks.min(self.same_digits);
    }
}
