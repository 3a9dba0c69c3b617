//! Finds request ids that stand twice in per_request.csv, in bounded memory.
//!
//! A filter of a few bits per row says "perhaps seen before"; the few ids it says that of are then
//! compared exactly in a second pass over the file.

use std::hash::BuildHasher;

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{FormKind, FormProblem, Item, LogDir, LogDirError};
use crate::log::schema::{RequestRow, Table};

const BITS_PER_ROW: u64 = 16;
const BYTES_PER_ROW: u64 = 64;
const PROBES: u32 = 4;

/// The ids seen so far, roughly.
#[derive(Debug)]
pub(super) struct Repeats {
    bits: Vec<u64>,
    mask: u64,
    suspects: HashSet<Box<str>, FxBuildHasher>,
}

impl Repeats {
    /// For a file of so many bytes; never more than 8 MiB.
    pub(super) fn new(stored_bytes: u64) -> Self {
        let wanted = (stored_bytes / BYTES_PER_ROW).saturating_mul(BITS_PER_ROW);
        let bits = wanted.clamp(1 << 12, 1 << 26).next_power_of_two();
        let words = vec![0; (bits / 64) as usize];
        Self { bits: words, mask: bits - 1, suspects: HashSet::default() }
    }

    pub(super) fn see(&mut self, id: &str) {
        let hash = FxBuildHasher.hash_one(id);
        let step = (hash >> 32) | 1;
        let mut seen = true;
        for probe in 0..PROBES {
            let bit = hash.wrapping_add(step.wrapping_mul(u64::from(probe))) & self.mask;
            let word = &mut self.bits[(bit / 64) as usize];
            seen &= *word & (1 << (bit % 64)) != 0;
            *word |= 1 << (bit % 64);
        }
        if seen {
            self.suspects.insert(id.into());
        }
    }

    /// The rows whose id really stood before, in order.
    pub(super) fn confirm(self, dir: &LogDir) -> Result<Vec<FormProblem>, LogDirError> {
        let mut problems = Vec::new();
        if self.suspects.is_empty() {
            return Ok(problems);
        }
        let Some(mut reader) = dir.reader::<RequestRow>()? else { return Ok(problems) };
        let mut ids = IdTable::default();
        let mut first: HashMap<Box<str>, u64, FxBuildHasher> = HashMap::default();
        while let Some(item) = reader.next(&mut ids) {
            let Item::Row(row) = item else { continue };
            let id = ids.id(row.row.request_id);
            if self.suspects.contains(id) {
                if let Some(line) = first.get(id) {
                    let mut problem = FormProblem::of_record(row.at(), FormKind::DuplicateId);
                    problem.column = Some("request_id");
                    problem.text = Some(format!("{id} (first in line {line})"));
                    problems.push(problem);
                } else {
                    first.insert(id.into(), row.line);
                }
            }
            ids.release(row.row.request_id);
        }
        debug_assert!(problems.iter().all(|problem| problem.table == Table::PerRequest));
        Ok(problems)
    }
}
