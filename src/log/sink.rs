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

/// A row that is written to memory which is there already. Its length stays in a register from field
/// to field, which makes it twice as fast as a vector.
///
/// What does not fit is left out; [`Line::length`] tells.
#[derive(Debug)]
pub struct Line<'a> {
    bytes: &'a mut [u8],
    length: usize,
    overflown: bool,
}

impl<'a> Line<'a> {
    /// A row at the beginning of `bytes`, which is to have 8 more than the row.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, length: 0, overflown: false }
    }

    /// How long the row is; `None` if it did not fit.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        (!self.overflown).then_some(self.length)
    }
}

impl Sink for Line<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let length = bytes.len();
        let Some(target) = self.bytes.get_mut(self.length..self.length + length) else {
            self.overflown = true;
            return;
        };
        // Most ids are this long. Copies of constant length, which may overlap, need no call.
        if let (16..=48, Some(last)) = (length, bytes.last_chunk::<16>()) {
            target[..16].copy_from_slice(&bytes[..16]);
            if length > 32 {
                target[16..32].copy_from_slice(&bytes[16..32]);
            }
            target[length - 16..].copy_from_slice(last);
        } else {
            target.copy_from_slice(bytes);
        }
        self.length += length;
    }

    #[inline(always)]
    fn put_word(&mut self, word: u64, length: usize) {
        match self.bytes.get_mut(self.length..self.length + 8) {
            Some(target) => target.copy_from_slice(&word.to_le_bytes()),
            None => self.overflown = true,
        }
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
            let mut memory = [0; 256];
            let mut line = Line::new(&mut memory);
            let mut vector = Vec::new();
            for part in [&text[..length], b",", &text[..length.min(7)]] {
                line.put(part);
                vector.put(part);
                line.put_word(0x0030_3132_3334_3536, 5);
                vector.put_word(0x0030_3132_3334_3536, 5);
            }
            let written = line.length().unwrap();
            assert_eq!(memory[..written], vector);
        }
    }

    #[test]
    fn a_line_tells_that_it_is_too_long() {
        let mut memory = [0; 16];
        let mut line = Line::new(&mut memory);
        line.put(b"123456789");
        line.put_byte(b',');
        assert_eq!(line.length(), None);
        let mut memory = [0; 16];
        let mut line = Line::new(&mut memory);
        line.put(b"12345678901234567");
        assert_eq!(line.length(), None);
    }
}
