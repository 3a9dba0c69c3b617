//! Rows that say of a request what the step before leads to, told by the reader.
//!
//! Nearly all rows of a log are those of running requests that go on decoding: the row of the step before
//! with one token more, in the same place behind the same neighbours. Whoever takes rows apart sees that
//! without making a row of it: the id is compared with what stood in its place in the step before, the
//! numbers with those of then. A run of such rows is handed on as one [`Run`], which says what all its
//! rows have in common. It is a shorter way to write down the same rows and no judgement; what else
//! must be known of a log before rules need not see them is for whoever checks it to say.

use std::hash::BuildHasher;
use std::io::Read;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use wide::u8x16;

use crate::log::reader::splitter::{PADDING, Splitter};
use crate::log::scan::digits;
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

/// The row that is the echo of a row; of blocks of a known size it holds those that its tokens take.
#[must_use]
pub fn echo(
    of: &IterationRequestRow,
    steps: u32,
    passed: Nanos,
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
        time_in_state: of.time_in_state.saturating_add(passed),
        waiting_reason: None,
        scheduled_tokens: Some(Tokens(1)),
        computed_tokens: Some(Tokens(computed)),
        ..*of
    }
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

/// Bytes of a name, and of what stands behind it in the row of a running request.
const LEAD_BYTES: usize = 64;
const RUNNING: &[u8] = b",running,";
/// Bytes in which all numbers behind the position stand.
const REST_BYTES: usize = 48;
/// How far ahead in the step before a request is looked for that does not stand where it should.
const LOOK_AHEAD: usize = 64;
/// Steps behind a record that is no ordinary row for which the places of rows are not sure.
const UNSURE_STEPS: u64 = 3;

/// What the last row of a name said.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Last {
    /// The name and [`RUNNING`].
    lead: [u8; LEAD_BYTES],
    lead_len: usize,
    tokens: u32,
    blocks: u32,
    computed: u32,
    /// Whether there may be an echo of it.
    runs: bool,
    time: u64,
    /// The step of it, by the count of the reader.
    step: u64,
}

/// Some text of at most eight bytes.
#[derive(Clone, Copy, Debug)]
struct Short {
    text: u64,
    mask: u64,
    len: usize,
}

impl Short {
    /// A text that is too long is found nowhere.
    fn of(text: &str) -> Self {
        let mut bytes = [0; 8];
        let fits = text.len() <= bytes.len();
        bytes.iter_mut().zip(text.bytes()).for_each(|(byte, of)| *byte = of);
        let mask = u64::MAX.checked_shr(64 - 8 * text.len().min(8) as u32).unwrap_or(0);
        let text_bytes = u64::from_le_bytes(bytes);
        Self { text: if fits { text_bytes } else { !mask }, mask, len: text.len().min(8) }
    }
}

/// The beginning of all rows of a step.
#[derive(Clone, Copy, Debug, Default)]
struct Prefix {
    text: [u8; 16],
    mask: u32,
    len: usize,
}

impl Prefix {
    fn of(id: IterationId) -> Option<Self> {
        let text = format!("{},", id.0);
        let mut prefix = Self { len: text.len(), ..Self::default() };
        prefix.text.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        prefix.mask = (1 << text.len()) - 1;
        Some(prefix)
    }
}

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
    passed: Option<u64>,
    positions: Vec<Short>,
}

/// One row that was seen to be an echo.
struct Echo {
    bytes: usize,
    passed: u64,
    tokens: u32,
    blocks: u32,
    computed: u32,
}

impl Last {
    const NOBODY: Self = Self {
        lead: [0; LEAD_BYTES],
        lead_len: 0,
        tokens: 0,
        blocks: 0,
        computed: 0,
        runs: false,
        time: 0,
        step: 0,
    };

    fn name(&self) -> &[u8] {
        &self.lead[..self.lead_len.saturating_sub(RUNNING.len())]
    }

    fn is_of(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.name() == name
    }

    /// Whether `text` begins with the row that is an echo of this one.
    #[inline(always)]
    fn echo(
        &self,
        text: &[u8; PADDING],
        prefix: &Prefix,
        position: Short,
        block_size: u64,
        passed: Option<u64>,
    ) -> Option<Echo> {
        let head = u8x16::new(*text.first_chunk()?).simd_eq(u8x16::new(prefix.text)).to_bitmask();
        if head as u32 & prefix.mask != prefix.mask {
            return None;
        }
        if !begins_alike(text.get(prefix.len..)?.first_chunk()?, &self.lead, self.lead_len) {
            return None;
        }
        let at = prefix.len + self.lead_len;
        let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        if word & position.mask != position.text {
            return None;
        }
        let first = at + position.len;
        let rest: &[u8; REST_BYTES + 8] = text.get(first..)?.first_chunk()?;
        let (mut ends, mut commas) = (0u64, 0u64);
        let comma = u8x16::splat(b',');
        for (index, block) in rest.as_chunks::<16>().0.iter().enumerate() {
            let block = u8x16::new(*block);
            ends |= u64::from(block.min(comma).simd_eq(block).to_bitmask()) << (16 * index);
            commas |= u64::from(block.simd_eq(comma).to_bitmask()) << (16 * index);
        }
        // tokens_generated, kv_cache_blocks, time_in_state, scheduled_tokens, and computed_tokens at the end.
        let all = ends;
        let mut end = || {
            let at = ends.trailing_zeros() as usize;
            ends &= ends.wrapping_sub(1);
            at
        };
        let (tokens_end, blocks_end, time_end, scheduled_end) = (end(), end(), end(), end());
        let row_end = ends.trailing_zeros() as usize;
        let odd_ends = (all ^ ends) & !commas;
        if row_end >= REST_BYTES {
            return None;
        }
        let word = |at: usize| {
            let bytes = rest.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        };
        let short = |from: usize, to: usize| {
            let len = to - from;
            let (value, odd) = digits(word(from), len);
            (value, odd | u64::from(!matches!(len, 1..=8)))
        };
        let (tokens, odd_tokens) = short(0, tokens_end);
        let (blocks, odd_blocks) = short(tokens_end + 1, blocks_end);
        let (computed, odd_computed) = short(scheduled_end + 1, row_end);
        let (time_first, time_len) = (blocks_end + 1, time_end - blocks_end - 1);
        let (time, odd_time) = if time_len > 8 {
            let (high, odd_high) = short(time_first, time_end - 8);
            let (low, odd_low) = digits(word(time_end - 8), 8);
            (high * 100_000_000 + low, odd_high | odd_low)
        } else {
            short(time_first, time_end)
        };
        let one = u64::from_le_bytes(*b"1,\0\0\0\0\0\0");
        let scheduled = (word(time_end + 1) & 0xffff) ^ one;
        let grown = time.wrapping_sub(self.time);
        let differs = odd_ends
            | odd_tokens
            | odd_blocks
            | odd_computed
            | odd_time
            | scheduled
            | (tokens ^ (u64::from(self.tokens) + 1))
            | (computed ^ (u64::from(self.computed) + 1))
            | (grown ^ passed.unwrap_or(grown));
        let more = blocks.wrapping_sub(u64::from(self.blocks));
        let fits = match block_size {
            0 => more == 0,
            // Not less room than the tokens need, and not a block more.
            size => blocks.wrapping_mul(size).wrapping_sub(computed + 1) < size && more <= 1,
        };
        if differs != 0 || !fits || time < self.time {
            return None;
        }
        let line_break = match rest[row_end] {
            b'\n' => 1,
            b'\r' if rest[row_end + 1] == b'\n' => 2,
            _ => return None,
        };
        Some(Echo {
            bytes: first + row_end + line_break,
            passed: grown,
            // At most eight digits each.
            tokens: tokens as u32,
            blocks: blocks as u32,
            computed: computed as u32,
        })
    }
}

/// Whether two blocks begin with the same `len` bytes.
#[inline(always)]
fn begins_alike(one: &[u8; LEAD_BYTES], other: &[u8; LEAD_BYTES], len: usize) -> bool {
    let (one, other) = (one.as_chunks::<16>().0, other.as_chunks::<16>().0);
    let differ = one.iter().zip(other).enumerate().fold(0u64, |differ, (index, (one, other))| {
        let alike = u8x16::new(*one).simd_eq(u8x16::new(*other)).to_bitmask();
        differ | u64::from(!alike & 0xffff) << (16 * index)
    });
    differ.trailing_zeros() as usize >= len
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
        let (prefix, block_size) = self.prefix.zip(self.block_size)?;
        let (place, from) = (self.now.len(), self.cursor);
        let before = self.before.get(from..).filter(|before| !before.is_empty())?;
        let before = &before[..before.len().min(most)];
        for position in self.positions.len()..place + before.len() {
            self.positions.push(Short::of(&format!("{position},,")));
        }
        let (line, offset) = splitter.position();
        let text = splitter.ahead();
        let (mut at, mut blocks, mut begun, mut passed) = (0, 0, 0, self.passed);
        for (seat, position) in before.iter().zip(&self.positions[place..]) {
            let last = &mut self.lasts[seat.index()];
            let stood = last.runs && last.step + 1 == self.step;
            let row = text.get(at..).filter(|_| stood).and_then(<[u8]>::first_chunk);
            let echo = row.and_then(|row| last.echo(row, &prefix, *position, block_size, passed));
            let Some(echo) = echo else { break };
            passed = Some(echo.passed);
            blocks += u64::from(echo.blocks);
            begun += u64::from(echo.blocks - last.blocks);
            (last.tokens, last.blocks, last.computed) = (echo.tokens, echo.blocks, echo.computed);
            last.time += echo.passed;
            last.step = self.step;
            offsets.push(offset + at as u64);
            at += echo.bytes;
            self.now.push(*seat);
        }
        let len = self.now.len() - place;
        splitter.skip(at, len as u64);
        self.cursor += len;
        self.passed = passed;
        let passed = Nanos(passed.filter(|_| len > 0)?);
        Some(Run { len, place, from, line, passed, blocks, begun })
    }

    /// Takes in a row that is no echo. Says which seat its name has, and whether it did not have it
    /// before.
    pub(super) fn see(&mut self, row: &IterationRequestRow, name: &[u8]) -> (Seat, bool) {
        if self.id != Some(row.iteration_id) {
            self.begin_step(row.iteration_id);
        }
        let (seat, is_new) = self.seat(name);
        if seat != Seat::NONE {
            let last = &mut self.lasts[seat.index()];
            let again = last.step == self.step && row.state == State::Running;
            last.tokens = row.tokens_generated.0;
            last.blocks = row.kv_cache_blocks.0;
            last.computed = row.computed_tokens.unwrap_or_default().0;
            last.time = row.time_in_state.0;
            last.runs = row.state == State::Running && row.computed_tokens.is_some();
            last.step = self.step;
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
        last.lead_len = name.len() + RUNNING.len();
        let lasts = &self.lasts;
        self.index
            .insert_unique(hash, seat, |seat| FxBuildHasher.hash_one(lasts[seat.index()].name()));
        (seat, true)
    }
}
