//! Standard streams that were closed when the process began (`schedlog … >&-`).
//!
//! Rust's runtime puts /dev/null in the place of a closed stream before `main`, and what is written
//! there is lost without an error. Whoever gives /dev/null on purpose is not to be told apart from
//! that by then (Python's `subprocess.DEVNULL` opens it for reading and writing, too), so the look is
//! taken before the runtime starts.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether standard input was closed.
static INPUT: AtomicBool = AtomicBool::new(false);
/// Whether standard output was closed.
static OUTPUT: AtomicBool = AtomicBool::new(false);

/// Whether nothing can be read from standard input, as it was closed from the start.
pub(super) fn input() -> bool {
    INPUT.load(Ordering::Relaxed)
}

/// Whether nothing can be written to standard output, as it was closed from the start.
pub(super) fn output() -> bool {
    OUTPUT.load(Ordering::Relaxed)
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
#[allow(unsafe_code)]
mod before_main {
    use super::{INPUT, OUTPUT, Ordering};

    /// The loader calls what stands in this section before the runtime starts; nothing else runs so
    /// early.
    // SAFETY: the section holds pointers to functions of this very form, and this one needs nothing of
    // the runtime: it makes a system call and stores to a static.
    #[used]
    #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        let is_closed = |stream| {
            // SAFETY: asks for the flags of a number that may or may not be a descriptor; no memory is
            // passed.
            unsafe { libc::fcntl(stream, libc::F_GETFD) == -1 }
        };
        INPUT.store(is_closed(libc::STDIN_FILENO), Ordering::Relaxed);
        OUTPUT.store(is_closed(libc::STDOUT_FILENO), Ordering::Relaxed);
    }
}
