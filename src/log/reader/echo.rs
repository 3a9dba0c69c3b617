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
/// Bytes of what stands behind the position, line break included.
const TAIL_BYTES: usize = 48;
/// Numbers of tokens and blocks that are too many for eight digits, by far.
const MOST: u32 = 50_000_000;
/// The first time that has more than sixteen digits.
const MOST_TIME: u64 = 10_000_000_000_000_000;
/// How far ahead in the step before a request is looked for that does not stand where it should.
const LOOK_AHEAD: usize = 64;
/// Steps behind a record that is no ordinary row for which the places of rows are not sure.
const UNSURE_STEPS: u64 = 3;

/// What the last row of a name said, and the text of the one that is an echo of it.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Last {
    /// The name and [`RUNNING`].
    lead: [u8; LEAD_BYTES],
    /// What stands behind the position of an echo, and the bits of it that are known before.
    tail: [u8; TAIL_BYTES],
    known: [u8; TAIL_BYTES],
    lead_len: usize,
    tail_len: usize,
    /// Where the time stands in the tail, and the computed tokens.
    time_at: Part,
    computed_at: Part,
    /// The digits of tokens, computed tokens and blocks of an echo, and how many digits tokens have.
    tokens_digits: Digits,
    computed_digits: Digits,
    blocks_digits: Digits,
    tokens_len: usize,
    /// The first time that has too many digits for the tail.
    time_limit: u64,
    time: u64,
    /// The step of the row, by the count of the reader.
    step: u64,
    /// Of the row for which the tail was made, or of the last one told in full.
    tokens: u32,
    computed: u32,
    /// The blocks of the row, and of an echo.
    held: u32,
    blocks: u32,
    /// How many echoes have followed since, for how many the tail can be kept up to date, and for how many
    /// until a number gets another digit.
    echoes: u32,
    most_echoes: u32,
    same_digits: u32,
    /// Whether there may be an echo of it.
    runs: bool,
}

/// A part of the tail.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    at: usize,
    len: usize,
}

/// The digits of a number of one to eight, the last one in the lowest byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digits(u64);

impl Digits {
    /// Those of a number of at most eight.
    fn of(number: u32) -> Self {
        let mut bytes = *b"00000000";
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).bytes().rev();
        bytes.iter_mut().rev().zip(digits).for_each(|(byte, digit)| *byte = digit);
        Self(u64::from_be_bytes(bytes) ^ ZEROS)
    }

    /// Those of the number that comes next.
    #[inline(always)]
    const fn next(self) -> Self {
        // What is above nine carries over; what is not goes back to where it was.
        let sum = self.0.wrapping_add(0xf6f6_f6f6_f6f6_f6f7);
        Self(sum.wrapping_sub(((sum & HIGH) >> 7).wrapping_mul(0xf6)))
    }

    /// Writes the last `len` of them, one to eight, to the beginning of a text.
    #[inline(always)]
    fn write(self, text: &mut [u8], len: usize) {
        if let Some(bytes) = text.first_chunk_mut() {
            let shift = 64 - 8 * len as u32;
            let behind = u64::from_le_bytes(*bytes) & !(u64::MAX >> shift);
            *bytes = (behind | (self.0 | ZEROS).swap_bytes() >> shift).to_le_bytes();
        }
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
    /// How the last row that was told in full ended.
    line_break: &'static str,
}

/// A tail that is being written.
struct Tail {
    text: [u8; TAIL_BYTES],
    len: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self { text: [0; TAIL_BYTES], len: 0 }
    }
}

impl Tail {
    /// Writes a number and what stands behind it; where the number stands. There is room for three
    /// of at most eight digits, the time of at most sixteen, and what stands between them.
    fn number(&mut self, number: u64, behind: &[u8]) -> Part {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let part = Part { at: self.len, len: digits.len() };
        for piece in [digits, behind] {
            self.text[self.len..][..piece.len()].copy_from_slice(piece);
            self.len += piece.len();
        }
        part
    }
}

/// All bits of so many bytes, from the middle on backwards, and none of those behind it.
static MASKS: [u8; 2 * LEAD_BYTES] = {
    let mut masks = [0; 2 * LEAD_BYTES];
    let mut at = 0;
    while at < LEAD_BYTES {
        masks[at] = u8::MAX;
        at += 1;
    }
    masks
};

/// Whether two texts have the same bits where `mask` has one.
#[inline(always)]
fn agree<const BYTES: usize>(one: &[u8; BYTES], other: &[u8; BYTES], mask: &[u8; BYTES]) -> bool {
    let blocks = one.as_chunks::<16>().0.iter().zip(other.as_chunks::<16>().0);
    let blocks = blocks.zip(mask.as_chunks::<16>().0);
    let differ = blocks.fold(u8x16::ZERO, |differ, ((one, other), mask)| {
        differ | ((u8x16::new(*one) ^ u8x16::new(*other)) & u8x16::new(*mask))
    });
    differ.simd_eq(u8x16::ZERO).to_bitmask() & 0xffff == 0xffff
}

impl Last {
    const NOBODY: Self = Self {
        lead: [0; LEAD_BYTES],
        tail: [0; TAIL_BYTES],
        known: [0; TAIL_BYTES],
        lead_len: 0,
        tail_len: 0,
        time_at: Part { at: 0, len: 0 },
        computed_at: Part { at: 0, len: 0 },
        tokens_digits: Digits(0),
        computed_digits: Digits(0),
        blocks_digits: Digits(0),
        tokens_len: 0,
        time_limit: 0,
        time: 0,
        step: 0,
        tokens: 0,
        computed: 0,
        held: 0,
        blocks: 0,
        echoes: 0,
        most_echoes: 0,
        same_digits: 0,
        runs: false,
    };

    fn name(&self) -> &[u8] {
        &self.lead[..self.lead_len.saturating_sub(RUNNING.len())]
    }

    fn is_of(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.name() == name
    }

    /// How long the row is with which `text` begins, if it is an echo of this one, so much time later.
    #[inline(always)]
    fn echo(
        &self,
        text: &[u8; PADDING],
        prefix: &Prefix,
        position: Short,
        passed: u64,
    ) -> Option<usize> {
        let head = u8x16::new(*text.first_chunk()?).simd_eq(u8x16::new(prefix.text)).to_bitmask();
        if head as u32 & prefix.mask != prefix.mask {
            return None;
        }
        let mask = MASKS.get(LEAD_BYTES - self.lead_len..)?.first_chunk()?;
        if !agree(text.get(prefix.len..)?.first_chunk()?, &self.lead, mask) {
            return None;
        }
        let at = prefix.len + self.lead_len;
        let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        if word & position.mask != position.text {
            return None;
        }
        let at = at + position.len;
        let tail = text.get(at..)?.first_chunk()?;
        if !agree(tail, &self.tail, &self.known) {
            return None;
        }
        let (time, odd) = self.time_of(tail);
        (odd == 0 && time == self.time.wrapping_add(passed)).then_some(at + self.tail_len)
    }

    /// The time in a tail, and something that is not zero if a digit of it is none.
    #[inline(always)]
    fn time_of(&self, tail: &[u8; TAIL_BYTES]) -> (u64, u64) {
        let Part { at, len } = self.time_at;
        let word = |at: usize| {
            let bytes = tail.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
        };
        if len <= 8 {
            return digits(word(at), len);
        }
        let (high, odd_high) = digits(word(at), len - 8);
        let (low, odd_low) = digits(word(at + len - 8), 8);
        (high * 100_000_000 + low, odd_high | odd_low)
    }

    /// Takes in an echo of the row.
    #[inline(always)]
    fn follow(&mut self, passed: u64, step: u64) {
        self.tokens_digits = self.tokens_digits.next();
        self.tokens_digits.write(&mut self.tail, self.tokens_len);
        self.computed_digits = self.computed_digits.next();
        let Part { at, len } = self.computed_at;
        if let Some(text) = self.tail.get_mut(at..) {
            self.computed_digits.write(text, len);
        }
        self.echoes += 1;
        self.held = self.blocks;
        self.time += passed;
        self.step = step;
    }

    /// Takes in a row that is told in full.
    fn note(&mut self, row: &IterationRequestRow, step: u64) {
        let computed = row.computed_tokens.unwrap_or_default().0;
        (self.tokens, self.computed) = (row.tokens_generated.0, computed);
        self.held = row.kv_cache_blocks.0;
        self.time = row.time_in_state.0;
        self.runs = row.state == State::Running && row.computed_tokens.is_some();
        self.step = step;
        // The tail is made when it is asked for.
        (self.echoes, self.most_echoes, self.same_digits, self.time_limit) = (0, 0, 0, 0);
    }

    /// Brings the tail up to that of the next echo where a digit more is not enough. Says whether there is
    /// one: there is none of a row that does not run.
    #[cold]
    fn renew(&mut self, block_size: u64, passed: u64, line_break: &str) -> bool {
        let in_time = self.time.saturating_add(passed) < self.time_limit;
        if in_time && self.echoes < self.same_digits {
            // Only the block is full.
            self.blocks += 1;
            self.blocks_digits = self.blocks_digits.next();
            let len = self.time_at.at - self.tokens_len - 2;
            self.blocks_digits.write(&mut self.tail[self.tokens_len + 1..], len);
            let size = u32::try_from(block_size).unwrap_or(MOST);
            self.most_echoes = self.most_echoes.saturating_add(size).min(self.same_digits);
        } else if self.runs {
            self.make_tail(block_size, passed, line_break);
        }
        self.runs
    }

    /// Makes the tail of the next echo. There is none of a row whose numbers are very large, or that does
    /// not have the blocks that its tokens take.
    fn make_tail(&mut self, block_size: u64, passed: u64, line_break: &str) {
        self.tokens += self.echoes;
        self.computed += self.echoes;
        self.echoes = 0;
        let (tokens, computed) = (self.tokens + 1, self.computed + 1);
        let blocks = match block_size {
            0 => self.held,
            // A request has no more blocks than tokens.
            size => (u64::from(computed) + 1).div_ceil(size) as u32,
        };
        let time = self.time.saturating_add(passed);
        let few = tokens.max(computed).max(blocks) < MOST && time < MOST_TIME;
        self.runs = few && blocks.wrapping_sub(self.held) <= 1;
        if !self.runs {
            return;
        }
        self.blocks = blocks;
        let mut tail = Tail::default();
        self.tokens_len = tail.number(u64::from(tokens), b",").len;
        let blocks_len = tail.number(u64::from(blocks), b",").len;
        self.time_at = tail.number(time, b",1,");
        self.computed_at = tail.number(u64::from(computed), line_break.as_bytes());
        (self.tail, self.tail_len) = (tail.text, tail.len);
        self.known = [0; TAIL_BYTES];
        self.known[..tail.len].fill(u8::MAX);
        self.known[self.time_at.at..][..self.time_at.len].fill(0);
        (self.tokens_digits, self.computed_digits) = (Digits::of(tokens), Digits::of(computed));
        self.blocks_digits = Digits::of(blocks);
        self.time_limit = 10u64.pow(self.time_at.len as u32);
        // As long as no number gets another digit, and the blocks have room.
        let room = |number: u32, len: usize| 10u32.pow(len as u32) - number;
        let in_blocks = match block_size {
            0 => MOST,
            size => (u64::from(blocks) * size - u64::from(computed)).min(u64::from(MOST)) as u32,
        };
        let in_digits = room(tokens, self.tokens_len).min(room(computed, self.computed_at.len));
        // The blocks get one more for as many tokens as one has.
        let more = u64::from(room(blocks, blocks_len) - 1).saturating_mul(block_size.max(1));
        let in_blocks_digits = u64::from(in_blocks).saturating_add(more);
        self.same_digits = in_digits.min(u32::try_from(in_blocks_digits).unwrap_or(MOST));
        self.most_echoes = in_blocks.min(self.same_digits);
    }
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
        let (prefix, block_size, passed) = (self.prefix?, self.block_size?, self.passed?);
        let (place, from) = (self.now.len(), self.cursor);
        let before = self.before.get(from..).filter(|before| !before.is_empty())?;
        let before = &before[..before.len().min(most)];
        for position in self.positions.len()..place + before.len() {
            self.positions.push(Short::of(&format!("{position},,")));
        }
        let (line, offset) = splitter.position();
        let text = splitter.ahead();
        let (mut at, mut len, mut blocks, mut begun) = (0, 0, 0, 0);
        for (seat, position) in before.iter().zip(&self.positions[place..]) {
            let last = &mut self.lasts[seat.index()];
            if last.step + 1 != self.step {
                break;
            }
            let time = last.time.saturating_add(passed);
            if (last.echoes >= last.most_echoes || time >= last.time_limit)
                && !last.renew(block_size, passed, self.line_break)
            {
                break;
            }
            let row = text.get(at..).and_then(<[u8]>::first_chunk);
            let echo = row.and_then(|row| last.echo(row, &prefix, *position, passed));
            let Some(bytes) = echo else { break };
            blocks += u64::from(last.blocks);
            begun += u64::from(last.blocks - last.held);
            last.follow(passed, self.step);
            offsets.push(offset + at as u64);
            at += bytes;
            len += 1;
        }
        self.now.extend_from_slice(&before[..len]);
        splitter.skip(at, len as u64);
        self.cursor += len;
        (len > 0).then_some(Run { len, place, from, line, passed: Nanos(passed), blocks, begun })
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
                self.passed = self.passed.or(row.time_in_state.0.checked_sub(last.time));
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
        last.lead_len = name.len() + RUNNING.len();
        let lasts = &self.lasts;
        self.index
            .insert_unique(hash, seat, |seat| FxBuildHasher.hash_one(lasts[seat.index()].name()));
        (seat, true)
    }
}
