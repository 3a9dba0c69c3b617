//! Rows that say of a request what the step before leads to, told by the reader.
//!
//! Nearly all rows of a log are those of running requests that go on decoding: the row of the step before
//! with one token more, in the same place behind the same neighbours. Whoever takes rows apart sees that
//! without making a row of it: the id is compared with what stood in its place in the step before, the
//! numbers with those of then. A run of such rows is handed on as one [`Run`], which says what all its
//! rows have in common. It is a shorter way to write down the same rows and no judgement; what else
//! must be known of a log before rules need not see them is for whoever checks it to say.

mod last;
mod shape;
mod text;

use std::hash::BuildHasher;
use std::io::Read;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::log::field::QueuePosition;
use crate::log::reader::echo::last::{Common, LEAD_BYTES, Last, Made, RUNNING};
use crate::log::reader::echo::shape::Shapes;
use crate::log::reader::echo::text::{Digits, Place, Prefix};
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
    /// Its first byte in the file.
    pub offset: u64,
    /// How much the `time_in_state` of each has grown.
    pub passed: Nanos,
    /// The blocks of all of them.
    pub blocks: u64,
    /// How many of them hold a block more than in the step before.
    pub begun: u64,
}

impl Run {
    /// The line of one of its rows and the byte where that begins, by how long the rows are.
    #[must_use]
    pub fn row(&self, index: usize, lens: &[u8]) -> (u64, u64) {
        let before = lens.iter().take(index).map(|len| u64::from(*len));
        (self.line + index as u64, self.offset + before.sum::<u64>())
    }
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

/// Reads echoes of the rows of these seats, one behind the other, as long as there are some, at most as many as
/// there is room in `lens` for how long they are.
///
/// Nearly all of what it takes to read a log, but for what the system does, is done here, in fewer instructions
/// with what newer processors have.
#[multiversion::multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+movbe"))]
fn follow(
    (lasts, made, shapes): (&mut [Last], &mut [Made], &mut Shapes),
    before: &[Seat],
    places: &[Place],
    common: &Common<'_>,
    text: &[u8],
    lens: &mut [u8],
) -> Followed {
    let (mut rows, mut blocks, mut begun) = (0, 0, 0);
    let mut rest = text;
    for ((seat, place), len) in before.iter().zip(places).zip(lens) {
        // Asked first: what is brought up to date here is followed, or was no echo.
        let Some(row) = rest.first_chunk() else { break };
        let seat = seat.index();
        if seat >= lasts.len() {
            break;
        }
        let last = &mut lasts[seat];
        if last.step + 1 != common.step {
            break;
        }
        if last.step >= last.until {
            let Some(made) = made.get_mut(seat) else { break };
            if !last.renew(made, shapes, common, *place) {
                break;
            }
            begun += u64::from(made.begun);
        }
        let Some(shape) = shapes.get(last.shape) else { break };
        let bytes = match last.follow(shape, row, common, *place) {
            Some(bytes) => bytes,
            None => {
                let Some(made) = made.get_mut(seat) else { break };
                begun -= u64::from(last.take_back(made));
                if !last.reshape(made, shapes, common, *place) {
                    break;
                }
                let Some(shape) = shapes.get(last.shape) else { break };
                let Some(bytes) = last.follow(shape, row, common, *place) else {
                    last.take_back(made);
                    break;
                };
                begun += u64::from(made.begun);
                bytes
            }
        };
        *len = bytes;
        rest = &rest[usize::from(bytes)..];
        blocks += u64::from(last.blocks);
        rows += 1;
    }
    Followed { rows, bytes: text.len() - rest.len(), blocks, begun }
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
const UNSURE_STEPS: u32 = 3;
/// The last step that is counted; those behind it have no echoes.
const LAST_STEP: u32 = u32::MAX - UNSURE_STEPS;

/// Recognises echoes.
#[derive(Debug)]
pub(super) struct Echoes {
    /// The tokens of a block, 0 if that is not known; none if no echoes are wanted.
    block_size: Option<u64>,
    lasts: Vec<Last>,
    made: Vec<Made>,
    shapes: Shapes,
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
    step: u32,
    sure_from: u32,
    passed: Option<Digits>,
    places: Vec<Place>,
    /// How the last row that was told in full ended.
    line_break: &'static str,
}

impl Echoes {
    /// Recognises echoes if `block_size`, which is 0 where it is not known, says that they are wanted.
    pub(super) fn new(block_size: Option<u64>) -> Self {
        Self {
            block_size,
            lasts: vec![Last::NOBODY],
            made: vec![Made::NOTHING],
            shapes: Shapes::default(),
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
            places: Vec::new(),
            line_break: "\n",
        }
    }

    /// Which echoes are wanted.
    pub(super) const fn block_size(&self) -> Option<u64> {
        self.block_size
    }

    /// Begins anew, at the first row of a file or somewhere among the rows of a step.
    pub(super) fn begin(&mut self, among_others: bool) {
        let places = std::mem::take(&mut self.places);
        *self = Self { places, ..Self::new(self.block_size) };
        if among_others {
            self.lose_track();
        }
    }

    /// Reads the run that comes next if one does, at most as many rows as there is room for how long they are.
    #[inline]
    pub(super) fn run<S: Read>(
        &mut self,
        splitter: &mut Splitter<S>,
        lens: &mut [u8],
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
        for place in self.places.len()..place + before.len() {
            self.places.push(Place::of(place));
        }
        let (line, offset) = splitter.position();
        let known = (&mut self.lasts[..], &mut self.made[..], &mut self.shapes);
        let found = follow(known, before, &self.places[place..], &common, splitter.ahead(), lens);
        let Followed { rows: len, bytes, blocks, begun } = found;
        self.now.extend_from_slice(&before[..len]);
        splitter.skip(bytes, len as u64);
        self.cursor += len;
        let passed = Nanos(passed.number());
        (len > 0).then_some(Run { len, place, from, line, offset, passed, blocks, begun })
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
            let made = &mut self.made[seat.index()];
            let again = last.step == self.step && row.state == State::Running;
            if made.runs && last.step + 1 == self.step && row.state == State::Running {
                // Alike for all that go on running.
                self.passed = self.passed.or_else(|| last.passed(row));
            }
            *made = last.note(row, self.step);
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
        self.step = (self.step + 1).min(LAST_STEP);
        (self.cursor, self.passed) = (0, None);
        let before = self.id.replace(id);
        let next = before.and_then(|before| before.0.checked_add(1)) == Some(id.0);
        self.prefix =
            Prefix::of(id).filter(|_| next && self.step >= self.sure_from && self.step < LAST_STEP);
        let live = self.lasts.len() - self.free.len();
        if live > 64 + 2 * self.before.len() {
            self.sweep();
        }
        if self.shapes.are_too_many() {
            self.shapes.forget();
            // Their texts are made anew.
            let made = self.made.iter_mut().zip(&mut self.lasts);
            made.for_each(|(made, last)| made.forget_text(last));
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
            self.made.push(Made::NOTHING);
        }
        self.lasts[seat.index()] = Last::of(name);
        self.made[seat.index()] = Made::NOTHING;
        let lasts = &self.lasts;
        self.index
            .insert_unique(hash, seat, |seat| FxBuildHasher.hash_one(lasts[seat.index()].name()));
        (seat, true)
    }
}
