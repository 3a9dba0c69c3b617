//! Bytes to CSV records: RFC 4180 with positions, bounded memory and a known end.
//!
//! The csv crate is not used here because three things matter that it does not tell: whether the
//! last record was ended by a line break, where each record begins, and a bound on the length of a
//! record (one stray quote would otherwise swallow the rest of a file). A property test holds this
//! splitter to the csv crate's reading of every file that both can read.

use std::io::{self, Read};

use crate::log::scan::{BEHIND, Cursor, WINDOW};
use crate::log::schema::{RawRecord, Row};

/// The longest record that is read as one.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

const BUFFER_BYTES: usize = 256 << 10;

/// Zeros behind the bytes that were read, so that a row can be looked at in pieces of a constant size
/// up to the last one. A zero ends a field and is no end of a row.
pub(super) const PADDING: usize = WINDOW + BEHIND;

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a line break, as every whole row does.
    LineBreak,
    /// With the file: the row may have been cut.
    EndOfFile,
    /// A quote was not closed within the bounds; the record is the first line of it.
    UnclosedQuote,
    /// No line break within the bounds; the record is what was skipped.
    Oversized,
}

/// One record, its fields unquoted.
#[derive(Debug)]
pub struct Record<'a> {
    text: &'a [u8],
    ends: &'a [(u32, u32)],
    /// Its first line, counted from 1.
    pub line: u64,
    /// Its first byte in the file.
    pub offset: u64,
    /// How it ended.
    pub ending: Ending,
}

impl Record<'_> {
    /// How many fields it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no field.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The record's text as far as it was read.
    #[must_use]
    pub const fn text(&self) -> &[u8] {
        self.text
    }
}

/// A record that owns its text.
#[derive(Debug)]
pub(super) struct OwnedRecord {
    text: Vec<u8>,
    ends: Vec<(u32, u32)>,
    line: u64,
    offset: u64,
    ending: Ending,
}

impl OwnedRecord {
    pub(super) fn of(record: &Record<'_>) -> Self {
        Self {
            text: record.text.to_vec(),
            ends: record.ends.to_vec(),
            line: record.line,
            offset: record.offset,
            ending: record.ending,
        }
    }

    /// The record, so many lines further down.
    pub(super) fn record(&self, lines: u64) -> Record<'_> {
        Record {
            text: &self.text,
            ends: &self.ends,
            line: self.line + lines,
            offset: self.offset,
            ending: self.ending,
        }
    }
}

impl RawRecord for Record<'_> {
    #[inline]
    fn field(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = *self.ends.get(index)?;
        self.text.get(start as usize..end as usize)
    }
}

/// Splits a stream into records.
#[derive(Debug)]
pub struct Splitter<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    eof: bool,
    /// Why the stream could not be read on, until somebody is told.
    failed: Option<io::Error>,
    offset: u64,
    line: u64,
    fields: Vec<(u32, u32)>,
    unquoted: Vec<u8>,
}

/// The extent of one record in the buffer.
struct Extent {
    /// Bytes of the record, line break excluded.
    len: usize,
    /// Bytes to go on after it.
    advance: usize,
    lines: u64,
    ending: Ending,
    quoted: bool,
}

impl<R: Read> Splitter<R> {
    /// Splits `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER_BYTES + PADDING],
            start: 0,
            filled: 0,
            eof: false,
            failed: None,
            offset: 0,
            line: 1,
            fields: Vec::new(),
            unquoted: Vec::new(),
        }
    }

    /// Goes on in another stream, of which this is the line and the byte.
    pub(super) fn begin(&mut self, input: R, line: u64, offset: u64) {
        self.input = input;
        (self.start, self.filled, self.eof, self.failed) = (0, 0, false, None);
        (self.line, self.offset) = (line, offset);
        self.buffer[..PADDING].fill(0);
    }

    /// The stream.
    pub(super) const fn input(&self) -> &R {
        &self.input
    }

    /// Skips a UTF-8 byte order mark, if the stream begins with one.
    ///
    /// # Errors
    /// What reading the stream gives.
    pub fn skip_bom(&mut self) -> io::Result<()> {
        while self.filled - self.start < 3 && !self.eof {
            self.refill()?;
        }
        if self.buffer[self.start..self.filled].starts_with(b"\xef\xbb\xbf") {
            self.start += 3;
            self.offset += 3;
        }
        Ok(())
    }

    /// Reads the next record by the [short cut](crate::log::scan): the row, its request's id, if it has
    /// one, and the line and byte where it begins. None if it is not an ordinary row; nothing is read then.
    #[inline]
    pub(super) fn scan<T: Row>(&mut self, ours: bool) -> Option<(T, &[u8], u64, u64)> {
        let mut cursor = Cursor::new(self.ahead())?;
        let row = T::scan(&mut cursor, ours)?;
        let (read, name) = (cursor.read(), cursor.name());
        let (first, line, offset) = (self.start, self.line, self.offset);
        self.skip(read, 1);
        Some((row, &self.buffer[first + name.start..first + name.end], line, offset))
    }

    /// What comes next, at least [`PADDING`] bytes: the next row, or more of them, or the end of the
    /// stream and zeros behind it.
    #[inline]
    pub(super) fn ahead(&mut self) -> &[u8] {
        while self.filled - self.start < PADDING && !self.eof {
            self.failed = self.refill().err();
        }
        &self.buffer[self.start..self.filled + PADDING]
    }

    /// The line and the byte at which what comes next begins.
    pub(super) const fn position(&self) -> (u64, u64) {
        (self.line, self.offset)
    }

    /// How the row that was [scanned](Self::scan) last ended.
    pub(super) fn last_line_break(&self) -> &'static str {
        let before = self.buffer.get(..self.start).unwrap_or_default();
        if before.ends_with(b"\r\n") { "\r\n" } else { "\n" }
    }

    /// Passes over rows that were read [ahead](Self::ahead).
    #[inline(always)]
    pub(super) const fn skip(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.offset += bytes as u64;
        self.line += lines;
    }

    /// Goes on behind what was the end of the stream when it was last read.
    pub const fn resume(&mut self) {
        self.eof = false;
    }

    /// The next record; empty lines are passed over.
    ///
    /// # Errors
    /// What reading the stream gives.
    pub fn next_record(&mut self) -> io::Result<Option<Record<'_>>> {
        let extent = loop {
            match self.extent()? {
                None => return Ok(None),
                Some(extent) if extent.len == 0 && extent.ending == Ending::LineBreak => {
                    self.advance(&extent);
                }
                Some(extent) => break extent,
            }
        };
        let (line, offset, first) = (self.line, self.offset, self.start);
        self.advance(&extent);
        let raw = &self.buffer[first..first + extent.len];
        self.fields.clear();
        let text = if extent.quoted {
            self.unquoted.clear();
            unquote(raw, &mut self.unquoted, &mut self.fields);
            &self.unquoted[..]
        } else {
            split_plain(raw, &mut self.fields);
            raw
        };
        Ok(Some(Record { text, ends: &self.fields, line, offset, ending: extent.ending }))
    }

    fn advance(&mut self, extent: &Extent) {
        self.start += extent.advance;
        self.offset += extent.advance as u64;
        self.line += extent.lines;
    }

    /// Finds the end of the record at `start`, reading on as far as needed.
    #[inline]
    fn extent(&mut self) -> io::Result<Option<Extent>> {
        let mut scanned = 0;
        loop {
            let window = &self.buffer[self.start..self.filled];
            if let Some(at) = memchr::memchr(b'\n', &window[scanned..]) {
                let len = scanned + at;
                if memchr::memchr(b'"', &window[..len]).is_none() {
                    return Ok(Some(line_extent(window, len, false, Ending::LineBreak)));
                }
                return self.quoted_extent().map(Some);
            }
            if self.eof {
                if let Some(error) = self.failed.take() {
                    return Err(error);
                }
                return match window.len() {
                    0 => Ok(None),
                    len => {
                        let quoted = memchr::memchr(b'"', window).is_some();
                        let ending = Ending::EndOfFile;
                        Ok(Some(Extent { len, advance: len, lines: 1, ending, quoted }))
                    }
                };
            }
            scanned = window.len();
            if scanned > MAX_RECORD_BYTES {
                let ending = Ending::Oversized;
                return Ok(Some(Extent {
                    len: scanned,
                    advance: scanned,
                    lines: 0,
                    ending,
                    quoted: false,
                }));
            }
            self.refill()?;
        }
    }

    /// Finds the end of a record that has quotes in its first line.
    fn quoted_extent(&mut self) -> io::Result<Extent> {
        loop {
            let window = &self.buffer[self.start..self.filled];
            if let Some((len, lines)) = quoted_len(window) {
                let mut extent = line_extent(window, len, true, Ending::LineBreak);
                extent.lines = lines;
                return Ok(extent);
            }
            if self.eof || window.len() > MAX_RECORD_BYTES {
                // Go on behind the first line: the rest of the file may be in order.
                let first = memchr::memchr(b'\n', window).unwrap_or(window.len());
                return Ok(line_extent(window, first, false, Ending::UnclosedQuote));
            }
            self.refill()?;
        }
    }

    /// Reads more behind what is in the buffer, moving and growing it as needed.
    fn refill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled + PADDING == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = self.buffer.len() - PADDING;
        let read = loop {
            match self.input.read(&mut self.buffer[self.filled..room]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        // What was read before a failure is still there to be split.
        let count = *read.as_ref().unwrap_or(&0);
        self.eof = count == 0;
        self.filled += count;
        self.buffer[self.filled..self.filled + PADDING].fill(0);
        read.map(|_| ())
    }
}

/// The extent of a record whose line break stands at `len`; `\r\n` counts as one.
#[inline]
fn line_extent(window: &[u8], len: usize, quoted: bool, ending: Ending) -> Extent {
    let advance = (len + 1).min(window.len());
    let len = if len > 0 && window[len - 1] == b'\r' { len - 1 } else { len };
    Extent { len, advance, lines: 1, ending, quoted }
}

/// The length of the record up to its line break, and the lines that it spans; `None` if the
/// window ends before it.
fn quoted_len(window: &[u8]) -> Option<(usize, u64)> {
    let (mut at, mut lines) = (0, 1);
    loop {
        // At the beginning of a field.
        if window.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let step = memchr::memchr2(b'"', b'\n', &window[at..])?;
                at += step + 1;
                if window[at - 1] == b'\n' {
                    lines += 1;
                } else if window.get(at) == Some(&b'"') {
                    at += 1;
                } else if at == window.len() {
                    return None;
                } else {
                    break;
                }
            }
        }
        at += memchr::memchr2(b',', b'\n', &window[at..])?;
        if window[at] == b'\n' {
            return Some((at, lines));
        }
        at += 1;
    }
}

#[inline]
fn split_plain(raw: &[u8], fields: &mut Vec<(u32, u32)>) {
    // Records are far shorter than 4 GiB: MAX_RECORD_BYTES bounds them.
    let mut start = 0;
    for comma in memchr::memchr_iter(b',', raw) {
        fields.push((start, comma as u32));
        start = comma as u32 + 1;
    }
    fields.push((start, raw.len() as u32));
}

/// Splits a record with quotes, writing the fields without them to `text`.
fn unquote(raw: &[u8], text: &mut Vec<u8>, fields: &mut Vec<(u32, u32)>) {
    let mut at = 0;
    loop {
        let first = text.len() as u32;
        if raw.get(at) == Some(&b'"') {
            at += 1;
            while let Some(&byte) = raw.get(at) {
                at += 1;
                if byte != b'"' {
                    text.push(byte);
                } else if raw.get(at) == Some(&b'"') {
                    text.push(b'"');
                    at += 1;
                } else {
                    break;
                }
            }
        }
        let rest = &raw[at..];
        let len = memchr::memchr(b',', rest).unwrap_or(rest.len());
        text.extend_from_slice(&rest[..len]);
        fields.push((first, text.len() as u32));
        at += len;
        if at >= raw.len() {
            return;
        }
        at += 1;
        if at == raw.len() {
            let end = text.len() as u32;
            fields.push((end, end));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time, so that every record crosses a refill.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(out.len()).min(3);
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn split(text: &[u8]) -> Vec<(Vec<String>, u64, u64, Ending)> {
        let mut splitter = Splitter::new(Drip(text));
        let mut records = Vec::new();
        while let Some(record) = splitter.next_record().unwrap() {
            let fields = (0..record.len())
                .map(|i| String::from_utf8_lossy(record.field(i).unwrap()).into_owned())
                .collect();
            records.push((fields, record.line, record.offset, record.ending));
        }
        records
    }

    #[test]
    fn quotes_line_breaks_and_positions() {
        let records = split(b"a,b\r\n\n\"x,\"\"y\"\"\nz\",2\r\nq,\n");
        let expected: Vec<(Vec<String>, u64, u64, Ending)> = vec![
            (vec!["a".into(), "b".into()], 1, 0, Ending::LineBreak),
            (vec!["x,\"y\"\nz".into(), "2".into()], 3, 6, Ending::LineBreak),
            (vec!["q".into(), String::new()], 5, 21, Ending::LineBreak),
        ];
        assert_eq!(records, expected);
    }

    #[test]
    fn the_end_is_known() {
        assert_eq!(split(b"a,1\nb,2").last().unwrap().3, Ending::EndOfFile);
        assert_eq!(split(b"a,1\nb,\"2").last().unwrap().3, Ending::EndOfFile);
        assert!(split(b"").is_empty());
    }

    #[test]
    fn a_stray_quote_costs_one_line() {
        let records = split(b"a,1\n\"b,2\nc,3\n");
        assert_eq!(records[1].3, Ending::UnclosedQuote);
        assert_eq!(records[2].0, ["c", "3"]);
        assert_eq!(records[2].1, 3);
    }
}
