//! A thread that reads a file some rows ahead of whoever judges them.
//!
//! The thread takes ordinary rows apart by the [short cut](crate::log::scan) and hands every other
//! record on as it is, so that ids are given and problems are found where the rows are consumed, in
//! the order of the file: what comes out does not depend on how the two threads run.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::log::reader::Located;
use crate::log::reader::lookback::{Distance, Names};
use crate::log::reader::splitter::{Ending, OwnedRecord, Splitter};
use crate::log::schema::Row;

/// Rows of a batch. A batch stays within the second level cache of a core.
const BATCH_ROWS: usize = 1024;
/// Batches that are ready before the thread waits.
const BATCHES_AHEAD: usize = 4;

/// Some rows in the order of the file.
#[derive(Debug)]
struct Batch<R> {
    /// Ordinary rows, each with the end of its request's id in `names`, and how far back the same id
    /// stands.
    rows: Vec<(Located<R>, u32, Distance)>,
    names: Vec<u8>,
    /// Records that are no ordinary rows, each with the number of rows before it.
    others: VecDeque<(usize, OwnedRecord)>,
    /// Whether the file ends behind the batch, and if so, whether it could not be read on.
    end: Option<Option<io::Error>>,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), names: Vec::new(), others: VecDeque::new(), end: None }
    }
}

impl<R: Row> Batch<R> {
    fn fill<S: Read>(&mut self, splitter: &mut Splitter<S>, names: &mut Names, ours: bool) {
        self.rows.clear();
        self.names.clear();
        while self.rows.len() + self.others.len() < BATCH_ROWS {
            if let Some((row, name, line, offset)) = splitter.scan::<R>(ours) {
                // A copy of a constant size is a few instructions, whatever the name's length.
                match name.within::<64>() {
                    Some((block, len)) => {
                        let end = self.names.len() + len;
                        self.names.extend_from_slice(block);
                        self.names.truncate(end);
                    }
                    None => self.names.extend_from_slice(name.name()),
                }
                // A batch has 1024 names, each shorter than the buffer of the splitter.
                let end = self.names.len() as u32;
                let back = if name.name().is_empty() { 0 } else { names.next(name) };
                self.rows.push((Located { row, line, offset }, end, back));
                continue;
            }
            match splitter.next_record() {
                Ok(Some(record)) => {
                    let last = record.ending == Ending::EndOfFile;
                    self.others.push_back((self.rows.len(), OwnedRecord::of(&record)));
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

/// What comes next.
pub(super) enum Next<'a, R> {
    /// An ordinary row, the id of its request, if it has one, and how far back the same id stands.
    Row(Located<R>, &'a [u8], Distance),
    /// A record that is to be read the long way.
    Record(OwnedRecord),
    /// The file could not be read on.
    Failed(io::Error),
    /// The file has ended.
    End,
}

/// The rows that a thread reads.
#[derive(Debug)]
pub(super) struct Batches<R> {
    full: Receiver<Batch<R>>,
    empty: Sender<Batch<R>>,
    batch: Batch<R>,
    /// The row that comes next, and where its name begins.
    at: usize,
    name: usize,
}

impl<R: Row + Send + 'static> Batches<R> {
    /// Reads on where the splitter stands. The thread ends with the file or once nobody asks any more.
    pub(super) fn start<S: Read + Send + 'static>(
        mut splitter: Splitter<S>,
        ours: bool,
    ) -> io::Result<Self> {
        let (filled, full) = sync_channel(BATCHES_AHEAD);
        let (empty, emptied) = channel();
        let read = move || read_all::<R, S>(&mut splitter, ours, &filled, &emptied);
        thread::Builder::new().name("reader".to_owned()).spawn(read)?;
        Ok(Self { full, empty, batch: Batch::default(), at: 0, name: 0 })
    }
}

fn read_all<R: Row, S: Read>(
    splitter: &mut Splitter<S>,
    ours: bool,
    filled: &SyncSender<Batch<R>>,
    emptied: &Receiver<Batch<R>>,
) {
    let mut names = Names::default();
    loop {
        let mut batch = emptied.try_recv().unwrap_or_default();
        batch.fill(splitter, &mut names, ours);
        let last = batch.end.is_some();
        if filled.send(batch).is_err() || last {
            return;
        }
    }
}

impl<R> Batches<R> {
    /// What comes next in the file.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Next<'_, R>
    where
        R: Copy,
    {
        loop {
            let other = self.batch.others.front().is_some_and(|(before, _)| *before == self.at);
            if !other && let Some((row, end, back)) = self.batch.rows.get(self.at) {
                let name = self.name..*end as usize;
                self.at += 1;
                self.name = name.end;
                let name = self.batch.names.get(name).unwrap_or_default();
                return Next::Row(*row, name, *back);
            }
            if let Some((_, record)) = self.batch.others.pop_front() {
                return Next::Record(record);
            }
            match self.batch.end.take() {
                Some(Some(error)) => {
                    self.batch.end = Some(None);
                    return Next::Failed(error);
                }
                Some(None) => {
                    self.batch.end = Some(None);
                    return Next::End;
                }
                None => self.refill(),
            }
        }
    }

    #[cold]
    fn refill(&mut self) {
        // The thread sends the end of the file before it ends; should it die, its panic is on
        // standard error and what it has not read is not judged as if it were not there.
        let Ok(batch) = self.full.recv() else {
            let died = io::Error::other("the thread that reads the file died");
            self.batch.end = Some(Some(died));
            return;
        };
        let used = std::mem::replace(&mut self.batch, batch);
        (self.at, self.name) = (0, 0);
        // The thread may be through with the file and need no more batches.
        let _ = self.empty.send(used);
    }
}
