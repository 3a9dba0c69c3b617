//! Where things stand in the text of an echo.

use hashbrown::HashMap;

use rustc_hash::FxBuildHasher;

use crate::log::reader::echo::text::{Digits, Place};

/// The longest text of an echo behind its iteration, rounded up.
pub(super) const TEXT_BYTES: usize = 96;
/// What is kept of shapes before they are forgotten. A log has some ten of them: names are alike, and numbers
/// have a digit more now and then.
const MOST_SHAPES: usize = 1024;

/// How long the parts of a text are, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths {
    /// The name and the state.
    pub(super) lead: u8,
    /// The place and what is behind it.
    pub(super) place: u8,
    /// The tokens and the blocks, each with its comma.
    pub(super) tokens: u8,
    pub(super) blocks: u8,
    pub(super) time: u8,
    pub(super) scheduled: u8,
    pub(super) computed: u8,
    pub(super) line_break: u8,
}

impl Lengths {
    /// All of them as one number.
    const fn key(self) -> u64 {
        let Self { lead, place, tokens, blocks, time, scheduled, computed, line_break } = self;
        u64::from_le_bytes([lead, place, tokens, blocks, time, scheduled, computed, line_break])
    }
}

/// Where things stand in the text of an echo; many of them have the same. It fills two lines of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Shape {
    /// All bits of what is compared as it stands: not the place and the time.
    pub(super) mask: [u8; TEXT_BYTES],
    /// What chooses the digits of the time, and the place.
    pub(super) time_masks: [u64; 2],
    pub(super) place_mask: u64,
    pub(super) place_at: u8,
    /// The last eight bytes of these numbers, and the last sixteen of the time.
    pub(super) tokens_at: u8,
    pub(super) blocks_at: u8,
    pub(super) computed_at: u8,
    pub(super) time_at: u8,
    pub(super) len: u8,
}

impl Shape {
    /// None if the text is too long to be compared, or a number has not as much before it as is looked at.
    fn of(lengths: Lengths) -> Option<Self> {
        let Lengths { lead, place, tokens, blocks, time, scheduled, computed, line_break } =
            lengths;
        let mut at = 0_u8;
        let mut ends = [0; 8];
        let parts = [lead, place, tokens, blocks, time, scheduled, computed, line_break];
        for (end, part) in ends.iter_mut().zip(parts) {
            at = at.checked_add(part).filter(|at| usize::from(*at) <= TEXT_BYTES)?;
            *end = at;
        }
        let [lead_end, place_end, tokens_end, blocks_end, time_end, _, computed_end, len] = ends;
        let mut mask = [0; TEXT_BYTES];
        for part in [0..lead_end, place_end..blocks_end, time_end..len] {
            mask[usize::from(part.start)..usize::from(part.end)].fill(u8::MAX);
        }
        Some(Self {
            mask,
            time_masks: Digits::masks(usize::from(time)),
            place_mask: Place::mask(place),
            place_at: lead_end,
            // Behind the first two stands a comma.
            tokens_at: tokens_end.checked_sub(9)?,
            blocks_at: blocks_end.checked_sub(9)?,
            computed_at: computed_end.checked_sub(8)?,
            time_at: time_end.checked_sub(16)?,
            len,
        })
    }
}

/// The shapes of the texts of a file.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    lengths: Vec<Lengths>,
    /// The numbers of the shapes by the keys of their lengths.
    known: HashMap<u64, u16, FxBuildHasher>,
}

impl Shapes {
    #[inline(always)]
    pub(super) fn get(&self, number: u16) -> Option<&Shape> {
        self.shapes.get(usize::from(number))
    }

    pub(super) fn lengths(&self, number: u16) -> Option<&Lengths> {
        self.lengths.get(usize::from(number))
    }

    /// The number of a shape. None if there are too many of them, or if there is none of these lengths.
    pub(super) fn number(&mut self, lengths: Lengths) -> Option<u16> {
        if let Some(number) = self.known.get(&lengths.key()) {
            return Some(*number);
        }
        let number = u16::try_from(self.shapes.len()).ok().filter(|_| !self.are_too_many())?;
        self.shapes.push(Shape::of(lengths)?);
        self.lengths.push(lengths);
        self.known.insert(lengths.key(), number);
        Some(number)
    }

    pub(super) const fn are_too_many(&self) -> bool {
        self.shapes.len() >= MOST_SHAPES
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}
