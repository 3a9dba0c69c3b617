//! Texts of a few bytes that are compared and counted up as a whole.

use wide::u8x16;

use crate::units::IterationId;

/// Counts a number up that has at most eight digits, the last of them at `at + 7`. It must not be one of
/// nines alone; what stands before it stays.
#[inline(always)]
pub(super) fn count_up(text: &mut [u8], at: usize) {
    const NINES: u64 = 0x3939_3939_3939_3939;
    const NINE_EACH: u64 = 0x0909_0909_0909_0909;
    if let Some(bytes) = text.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        let word = u64::from_be_bytes(*bytes);
        // The nines at the end become zeros, and the digit before them one more.
        let nines = (word ^ NINES).trailing_zeros() & !7;
        let one = 1u64.wrapping_shl(nines);
        *bytes = word.wrapping_add(one).wrapping_sub(NINE_EACH & (one - 1)).to_be_bytes();
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
    pub(super) mask: [u8; 16],
    pub(super) len: usize,
}

impl Prefix {
    pub(super) fn of(id: IterationId) -> Option<Self> {
        let text = format!("{},", id.0);
        let mut prefix = Self { len: text.len(), ..Self::default() };
        prefix.text.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        prefix.mask[..text.len()].fill(u8::MAX);
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

/// The bits in which two texts differ where `mask` has one, in sixteen bytes one upon the other.
#[inline(always)]
pub(super) fn differ<const BYTES: usize>(
    one: &[u8; BYTES],
    other: &[u8; BYTES],
    mask: &[u8; BYTES],
) -> u8x16 {
    let blocks = one.as_chunks::<16>().0.iter().zip(other.as_chunks::<16>().0);
    let blocks = blocks.zip(mask.as_chunks::<16>().0);
    blocks.fold(u8x16::ZERO, |differ, ((one, other), mask)| {
        differ | ((u8x16::new(*one) ^ u8x16::new(*other)) & u8x16::new(*mask))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_up_where_they_stand() {
        for (number, next) in [
            ("7,0", "7,1"),
            ("x,19,", "x,20,"),
            ("12345678", "12345679"),
            ("09999999", "10000000"),
            ("9,1099", "9,1100"),
            ("0999", "1000"),
        ] {
            let end = number.trim_end_matches(',').len();
            let mut text = format!("{:>20}{}", &number[..end], &number[end..]).into_bytes();
            count_up(&mut text, 12);
            assert_eq!(String::from_utf8(text).unwrap().trim_start(), next);
        }
    }
}
