//! Appends rows to a file, all or, where that fails, none: it is cut back to its length before.
//!
//! Allocates nothing, so that a forked child may call it.

use std::os::fd::RawFd;

use super::{Form, plain};
use crate::log::packed::{Packed, ROW_ROOM, Unpacked};

/// The memory in which packed rows become text: what goes into one `write`, and room for one row more.
pub(super) const PAGE_BYTES: usize = (1 << 16) + ROW_ROOM;

/// Appends rows to a file; `page` has [`PAGE_BYTES`].
pub(super) fn rows(fd: RawFd, form: Form, rows: &[u8], page: &mut [u8]) -> Result<(), i32> {
    let start = plain::position(fd)?;
    let outcome = match form {
        Form::Text => text(fd, rows),
        Form::Packed => packed(fd, rows, page),
    };
    outcome.inspect_err(|_| plain::truncate(fd, start))
}

fn text(fd: RawFd, mut text: &[u8]) -> Result<(), i32> {
    while !text.is_empty() {
        let written = plain::write(fd, text)?;
        text = &text[written..];
    }
    Ok(())
}

fn packed(fd: RawFd, rows: &[u8], page: &mut [u8]) -> Result<(), i32> {
    let mut rows = Packed::new(rows);
    let mut filled = 0;
    while let Some(row) = rows.unpack(&mut page[filled..]) {
        match row {
            Unpacked::Written(length) => filled += length,
            Unpacked::Text(lines) => {
                text(fd, &page[..filled])?;
                text(fd, lines)?;
                filled = 0;
            }
        }
        if page.len() - filled < ROW_ROOM {
            text(fd, &page[..filled])?;
            filled = 0;
        }
    }
    text(fd, &page[..filled])
}
