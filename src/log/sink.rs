//! Where the text of a row goes.

/// Takes the text of fields, piece by piece.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Appends the lowest `length` bytes of a word, the lowest first; `length` is at most 8.
    fn put_word(&mut self, word: u64, length: usize);

    /// Appends a byte.
    #[inline(always)]
    fn put_byte(&mut self, byte: u8) {
        self.put_word(u64::from(byte), 1);
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_word(&mut self, word: u64, length: usize) {
        // A copy of constant length whose surplus is cut off: a few instructions instead of a call.
        let end = self.len() + length;
        self.extend_from_slice(&word.to_le_bytes());
        self.truncate(end);
    }
}

/// The longest text of a row that [`Line`] takes; a power of two.
const LONGEST_LINE: usize = 512;

/// Copies of constant length may reach this far beyond the text.
const OVERHANG: usize = 48;

/// The memory of a [`Line`].
pub type LineRoom = [u8; LONGEST_LINE + OVERHANG];

/// A row of fewer than 512 bytes that is written to memory which is there already.
///
/// Its length stays in a register from field to field, and where it stands needs no comparison: it is taken
/// modulo 512. That makes it three times as fast as a vector.
#[derive(Debug)]
pub struct Line<'a> {
    bytes: &'a mut LineRoom,
    length: usize,
}

impl<'a> Line<'a> {
    /// A row at the beginning of `bytes`.
    pub fn new(bytes: &'a mut LineRoom) -> Self {
        Self { bytes, length: 0 }
    }

    /// How long the row is.
    #[must_use]
    pub fn length(&self) -> usize {
        debug_assert!(self.length < LONGEST_LINE, "{} bytes are no short row", self.length);
        self.length
    }

    /// Copies the bytes to `behind` the end.
    #[inline(always)]
    fn copy<const LENGTH: usize>(&mut self, bytes: &[u8; LENGTH], behind: usize) {
        const { assert!(LENGTH <= OVERHANG) };
        let at = (self.length + behind) % LONGEST_LINE;
        self.bytes[at..at + LENGTH].copy_from_slice(bytes);
    }

    /// Copies a text of at least `LENGTH` and at most twice as many bytes.
    #[inline(always)]
    fn put_twice<const LENGTH: usize>(&mut self, bytes: &[u8]) {
        if let (Some(first), Some(last)) =
            (bytes.first_chunk::<LENGTH>(), bytes.last_chunk::<LENGTH>())
        {
            self.copy(first, 0);
            self.copy(last, bytes.len() - LENGTH);
        }
        self.length += bytes.len();
    }
}

impl Sink for Line<'_> {
    #[inline(always)]
    fn put(&mut self, mut bytes: &[u8]) {
        // Copies of constant length, which may overlap, need no call.
        while let Some((first, rest)) = bytes.split_first_chunk::<32>() {
            self.copy(first, 0);
            self.length += first.len();
            bytes = rest;
        }
        match bytes.len() {
            16.. => self.put_twice::<16>(bytes),
            8.. => self.put_twice::<8>(bytes),
            4.. => self.put_twice::<4>(bytes),
            2.. => self.put_twice::<2>(bytes),
            _ => self.put_twice::<1>(bytes),
        }
    }

    #[inline(always)]
    fn put_word(&mut self, word: u64, length: usize) {
        self.copy(&word.to_le_bytes(), 0);
        self.length += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_what_a_vector_holds() {
        let text: Vec<u8> = (b'!'..=b'~').collect();
        for length in 0..=text.len() {
            let mut memory = [0; _];
            let mut line = Line::new(&mut memory);
            let mut vector = Vec::new();
            for part in [&text[..length], b",", &text[..length.min(7)], &text[length..], &text] {
                line.put(part);
                vector.put(part);
                line.put_word(0x0030_3132_3334_3536, 5);
                vector.put_word(0x0030_3132_3334_3536, 5);
            }
            let written = line.length();
            assert_eq!(memory[..written], vector);
        }
    }
}
