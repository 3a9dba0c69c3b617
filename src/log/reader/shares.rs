//! A file in shares, which threads read beside one another.
//!
//! Where one thread only reads and another one only judges, both are done when the slower one is. Shares are
//! read by whoever has nothing else to do: by threads of their own, and by the one that judges whenever what
//! comes next is not there yet. Which rows stand in which share, and how they are told, depends on the file
//! alone.
//!
//! A share ends with the last line of a step. That is the end of a record unless the line break stands in
//! quotes, and then the last record of the share has no end. From such a share on the file is read from one end
//! to the other.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::log::reader::batches::{Batch, Supply, There};
use crate::log::reader::echo::Echoes;
use crate::log::reader::filled::died;
use crate::log::reader::splitter::Splitter;

/// Threads that only read. One that judges is kept busy by fewer, and what is ready takes memory.
const MOST_THREADS: usize = 2;
/// Shares that may be ready before they are asked for, besides those that are being read.
const SHARES_AHEAD: u64 = 1;
/// Batches that are kept to be filled again.
const MOST_SPARE: usize = 64;
/// The end of a share is looked for in pieces of so many bytes, and within so many.
const PIECE_BYTES: usize = 16 << 10;
const MOST_BYTES: u64 = 256 << 10;

/// A finished file, and how it is divided.
#[derive(Clone, Debug)]
struct Division {
    file: Arc<File>,
    /// Where the first record begins.
    begin: u64,
    bytes: u64,
    count: u64,
}

impl Division {
    fn of(file: Arc<File>, begin: u64, bytes: u64) -> io::Result<Self> {
        let bytes = bytes.max(1);
        let count = file.metadata()?.len().saturating_sub(begin).div_ceil(bytes).max(1);
        Ok(Self { file, begin, bytes, count })
    }

    /// Where a share begins, if that can be told; one behind the last one begins at no byte.
    fn begin_of(&self, share: u64) -> Option<Begin> {
        if share == 0 {
            return Some(Begin { at: self.begin, is_step: true });
        }
        if share >= self.count {
            return Some(Begin { at: u64::MAX, is_step: true });
        }
        let mut at = self.begin + share * self.bytes - 1;
        let near = self.part(at, u64::MAX).take(MOST_BYTES);
        let mut near = BufReader::with_capacity(PIECE_BYTES, near);
        let (mut line, mut id) = (Vec::new(), Vec::new());
        let mut first = None;
        loop {
            line.clear();
            let len = near.read_until(b'\n', &mut line).ok()?;
            if line.last() != Some(&b'\n') {
                // The step is too long, or the last one.
                return first.map(|at| Begin { at, is_step: false });
            }
            // Of the line in the midst of which the share would begin, the step is not known.
            if first.is_some() {
                let now = line.split(|byte| *byte == b',').next().unwrap_or_default();
                if !id.is_empty() && id != now {
                    return Some(Begin { at, is_step: true });
                }
                id.clear();
                id.extend_from_slice(now);
            }
            at += len as u64;
            first = first.or(Some(at));
        }
    }

    /// What stands between two bytes of the file.
    fn part(&self, at: u64, end: u64) -> Part {
        Part { file: Arc::clone(&self.file), at, end }
    }
}

/// Where a share begins.
#[derive(Clone, Copy, Debug)]
struct Begin {
    at: u64,
    /// Whether a step begins there.
    is_step: bool,
}

/// Some bytes of a file.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = out.len().min(left);
        let count = read_at(&self.file, &mut out[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, at)
}

#[cfg(windows)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, at)
}

/// What a share holds.
#[derive(Debug, Default)]
struct Share {
    batches: VecDeque<Batch>,
    lines: u64,
    end: u64,
}

/// Reads shares.
#[derive(Debug)]
struct Worker {
    division: Division,
    splitter: Splitter<Part>,
    echoes: Echoes,
    ours: bool,
}

impl Worker {
    fn new(division: Division, block_size: Option<u64>, ours: bool) -> Self {
        let splitter = Splitter::new(division.part(0, 0));
        Self { division, splitter, echoes: Echoes::new(block_size), ours }
    }

    /// None if it does not end with the end of a record, or cannot be read.
    fn read(&mut self, number: u64, spare: &mut Vec<Batch>) -> Option<Share> {
        let Begin { at, is_step } = self.division.begin_of(number)?;
        let end = self.division.begin_of(number + 1)?.at;
        self.splitter.begin(self.division.part(at, end), 0, at);
        self.echoes.begin(!is_step);
        let is_last = number + 1 == self.division.count;
        let mut share = Share { end, ..Share::default() };
        loop {
            let mut batch = spare.pop().unwrap_or_default();
            batch.fill(&mut self.splitter, &mut self.echoes, self.ours);
            let is_broken = batch.is_broken();
            let ended = if is_last { batch.has_end() } else { batch.forget_end()? };
            share.batches.push_back(batch);
            if is_broken && !is_last {
                return None;
            }
            if ended {
                break;
            }
        }
        share.lines = self.splitter.position().0;
        (is_last || self.splitter.input().at == end).then_some(share)
    }
}

/// What those that read have in common.
#[derive(Debug, Default)]
struct State {
    /// The first share that nobody reads yet.
    unread: u64,
    /// The one that is asked for, or is judged.
    judged: u64,
    ready: BTreeMap<u64, Option<Share>>,
    spare: Vec<Batch>,
    /// Nobody asks any more.
    is_over: bool,
    /// A thread has died before it was through.
    has_died: bool,
}

/// Where shares are handed over.
#[derive(Debug)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    count: u64,
    /// How many shares behind the one that is judged may be read.
    ahead: u64,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        // What the state says is true at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The share that is to be read next, if there is room for it.
    fn claim(&self, state: &mut State, spare: &mut Vec<Batch>) -> Option<u64> {
        let number = state.unread;
        if number >= self.count || number > state.judged + self.ahead {
            return None;
        }
        state.unread += 1;
        spare.append(&mut state.spare);
        Some(number)
    }

    /// Hands over a share, and the batches that it did not take.
    fn put(
        &self,
        number: u64,
        share: Option<Share>,
        spare: &mut Vec<Batch>,
    ) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.ready.insert(number, share);
        state.spare.append(spare);
        state.spare.truncate(MOST_SPARE);
        self.changed.notify_all();
        state
    }

    fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
    }

    /// Reads shares until there are no more, or nobody asks for them.
    fn serve(&self, mut worker: Worker) {
        let _obituary = Obituary(self);
        let mut spare = Vec::new();
        let mut state = self.state();
        while !state.is_over && state.unread < self.count {
            let Some(number) = self.claim(&mut state, &mut spare) else {
                state = self.wait(state);
                continue;
            };
            drop(state);
            let share = worker.read(number, &mut spare);
            state = self.put(number, share, &mut spare);
        }
    }
}

/// Tells the others if a thread dies.
struct Obituary<'a>(&'a Desk);

impl Drop for Obituary<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state().has_died = true;
            self.0.changed.notify_all();
        }
    }
}

/// The shares of a file, one behind the other.
#[derive(Debug)]
pub(super) struct Shares {
    desk: Arc<Desk>,
    worker: Worker,
    spare: Vec<Batch>,
    /// The share whose batches are handed out, the line with which it begins, and the number of the next one.
    share: Share,
    line: u64,
    next: u64,
    /// Where no more shares are read.
    rest: Option<Box<dyn Supply>>,
}

impl Shares {
    /// The records of a file that begin at this line and byte.
    pub(super) fn new(
        file: Arc<File>,
        (line, begin): (u64, u64),
        bytes: u64,
        block_size: Option<u64>,
        ours: bool,
    ) -> io::Result<Self> {
        let division = Division::of(file, begin, bytes)?;
        let others = thread::available_parallelism().map_or(1, |cores| cores.get() - 1);
        let threads = others.clamp(1, MOST_THREADS);
        let desk = Arc::new(Desk {
            state: Mutex::default(),
            changed: Condvar::new(),
            count: division.count,
            ahead: threads as u64 + SHARES_AHEAD,
        });
        // Of what follows an error ends the threads that were started.
        let shares = Self {
            desk: Arc::clone(&desk),
            worker: Worker::new(division.clone(), block_size, ours),
            spare: Vec::new(),
            share: Share { end: begin, ..Share::default() },
            line,
            next: 0,
            rest: None,
        };
        for _ in 0..threads {
            let (desk, worker) =
                (Arc::clone(&desk), Worker::new(division.clone(), block_size, ours));
            let serve = move || desk.serve(worker);
            thread::Builder::new().name("reader".to_owned()).spawn(serve)?;
        }
        Ok(shares)
    }

    /// The next share, for which this thread reads others while it is not there.
    fn take(&mut self) -> io::Result<Option<Share>> {
        let desk = Arc::clone(&self.desk);
        let mut state = desk.state();
        state.judged = self.next;
        state.spare.append(&mut self.spare);
        desk.changed.notify_all();
        loop {
            if let Some(share) = state.ready.remove(&self.next) {
                return Ok(share);
            }
            if state.has_died {
                return Err(died());
            }
            match desk.claim(&mut state, &mut self.spare) {
                Some(number) => {
                    drop(state);
                    let share = self.worker.read(number, &mut self.spare);
                    state = desk.put(number, share, &mut self.spare);
                }
                None => state = desk.wait(state),
            }
        }
    }

    /// Reads the file from behind the last share to its end.
    fn read_rest(&mut self) -> io::Result<Box<dyn Supply>> {
        self.desk.end();
        let Worker { division, echoes, ours, .. } = &self.worker;
        let at = self.share.end;
        let mut rest = Worker::new(division.clone(), echoes.block_size(), *ours);
        rest.splitter.begin(division.part(at, u64::MAX), self.line, at);
        rest.echoes.begin(self.next > 0);
        Ok(Box::new(There::new(rest.splitter, rest.echoes, rest.ours)?))
    }
}

impl Supply for Shares {
    fn refill(&mut self, batch: &mut Batch) {
        loop {
            if let Some(rest) = &mut self.rest {
                return rest.refill(batch);
            }
            if let Some(next) = self.share.batches.pop_front() {
                self.spare.push(std::mem::replace(batch, next));
                batch.line = self.line;
                return;
            }
            self.line += std::mem::take(&mut self.share.lines);
            match self.take() {
                Ok(Some(share)) => (self.share, self.next) = (share, self.next + 1),
                Ok(None) => match self.read_rest() {
                    Ok(rest) => self.rest = Some(rest),
                    Err(error) => return batch.end_with(error),
                },
                Err(error) => return batch.end_with(error),
            }
        }
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        self.desk.end();
    }
}
