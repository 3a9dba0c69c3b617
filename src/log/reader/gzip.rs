//! Compressed files: gzip members one behind the other, and nothing behind the last one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use flate2::bufread::GzDecoder;

/// How every member begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// As much is read from the file at a time.
const BUFFER_BYTES: usize = 32 << 10;

/// Gzip members one behind the other.
///
/// What stands behind a member begins as a member does, or it is none: a few bytes of anything else are
/// too short for the header of one, and would pass for a member that was cut.
#[derive(Debug)]
pub struct Gzip {
    /// The member at hand; none before the first one, behind the last one and behind an error.
    member: Option<GzDecoder<BufReader<File>>>,
    /// What is not read yet, while there is no member.
    rest: Option<BufReader<File>>,
    /// The byte of the file at which the member at hand begins.
    start: u64,
    /// Whether what came out so far may be wrong.
    spoiled: bool,
}

impl Gzip {
    pub(super) fn new(file: File) -> Self {
        let rest = Some(BufReader::with_capacity(BUFFER_BYTES, file));
        Self { member: None, rest, start: 0, spoiled: false }
    }

    /// Reads to the end; says what the decoder says if bytes inside a member are not those that were written.
    /// Nothing tells which, so that no row is to be trusted. A file that was cut is not meant, nor one
    /// with something behind it.
    pub(super) fn what_spoils(mut self) -> Option<String> {
        let error = io::copy(&mut self, &mut io::sink()).err()?;
        self.spoiled.then(|| error.to_string())
    }

    /// Goes on to the next member; false at the end of the file.
    fn next_member(&mut self) -> io::Result<bool> {
        let Some(mut rest) = self.rest.take() else { return Ok(false) };
        self.start = rest.stream_position()?;
        let begin = rest.fill_buf()?;
        if begin.is_empty() && self.start > 0 {
            return Ok(false);
        }
        // Where the buffer ends behind the first byte, the decoder looks at the second one.
        let known = begin.len().min(MAGIC.len());
        if begin[..known] != MAGIC[..known] {
            return Err(self.no_member());
        }
        self.member = Some(GzDecoder::new(rest));
        Ok(true)
    }

    /// That there is no member where one would begin.
    fn no_member(&self) -> io::Error {
        let text = match self.start {
            0 => "its name ends in .gz, but it is not gzip; rename it".to_owned(),
            start => format!(
                "bytes behind the end of the gzip stream, from byte {start} (counted from 0) on; cut \
                 them off, or copy the file anew"
            ),
        };
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    /// An error of the decoder with the remedy. That the data ends too early stays what it is: a cut
    /// file.
    fn error(&mut self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::InvalidInput if error.to_string().contains("header") => self.no_member(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                self.spoiled = true;
                let remedy = "the gzip data is damaged; copy the file anew";
                io::Error::new(error.kind(), format!("{error}: {remedy}"))
            }
            _ => error,
        }
    }
}

impl Read for Gzip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !out.is_empty() {
            let Some(member) = &mut self.member else {
                if self.next_member()? {
                    continue;
                }
                break;
            };
            match member.read(out) {
                Ok(0) => self.rest = self.member.take().map(GzDecoder::into_inner),
                Ok(count) => return Ok(count),
                Err(error) => return Err(self.error(error)),
            }
        }
        Ok(0)
    }
}
