//! Texts of a few bytes that are compared and counted up as a whole.

use wide::u8x16;

use crate::log::scan::{HIGH, ZEROS};
use crate::units::IterationId;

/// The digits of a number of one to eight, the last one in the lowest byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digits(pub(super) u64);

impl Digits {
    /// Those of a number of at most eight.
    pub(super) fn of(number: u32) -> Self {
        let mut bytes = *b"00000000";
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).bytes().rev();
        bytes.iter_mut().rev().zip(digits).for_each(|(byte, digit)| *byte = digit);
        Self(u64::from_be_bytes(bytes) ^ ZEROS)
    }

    /// Those of the number that comes next.
    #[inline(always)]
    pub(super) const fn next(self) -> Self {
        // What is above nine carries over; what is not goes back to where it was.
        let sum = self.0.wrapping_add(0xf6f6_f6f6_f6f6_f6f7);
        Self(sum.wrapping_sub(((sum & HIGH) >> 7).wrapping_mul(0xf6)))
    }

    /// Writes the last `len` of them, one to eight, to the beginning of a text.
    #[inline(always)]
    pub(super) fn write(self, text: &mut [u8], len: usize) {
        if let Some(bytes) = text.first_chunk_mut() {
            let shift = 64 - 8 * len as u32;
            let behind = u64::from_le_bytes(*bytes) & !(u64::MAX >> shift);
            *bytes = (behind | (self.0 | ZEROS).swap_bytes() >> shift).to_le_bytes();
        }
    }
}

/// Some text of at most eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    pub(super) text: u64,
    pub(super) mask: u64,
    pub(super) len: usize,
}

impl Short {
    /// A text that is too long is found nowhere.
    pub(super) fn of(text: &str) -> Self {
        let mut bytes = [0; 8];
        let fits = text.len() <= bytes.len();
        bytes.iter_mut().zip(text.bytes()).for_each(|(byte, of)| *byte = of);
        let mask = u64::MAX.checked_shr(64 - 8 * text.len().min(8) as u32).unwrap_or(0);
        let text_bytes = u64::from_le_bytes(bytes);
        Self { text: if fits { text_bytes } else { !mask }, mask, len: text.len().min(8) }
    }
}

/// The beginning of all rows of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefix {
    pub(super) text: [u8; 16],
    pub(super) mask: u32,
    pub(super) len: usize,
}

impl Prefix {
    pub(super) fn of(id: IterationId) -> Option<Self> {
        let text = format!("{},", id.0);
        let mut prefix = Self { len: text.len(), ..Self::default() };
        prefix.text.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        prefix.mask = (1 << text.len()) - 1;
        Some(prefix)
    }
}

/// The longest text that is compared.
pub(super) const MOST_BYTES: usize = 64;

/// All bits of so many bytes, from the middle on backwards, and none of those behind it.
pub(super) static MASKS: [u8; 2 * MOST_BYTES] = {
    let mut masks = [0; 2 * MOST_BYTES];
    let mut at = 0;
    while at < MOST_BYTES {
        masks[at] = u8::MAX;
        at += 1;
    }
    masks
};

/// Whether two texts have the same bits where `mask` has one.
#[inline(always)]
pub(super) fn agree<const BYTES: usize>(
    one: &[u8; BYTES],
    other: &[u8; BYTES],
    mask: &[u8; BYTES],
) -> bool {
    let blocks = one.as_chunks::<16>().0.iter().zip(other.as_chunks::<16>().0);
    let blocks = blocks.zip(mask.as_chunks::<16>().0);
    let differ = blocks.fold(u8x16::ZERO, |differ, ((one, other), mask)| {
        differ | ((u8x16::new(*one) ^ u8x16::new(*other)) & u8x16::new(*mask))
    });
    differ.simd_eq(u8x16::ZERO).to_bitmask() & 0xffff == 0xffff
}
