//! A short cut through the ordinary row: fields read from left to right, without finding their ends
//! first.
//!
//! A short cut never judges. Where anything is out of the ordinary (a quote, a sign, an empty field, a
//! letter beyond ASCII, the end of the buffer) it gives up, and the row is read the long way,
//! [`Field::parse`](crate::log::field::Field::parse), which also says what is wrong. A property test
//! holds the two ways to each other.

use std::ops::Range;

/// Bytes of a row that are read from left to right.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    name: Range<usize>,
}

/// The highest bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;
const ZEROS: u64 = 0x3030_3030_3030_3030;
/// Bytes below this one, `,` among them, are no part of a word or of an ordinary id.
const BELOW: u64 = 0x2d2d_2d2d_2d2d_2d2d;

impl<'a> Cursor<'a> {
    /// Reads from the beginning of `text`.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, name: 0..0 }
    }

    /// How many bytes were read.
    #[must_use]
    pub const fn read(&self) -> usize {
        self.at
    }

    /// Where the request's id stands, if the row has one.
    #[must_use]
    pub fn name(&self) -> Range<usize> {
        self.name.clone()
    }

    #[inline(always)]
    fn word(&self, at: usize) -> Option<u64> {
        let bytes = self.text.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Whether the field is empty.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> Option<bool> {
        self.peek().map(|byte| matches!(byte, b',' | b'\n' | b'\r'))
    }

    /// Passes over the byte, if it comes next.
    #[inline(always)]
    pub(super) fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Passes over the end of the field: a comma, or, behind the last one, the line break.
    #[inline(always)]
    pub(super) fn end_field(&mut self, last: bool) -> Option<()> {
        if !last {
            return self.skip(b',');
        }
        if self.peek()? == b'\r' {
            self.at += 1;
        }
        self.skip(b'\n')
    }

    /// A number of at least one digit that fits in 64 bits.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Option<u64> {
        let (len, value) = digits(self.word(self.at)?);
        self.at += len;
        match len {
            0 => None,
            8 => self.long_number(value),
            _ => Some(value),
        }
    }

    #[inline]
    fn long_number(&mut self, high: u64) -> Option<u64> {
        const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
        let (len, low) = digits(self.word(self.at)?);
        self.at += len;
        // Seventeen digits and more are rare: a century in nanoseconds has nineteen.
        let power = *POWERS.get(len)?;
        Some(high * power + low)
    }

    /// A run of bytes that are neither separators nor beyond ASCII; at least one.
    #[inline(always)]
    pub(super) fn run(&mut self) -> Option<&'a [u8]> {
        let first = self.at;
        loop {
            let word = self.word(self.at)?;
            let low = word.wrapping_sub(BELOW) & !word & HIGH;
            let ascii = word & HIGH;
            if low != 0 {
                let len = (low.trailing_zeros() / 8) as usize;
                if ascii != 0 && (ascii.trailing_zeros() as usize) / 8 < len {
                    return None;
                }
                self.at += len;
                break;
            }
            if ascii != 0 {
                return None;
            }
            self.at += 8;
        }
        if self.at == first { None } else { self.text.get(first..self.at) }
    }

    /// The request's id.
    #[inline(always)]
    pub(super) fn take_name(&mut self) -> Option<()> {
        let first = self.at;
        self.run()?;
        self.name = first..self.at;
        Some(())
    }
}

/// How many of eight bytes, the lowest first, are digits up to one that is not, and their value.
#[inline(always)]
fn digits(word: u64) -> (usize, u64) {
    let digits = word ^ ZEROS;
    // A byte above 9 gets its highest bit; a carry out of such a byte touches only those behind it.
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & HIGH;
    let len = (others.trailing_zeros() / 8) as usize;
    if len == 0 {
        return (0, 0);
    }
    // Zeros in front make it a number of eight digits, which three multiplications add up.
    let aligned = digits << (64 - 8 * len);
    let pairs = aligned.wrapping_mul(10).wrapping_add(aligned >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let value = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (len, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length() {
        for len in 1..=16usize {
            let text: String = "9071234586019273".chars().take(len).collect();
            let row = format!("{text},padding,padding");
            let mut cursor = Cursor::new(row.as_bytes());
            let value = cursor.number();
            // What has more digits is left to the long way.
            let expected = (len < 16).then(|| text.parse().unwrap());
            assert_eq!(value, expected, "{text}");
            if value.is_some() {
                assert_eq!(cursor.peek(), Some(b','), "{text}");
            }
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_given_up() {
        for text in [",........", "-1.......", "\"1\".....", "1", "\u{e9}........"] {
            assert_eq!(Cursor::new(text.as_bytes()).number(), None, "{text}");
        }
        for text in [",........", "\"a\".....", "a\u{e9},......", "abc"] {
            assert_eq!(Cursor::new(text.as_bytes()).run(), None, "{text}");
        }
        assert_eq!(Cursor::new(b"cmpl-0123456789,........").run(), Some(&b"cmpl-0123456789"[..]));
    }
}
