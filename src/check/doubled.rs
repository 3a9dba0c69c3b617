//! A single file that was appended to itself, so that one half is read.
//!
//! Only lengths and a first block are compared unless these agree; a compressed file is left alone.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use crate::log::reader::{Location, TableFile};

/// Bytes that are compared at once.
const BLOCK: usize = 1 << 16;

/// Rows of a half that are no accident.
const FEWEST_ROWS: u64 = 10;

/// Where the second half of the file begins, if it is the first one once more, with the header or
/// without it. None too if the file cannot be read: its reader will say so.
pub(super) fn second_half(file: &TableFile) -> Option<Location> {
    if file.compressed || file.instead.is_some() {
        return None;
    }
    let mut header = Vec::new();
    BufReader::new(File::open(&file.path).ok()?).read_until(b'\n', &mut header).ok()?;
    let (length, header) = (file.stored_bytes(), header.len() as u64);
    [0, header].into_iter().find_map(|start| {
        let body = length.checked_sub(start).filter(|body| *body > 0 && body.is_multiple_of(2))?;
        let half = body / 2;
        let rows = same_rows(file, start, half)?;
        // The header has a line of its own, and lines are counted from 1.
        let (own, lines) = if start == 0 { (rows.checked_sub(1)?, rows) } else { (rows, rows + 1) };
        (own >= FEWEST_ROWS).then_some(Location {
            table: file.table,
            line: lines + 1,
            offset: start + half,
        })
    })
}

/// How many lines a half has, if the other is the same and both end with a line.
fn same_rows(file: &TableFile, start: u64, half: u64) -> Option<u64> {
    let open = |at: u64| {
        let mut file = File::open(&file.path).ok()?;
        file.seek(SeekFrom::Start(at)).ok()?;
        Some(file.take(half))
    };
    let (mut one, mut other) = (open(start)?, open(start + half)?);
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    let (mut rest, mut lines, mut last) = (half, 0, 0);
    while rest > 0 {
        let size = usize::try_from(rest).unwrap_or(BLOCK).min(BLOCK);
        one.read_exact(&mut left[..size]).ok()?;
        other.read_exact(&mut right[..size]).ok()?;
        if left[..size] != right[..size] {
            return None;
        }
        lines += left[..size].iter().filter(|byte| **byte == b'\n').count() as u64;
        last = left[size - 1];
        rest -= size as u64;
    }
    (last == b'\n').then_some(lines)
}
