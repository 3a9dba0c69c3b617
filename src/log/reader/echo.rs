//! Rows that say of a request what the step before leads to, told by the reader.
//!
//! Nearly all rows of a log are those of running requests that go on decoding: the row of the step before
//! with one token more, in the same place behind the same neighbours. Whoever takes rows apart sees that
//! without making a row of it: the id is compared with what stood in its place in the step before, the
//! numbers with those of then. A run of such rows is handed on as one [`Run`], which says what all its
//! rows have in common. It is a shorter way to write down the same rows and no judgement; what else
//! must be known of a log before rules need not see them is for whoever checks it to say.

mod last;
mod text;

use std::hash::BuildHasher;
use std::io::Read;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::log::field::QueuePosition;
use crate::log::reader::echo::last::{Common, LEAD_BYTES, Last, RUNNING};
use crate::log::reader::echo::text::{Digits, Prefix, Short};
use crate::log::reader::splitter::Splitter;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::{Blocks, IterationId, Nanos, Tokens};

/// Rows of one step, one behind the other, each of which is an echo of the request's row in the step
/// before: `running` in both, with one token scheduled, with one more generated and one more computed,
/// and with the blocks that its tokens take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many rows.
    pub len: usize,
    /// The place of the first one among the rows of its step; each has its place for its
    /// `queue_position`.
    pub place: usize,
    /// The place among the rows of the step before of the row that the first one is the echo of; the
    /// others follow.
    pub from: usize,
    /// The line of the first one.
    pub line: u64,
    /// How much the `time_in_state` of each has grown.
    pub passed: Nanos,
    /// The blocks of all of them.
    pub blocks: u64,
    /// How many of them hold a block more than in the step before.
    pub begun: u64,
}

/// The row so many steps later at a place of its step, if all between are echoes of one another; of
/// blocks of a known size it holds those that its tokens take.
#[must_use]
pub fn echo(
    of: &IterationRequestRow,
    steps: u32,
    passed: Nanos,
    place: usize,
    block_size: u64,
) -> IterationRequestRow {
    let computed = of.computed_tokens.unwrap_or_default().0.saturating_add(steps);
    let blocks = match block_size {
        0 => of.kv_cache_blocks,
        // No more than there are tokens.
        size => Blocks((u64::from(computed) + 1).div_ceil(size) as u32),
    };
    IterationRequestRow {
        iteration_id: IterationId(of.iteration_id.0.saturating_add(u64::from(steps))),
        tokens_generated: of.tokens_generated.saturating_add(Tokens(steps)),
        kv_cache_blocks: blocks,
        // A place is an index of rows in memory.
        queue_position: i32::try_from(place).ok().map(QueuePosition),
        time_in_state: of.time_in_state.saturating_add(passed),
        waiting_reason: None,
        scheduled_tokens: Some(Tokens(1)),
        computed_tokens: Some(Tokens(computed)),
        ..*of
    }
}

/// A run as it was found in the text.
#[derive(Clone, Copy, Debug, Default)]
struct Followed {
    rows: usize,
    bytes: usize,
    blocks: u64,
    begun: u64,
}

/// Reads echoes of the rows of these seats, one behind the other, as long as there are some. The text begins at
/// a byte of the file; where each row begins goes to `offsets`.
///
/// Nearly all of what it takes to read a log is done here, in a sixth fewer instructions with what newer
/// processors have.
#[multiversion::multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+movbe"))]
fn follow(
    lasts: &mut [Last],
    before: &[Seat],
    positions: &[Short],
    common: &Common<'_>,
    (text, start): (&[u8], u64),
    offsets: &mut Vec<u64>,
) -> Followed {
    let mut found = Followed::default();
    let first = offsets.len();
    offsets.resize(first + before.len(), 0);
    let rows = before.iter().zip(positions).zip(&mut offsets[first..]);
    for ((seat, position), offset) in rows {
        let last = &mut lasts[seat.index()];
        if last.step + 1 != common.step {
            break;
        }
        if last.echoes >= last.most_echoes && !last.renew(common) {
            break;
        }
        let Some(row) = text.get(found.bytes..).and_then(<[u8]>::first_chunk) else { break };
        let held = last.held;
        // In a closure the second look would be a call on every row.
        let bytes = match last.follow(row, common, *position) {
            Some(bytes) => bytes,
            None => match last.follow_longer(row, common, *position) {
                Some(bytes) => bytes,
                None => break,
            },
        };
        found.blocks += u64::from(last.blocks);
        found.begun += u64::from(last.blocks - held);
        *offset = start + found.bytes as u64;
        found.bytes += bytes;
        found.rows += 1;
    }
    offsets.truncate(first + found.rows);
    found
}

/// A number that stands for a name as long as rows of it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat(pub(super) u32);

impl Seat {
    /// Of a row whose name is not remembered.
    pub(super) const NONE: Self = Self(0);

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How far ahead in the step before a request is looked for that does not stand where it should.
const LOOK_AHEAD: usize = 64;
/// Steps behind a record that is no ordinary row for which the places of rows are not sure.
const UNSURE_STEPS: u64 = 3;

/// Recognises echoes.
#[derive(Debug)]
pub(super) struct Echoes {
    /// The tokens of a block, 0 if that is not known; none if no echoes are wanted.
    block_size: Option<u64>,
    lasts: Vec<Last>,
    free: Vec<Seat>,
    index: HashTable<Seat>,
    /// The rows of the step before, and those of this one.
    before: Vec<Seat>,
    now: Vec<Seat>,
    /// Where the row that comes next stood in the step before, if all goes on.
    cursor: usize,
    id: Option<IterationId>,
    prefix: Option<Prefix>,
    /// How many steps there were, and from which one on the places of rows are sure.
    step: u64,
    sure_from: u64,
    passed: Option<Digits>,
    positions: Vec<Short>,
    /// How the last row that was told in full ended.
    line_break: &'static str,
}

impl Echoes {
    /// Recognises echoes if `block_size`, which is 0 where it is not known, says that they are wanted.
    pub(super) fn new(block_size: Option<u64>) -> Self {
        Self {
            block_size,
            lasts: vec![Last::NOBODY],
            free: Vec::new(),
            index: HashTable::new(),
            before: Vec::new(),
            now: Vec::new(),
            cursor: 0,
            id: None,
            prefix: None,
            step: 1,
            sure_from: 0,
            passed: None,
            positions: Vec::new(),
            line_break: "\n",
        }
    }

    /// Reads the run that comes next, at most `most` rows, if one does; where each row begins goes to
    /// `offsets`.
    #[inline]
    pub(super) fn run<S: Read>(
        &mut self,
        splitter: &mut Splitter<S>,
        most: usize,
        offsets: &mut Vec<u64>,
    ) -> Option<Run> {
        let passed = self.passed?;
        let common = Common {
            prefix: self.prefix?,
            passed,
            step: self.step,
            block_size: self.block_size?,
            line_break: self.line_break,
        };
        let (place, from) = (self.now.len(), self.cursor);
        let before = self.before.get(from..).filter(|before| !before.is_empty())?;
        let before = &before[..before.len().min(most)];
        for position in self.positions.len()..place + before.len() {
            self.positions.push(Short::of(&format!("{position},,")));
        }
        let (line, offset) = splitter.position();
        let text = splitter.ahead();
        let positions = &self.positions[place..];
        let found = follow(&mut self.lasts, before, positions, &common, (text, offset), offsets);
        let Followed { rows: len, bytes, blocks, begun } = found;
        self.now.extend_from_slice(&before[..len]);
        splitter.skip(bytes, len as u64);
        self.cursor += len;
        let passed = Nanos(passed.number());
        (len > 0).then_some(Run { len, place, from, line, passed, blocks, begun })
    }

    /// Takes in a row that is no echo. Says which seat its name has, and whether it did not have it
    /// before.
    pub(super) fn see(
        &mut self,
        row: &IterationRequestRow,
        name: &[u8],
        line_break: &'static str,
    ) -> (Seat, bool) {
        self.line_break = line_break;
        if self.id != Some(row.iteration_id) {
            self.begin_step(row.iteration_id);
        }
        let (seat, is_new) = self.seat(name);
        if seat != Seat::NONE {
            let last = &mut self.lasts[seat.index()];
            let again = last.step == self.step && row.state == State::Running;
            if last.runs && last.step + 1 == self.step && row.state == State::Running {
                // Alike for all that go on running.
                self.passed = self.passed.or_else(|| last.passed(row));
            }
            last.note(row, self.step);
            if again {
                self.lose_track();
            }
        }
        self.now.push(seat);
        (seat, is_new)
    }

    /// There was a record that is no ordinary row, or a second one of a running request: which rows
    /// those behind it follow is not sure.
    pub(super) fn lose_track(&mut self) {
        self.prefix = None;
        self.sure_from = self.step + UNSURE_STEPS;
    }

    fn begin_step(&mut self, id: IterationId) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        self.step += 1;
        (self.cursor, self.passed) = (0, None);
        let before = self.id.replace(id);
        let next = before.and_then(|before| before.0.checked_add(1)) == Some(id.0);
        self.prefix = Prefix::of(id).filter(|_| next && self.step >= self.sure_from);
        let live = self.lasts.len() - self.free.len();
        if live > 64 + 2 * self.before.len() {
            self.sweep();
        }
    }

    /// Forgets the names that neither the last step nor the one before it has a row of.
    fn sweep(&mut self) {
        let (step, lasts) = (self.step, &mut self.lasts);
        self.index.retain(|seat| {
            let last = &mut lasts[seat.index()];
            let lives = last.step + 2 >= step;
            if !lives {
                *last = Last::NOBODY;
                self.free.push(*seat);
            }
            lives
        });
    }

    fn seat(&mut self, name: &[u8]) -> (Seat, bool) {
        if name.is_empty() || name.len() + RUNNING.len() > LEAD_BYTES {
            return (Seat::NONE, false);
        }
        let next = self.before.get(self.cursor).copied();
        if let Some(seat) = next.filter(|seat| self.lasts[seat.index()].is_of(name)) {
            self.cursor += 1;
            return (seat, false);
        }
        let hash = FxBuildHasher.hash_one(name);
        let lasts = &self.lasts;
        if let Some(seat) = self.index.find(hash, |seat| lasts[seat.index()].is_of(name)).copied() {
            let ahead = self.before.iter().skip(self.cursor).take(LOOK_AHEAD);
            if let Some(skipped) = ahead.into_iter().position(|other| *other == seat) {
                self.cursor += skipped + 1;
            }
            return (seat, false);
        }
        let seat = self.free.pop().unwrap_or(Seat(lasts.len() as u32));
        if seat.index() == self.lasts.len() {
            self.lasts.push(Last::NOBODY);
        }
        let last = &mut self.lasts[seat.index()];
        let lead = name.iter().chain(RUNNING);
        last.lead.iter_mut().zip(lead).for_each(|(byte, of)| *byte = *of);
        last.lead_len = (name.len() + RUNNING.len()) as u8;
        let lasts = &self.lasts;
        self.index
            .insert_unique(hash, seat, |seat| FxBuildHasher.hash_one(lasts[seat.index()].name()));
        (seat, true)
    }
}
