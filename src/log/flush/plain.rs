//! System calls on descriptors, with errnos for errors; all of them are async-signal-safe.
#![expect(unsafe_code, reason = "what a forked child calls must not allocate or take a lock")]

use std::os::fd::RawFd;

pub(super) fn errno() -> i32 {
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

/// Fills `bytes`; `None` where the other side ends before.
pub(super) fn read_exact(fd: RawFd, bytes: &mut [u8]) -> Option<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the pointer and the length are those of a live slice.
        let read = unsafe { libc::read(fd, rest.as_mut_ptr().cast(), rest.len()) };
        match usize::try_from(read) {
            Ok(0) => return None,
            Ok(read) => filled += read,
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Where the next write to a file goes.
pub(super) fn position(fd: RawFd) -> Result<u64, i32> {
    // SAFETY: a plain system call on a descriptor that the caller has open.
    let at = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    u64::try_from(at).map_err(|_| errno())
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
