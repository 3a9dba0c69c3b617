//! Files that are still being written: how far each may be read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::schema::Table;

/// How far each file of a log may be read: always to the end of a row. Shared between those who read
/// and the one who looks how the files grow.
#[derive(Clone, Debug, Default)]
pub struct Horizon(Arc<[AtomicU64; 5]>);

impl Horizon {
    /// The bytes of a file that may be read.
    #[must_use]
    pub fn of(&self, table: Table) -> u64 {
        self.0[table as usize].load(Ordering::Acquire)
    }

    /// Moves the horizon of a file to the end of the last whole row in its first `bytes` bytes.
    ///
    /// # Errors
    /// What reading the file gives.
    pub fn advance(&self, table: Table, file: &mut File, bytes: u64) -> io::Result<()> {
        let before = self.of(table);
        let mut end = bytes;
        let mut piece = vec![0; 64 << 10];
        while end > before {
            let start = end.saturating_sub(piece.len() as u64).max(before);
            // A piece is at most as long as the buffer.
            let piece = &mut piece[..(end - start) as usize];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(piece)?;
            if let Some(at) = memchr::memrchr(b'\n', piece) {
                self.0[table as usize].store(start + at as u64 + 1, Ordering::Release);
                return Ok(());
            }
            end = start;
        }
        Ok(())
    }

    pub(super) fn limit(&self, file: File, table: Table) -> Growing {
        Growing { file, table, read: 0, horizon: self.clone() }
    }
}

/// A file up to its horizon.
#[derive(Debug)]
pub struct Growing {
    file: File,
    table: Table,
    read: u64,
    horizon: Horizon,
}

impl Read for Growing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.horizon.of(self.table).saturating_sub(self.read);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let count = self.file.read(&mut out[..most])?;
        self.read += count as u64;
        Ok(count)
    }
}
