//! The rows of per_iteration_requests.csv, step by step, for whoever follows them closely.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use crate::log::ids::{Foresight, IdTable, RequestKey};
use crate::log::reader::batches::{Batches, Next};
use crate::log::reader::echo::{Echoes, Run, Seat};
use crate::log::reader::header::Header;
use crate::log::reader::table::{read_row, unreadable};
use crate::log::reader::{Item, Located, Location, Shared, TableReader};
use crate::log::schema::IterationRequestRow;
use crate::units::IterationId;

/// How the rows of the steps are to be read. What they say is the same.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Whether [runs](Run) of echoes are told as such, and the tokens of a block, 0 if that is not
    /// known.
    pub runs: Option<u64>,
    /// Who reads.
    pub threads: Threads,
}

/// Who reads the rows of the steps.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// Whoever asks for them.
    #[default]
    None,
    /// A thread of its own, some rows ahead.
    One,
    /// Threads of their own and whoever asks for them, beside one another: shares of so many bytes of this
    /// file, which is the one that the reader was opened for.
    Shares(Arc<File>, u64),
}

impl Reading {
    /// Whether rows are read one by one.
    const fn is_by_rows(&self) -> bool {
        self.runs.is_none() && matches!(self.threads, Threads::None)
    }
}

/// Some rows of a step.
#[derive(Debug)]
pub enum Piece<'a> {
    /// One.
    Row(&'a Located<IterationRequestRow>),
    /// A run of echoes, and the bytes of each of them.
    Run(Run, &'a [u8]),
}

#[derive(Debug)]
enum Source<S> {
    /// Row by row, also while the file grows.
    Rows(Box<TableReader<IterationRequestRow, S>>),
    /// A finished file.
    Batches(Box<(Batches, Header)>, Keys),
}

/// The keys of names by their seats.
#[derive(Debug, Default)]
struct Keys {
    foresight: Foresight,
    /// By seat: the key of its name, and how many names had that key before.
    seats: Vec<(RequestKey, u32)>,
}

impl Keys {
    fn key(&mut self, name: &[u8], seat: Seat, is_new: bool, ids: &mut IdTable) -> RequestKey {
        let index = seat.0 as usize;
        let known = self.seats.get(index).filter(|_| seat != Seat::NONE && !is_new);
        // A key may have been released since, and belong to another request.
        if let Some((key, _)) = known.filter(|(key, generation)| ids.is_still(*key, *generation)) {
            return *key;
        }
        let key = self.foresight.key(name, ids);
        if self.seats.len() <= index {
            self.seats.resize(index + 1, Default::default());
        }
        self.seats[index] = (key, ids.generation(key));
        key
    }
}

/// The rows of the steps, and the first one of the next step.
#[derive(Debug)]
pub struct StepRows<S> {
    source: Option<Source<S>>,
    window: Option<Located<IterationRequestRow>>,
    rows: u64,
    ended: bool,
    growing: bool,
    /// The byte at which a second run begins, which is not read.
    cut: u64,
}

impl<S: Read + Send + Debug + 'static> StepRows<S> {
    /// Reads the first row of a file; a file that is not there has none, and one that is cut has none
    /// from there on.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn new(
        reader: Option<TableReader<IterationRequestRow, S>>,
        reading: Reading,
        cut: Option<Location>,
        shared: &mut Shared,
    ) -> io::Result<Self> {
        let source = reader.map(|reader| Source::new(reader, reading, cut)).transpose()?;
        let ended = source.is_none();
        let cut = cut.map_or(u64::MAX, |at| at.offset);
        let mut rows = Self { source, window: None, rows: 0, ended, growing: false, cut };
        rows.read_on(None, shared, &mut |_, _| {});
        Ok(rows)
    }
}

impl<S: Read + Send + Debug + 'static> Source<S> {
    fn new(
        reader: TableReader<IterationRequestRow, S>,
        reading: Reading,
        cut: Option<Location>,
    ) -> io::Result<Self> {
        let Some(ours) = reader.header().ordinary.filter(|_| !reading.is_by_rows()) else {
            return Ok(Self::Rows(Box::new(reader)));
        };
        let (splitter, header) = reader.into_parts();
        // A cut may fall into a run.
        let runs = reading.runs.filter(|_| cut.is_none());
        let batches = match reading.threads {
            Threads::None => Batches::new(splitter, Echoes::new(runs), ours),
            Threads::One => Batches::on_thread(splitter, Echoes::new(runs), ours)?,
            Threads::Shares(file, bytes) => {
                Batches::in_shares(file, splitter.position(), bytes, runs, ours)?
            }
        };
        Ok(Self::Batches(Box::new((batches, header)), Keys::default()))
    }
}

impl<S: Read> StepRows<S> {
    /// How many rows were read so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The first row of the next step, if the file has one.
    #[inline]
    #[must_use]
    pub const fn peek(&self) -> Option<&Located<IterationRequestRow>> {
        self.window.as_ref()
    }

    /// Whether every row was consumed; never true of a file that is still being written.
    #[must_use]
    pub const fn exhausted(&self) -> bool {
        self.ended && self.window.is_none() && !self.growing
    }

    /// The file is still being written: its present end is not the last one.
    pub const fn grow(&mut self) {
        self.growing = self.source.is_some();
    }

    /// Reads on behind what was the end of the file before. Has no effect where the file is not read
    /// [row by row](Reading).
    pub fn resume(&mut self, shared: &mut Shared) {
        if let Some(Source::Rows(reader)) = &mut self.source {
            reader.resume();
            self.ended = false;
        }
        if self.window.is_none() {
            self.read_on(None, shared, &mut |_, _| {});
        }
    }

    /// Hands over the rows of a step, if they come next.
    pub fn take_step(
        &mut self,
        id: IterationId,
        shared: &mut Shared,
        mut take: impl FnMut(&mut Shared, Piece<'_>),
    ) {
        let Some(first) = self.window.take_if(|first| first.row.iteration_id == id) else { return };
        shared.unpin(first.row.request_id);
        take(shared, Piece::Row(&first));
        self.read_on(Some(id), shared, &mut take);
    }

    /// Hands over the rows of a step up to the first one of another, which goes to the window.
    fn read_on(
        &mut self,
        id: Option<IterationId>,
        shared: &mut Shared,
        take: &mut impl FnMut(&mut Shared, Piece<'_>),
    ) {
        let Some(source) = &mut self.source else { return };
        while !self.ended {
            let item = match source {
                Source::Rows(reader) => reader.next(&mut shared.ids),
                Source::Batches(file, keys) => match file.0.next() {
                    Next::Row(mut row, name, seat, is_new) => {
                        row.row.request_id = keys.key(name, seat, is_new, &mut shared.ids);
                        Some(Item::Row(row))
                    }
                    Next::Run(run, lens) => {
                        self.rows += run.len as u64;
                        take(shared, Piece::Run(run, lens));
                        continue;
                    }
                    Next::Record(record) => Some(read_row(&record, &file.1, &mut shared.ids)),
                    Next::Failed(error) => {
                        let problem = unreadable::<IterationRequestRow>(&error);
                        Some(Item::Problem(Box::new(problem)))
                    }
                    Next::End => None,
                },
            };
            self.rows += u64::from(matches!(item, Some(Item::Row(_))));
            match item {
                Some(Item::Row(row)) if row.offset >= self.cut => self.ended = true,
                Some(Item::Row(row)) if Some(row.row.iteration_id) == id => {
                    take(shared, Piece::Row(&row));
                }
                Some(Item::Row(row)) => {
                    shared.pin(row.row.request_id);
                    self.window = Some(row);
                    return;
                }
                Some(Item::Problem(problem)) => {
                    self.ended = problem.kind.cuts_file();
                    if problem.at.is_some_and(|at| at.offset >= self.cut) {
                        self.ended = true;
                    } else {
                        shared.problems.push(*problem);
                    }
                }
                None => self.ended = true,
            }
        }
    }
}
