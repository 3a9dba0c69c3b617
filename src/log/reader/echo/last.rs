//! The text that the next row of a request has if it only goes on decoding.

use crate::log::reader::echo::shape::{Lengths, Shape, Shapes, TEXT_BYTES};
use crate::log::reader::echo::text::{Digits, Place, Prefix, count_up, differ};
use crate::log::reader::splitter::PADDING;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;

/// What stands behind the name in the row of a running request, and the most bytes of both.
pub(super) const RUNNING: &[u8] = b",running,";
pub(super) const LEAD_BYTES: usize = 64;
/// What stands behind the time.
const SCHEDULED: &[u8] = b",1,";
/// Numbers of tokens and blocks that are too many for seven digits, by far.
const MOST: u32 = 10_000_000;

/// What the last row of a name said, and the text of the one that is an echo of it: what is looked at on every
/// row, in two lines of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Last {
    /// The name and [`RUNNING`], and what is behind them in an echo. Where that stands, and what of it is
    /// compared, its shape tells.
    text: [u8; TEXT_BYTES],
    /// Of the row.
    time: Digits,
    /// The step of the row, by the count of the reader, and the first one behind it whose echo has another text.
    pub(super) step: u32,
    pub(super) until: u32,
    /// The blocks of the row, or of its echo once there is a text of that.
    pub(super) blocks: u32,
    pub(super) shape: u16,
    lead_len: u8,
}

/// What else is known of the row for which the text was made, or of the last one told in full.
#[derive(Clone, Debug)]
pub(super) struct Made {
    tokens: u32,
    computed: u32,
    /// Its step, and the first one behind it in which a number has another digit.
    step: u32,
    same_digits_until: u32,
    /// The step of the row whose echo the text was last brought up to, unless there is none of it, and how many
    /// blocks more that echo has.
    renewed: u32,
    pub(super) begun: u8,
    /// Whether there may be an echo of it.
    pub(super) runs: bool,
}

/// What the echoes of a step have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) prefix: Prefix,
    /// How much later the step is than the one before, and its number by the count of the reader.
    pub(super) passed: Digits,
    pub(super) step: u32,
    /// The tokens of a block, 0 if that is not known.
    pub(super) block_size: u64,
    pub(super) line_break: &'a str,
}

impl Last {
    pub(super) const NOBODY: Self = Self {
        text: [0; TEXT_BYTES],
        time: Digits::ZERO,
        step: 0,
        until: 0,
        blocks: 0,
        shape: 0,
        lead_len: 0,
    };

    /// Of a name that is no longer than there is room.
    pub(super) fn of(name: &[u8]) -> Self {
        let mut last = Self::NOBODY;
        last.text.iter_mut().zip(name.iter().chain(RUNNING)).for_each(|(byte, of)| *byte = *of);
        last.lead_len = (name.len() + RUNNING.len()) as u8;
        last
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.text[..usize::from(self.lead_len).saturating_sub(RUNNING.len())]
    }

    pub(super) fn is_of(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.name() == name
    }

    /// How much later than the row another one is, by its time in the state.
    pub(super) fn passed(&self, row: &IterationRequestRow) -> Option<Digits> {
        Digits::of(row.time_in_state.0.checked_sub(self.time.number())?)
    }

    /// Takes in the row with which a text begins, if it is an echo of this one, so much time later; says how
    /// long it is.
    #[inline(always)]
    pub(super) fn follow(
        &mut self,
        shape: &Shape,
        row: &[u8; PADDING],
        common: &Common<'_>,
        place: Place,
    ) -> Option<u8> {
        let prefix = &common.prefix;
        // The remainders only spare comparisons with the end of the text, which is longer than all parts are.
        let text = row[prefix.len % 32..].first_chunk::<{ 128 + 16 }>()?;
        if differ(&text[..TEXT_BYTES], &self.text, &shape.mask)
            || differ(row, &prefix.text, &prefix.mask)
        {
            return None;
        }
        let word = u64::from_le_bytes(*text[usize::from(shape.place_at % 128)..].first_chunk()?);
        let time = self.time.plus(common.passed);
        let digits = text[usize::from(shape.time_at % 128)..].first_chunk()?;
        if (word & shape.place_mask ^ place.0 | time.differ(digits, shape.time_masks)) != 0 {
            return None;
        }
        self.count_up(shape.tokens_at)?;
        self.count_up(shape.computed_at)?;
        self.time = time;
        self.step = common.step;
        Some((prefix.len as u8).wrapping_add(shape.len))
    }

    /// Counts up the number that ends eight bytes behind a place of the text.
    #[inline(always)]
    fn count_up(&mut self, at: u8) -> Option<()> {
        let at = usize::from(at);
        if at > TEXT_BYTES - 8 {
            return None;
        }
        self.text[at..].first_chunk_mut().map(count_up)
    }

    /// Takes in a row that is told in full.
    pub(super) fn note(&mut self, row: &IterationRequestRow, step: u32) -> Made {
        self.blocks = row.kv_cache_blocks.0;
        let time = Digits::of(row.time_in_state.0);
        self.time = time.unwrap_or(Digits::ZERO);
        self.step = step;
        // The text is made when it is asked for.
        self.until = 0;
        Made {
            tokens: row.tokens_generated.0,
            computed: row.computed_tokens.unwrap_or_default().0,
            step,
            same_digits_until: 0,
            renewed: 0,
            begun: 0,
            runs: row.state == State::Running && row.computed_tokens.is_some() && time.is_some(),
        }
    }

    /// Brings the text up to that of the next echo. Says whether there is one: there is none of a row that does
    /// not run.
    #[cold]
    pub(super) fn renew(
        &mut self,
        made: &mut Made,
        shapes: &mut Shapes,
        common: &Common<'_>,
        place: Place,
    ) -> bool {
        if self.step >= made.same_digits_until {
            return self.make_text(made, shapes, common, place).is_some();
        }
        // Only the block is full.
        let Some(shape) = shapes.get(self.shape) else { return false };
        self.blocks += 1;
        (made.renewed, made.begun) = (self.step, 1);
        let size = u32::try_from(common.block_size).unwrap_or(MOST);
        self.until = self.until.saturating_add(size).min(made.same_digits_until);
        self.count_up(shape.blocks_at).is_some()
    }

    /// Goes back to what the last row said if the text has been brought up to its echo and that did not follow.
    /// Says how many blocks more that had.
    #[cold]
    pub(super) fn take_back(&mut self, made: &mut Made) -> u8 {
        if made.renewed != self.step {
            return 0;
        }
        let begun = std::mem::take(&mut made.begun);
        self.blocks -= u32::from(begun);
        made.forget_text(self);
        begun
    }

    /// Makes the text anew if the time or the place may have another number of digits than in its shape. Says
    /// whether it did.
    #[cold]
    pub(super) fn reshape(
        &mut self,
        made: &mut Made,
        shapes: &mut Shapes,
        common: &Common<'_>,
        place: Place,
    ) -> bool {
        let Some(lengths) = shapes.lengths(self.shape) else { return false };
        let time_len = self.time.plus(common.passed).len();
        let is_other =
            place.len() != usize::from(lengths.place) || time_len > usize::from(lengths.time);
        is_other && self.make_text(made, shapes, common, place).is_some()
    }

    /// Makes the text of the next echo. There is none of a row whose numbers are very large, or that does
    /// not have the blocks that its tokens take.
    fn make_text(
        &mut self,
        made: &mut Made,
        shapes: &mut Shapes,
        common: &Common<'_>,
        place: Place,
    ) -> Option<()> {
        if !made.runs {
            return None;
        }
        let Common { passed, block_size, line_break, .. } = *common;
        // All between were echoes of one another.
        let echoes = self.step - made.step;
        made.tokens += echoes;
        made.computed += echoes;
        made.step = self.step;
        let (tokens, computed) = (made.tokens + 1, made.computed + 1);
        let blocks = match block_size {
            0 => self.blocks,
            // A request has no more blocks than tokens.
            size => (u64::from(computed) + 1).div_ceil(size) as u32,
        };
        let begun = blocks.wrapping_sub(self.blocks);
        made.runs = tokens.max(computed).max(blocks) < MOST && begun <= 1;
        if !made.runs {
            return None;
        }
        self.blocks = blocks;
        (made.renewed, made.begun) = (self.step, begun as u8);
        let mut digits = [0; 3].map(|_: u8| itoa::Buffer::new());
        let [a, b, c] = &mut digits;
        let [tokens_text, blocks_text, computed_text] =
            [a.format(tokens), b.format(blocks), c.format(computed)].map(str::as_bytes);
        // Numbers have seven digits at most.
        let lengths = Lengths {
            lead: self.lead_len,
            place: place.len() as u8,
            tokens: tokens_text.len() as u8 + 1,
            blocks: blocks_text.len() as u8 + 1,
            time: self.time.plus(passed).len() as u8,
            scheduled: SCHEDULED.len() as u8,
            computed: computed_text.len() as u8,
            line_break: line_break.len() as u8,
        };
        let Some(shape) = shapes.number(lengths) else {
            // There are no echoes until the next row that is told in full.
            made.runs = false;
            return None;
        };
        self.shape = shape;
        let mut at = usize::from(lengths.lead) + usize::from(lengths.place);
        let before_time = [tokens_text, b",", blocks_text, b","];
        let behind = [SCHEDULED, computed_text, line_break.as_bytes()];
        for (parts, skipped) in [(&before_time[..], lengths.time), (&behind[..], 0)] {
            for part in parts {
                self.text.get_mut(at..at + part.len())?.copy_from_slice(part);
                at += part.len();
            }
            at += usize::from(skipped);
        }
        // As long as no number gets another digit, and the blocks have room.
        let room = |number: u32, text: &[u8]| 10u32.pow(text.len() as u32) - number;
        let in_blocks = match block_size {
            0 => MOST,
            size => (u64::from(blocks) * size - u64::from(computed)).min(u64::from(MOST)) as u32,
        };
        let in_digits = room(tokens, tokens_text).min(room(computed, computed_text));
        // The blocks get one more for as many tokens as one has.
        let more = u64::from(room(blocks, blocks_text) - 1).saturating_mul(block_size.max(1));
        let in_blocks_digits = u64::from(in_blocks).saturating_add(more);
        let same_digits = in_digits.min(u32::try_from(in_blocks_digits).unwrap_or(MOST));
        made.same_digits_until = self.step.saturating_add(same_digits);
        self.until = self.step.saturating_add(in_blocks.min(same_digits));
        Some(())
    }
}

impl Made {
    pub(super) const NOTHING: Self = Self {
        tokens: 0,
        computed: 0,
        step: 0,
        same_digits_until: 0,
        renewed: 0,
        begun: 0,
        runs: false,
    };

    /// The text is made anew for the next echo.
    pub(super) const fn forget_text(&mut self, last: &mut Last) {
        (last.until, self.same_digits_until) = (0, 0);
    }
}
