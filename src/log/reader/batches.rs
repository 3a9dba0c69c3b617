//! The rows of the steps in batches, which a thread may fill some rows ahead of whoever judges them.
//!
//! Ordinary rows are taken apart by the [short cut](crate::log::scan), [runs](Run) of echoes are told
//! as such, and every other record is handed on as it is, so that ids are given and problems are found
//! where the rows are consumed, in the order of the file: what comes out does not depend on how the
//! threads run.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use crate::log::reader::Located;
use crate::log::reader::echo::{Echoes, Run, Seat};
use crate::log::reader::filled::{Filled, Last};
use crate::log::reader::shares::Shares;
use crate::log::reader::splitter::{Ending, OwnedRecord, Record, Splitter};
use crate::log::schema::IterationRequestRow;

/// Rows of a batch.
const BATCH_ROWS: usize = 16384;
/// Records of a batch that are no echoes. A batch of them stays within the second level cache of a core.
const BATCH_ENTRIES: usize = 1024;

/// What stands next in the file.
#[derive(Debug)]
enum Entry {
    /// An ordinary row, the end of its request's id in `names`, the seat of that, and whether that is
    /// new.
    Row(Located<IterationRequestRow>, usize, Seat, bool),
    /// A run of echoes, and the end of their lengths in `lens`.
    Run(Run, usize),
    /// A record that is no ordinary row.
    Record(OwnedRecord),
}

/// Some rows in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    names: Vec<u8>,
    /// The bytes of the echoes; there is room for as many as there may be.
    lens: Vec<u8>,
    echoes: usize,
    /// What has to be added to the lines of its rows.
    pub(super) line: u64,
    /// Whether a record has no line break as its end.
    is_broken: bool,
    /// Whether the file ends behind the batch, and if so, whether it could not be read on.
    end: Option<Option<io::Error>>,
}

impl Batch {
    pub(super) fn fill<S: Read>(
        &mut self,
        splitter: &mut Splitter<S>,
        echoes: &mut Echoes,
        ours: bool,
    ) {
        (self.line, self.is_broken) = (0, false);
        self.entries.clear();
        self.names.clear();
        self.lens.resize(BATCH_ROWS, 0);
        self.echoes = 0;
        while self.entries.len() < BATCH_ENTRIES && self.echoes < BATCH_ROWS {
            if let Some(run) = echoes.run(splitter, &mut self.lens[self.echoes..]) {
                self.echoes += run.len;
                self.entries.push(Entry::Run(run, self.echoes));
                continue;
            }
            if let Some((row, name, line, offset)) = splitter.scan::<IterationRequestRow>(ours) {
                let first = self.names.len();
                self.names.extend_from_slice(name);
                let name = &self.names[first..];
                let (seat, is_new) = echoes.see(&row, name, splitter.last_line_break());
                let row = Located { row, line, offset };
                self.entries.push(Entry::Row(row, self.names.len(), seat, is_new));
                continue;
            }
            echoes.lose_track();
            match splitter.next_record() {
                Ok(Some(record)) => {
                    let last = record.ending == Ending::EndOfFile;
                    self.is_broken |= record.ending != Ending::LineBreak;
                    self.entries.push(Entry::Record(OwnedRecord::of(&record)));
                    if last {
                        self.end = Some(None);
                        return;
                    }
                }
                Ok(None) => {
                    self.end = Some(None);
                    return;
                }
                Err(error) => {
                    self.end = Some(Some(error));
                    return;
                }
            }
        }
    }
}

impl Batch {
    /// Whether a record has no line break as its end.
    pub(super) const fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether the file ends behind it.
    pub(super) const fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// What is read goes on behind it. Says whether that was its end; none if it could not be read on.
    pub(super) fn forget_end(&mut self) -> Option<bool> {
        match self.end.take() {
            Some(Some(_)) => None,
            end => Some(end.is_some()),
        }
    }

    /// Holds nothing but that the file cannot be read on.
    pub(super) fn end_with(&mut self, error: io::Error) {
        *self = Self { end: Some(Some(error)), ..Self::default() };
    }
}

/// What comes next.
pub(super) enum Next<'a> {
    /// An ordinary row, the id of its request, its seat, and whether that has another name than before.
    Row(Located<IterationRequestRow>, &'a [u8], Seat, bool),
    /// A run of echoes, and the bytes of each.
    Run(Run, &'a [u8]),
    /// A record that is to be read the long way.
    Record(Record<'a>),
    /// The file could not be read on.
    Failed(io::Error),
    /// The file has ended.
    End,
}

/// Where batches come from.
pub(super) trait Supply: std::fmt::Debug {
    /// The next batch, in exchange for one that is used up.
    fn refill(&mut self, batch: &mut Batch);
}

/// Batches that are filled when they are asked for.
#[derive(Debug)]
struct Here<S> {
    splitter: Splitter<S>,
    echoes: Echoes,
    ours: bool,
}

impl<S: Read + std::fmt::Debug> Supply for Here<S> {
    fn refill(&mut self, batch: &mut Batch) {
        batch.fill(&mut self.splitter, &mut self.echoes, self.ours);
    }
}

/// Batches that a thread fills.
#[derive(Debug)]
pub(super) struct There(Filled<Batch>);

impl Supply for There {
    fn refill(&mut self, batch: &mut Batch) {
        if let Err(error) = self.0.next(batch) {
            batch.end_with(error);
        }
    }
}

/// A file in batches.
#[derive(Debug)]
pub(super) struct Batches {
    supply: Box<dyn Supply>,
    batch: Batch,
    /// The entry that comes next, and where its name and its lengths begin.
    at: usize,
    name: usize,
    echo: usize,
}

impl There {
    /// Starts a thread, which ends with the file or once nobody asks any more.
    pub(super) fn new<S: Read + Send + 'static>(
        mut splitter: Splitter<S>,
        mut echoes: Echoes,
        ours: bool,
    ) -> io::Result<Self> {
        let fill = move |batch: &mut Batch| {
            batch.fill(&mut splitter, &mut echoes, ours);
            if batch.has_end() { Last::Yes } else { Last::No }
        };
        Ok(Self(Filled::start(fill)?))
    }
}

impl Batches {
    /// Reads on where the splitter stands.
    pub(super) fn new<S: Read + Send + std::fmt::Debug + 'static>(
        splitter: Splitter<S>,
        echoes: Echoes,
        ours: bool,
    ) -> Self {
        Self::from(Box::new(Here { splitter, echoes, ours }))
    }

    /// As [`new`](Self::new), on a thread of its own.
    pub(super) fn on_thread<S: Read + Send + 'static>(
        splitter: Splitter<S>,
        echoes: Echoes,
        ours: bool,
    ) -> io::Result<Self> {
        Ok(Self::from(Box::new(There::new(splitter, echoes, ours)?)))
    }

    /// The records of a file that begin at this line and byte, in shares of so many bytes that are read
    /// beside one another.
    pub(super) fn in_shares(
        file: Arc<File>,
        begin: (u64, u64),
        bytes: u64,
        block_size: Option<u64>,
        ours: bool,
    ) -> io::Result<Self> {
        Ok(Self::from(Box::new(Shares::new(file, begin, bytes, block_size, ours)?)))
    }

    fn from(supply: Box<dyn Supply>) -> Self {
        Self { supply, batch: Batch::default(), at: 0, name: 0, echo: 0 }
    }

    /// What comes next in the file.
    pub(super) fn next(&mut self) -> Next<'_> {
        while self.at == self.batch.entries.len() {
            match self.batch.end.take() {
                Some(failed) => {
                    self.batch.end = Some(None);
                    return failed.map_or(Next::End, Next::Failed);
                }
                None => {
                    self.supply.refill(&mut self.batch);
                    (self.at, self.name, self.echo) = (0, 0, 0);
                }
            }
        }
        let entry = &self.batch.entries[self.at];
        let line = self.batch.line;
        self.at += 1;
        match entry {
            Entry::Row(row, end, seat, is_new) => {
                let name = std::mem::replace(&mut self.name, *end);
                let row = Located { line: row.line + line, ..*row };
                Next::Row(row, &self.batch.names[name..*end], *seat, *is_new)
            }
            Entry::Run(run, end) => {
                let first = std::mem::replace(&mut self.echo, *end);
                let run = Run { line: run.line + line, ..*run };
                Next::Run(run, &self.batch.lens[first..*end])
            }
            Entry::Record(record) => Next::Record(record.record(line)),
        }
    }
}
