//! The second process that writes the files of a log.
//!
//! What the child calls is async-signal-safe, as it must be in a process whose parent may have had
//! other threads: it allocates nothing and takes no lock.
#![expect(
    unsafe_code,
    reason = "no safe interface to fork and shared memory; the need is measured"
)]

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;

use super::append::{self, PAGE_BYTES};
use super::{Form, Piece, plain};

/// Why a flush did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The system refused; the file was cut back to what it was.
    File { fd: RawFd, errno: i32 },
    /// The scribe is gone.
    Killed,
}

/// As many files as a log has.
const FILES: usize = 5;

/// Per file: descriptor, form, bytes. Shorter than what a pipe takes in one piece, so that a kill
/// leaves a whole order or none.
type Order = [u8; ENTRY * FILES];

/// The bytes of an order for one file.
const ENTRY: usize = 16;

/// A descriptor and an errno.
type Answer = [u8; 8];

const DONE: RawFd = -1;

/// A child that writes what it is handed.
#[derive(Debug)]
pub(super) struct Scribe {
    pid: libc::pid_t,
    shared: Shared,
    orders: PipeWriter,
    answers: PipeReader,
    writing: bool,
}

impl Scribe {
    /// Starts a child that knows the files which are open now; `None` where the system has no
    /// process or memory to give.
    pub(super) fn start(bytes: usize) -> Option<Self> {
        let shared = Shared::new(bytes)?;
        let mut page = Shared::new(PAGE_BYTES)?;
        let (inbox, orders) = pipe().ok()?;
        let (answers, outbox) = pipe().ok()?;
        // SAFETY: the child makes async-signal-safe calls only and ends with _exit, so it neither
        // touches the state of other threads nor runs destructors.
        match unsafe { libc::fork() } {
            -1 => None,
            0 => {
                let unused = [orders.as_raw_fd(), answers.as_raw_fd()];
                serve(
                    inbox.as_raw_fd(),
                    outbox.as_raw_fd(),
                    unused,
                    shared.bytes(),
                    page.bytes_mut(),
                )
            }
            pid => Some(Self { pid, shared, orders, answers, writing: false }),
        }
    }

    /// How many bytes a flush may have.
    pub(super) const fn capacity(&self) -> usize {
        self.shared.length
    }

    /// Has the pieces written, which fit; waits for those before.
    pub(super) fn hand_over(&mut self, pieces: &[Piece<'_>]) -> Result<(), Failure> {
        self.wait()?;
        let mut order: Order = [0; _];
        let mut rest = self.shared.bytes_mut();
        for (piece, entry) in pieces.iter().zip(order.chunks_exact_mut(ENTRY)) {
            let (target, behind) = rest.split_at_mut(piece.rows.len());
            target.copy_from_slice(piece.rows);
            rest = behind;
            entry[..4].copy_from_slice(&piece.file.as_raw_fd().to_ne_bytes());
            entry[4] = u8::from(piece.form == Form::Packed);
            entry[8..].copy_from_slice(&(piece.rows.len() as u64).to_ne_bytes());
        }
        match plain::write(self.orders.as_raw_fd(), &order) {
            Ok(sent) if sent == order.len() => {
                self.writing = true;
                Ok(())
            }
            _ => Err(Failure::Killed),
        }
    }

    /// Whether rows are still being written; what came of them is told by [`Scribe::wait`].
    pub(super) fn is_writing(&self) -> bool {
        self.writing && !self.has_answered(0)
    }

    /// Waits for the pieces handed over last; which could not be written and why.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        if !self.writing {
            return Ok(());
        }
        // A killed child tells nothing, and its end of the pipe may live on in a younger process.
        while !self.has_answered(100) {
            if self.has_ended() {
                self.writing = false;
                return Err(Failure::Killed);
            }
        }
        self.writing = false;
        let mut answer: Answer = [0; _];
        if plain::read_exact(self.answers.as_raw_fd(), &mut answer).is_none() {
            return Err(Failure::Killed);
        }
        let [fd, errno] = [0, 4].map(|at| {
            i32::from_ne_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]])
        });
        if fd == DONE { Ok(()) } else { Err(Failure::File { fd, errno }) }
    }

    /// Whether there is something to read on the answers' pipe, or nobody to write to it.
    fn has_answered(&self, milliseconds: libc::c_int) -> bool {
        let fd = self.answers.as_raw_fd();
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, which lives as long as `self`.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds) > 0 }
    }

    /// Whether the child is gone. It stays to be collected when this is dropped.
    fn has_ended(&self) -> bool {
        // SAFETY: a siginfo_t of zeros is valid, and outlives the call.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let pid = self.pid as libc::id_t;
            libc::waitid(libc::P_PID, pid, &raw mut info, how) < 0 || info.si_signo != 0
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        // Whoever wanted to know of a failure has asked before.
        let _ = self.wait();
        // An order without files: there are no more. The pipe's end alone would not tell, as other
        // processes may have it too.
        let _ = plain::write(self.orders.as_raw_fd(), &[0; size_of::<Order>()]);
        // SAFETY: no status is asked for.
        while unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) } < 0
            && plain::errno() == libc::EINTR
        {}
    }
}

/// What the child does.
fn serve(inbox: RawFd, outbox: RawFd, unused: [RawFd; 2], rows: &[u8], page: &mut [u8]) -> ! {
    // Out of reach of signals to the parent's group, such as Ctrl-C. A file that may not grow
    // further is an error to report, not a reason to die in the middle; ignoring a signal installs
    // no handler.
    // SAFETY: plain system calls.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        for fd in unused {
            libc::close(fd);
        }
    }
    let mut order: Order = [0; _];
    while plain::read_exact(inbox, &mut order).is_some() {
        let mut failed = (DONE, 0);
        let mut rest = rows;
        let mut files = 0;
        for entry in order.chunks_exact(ENTRY) {
            let (Some(fd), Some(bytes)) = (entry.first_chunk(), entry.last_chunk()) else { break };
            let bytes = u64::from_ne_bytes(*bytes) as usize;
            let Some((piece, behind)) = rest.split_at_checked(bytes) else { break };
            if bytes == 0 {
                break;
            }
            rest = behind;
            files += 1;
            let fd = RawFd::from_ne_bytes(*fd);
            let form = if entry[4] == 0 { Form::Text } else { Form::Packed };
            if let Err(errno) = append::rows(fd, form, piece, page) {
                failed = (fd, errno);
                break;
            }
        }
        if files == 0 {
            break;
        }
        let mut answer: Answer = [0; _];
        answer[..4].copy_from_slice(&failed.0.to_ne_bytes());
        answer[4..].copy_from_slice(&failed.1.to_ne_bytes());
        let _ = plain::write(outbox, &answer);
    }
    // SAFETY: ends the child at once, as it must.
    unsafe { libc::_exit(0) }
}

/// Memory that a child has in common with its parent.
#[derive(Debug)]
struct Shared {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is this value's alone within a process, like that of a Vec<u8>.
unsafe impl Send for Shared {}
// SAFETY: as above; it changes through `&mut` only.
unsafe impl Sync for Shared {}

impl Shared {
    fn new(length: usize) -> Option<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the system's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        Some(Self { start: NonNull::new(start.cast())?, length })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, initialised with zeros, and of this length until dropped. In the child,
        // which keeps the slice, the parent writes only while no order is being carried out.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the child reads only between an order and its answer.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
