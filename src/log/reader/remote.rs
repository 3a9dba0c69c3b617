//! The rows of a file, taken apart by a thread.
//!
//! As with the [rows of the steps](crate::log::reader::StepRows), ids are given and problems are found where the
//! rows are consumed, in the order of the file.

use std::io::{self, Read};

use crate::log::ids::{Foresight, IdTable};
use crate::log::reader::Located;
use crate::log::reader::filled::{Filled, Last};
use crate::log::reader::header::Header;
use crate::log::reader::splitter::{Ending, OwnedRecord, Splitter};
use crate::log::reader::table::{Item, TableReader, named, read_row, unreadable};
use crate::log::schema::Row;

/// Rows of a batch.
const BATCH_ROWS: usize = 256;

#[derive(Debug)]
enum Entry<R> {
    /// An ordinary row, and the end of its request's id in the names.
    Row(Located<R>, usize),
    /// A record that is no ordinary row.
    Record(OwnedRecord),
}

/// Some rows in the order of the file.
#[derive(Debug)]
struct Batch<R> {
    entries: Vec<Entry<R>>,
    names: Vec<u8>,
    /// Whether the file ends behind the batch, and if so, whether it could not be read on.
    end: Option<Option<io::Error>>,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self { entries: Vec::new(), names: Vec::new(), end: None }
    }
}

impl<R: Row> Batch<R> {
    fn fill<S: Read>(&mut self, splitter: &mut Splitter<S>, ordinary: Option<bool>) -> Last {
        self.entries.clear();
        self.names.clear();
        while self.entries.len() < BATCH_ROWS {
            if let Some(ours) = ordinary
                && let Some((row, name, line, offset)) = splitter.scan::<R>(ours)
            {
                self.names.extend_from_slice(name);
                self.entries.push(Entry::Row(Located { row, line, offset }, self.names.len()));
                continue;
            }
            let ended = match splitter.next_record() {
                Ok(Some(record)) => {
                    self.entries.push(Entry::Record(OwnedRecord::of(&record)));
                    (record.ending == Ending::EndOfFile).then_some(None)
                }
                Ok(None) => Some(None),
                Err(error) => Some(Some(error)),
            };
            if ended.is_some() {
                self.end = ended;
                return Last::Yes;
            }
        }
        Last::No
    }
}

/// Streams the rows of one file as a [`TableReader`] does.
#[derive(Debug)]
pub(super) struct Remote<R> {
    batches: Filled<Batch<R>>,
    batch: Batch<R>,
    header: Header,
    foresight: Foresight,
    /// The entry that comes next, and where its name begins.
    at: usize,
    name: usize,
}

impl<R: Row + Send + 'static> Remote<R> {
    /// Reads on where the reader stands.
    pub(super) fn new<S: Read + Send + 'static>(reader: TableReader<R, S>) -> io::Result<Self> {
        let (mut splitter, header) = reader.into_parts();
        let ordinary = header.ordinary;
        let batches =
            Filled::start(move |batch: &mut Batch<R>| batch.fill(&mut splitter, ordinary))?;
        let foresight = Foresight::default();
        Ok(Self { batches, batch: Batch::default(), header, foresight, at: 0, name: 0 })
    }
}

impl<R: Row + Send + 'static> Remote<R> {
    /// The next row or problem; `None` at the end of the file.
    #[inline]
    pub(super) fn next(&mut self, ids: &mut IdTable) -> Option<Item<R>> {
        while self.at == self.batch.entries.len() {
            match self.batch.end.replace(None) {
                Some(None) => return None,
                Some(Some(error)) => {
                    return Some(Item::Problem(Box::new(unreadable::<R>(&error))));
                }
                None => self.batch.end = None,
            }
            if let Err(error) = self.batches.next(&mut self.batch) {
                self.batch.entries.clear();
                self.batch.end = Some(Some(error));
            }
            (self.at, self.name) = (0, 0);
        }
        let entry = &self.batch.entries[self.at];
        self.at += 1;
        Some(match entry {
            Entry::Row(row, end) => {
                let name = &self.batch.names[std::mem::replace(&mut self.name, *end)..*end];
                Item::Row(named(*row, name, &mut self.foresight, ids))
            }
            Entry::Record(record) => read_row(&record.record(0), &self.header, ids),
        })
    }
}
