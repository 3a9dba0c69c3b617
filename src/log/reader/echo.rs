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
use crate::log::scan::{HIGH, ZEROS, digits};
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
/// Numbers of tokens and blocks that are too many for eight digits, by far.
const MOST: u32 = 50_000_000;
/// How far ahead in the step before a request is looked for that does not stand where it should.
const LOOK_AHEAD: usize = 64;
/// Steps behind a record that is no ordinary row for which the places of rows are not sure.
const UNSURE_STEPS: u64 = 3;

/// What the last row of a name said.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Last {
    /// The name and [`RUNNING`], and all bits of each of their bytes.
    lead: [u8; LEAD_BYTES],
    lead_mask: [u8; LEAD_BYTES],
    lead_len: usize,
    tokens: u32,
    blocks: u32,
    computed: u32,
    /// Whether there may be an echo of it.
    runs: bool,
    /// The digits of the tokens and computed tokens of an echo, and of the blocks of the row.
    tokens_next: Digits,
    computed_next: Digits,
    blocks_now: Digits,
    time: u64,
    /// The step of it, by the count of the reader.
    step: u64,
}

/// The digits of a number of one to eight, the last one in the lowest byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digits(u64);

impl Digits {
    /// Those of a number of at most eight.
    fn of(number: u32) -> Self {
        Self((0..8).fold(0, |digits, place| {
            digits | u64::from(number / 10u32.pow(place) % 10) << (8 * place)
        }))
    }

    /// The first `len` bytes of a word, which are digits.
    #[inline(always)]
    const fn read(word: u64, len: usize) -> Self {
        Self((word ^ ZEROS).wrapping_shl(0u32.wrapping_sub(8 * len as u32)).swap_bytes())
    }

    /// Those of the number that comes next.
    #[inline(always)]
    const fn next(self) -> Self {
        // What is above nine carries over; what is not goes back to where it was.
        let sum = self.0.wrapping_add(0xf6f6_f6f6_f6f6_f6f7);
        Self(sum.wrapping_sub(((sum & HIGH) >> 7).wrapping_mul(0xf6)))
    }
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
    blocks: u32,
    block_digits: Digits,
}

impl Last {
    const NOBODY: Self = Self {
        lead: [0; LEAD_BYTES],
        lead_mask: [0; LEAD_BYTES],
        lead_len: 0,
        tokens: 0,
        blocks: 0,
        computed: 0,
        runs: false,
        tokens_next: Digits(0),
        computed_next: Digits(0),
        blocks_now: Digits(0),
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
        if !self.leads(text.get(prefix.len..)?.first_chunk()?) {
            return None;
        }
        let at = prefix.len + self.lead_len;
        let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        if word & position.mask != position.text {
            return None;
        }
        let first = at + position.len;
        let rest: &[u8; REST_BYTES + 8] = text.get(first..)?.first_chunk()?;
        let (commas, row_end) = commas(rest);
        // tokens_generated, kv_cache_blocks, time_in_state, scheduled_tokens, and computed_tokens at the end.
        let end = |commas: u64| commas.trailing_zeros() as usize;
        let (tokens_end, commas) = (end(commas), commas & commas.wrapping_sub(1));
        let (blocks_end, commas) = (end(commas), commas & commas.wrapping_sub(1));
        let (time_end, commas) = (end(commas), commas & commas.wrapping_sub(1));
        let scheduled_end = end(commas);
        // Exactly four commas, and the end of the row among the bytes that were looked at.
        if !commas.is_power_of_two() || row_end >= REST_BYTES {
            return None;
        }
        let word = |at: usize| {
            let bytes = rest.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        };
        let blocks_first = tokens_end + 1;
        let (blocks_len, computed_len) = (blocks_end - blocks_first, row_end - scheduled_end - 1);
        let time_first = blocks_end + 1;
        let time_len = time_end - time_first;
        let tokens = Digits::read(word(0), tokens_end);
        let computed = Digits::read(word(scheduled_end + 1), computed_len);
        let block_digits = Digits::read(word(blocks_first), blocks_len);
        let same_blocks = block_digits == self.blocks_now;
        let blocks = match same_blocks {
            true => u64::from(self.blocks),
            false => digits(word(blocks_first), blocks_len).0,
        };
        let time = if time_len > 8 {
            let high = digits(word(time_first), time_len - 8).0;
            high * 100_000_000 + digits(word(time_end - 8), 8).0
        } else {
            digits(word(time_first), time_len).0
        };
        // One to eight digits each, and up to sixteen of the time.
        let over = |len: usize, most: usize| len.wrapping_sub(1) & !(most - 1);
        let odd_len =
            over(tokens_end, 8) | over(blocks_len, 8) | over(computed_len, 8) | over(time_len, 16);
        let scheduled = (word(time_end + 1) & 0xffff) ^ u64::from_le_bytes(*b"1,\0\0\0\0\0\0");
        let grown = time.wrapping_sub(self.time);
        let differs = odd_len as u64
            | scheduled
            | (tokens.0 ^ self.tokens_next.0)
            | (computed.0 ^ self.computed_next.0)
            | (grown ^ passed.unwrap_or(grown));
        let more = blocks.wrapping_sub(u64::from(self.blocks));
        let fits = match block_size {
            0 => more == 0,
            // Not less room than the tokens need, and not a block more.
            size => {
                let computes = u64::from(self.computed) + 2;
                blocks.wrapping_mul(size).wrapping_sub(computes) < size && more <= 1
            }
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
            // At most eight digits.
            blocks: blocks as u32,
            block_digits,
        })
    }

    /// Whether a row goes on with the name and [`RUNNING`].
    #[inline(always)]
    fn leads(&self, text: &[u8; LEAD_BYTES]) -> bool {
        let blocks = |bytes: &[u8; LEAD_BYTES], at: usize| {
            let block = bytes.get(16 * at..).and_then(<[u8]>::first_chunk);
            u8x16::new(block.copied().unwrap_or_default())
        };
        let differ =
            |at: usize| (blocks(text, at) ^ blocks(&self.lead, at)) & blocks(&self.lead_mask, at);
        let differ = (differ(0) | differ(1)) | (differ(2) | differ(3));
        differ.simd_eq(u8x16::ZERO).to_bitmask() & 0xffff == 0xffff
    }

    /// Takes in an echo of the row.
    #[inline(always)]
    fn follow(&mut self, echo: &Echo, step: u64) {
        self.tokens += 1;
        self.computed += 1;
        self.tokens_next = self.tokens_next.next();
        self.computed_next = self.computed_next.next();
        (self.blocks, self.blocks_now) = (echo.blocks, echo.block_digits);
        self.time += echo.passed;
        self.step = step;
    }

    /// Takes in a row that is told in full.
    fn note(&mut self, row: &IterationRequestRow, step: u64) {
        let computed = row.computed_tokens.unwrap_or_default().0;
        (self.tokens, self.computed) = (row.tokens_generated.0, computed);
        self.blocks = row.kv_cache_blocks.0;
        self.tokens_next = Digits::of(self.tokens).next();
        self.computed_next = Digits::of(self.computed).next();
        self.blocks_now = Digits::of(self.blocks);
        self.time = row.time_in_state.0;
        let few = self.tokens.max(self.computed).max(self.blocks) < MOST;
        self.runs = few && row.state == State::Running && row.computed_tokens.is_some();
        self.step = step;
    }
}

/// Where commas stand in the bytes up to the first one that is neither comma nor digit, and where
/// that stands.
#[inline(always)]
fn commas(text: &[u8; REST_BYTES + 8]) -> (u64, usize) {
    let (mut commas, mut either) = (0u64, 0u64);
    for (index, block) in text.as_chunks::<16>().0.iter().enumerate() {
        let block = u8x16::new(*block);
        let comma = block.simd_eq(u8x16::splat(b','));
        let value = block - u8x16::splat(b'0');
        let digit = value.min(u8x16::splat(9)).simd_eq(value);
        commas |= u64::from(comma.to_bitmask()) << (16 * index);
        either |= u64::from((comma | digit).to_bitmask()) << (16 * index);
    }
    let end = (!either).trailing_zeros();
    (commas & ((1 << end) - 1), end as usize)
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
            let stood =
                last.runs && last.step + 1 == self.step && last.tokens.max(last.computed) < MOST;
            let row = text.get(at..).filter(|_| stood).and_then(<[u8]>::first_chunk);
            let echo = row.and_then(|row| last.echo(row, &prefix, *position, block_size, passed));
            let Some(echo) = echo else { break };
            passed = Some(echo.passed);
            blocks += u64::from(echo.blocks);
            begun += u64::from(echo.blocks - last.blocks);
            last.follow(&echo, self.step);
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
        last.lead_len = name.len() + RUNNING.len();
        last.lead_mask.iter_mut().take(last.lead_len).for_each(|byte| *byte = u8::MAX);
        let lasts = &self.lasts;
        self.index
            .insert_unique(hash, seat, |seat| FxBuildHasher.hash_one(lasts[seat.index()].name()));
        (seat, true)
    }
}
