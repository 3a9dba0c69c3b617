//! The text that the next row of a request has if it only goes on decoding.

use wide::u8x16;

use crate::log::reader::echo::text::{Digits, MOST_BYTES, Prefix, Short, count_up, differ};
use crate::log::reader::splitter::PADDING;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;

/// Bytes of a name, and of what stands behind it in the row of a running request.
pub(super) const LEAD_BYTES: usize = MOST_BYTES;
pub(super) const RUNNING: &[u8] = b",running,";
/// Numbers of tokens and blocks that are too many for seven digits, by far.
const MOST: u32 = 10_000_000;
/// Bytes of a piece of text with numbers. They are counted up in words of eight bytes, so there are as many
/// before it.
const PIECE_BYTES: usize = 16;
const BEFORE: usize = 8;

/// What the last row of a name said, and the text of the one that is an echo of it.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Last {
    /// The name and [`RUNNING`].
    pub(super) lead: [u8; LEAD_BYTES],
    /// What stands behind the position of an echo and before its time, and behind that.
    counts: Piece,
    behind: Piece,
    /// Of the row, and what chooses as many digits as the echo has.
    time: Digits,
    time_masks: [u64; 2],
    /// The step of the row, by the count of the reader.
    pub(super) step: u64,
    /// Of the row for which the pieces were made, or of the last one told in full.
    tokens: u32,
    computed: u32,
    /// The blocks of the row, and of an echo.
    pub(super) held: u32,
    pub(super) blocks: u32,
    /// How many echoes have followed since, for how many the pieces can be kept up to date, and for how many
    /// until a number gets another digit.
    pub(super) echoes: u32,
    pub(super) most_echoes: u32,
    same_digits: u32,
    pub(super) lead_len: u8,
    time_len: u8,
    /// Where the numbers end in their pieces; what [`count_up`] takes.
    tokens_at: u8,
    blocks_at: u8,
    computed_at: u8,
    /// Whether there may be an echo of it.
    pub(super) runs: bool,
}

/// What the echoes of a step have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) prefix: Prefix,
    /// How much later the step is than the one before, and its number by the count of the reader.
    pub(super) passed: Digits,
    pub(super) step: u64,
    /// The tokens of a block, 0 if that is not known.
    pub(super) block_size: u64,
    pub(super) line_break: &'a str,
}

/// A short text whose numbers are counted up where they stand.
#[derive(Clone, Copy, Debug)]
struct Piece {
    text: [u8; BEFORE + PIECE_BYTES],
    len: u8,
}

impl Piece {
    const EMPTY: Self = Self { text: [0; _], len: 0 };

    /// Writes something behind what is there; where it ends.
    fn write(&mut self, text: &[u8]) -> u8 {
        let first = BEFORE + usize::from(self.len);
        self.text[first..first + text.len()].copy_from_slice(text);
        self.len += text.len() as u8;
        self.len
    }

    #[inline(always)]
    fn differ(&self, text: &[u8]) -> Option<u8x16> {
        differ(text, self.text.last_chunk::<PIECE_BYTES>()?, usize::from(self.len))
    }
}

impl Last {
    pub(super) const NOBODY: Self = Self {
        lead: [0; LEAD_BYTES],
        counts: Piece::EMPTY,
        behind: Piece::EMPTY,
        time: Digits::ZERO,
        time_masks: [0; 2],
        step: 0,
        tokens: 0,
        computed: 0,
        held: 0,
        blocks: 0,
        echoes: 0,
        most_echoes: 0,
        same_digits: 0,
        lead_len: 0,
        time_len: 0,
        tokens_at: 0,
        blocks_at: 0,
        computed_at: 0,
        runs: false,
    };

    pub(super) fn name(&self) -> &[u8] {
        &self.lead[..usize::from(self.lead_len).saturating_sub(RUNNING.len())]
    }

    pub(super) fn is_of(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.name() == name
    }

    /// How much later than the row another one is, by its time in the state.
    pub(super) fn passed(&self, row: &IterationRequestRow) -> Option<Digits> {
        Digits::of(row.time_in_state.0.checked_sub(self.time.number())?)
    }

    /// Takes in the row with which `text` begins, if it is an echo of this one, so much time later; says how
    /// long it is.
    #[inline(always)]
    pub(super) fn follow(
        &mut self,
        text: &[u8; PADDING],
        common: &Common<'_>,
        position: Short,
    ) -> Option<usize> {
        let prefix = &common.prefix;
        // The remainders only spare comparisons with the end of the text, which is longer than all parts are.
        let mut at = prefix.len % 32;
        let head = differ(text, &prefix.text, prefix.len)?;
        let lead = differ(text.get(at..)?, &self.lead, usize::from(self.lead_len))?;
        at += usize::from(self.lead_len % 128);
        let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        at += position.len % 16;
        let counts = self.counts.differ(text.get(at..)?)?;
        at += usize::from(self.counts.len % 32) + usize::from(self.time_len % 32);
        let behind = self.behind.differ(text.get(at..)?)?;
        // There are more bytes before the time's last digit: those of the lead.
        let digits = text.get(at.wrapping_sub(16) % 256..)?.first_chunk()?;
        let time = self.time.plus(common.passed);
        let differ = (head | lead | counts | behind).simd_eq(u8x16::ZERO).to_bitmask();
        let differ = u64::from(differ & 0xffff ^ 0xffff)
            | word & position.mask ^ position.text
            | time.differ(digits, self.time_masks);
        if differ != 0 {
            return None;
        }
        count_up(&mut self.counts.text, usize::from(self.tokens_at));
        count_up(&mut self.behind.text, usize::from(self.computed_at));
        self.time = time;
        self.echoes += 1;
        self.held = self.blocks;
        self.step = common.step;
        Some(at + usize::from(self.behind.len))
    }

    /// Takes in a row that is told in full.
    pub(super) fn note(&mut self, row: &IterationRequestRow, step: u64) {
        let computed = row.computed_tokens.unwrap_or_default().0;
        (self.tokens, self.computed) = (row.tokens_generated.0, computed);
        self.held = row.kv_cache_blocks.0;
        let time = Digits::of(row.time_in_state.0);
        self.runs = row.state == State::Running && row.computed_tokens.is_some() && time.is_some();
        self.time = time.unwrap_or(Digits::ZERO);
        self.step = step;
        // The pieces are made when they are asked for.
        (self.echoes, self.most_echoes, self.same_digits) = (0, 0, 0);
    }

    /// Brings the pieces up to those of the next echo where a digit more is not enough. Says whether there is
    /// one: there is none of a row that does not run.
    #[cold]
    pub(super) fn renew(&mut self, common: &Common<'_>) -> bool {
        if self.echoes < self.same_digits {
            // Only the block is full.
            self.blocks += 1;
            count_up(&mut self.counts.text, usize::from(self.blocks_at));
            let size = u32::try_from(common.block_size).unwrap_or(MOST);
            self.most_echoes = self.most_echoes.saturating_add(size).min(self.same_digits);
            true
        } else {
            self.renew_all(common)
        }
    }

    /// As [`follow`](Self::follow), where the time may have got another digit.
    #[cold]
    pub(super) fn follow_longer(
        &mut self,
        text: &[u8; PADDING],
        common: &Common<'_>,
        position: Short,
    ) -> Option<usize> {
        let longer = self.time.plus(common.passed).len() > usize::from(self.time_len);
        (longer && self.renew_all(common)).then(|| self.follow(text, common, position))?
    }

    /// Makes the pieces of the next echo anew; says whether there is one.
    #[cold]
    fn renew_all(&mut self, common: &Common<'_>) -> bool {
        if self.runs {
            self.make_pieces(common);
        }
        self.runs
    }

    /// Makes the pieces of the next echo. There is none of a row whose numbers are very large, or that does
    /// not have the blocks that its tokens take.
    fn make_pieces(&mut self, common: &Common<'_>) {
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
        self.runs = tokens.max(computed).max(blocks) < MOST && blocks.wrapping_sub(self.held) <= 1;
        if !self.runs {
            return;
        }
        self.blocks = blocks;
        let mut digits = [0; 3].map(|_: u8| itoa::Buffer::new());
        let [a, b, c] = &mut digits;
        let numbers = [a.format(tokens), b.format(blocks), c.format(computed)].map(str::as_bytes);
        // Numbers have seven digits at most, so there is room for two of them and the commas.
        let mut counts = Piece::EMPTY;
        self.tokens_at = counts.write(numbers[0]);
        counts.write(b",");
        self.blocks_at = counts.write(numbers[1]);
        counts.write(b",");
        let mut behind = Piece::EMPTY;
        behind.write(b",1,");
        self.computed_at = behind.write(numbers[2]);
        behind.write(line_break.as_bytes());
        (self.counts, self.behind) = (counts, behind);
        let time_len = self.time.plus(passed).len();
        self.time_len = time_len as u8;
        self.time_masks = Digits::masks(time_len);
        // As long as no number gets another digit, and the blocks have room.
        let room = |number: u32, text: &[u8]| 10u32.pow(text.len() as u32) - number;
        let in_blocks = match block_size {
            0 => MOST,
            size => (u64::from(blocks) * size - u64::from(computed)).min(u64::from(MOST)) as u32,
        };
        let in_digits = room(tokens, numbers[0]).min(room(computed, numbers[2]));
        // The blocks get one more for as many tokens as one has.
        let more = u64::from(room(blocks, numbers[1]) - 1).saturating_mul(block_size.max(1));
        let in_blocks_digits = u64::from(in_blocks).saturating_add(more);
        self.same_digits = in_digits.min(u32::try_from(in_blocks_digits).unwrap_or(MOST));
        self.most_echoes = in_blocks.min(self.same_digits);
    }
}
