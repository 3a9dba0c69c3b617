//! Puts rows into files so that a kill of this process never leaves half a row behind.
//!
//! A `write` that a SIGKILL interrupts stops at a page boundary, in the middle of a row: of 60 kills
//! of a replay at full speed, 15 tore one for good. So a flush is written by a forked child, which is
//! in a session of its own, outlives the kill of its parent and ends the write (a few milliseconds);
//! the parent goes on at once, and learns of a failure when it asks. The child sees the buffers as
//! they were at the fork.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Whole rows for the end of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) file: &'a File,
    pub(super) rows: &'a [u8],
    /// The length of the file before.
    pub(super) start: u64,
}

/// A piece that could not be written; its file was cut back to the length before.
#[derive(Debug)]
pub(super) struct FlushFailure {
    pub(super) fd: RawFd,
    pub(super) source: io::Error,
}

/// Writes pieces one after the other.
fn write_pieces(pieces: &[Piece<'_>]) -> Result<(), (RawFd, i32)> {
    for piece in pieces {
        let fd = piece.file.as_raw_fd();
        if let Err(errno) = write_rows(fd, piece.rows) {
            sys::truncate(fd, piece.start);
            return Err((fd, errno));
        }
    }
    Ok(())
}

fn write_rows(fd: RawFd, mut rows: &[u8]) -> Result<(), i32> {
    while !rows.is_empty() {
        let written = sys::write(fd, rows)?;
        rows = &rows[written..];
    }
    Ok(())
}

/// The flush under way, if any.
#[derive(Debug)]
pub(super) struct Flusher {
    child: Option<sys::Child>,
    kill_safe: bool,
}

impl Flusher {
    /// Without `kill_safe` no child is forked: a flush is a plain write.
    pub(super) fn new(kill_safe: bool) -> Self {
        Self { child: None, kill_safe }
    }

    /// Begins to write; the flush before must have been waited for.
    pub(super) fn start(&mut self, pieces: &[Piece<'_>]) -> Result<(), FlushFailure> {
        if pieces.is_empty() {
            return Ok(());
        }
        let child = if self.kill_safe { sys::fork(pieces) } else { None };
        match child {
            Some(child) => {
                self.child = Some(child);
                Ok(())
            }
            // No process wanted, or none to be had: better with the risk of a torn row than not at all.
            None => write_pieces(pieces).map_err(failure),
        }
    }

    /// Whether the flush is still under way; tells of its failure, once, if it is not.
    pub(super) fn is_busy(&mut self) -> Result<bool, FlushFailure> {
        match self.child.take_if(|child| child.has_ended()) {
            None => Ok(self.child.is_some()),
            Some(child) => child.wait().map(|()| false).map_err(failure),
        }
    }

    /// Waits for the flush under way.
    pub(super) fn wait(&mut self) -> Result<(), FlushFailure> {
        match self.child.take() {
            None => Ok(()),
            Some(child) => child.wait().map_err(failure),
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        // Whoever wanted to know of a failure has asked before.
        let _ = self.wait();
    }
}

fn failure((fd, errno): (RawFd, i32)) -> FlushFailure {
    FlushFailure { fd, source: io::Error::from_raw_os_error(errno) }
}

/// The system calls. Those that the child makes are async-signal-safe, as they must be in a process
/// that may have had other threads: it allocates nothing and takes no lock.
#[expect(unsafe_code, reason = "no safe interface to fork; the need is measured above")]
mod sys {
    use std::io::{PipeReader, PipeWriter, Read, pipe};
    use std::os::fd::{AsRawFd, RawFd};

    use super::{Piece, write_pieces};

    /// A child that writes, and the pipe on which it tells what went wrong.
    #[derive(Debug)]
    pub(super) struct Child {
        pid: libc::pid_t,
        report: PipeReader,
    }

    fn errno() -> i32 {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
    }

    /// One `write`, repeated where a signal came first.
    pub(super) fn write(fd: RawFd, bytes: &[u8]) -> Result<usize, i32> {
        loop {
            // SAFETY: the pointer and the length are those of a live slice.
            let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
            match usize::try_from(written) {
                Ok(written) => return Ok(written),
                Err(_) if errno() == libc::EINTR => {}
                Err(_) => return Err(errno()),
            }
        }
    }

    /// Cuts a file back; nothing can be done where that fails too.
    pub(super) fn truncate(fd: RawFd, length: u64) {
        let length = libc::off_t::try_from(length).unwrap_or(libc::off_t::MAX);
        // SAFETY: plain system calls on a descriptor that the caller has open.
        unsafe {
            if libc::ftruncate(fd, length) == 0 {
                libc::lseek(fd, length, libc::SEEK_SET);
            }
        }
    }

    /// Starts a child that writes the pieces; `None` where the system has no process to give.
    pub(super) fn fork(pieces: &[Piece<'_>]) -> Option<Child> {
        let (report, reporter) = pipe().ok()?;
        // SAFETY: the child makes async-signal-safe calls only and ends with _exit, so it neither
        // touches the state of other threads nor runs destructors.
        match unsafe { libc::fork() } {
            -1 => None,
            0 => write_and_exit(pieces, &reporter),
            pid => Some(Child { pid, report }),
        }
    }

    fn write_and_exit(pieces: &[Piece<'_>], reporter: &PipeWriter) -> ! {
        // Out of reach of signals to the parent's group, such as Ctrl-C.
        // SAFETY: plain system calls.
        unsafe { libc::setsid() };
        // A file that may not grow further is an error to report, not a reason to die in the middle.
        // SAFETY: a plain system call; ignoring a signal installs no handler.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let failed = match write_pieces(pieces) {
            Ok(()) => 0,
            Err((fd, errno)) => {
                let mut message = [0; 8];
                message[..4].copy_from_slice(&fd.to_ne_bytes());
                message[4..].copy_from_slice(&errno.to_ne_bytes());
                let _ = write(reporter.as_raw_fd(), &message);
                1
            }
        };
        // SAFETY: ends the child at once, as it must.
        unsafe { libc::_exit(failed) }
    }

    impl Child {
        /// Whether the child has ended; it is left to be waited for.
        pub(super) fn has_ended(&self) -> bool {
            let mut poll =
                libc::pollfd { fd: self.report.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // The child has the only other end of the pipe: it hangs up when the child ends, and has
            // something to read just before that where a write failed.
            // SAFETY: one descriptor, which lives as long as `self`.
            unsafe { libc::poll(&raw mut poll, 1, 0) != 0 }
        }

        /// Waits for the child; which piece failed and why, if one did.
        pub(super) fn wait(mut self) -> Result<(), (RawFd, i32)> {
            let mut message = Vec::with_capacity(8);
            // Ends when the child does: it has the only other end of the pipe.
            let _ = self.report.read_to_end(&mut message);
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            while unsafe { libc::waitpid(self.pid, &raw mut status, 0) } < 0
                && errno() == libc::EINTR
            {}
            match (message.first_chunk::<4>(), message.last_chunk::<4>()) {
                (Some(fd), Some(errno)) => {
                    Err((RawFd::from_ne_bytes(*fd), i32::from_ne_bytes(*errno)))
                }
                // Somebody killed the child: what it had written is all there is.
                _ if status != 0 => Err((-1, libc::ECANCELED)),
                _ => Ok(()),
            }
        }
    }
}
