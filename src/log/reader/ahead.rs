//! A file with a little look-ahead, and the requests that its unread rows hold on to.

use std::io::{self, Read};

use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::remote::Remote;
use crate::log::reader::{FormProblem, Item, Located, Location, TableReader};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, TransitionRow,
};

/// A row that belongs to a request, or to none.
pub trait Keyed {
    /// The request, if there is one.
    fn key(&self) -> Option<RequestKey>;
}

impl Keyed for RequestRow {
    fn key(&self) -> Option<RequestKey> {
        Some(self.request_id)
    }
}

impl Keyed for IterationRow {
    fn key(&self) -> Option<RequestKey> {
        None
    }
}

impl Keyed for IterationRequestRow {
    fn key(&self) -> Option<RequestKey> {
        Some(self.request_id)
    }
}

impl Keyed for EventRow {
    fn key(&self) -> Option<RequestKey> {
        self.request_id
    }
}

impl Keyed for TransitionRow {
    fn key(&self) -> Option<RequestKey> {
        Some(self.request_id)
    }
}

/// What all files share while they are read.
#[derive(Debug, Default)]
pub struct Shared {
    /// The requests that are known.
    pub ids: IdTable,
    /// Per key: rows that were read but not yet consumed. A key with such rows is not released.
    pins: Vec<u32>,
    /// Problems that nobody has taken yet.
    pub problems: Vec<FormProblem>,
}

impl Shared {
    /// Keeps a key from being released.
    #[inline]
    pub fn pin(&mut self, key: RequestKey) {
        if self.pins.len() <= key.index() {
            self.pins.resize(key.index() + 1, 0);
        }
        self.pins[key.index()] += 1;
    }

    /// Takes one [`pin`](Self::pin) back.
    #[inline]
    pub fn unpin(&mut self, key: RequestKey) {
        self.pins[key.index()] -= 1;
    }

    /// Whether unread rows hold on to the key.
    #[must_use]
    pub fn pinned(&self, key: RequestKey) -> bool {
        self.pins.get(key.index()).is_some_and(|pins| *pins > 0)
    }
}

/// Where rows come from.
#[derive(Debug)]
enum Source<R, S> {
    /// As they are asked for.
    Reader(Box<TableReader<R, S>>),
    /// From a thread, some rows ahead.
    Thread(Box<Remote<R>>),
}

/// A file with `DEPTH` rows of look-ahead.
#[derive(Debug)]
pub struct Ahead<R, S, const DEPTH: usize> {
    source: Option<Source<R, S>>,
    rows: u64,
    /// The next rows; those behind the first that is missing are missing too.
    window: [Option<Located<R>>; DEPTH],
    ended: bool,
    growing: bool,
    /// The byte at which a second run begins, which is not read.
    cut: u64,
}

impl<R: Row + Keyed + Send + 'static, S: Read, const DEPTH: usize> Ahead<R, S, DEPTH> {
    /// Reads the first rows of a file; a file that is not there has none, and one that is cut has none
    /// from there on.
    pub fn new(
        reader: Option<TableReader<R, S>>,
        cut: Option<Location>,
        shared: &mut Shared,
    ) -> Self {
        Self::of(reader.map(|reader| Source::Reader(Box::new(reader))), cut, shared)
    }

    /// As [`new`](Self::new); a thread of its own takes the rows apart. What comes out is the same.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn on_thread(
        reader: Option<TableReader<R, S>>,
        cut: Option<Location>,
        shared: &mut Shared,
    ) -> io::Result<Self>
    where
        S: Send + 'static,
    {
        // Of one whose header cannot be used nothing is read.
        let reader = reader.filter(|reader| reader.header().usable);
        let remote = reader.map(Remote::new).transpose()?;
        Ok(Self::of(remote.map(|remote| Source::Thread(Box::new(remote))), cut, shared))
    }

    fn of(source: Option<Source<R, S>>, cut: Option<Location>, shared: &mut Shared) -> Self {
        let ended = source.is_none();
        let cut = cut.map_or(u64::MAX, |at| at.offset);
        let window = [None; DEPTH];
        let mut ahead = Self { source, rows: 0, window, ended, growing: false, cut };
        ahead.fill(shared);
        ahead
    }

    /// How many rows were read so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The row at this distance, if the file has it.
    #[inline]
    #[must_use]
    pub fn peek(&self, distance: usize) -> Option<&Located<R>> {
        self.window.get(distance)?.as_ref()
    }

    /// Whether every row was consumed; never true of a file that is still being written.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        self.ended && self.peek(0).is_none() && !self.growing
    }

    /// The file is still being written: its present end is not the last one.
    pub const fn grow(&mut self) {
        self.growing = self.source.is_some();
    }

    /// Reads on behind what was the end of the file before. Has no effect where a thread reads.
    pub fn resume(&mut self, shared: &mut Shared) {
        if let Some(Source::Reader(reader)) = &mut self.source {
            reader.resume();
            self.ended = false;
        }
        self.fill(shared);
    }

    /// The next row, if it is one of those wanted.
    #[inline]
    pub fn next_if(
        &mut self,
        shared: &mut Shared,
        wanted: impl FnOnce(&R) -> bool,
    ) -> Option<Located<R>> {
        if wanted(&self.peek(0)?.row) { self.pop(shared) } else { None }
    }

    /// The next row.
    #[inline]
    pub fn pop(&mut self, shared: &mut Shared) -> Option<Located<R>> {
        let row = self.window[0]?;
        self.window.copy_within(1.., 0);
        self.window[DEPTH - 1] = None;
        if let Some(key) = row.row.key() {
            shared.unpin(key);
        }
        self.fill(shared);
        Some(row)
    }

    #[inline]
    fn fill(&mut self, shared: &mut Shared) {
        let Some(source) = &mut self.source else { return };
        for place in &mut self.window {
            while place.is_none() && !self.ended {
                let item = match source {
                    Source::Reader(reader) => reader.next(&mut shared.ids),
                    Source::Thread(remote) => remote.next(&mut shared.ids),
                };
                self.rows += u64::from(matches!(item, Some(Item::Row(_))));
                match item {
                    Some(Item::Row(row)) if row.offset >= self.cut => self.ended = true,
                    Some(Item::Row(row)) => {
                        if let Some(key) = row.row.key() {
                            shared.pin(key);
                        }
                        *place = Some(row);
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
}
