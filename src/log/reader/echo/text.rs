//! Texts of a few bytes that are compared and counted up as a whole.

use crate::units::IterationId;

/// Counts up the number that the last of these bytes are the digits of; what stands before it stays. It must
/// not be one of nines alone.
#[inline(always)]
pub(super) fn count_up(bytes: &mut [u8; 8]) {
    const NINES: u64 = 0x3939_3939_3939_3939;
    const NINE_EACH: u64 = 0x0909_0909_0909_0909;
    let word = u64::from_be_bytes(*bytes);
    // The nines at the end become zeros, and the digit before them one more.
    let nines = (word ^ NINES).trailing_zeros() & !7;
    let one = 1u64.wrapping_shl(nines);
    *bytes = word.wrapping_add(one).wrapping_sub(NINE_EACH & (one - 1)).to_be_bytes();
}

/// A number of at most sixteen digits, one in each byte; the last one is the lowest of the second word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digits([u64; 2]);

impl Digits {
    pub(super) const ZERO: Self = Self([0; 2]);

    /// The digits of a number, unless it has more.
    pub(super) fn of(number: u64) -> Option<Self> {
        let words = [number / 100_000_000, number % 100_000_000];
        let spread = |word: u64| {
            (0..8).fold((0, word), |(digits, rest): (u64, u64), place| {
                (digits | ((rest % 10) << (8 * place)), rest / 10)
            })
        };
        (words[0] < 100_000_000).then(|| Self(words.map(|word| spread(word).0)))
    }

    pub(super) fn number(self) -> u64 {
        let bytes = self.0.into_iter().flat_map(u64::to_be_bytes);
        bytes.fold(0, |number, digit| number * 10 + u64::from(digit))
    }

    /// How many digits it has without zeros in front, but one at least.
    pub(super) const fn len(self) -> usize {
        let [high, low] = self.0;
        let zeros = if high == 0 { 64 + low.leading_zeros() } else { high.leading_zeros() };
        if zeros == 128 { 1 } else { 16 - zeros as usize / 8 }
    }

    /// The last sixteen digits of a sum.
    #[inline(always)]
    pub(super) fn plus(self, other: Self) -> Self {
        // What a byte lacks to be carried over if it has a ten.
        const REST: u64 = 0xf6f6_f6f6_f6f6_f6f6;
        const ONES: u64 = 0x0101_0101_0101_0101;
        let [high, low] = other.0.map(|word| word.wrapping_add(REST));
        let (low, carry) = self.0[1].overflowing_add(low);
        let high = self.0[0].wrapping_add(high).wrapping_add(u64::from(carry));
        // Bytes that were not carried over still have it, and so their highest bit.
        Self([high, low].map(|word| {
            let still = (word >> 7) & ONES;
            // All bits of those bytes, and then the rest.
            word.wrapping_sub((still << 8).wrapping_sub(still) & REST)
        }))
    }

    /// The bits in which the last digits of a text differ from it, of those that the masks choose; the others
    /// have to be zero.
    #[inline(always)]
    pub(super) fn differ(self, text: &[u8; 16], masks: [u64; 2]) -> u64 {
        const ZEROS: u64 = 0x3030_3030_3030_3030;
        let (Some(high), Some(low)) = (text.first_chunk(), text.last_chunk()) else { return 1 };
        let high = (u64::from_be_bytes(*high) ^ ZEROS) & masks[0] ^ self.0[0];
        let low = (u64::from_be_bytes(*low) ^ ZEROS) & masks[1] ^ self.0[1];
        high | low
    }

    /// What chooses the last digits of a text, so many of them.
    pub(super) fn masks(len: usize) -> [u64; 2] {
        let mask = |len: usize| u64::MAX.checked_shr(64 - 8 * len.min(8) as u32).unwrap_or(0);
        [mask(len.saturating_sub(8)), mask(len)]
    }
}

/// A place among the rows of a step and the empty field behind it, as a row tells them: at most eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(pub(super) u64);

impl Place {
    /// A text that is too long is found nowhere.
    pub(super) fn of(place: usize) -> Self {
        let text = format!("{place},,");
        let mut bytes = [0; 8];
        match bytes.get_mut(..text.len()) {
            Some(bytes) => bytes.copy_from_slice(text.as_bytes()),
            None => bytes.fill(u8::MAX),
        }
        Self(u64::from_le_bytes(bytes))
    }

    /// How long it is.
    pub(super) const fn len(self) -> usize {
        8 - self.0.leading_zeros() as usize / 8
    }

    /// What chooses a place of this length from a text.
    pub(super) fn mask(len: u8) -> u64 {
        u64::MAX.checked_shr(64 - 8 * u32::from(len.min(8))).unwrap_or(0)
    }
}

/// The beginning of all rows of a step, and what chooses it from a text.
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
        prefix.mask.get_mut(..text.len())?.fill(u8::MAX);
        Some(prefix)
    }
}

/// Whether texts are other ones, in what the mask chooses of them.
#[inline(always)]
pub(super) fn differ(one: &[u8], other: &[u8], mask: &[u8]) -> bool {
    let bytes = one.iter().zip(other).zip(mask);
    bytes.fold(0, |differ, ((one, other), mask)| differ | (one ^ other) & mask) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_up_where_they_stand() {
        for (number, next) in [
            ("      ,0", "      ,1"),
            ("xxxx,x19", "xxxx,x20"),
            ("12345678", "12345679"),
            ("09999999", "10000000"),
            (" 9,91099", " 9,91100"),
            ("    0999", "    1000"),
        ] {
            let mut text = *number.as_bytes().first_chunk().unwrap();
            count_up(&mut text);
            assert_eq!(std::str::from_utf8(&text), Ok(next));
        }
    }

    #[test]
    fn places_know_their_length() {
        for (place, text) in [(0, "0,,"), (99, "99,,"), (999_999, "999999,,")] {
            let of = Place::of(place);
            let mut bytes = [b'x'; 8];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(of.len(), text.len());
            assert_eq!(u64::from_le_bytes(bytes) & Place::mask(of.len() as u8), of.0);
        }
        // What does not fit is no text.
        assert_eq!(Place::of(1_000_000).0, u64::MAX);
    }

    #[test]
    fn digits_are_added_and_compared() {
        const MOST: u64 = 9_999_999_999_999_999;
        for (one, other) in [
            (0, 0),
            (7, 5),
            (99, 1),
            (99_999_999, 1),
            (12_345_678, 87_654_322),
            (4_000_000_123, 25_000_000),
            (MOST - 1, 1),
        ] {
            let sum = one + other;
            let digits = Digits::of(one).unwrap().plus(Digits::of(other).unwrap());
            assert_eq!(digits, Digits::of(sum).unwrap());
            assert_eq!((digits.number(), digits.len()), (sum, sum.to_string().len()));
            let text = |number: u64| *format!("{:,>16}", number).as_bytes().last_chunk().unwrap();
            let masks = Digits::masks(digits.len());
            assert_eq!(digits.differ(&text(sum), masks), 0);
            assert_ne!(digits.differ(&text(sum ^ 1), masks), 0);
            // A digit less is not enough.
            assert_eq!(digits.differ(&text(sum), Digits::masks(digits.len() - 1)) == 0, sum == 0);
        }
        assert_eq!(Digits::of(MOST + 1), None);
    }
}
