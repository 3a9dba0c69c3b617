//! Puts rows into files so that a kill of this process never leaves half a row behind.
//!
//! A `write` that a SIGKILL interrupts stops at a page boundary, in the middle of a row: of 60 kills
//! of a replay at full speed, 15 tore one for good. So the files are written by a second process,
//! forked when the log is begun: the scribe. It is in a session of its own, outlives the kill of its
//! parent and ends the write (a few milliseconds). A flush copies the rows to memory that both share
//! and sends an order of some bytes; whoever flushes goes on at once, and learns of a failure when he
//! asks. The rows that are nearly all of a log come packed, so that their text is made there too.

mod append;
mod plain;
mod scribe;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use append::PAGE_BYTES;
use scribe::Scribe;

/// How rows wait for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they will stand in the file.
    Text,
    /// As [`packed`](crate::log::packed) rows; whoever writes them makes them text.
    Packed,
}

/// Whole rows for the end of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) file: &'a File,
    pub(super) form: Form,
    pub(super) rows: &'a [u8],
}

/// A piece that could not be written; its file was cut back to the length before.
#[derive(Debug)]
pub(super) struct FlushFailure {
    /// The file's descriptor; none of them where the scribe was killed.
    pub(super) fd: RawFd,
    pub(super) source: io::Error,
}

impl FlushFailure {
    fn of(fd: RawFd, errno: i32) -> Self {
        Self { fd, source: io::Error::from_raw_os_error(errno) }
    }
}

/// More than is waiting at a flush of nearly every log.
const SHARED_BYTES: usize = 2 << 20;

/// Writes the flushes of one log, one after the other.
#[derive(Debug)]
pub(super) struct Flusher {
    /// Nobody, where no kill is to be outlived, or the system has no process to give: better with
    /// the risk of a torn row than not at all.
    scribe: Option<Scribe>,
    /// Where packed rows become text if there is no scribe.
    page: Vec<u8>,
}

impl Flusher {
    /// For files that are open already: a scribe has those that were at its start. Without
    /// `kill_safe` there is none, and a flush is a plain write.
    pub(super) fn new(kill_safe: bool) -> Self {
        Self {
            scribe: if kill_safe { Scribe::start(SHARED_BYTES) } else { None },
            page: Vec::new(),
        }
    }

    /// Begins to write; the flush before must have been waited for.
    pub(super) fn start(&mut self, pieces: &[Piece<'_>]) -> Result<(), FlushFailure> {
        let bytes: usize = pieces.iter().map(|piece| piece.rows.len()).sum();
        if bytes == 0 {
            return Ok(());
        }
        if self.scribe.as_ref().is_some_and(|scribe| scribe.capacity() < bytes) {
            self.scribe = Scribe::start(bytes.next_power_of_two());
        }
        match &mut self.scribe {
            Some(scribe) => {
                let handed = scribe.hand_over(pieces);
                self.outcome(handed)
            }
            None => pieces.iter().try_for_each(|piece| {
                let fd = piece.file.as_raw_fd();
                self.page.resize(PAGE_BYTES, 0);
                append::rows(fd, piece.form, piece.rows, &mut self.page)
                    .map_err(|errno| FlushFailure::of(fd, errno))
            }),
        }
    }

    /// Whether the flush is still under way; tells of its failure, once, if it is not.
    pub(super) fn is_busy(&mut self) -> Result<bool, FlushFailure> {
        match &mut self.scribe {
            Some(scribe) if scribe.is_writing() => Ok(true),
            _ => self.wait().map(|()| false),
        }
    }

    /// Waits for the flush under way.
    pub(super) fn wait(&mut self) -> Result<(), FlushFailure> {
        let Some(scribe) = &mut self.scribe else { return Ok(()) };
        let outcome = scribe.wait();
        self.outcome(outcome)
    }

    /// A scribe that was killed is never asked again.
    fn outcome(&mut self, outcome: Result<(), scribe::Failure>) -> Result<(), FlushFailure> {
        outcome.map_err(|failure| match failure {
            scribe::Failure::File { fd, errno } => FlushFailure::of(fd, errno),
            scribe::Failure::Killed => {
                self.scribe = None;
                FlushFailure { fd: -1, source: io::ErrorKind::BrokenPipe.into() }
            }
        })
    }
}
