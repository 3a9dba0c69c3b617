//! A short cut through the ordinary row: the ends of its fields are found all at once, and its numbers
//! are read eight digits at a time.
//!
//! A short cut never judges. Where anything is out of the ordinary (a quote, a sign, a letter beyond
//! ASCII, a very long row, the end of the buffer) it gives up, and the row is read the long way,
//! [`Field::parse`](crate::log::field::Field::parse), which also says what is wrong. A property test
//! holds the two ways to each other.

use std::ops::Range;

use wide::u8x16;

/// The bytes in which an ordinary row ends.
pub const WINDOW: usize = 256;
/// Bytes that are looked at at a time.
const PIECE: usize = 64;
/// Bytes that a word behind the last of them reaches.
pub const BEHIND: usize = 8;

/// A row that is read field by field.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a [u8; WINDOW + BEHIND],
    /// Where the piece begins that was looked at last, and a bit for each byte of it that may end a field
    /// and was not passed yet.
    piece: usize,
    ends: u64,
    /// The present field.
    first: usize,
    last: usize,
    name: Range<usize>,
    /// Not zero once a digit was none.
    odd: u64,
}

/// The highest bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;
/// Eight digits that are zero.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The value of the first one to eight bytes of a word as digits, and something that is not zero if one
/// of them is none.
#[inline(always)]
const fn digits(word: u64, len: usize) -> (u64, u64) {
    // Zeros in front make it a number of eight digits, which three multiplications add up.
    let digits = (word ^ ZEROS).wrapping_shl(0u32.wrapping_sub(8 * len as u32));
    (value(digits), odd(digits))
}

/// Not zero if one of eight digits is above 9: its byte gets the highest bit, or one that it has already.
#[inline(always)]
const fn odd(digits: u64) -> u64 {
    (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & HIGH
}

/// The number that eight digits are.
#[inline(always)]
const fn value(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

impl<'a> Cursor<'a> {
    /// Reads from the beginning of `text`; None if that is too short to be sure of anything.
    #[inline(always)]
    #[must_use]
    pub fn new(text: &'a [u8]) -> Option<Self> {
        let text = text.first_chunk()?;
        let mut cursor = Self { text, piece: 0, ends: 0, first: 0, last: 0, name: 0..0, odd: 0 };
        cursor.look();
        Some(cursor)
    }

    /// Looks at a piece.
    #[inline(always)]
    fn look(&mut self) {
        let piece = self.text.get(self.piece..).and_then(<[u8]>::first_chunk::<PIECE>);
        let blocks = piece.map_or(&[] as &[_], |piece| piece.as_chunks::<16>().0);
        let (mut ends, mut beyond) = (0, 0);
        let comma = u8x16::splat(b',');
        for (index, block) in blocks.iter().enumerate() {
            let block = u8x16::new(*block);
            // What is not above the comma (a quote, a blank, a sign) is no part of an ordinary field.
            ends |= u64::from(block.min(comma).simd_eq(block).to_bitmask()) << (16 * index);
            beyond |= u64::from(block.to_bitmask());
        }
        self.ends = ends;
        // Only this line matters, but where there is one letter beyond ASCII there are more.
        self.odd |= beyond;
    }

    /// Goes to the next field.
    #[inline(always)]
    pub(super) fn begin_field(&mut self) -> Option<()> {
        while self.ends == 0 {
            self.piece += PIECE;
            if self.piece >= WINDOW {
                return None;
            }
            self.look();
        }
        self.last = self.piece + self.ends.trailing_zeros() as usize;
        self.ends &= self.ends - 1;
        Some(())
    }

    /// Passes over the end of the field: a comma, or, behind the last one, the line break.
    #[inline(always)]
    pub(super) fn end_field(&mut self, last: bool) -> Option<()> {
        self.first = self.last + 1;
        let end = self.byte(self.last);
        if !last {
            return (end == b',').then_some(());
        }
        let end = if end == b'\r' {
            self.first += 1;
            self.byte(self.last + 1)
        } else {
            end
        };
        (end == b'\n' && self.odd == 0).then_some(())
    }

    /// How many bytes were read.
    #[must_use]
    pub const fn read(&self) -> usize {
        self.first
    }

    /// Where the request's id stands, if the row has one.
    #[must_use]
    pub fn name(&self) -> Range<usize> {
        self.name.clone()
    }

    #[inline(always)]
    const fn byte(&self, at: usize) -> u8 {
        if at < self.text.len() { self.text[at] } else { 0 }
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        let at = at % WINDOW;
        let bytes = self.text[at..at + BEHIND].first_chunk();
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Whether the field is empty.
    #[inline(always)]
    pub(super) const fn is_empty(&self) -> bool {
        self.first == self.last
    }

    /// Whether the field begins with a minus.
    #[inline(always)]
    pub(super) const fn is_negative(&self) -> bool {
        self.byte(self.first) == b'-'
    }

    /// Passes over the first byte of the field.
    #[inline(always)]
    pub(super) const fn skip(&mut self) {
        self.first += 1;
    }

    /// A number of one to eight digits, as most are. That they are digits is only known at the end of
    /// the row.
    #[inline(always)]
    pub(super) fn short_number(&mut self) -> Option<u32> {
        let len = self.last.checked_sub(self.first)?;
        if !matches!(len, 1..=8) {
            return None;
        }
        // Eight digits are less than 32 bits hold.
        Some(self.digits(self.first, len) as u32)
    }

    /// A number of one to sixteen digits. That they are digits is only known at the end of the row.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Option<u64> {
        let len = self.last.checked_sub(self.first)?;
        match len {
            0 => None,
            1..=8 => Some(self.digits(self.first, len)),
            9..=16 => {
                let high = self.digits(self.first, len - 8);
                Some(high * 100_000_000 + self.digits(self.last - 8, 8))
            }
            // A century in nanoseconds has nineteen.
            _ => None,
        }
    }

    /// The value of one to eight digits.
    #[inline(always)]
    fn digits(&mut self, at: usize, len: usize) -> u64 {
        let (value, odd) = digits(self.word(at), len);
        self.odd |= odd;
        value
    }

    /// The bytes of the field; at least one.
    #[inline(always)]
    pub(super) fn run(&self) -> Option<&'a [u8]> {
        self.text.get(self.first..self.last).filter(|bytes| !bytes.is_empty())
    }

    /// Whether the field begins with a quote.
    #[inline(always)]
    pub(super) const fn is_quoted(&self) -> bool {
        self.byte(self.first) == b'"'
    }

    /// The bytes between the quotes of a field, each quote among them twice as in the file. `None` if it has
    /// none, or anything below a blank.
    pub(super) fn quoted(&mut self) -> Option<&'a [u8]> {
        if !self.is_quoted() {
            return None;
        }
        let first = self.first + 1;
        loop {
            self.begin_field()?;
            match self.byte(self.last) {
                b'"' => {
                    let quote = self.last;
                    self.begin_field()?;
                    if self.last != quote + 1 {
                        return None;
                    }
                    if self.byte(self.last) != b'"' {
                        return self.text.get(first..quote);
                    }
                }
                b' '.. => {}
                _ => return None,
            }
        }
    }

    /// The request's id.
    #[inline(always)]
    pub(super) fn take_name(&mut self) -> Option<()> {
        self.name = self.first..self.last;
        (!self.name.is_empty()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(WINDOW + BEHIND, b'7');
        bytes
    }

    #[test]
    fn numbers_of_every_length() {
        for len in 1..=17usize {
            let text: String = "90712345860192735".chars().take(len).collect();
            let row = window(&format!("{text},1\n"));
            let mut cursor = Cursor::new(&row).unwrap();
            cursor.begin_field().unwrap();
            // What has more digits is left to the long way.
            let expected = (len < 17).then(|| text.parse().unwrap());
            assert_eq!(cursor.number(), expected, "{text}");
            cursor.end_field(false).unwrap();
            cursor.begin_field().unwrap();
            assert_eq!(cursor.number(), Some(1));
            assert_eq!(cursor.end_field(true), Some(()));
            assert_eq!(cursor.read(), len + 3);
        }
    }

    /// Whether the only field of a row is read as a number.
    fn is_number(text: &str) -> bool {
        let row = window(text);
        let read = |mut cursor: Cursor<'_>| {
            cursor.begin_field()?;
            cursor.number()?;
            cursor.end_field(true)
        };
        Cursor::new(&row).and_then(read).is_some()
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_given_up() {
        assert!(is_number("17\n") && is_number("17\r\n"));
        for text in
            ["\n", "-1\n", "\"1\"\n", "1 \n", "1:\n", "1/\n", "1\r7\n", "\u{e9}\n", "17,", "17"]
        {
            assert!(!is_number(text), "{text:?}");
        }
        assert!(!is_number("1\n\u{b0}"));
        assert!(Cursor::new(b"1,2\n").is_none(), "too short to be sure");
    }
}
