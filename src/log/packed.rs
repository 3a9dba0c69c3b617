//! Rows of per_iteration_requests.csv before they are text.
//!
//! Nearly all of a log is these rows. Whoever records one packs its values, which takes a fraction of
//! the time that their text does; the text is made where the files are written, by another process.

use crate::log::field::QueuePosition;
use crate::log::ids::{Ids, RequestKey};
use crate::log::schema::{IterationRequestRow, Row};
use crate::log::sink::{Line, LineRoom};
use crate::log::values::{State, WaitingReason};
use crate::units::{Blocks, IterationId, Nanos, Tokens};

/// The values of a row in four words; its id follows them, unless it stands behind an earlier row.
///
/// | word | bits from the lowest on |
/// |---|---|
/// | 0 | `time_in_state` 48, `queue_position` 16 |
/// | 1 | `iteration_id` 32, length of the id or distance to it 32 |
/// | 2 | `tokens_generated` 32, `computed_tokens` 32 |
/// | 3 | `kv_cache_blocks` 24, `scheduled_tokens` 24, flags 5, `state` 3, `waiting_reason` 8 |
///
/// A row with a value that does not fit is packed as text.
const HEAD: usize = 32;

/// Rows whose id is longer are packed as text. A row with such an id has fewer than the 512 bytes of a
/// [`Line`]: 7 numbers of at most 20 digits, two words of some 30 letters.
const LONGEST_ID: usize = 256;

/// Memory that [`Packed::unpack`] needs for one row.
pub(super) const ROW_ROOM: usize = size_of::<LineRoom>();

/// Flags in a packed row.
mod flag {
    pub(super) const TEXT: u64 = 1;
    pub(super) const POSITION: u64 = 2;
    pub(super) const SCHEDULED: u64 = 4;
    pub(super) const COMPUTED: u64 = 8;
    pub(super) const ID_BEFORE: u64 = 16;
}

/// Where the parts of the last word begin.
mod shift {
    pub(super) const SCHEDULED: u32 = 24;
    pub(super) const FLAGS: u32 = 48;
    pub(super) const STATE: u32 = 53;
    pub(super) const REASON: u32 = 56;
}

const BITS_48: u64 = (1 << 48) - 1;
const BITS_24: u64 = (1 << 24) - 1;

/// Stands for "no waiting reason".
const NO_REASON: u8 = u8::MAX;

/// Where the id of a request was packed last, so that its next row need not bring it again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdPlace {
    /// The buffer, by the number that its owner gives it; 0 for none.
    buffer: u64,
    at: usize,
}

/// Appends a row to the buffer of this number, which changes whenever the buffer is emptied and is never 0.
/// Always inlined, so that the row itself is never stored.
#[inline(always)]
pub(crate) fn pack<I: Ids + ?Sized>(
    row: &IterationRequestRow,
    ids: &I,
    place: &mut IdPlace,
    buffer: u64,
    out: &mut Vec<u8>,
) {
    if place.buffer == buffer && fits(row) {
        // Buffers stay far below 4 GiB.
        pack_values(row, (out.len() - place.at) as u32, flag::ID_BEFORE, out);
    } else {
        pack_with_id(row, ids, place, buffer, out);
    }
}

/// Appends a row that brings its id.
#[inline(never)]
pub(crate) fn pack_with_id<I: Ids + ?Sized>(
    row: &IterationRequestRow,
    ids: &I,
    place: &mut IdPlace,
    buffer: u64,
    out: &mut Vec<u8>,
) {
    let id = ids.field(row.request_id);
    if id.len() > LONGEST_ID || !fits(row) {
        let mut text = Vec::new();
        row.write(ids, &mut text);
        pack_text(&text, out);
        return;
    }
    *place = IdPlace { buffer, at: out.len() };
    pack_values(row, id.len() as u32, 0, out);
    out.extend_from_slice(id);
}

/// Whether every value has room in its word.
#[inline(always)]
fn fits(row: &IterationRequestRow) -> bool {
    let blocks = u64::from(row.kv_cache_blocks.0);
    let scheduled = u64::from(row.scheduled_tokens.map_or(0, |n| n.0));
    // A position of -1 has all bits.
    let position = row.queue_position.map_or(0, |at| at.0 as u32);
    let beyond = row.time_in_state.0 >> 48
        | row.iteration_id.0 >> 32
        | u64::from(position >> 16)
        | (blocks | scheduled) >> 24;
    beyond == 0
}

/// Appends the values of a row, which fit. `id` is the length of the id that follows, or the distance to the
/// row that is followed by it.
#[inline(always)]
fn pack_values(row: &IterationRequestRow, id: u32, flags: u64, out: &mut Vec<u8>) {
    let flags = flags
        | if row.queue_position.is_some() { flag::POSITION } else { 0 }
        | if row.scheduled_tokens.is_some() { flag::SCHEDULED } else { 0 }
        | if row.computed_tokens.is_some() { flag::COMPUTED } else { 0 };
    let position = row.queue_position.map_or(0, |at| at.0 as u64);
    let computed = u64::from(row.computed_tokens.map_or(0, |n| n.0));
    let scheduled = u64::from(row.scheduled_tokens.map_or(0, |n| n.0));
    let reason = row.waiting_reason.map_or(NO_REASON, |reason| reason as u8);
    append_words(
        [
            row.time_in_state.0 | position << 48,
            row.iteration_id.0 | u64::from(id) << 32,
            u64::from(row.tokens_generated.0) | computed << 32,
            u64::from(row.kv_cache_blocks.0)
                | scheduled << shift::SCHEDULED
                | flags << shift::FLAGS
                | (row.state as u64) << shift::STATE
                | u64::from(reason) << shift::REASON,
        ],
        out,
    );
}

#[inline(always)]
fn append_words(words: [u64; HEAD / 8], out: &mut Vec<u8>) {
    let mut head = [0; HEAD];
    for (bytes, word) in head.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_ne_bytes();
    }
    out.extend_from_slice(&head);
}

/// Appends whole lines of text, as they are.
pub(crate) fn pack_text(text: &[u8], out: &mut Vec<u8>) {
    // No line is longer than what an id may have, which stays far below 4 GiB.
    append_words([0, (text.len() as u64) << 32, 0, flag::TEXT << shift::FLAGS], out);
    out.extend_from_slice(text);
}

/// The id of the only row there is.
struct OnlyId<'a>(&'a [u8]);

impl Ids for OnlyId<'_> {
    fn id(&self, _: RequestKey) -> &str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }

    fn field(&self, _: RequestKey) -> &[u8] {
        self.0
    }
}

/// What the first packed row stands for.
pub(super) enum Unpacked<'a> {
    /// Text of this length in the page.
    Written(usize),
    /// Text that was packed as it is.
    Text(&'a [u8]),
}

/// Packed rows, of which the first `at` bytes have been unpacked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a> {
    rows: &'a [u8],
    at: usize,
}

impl<'a> Packed<'a> {
    /// All rows of a buffer.
    pub(super) const fn new(rows: &'a [u8]) -> Self {
        Self { rows, at: 0 }
    }

    /// Writes the text of the next row to the beginning of `page`, which has [`ROW_ROOM`]. Allocates
    /// nothing. `None` where nothing is left.
    #[inline]
    pub(super) fn unpack(&mut self, page: &mut [u8]) -> Option<Unpacked<'a>> {
        let start = self.at;
        let (words, _) = self.words(start)?;
        let [first, second, third, fourth] = words;
        let (flags, distance) = (fourth >> shift::FLAGS, (second >> 32) as usize);
        let id = if flags & flag::ID_BEFORE != 0 {
            self.at = start + HEAD;
            self.id_behind(start.checked_sub(distance)?)?
        } else {
            let id = self.id_behind(start)?;
            self.at = start + HEAD + id.len();
            id
        };
        if flags & flag::TEXT != 0 {
            return Some(Unpacked::Text(id));
        }
        let reason = (fourth >> shift::REASON) as usize;
        let scheduled = Tokens((fourth >> shift::SCHEDULED & BITS_24) as u32);
        let row = IterationRequestRow {
            iteration_id: IterationId(second & u64::from(u32::MAX)),
            request_id: RequestKey::default(),
            state: *State::ALL.get((fourth >> shift::STATE & 7) as usize)?,
            queue_position: (flags & flag::POSITION != 0)
                .then_some(QueuePosition((first >> 48) as i32)),
            waiting_reason: WaitingReason::ALL.get(reason).copied(),
            tokens_generated: Tokens(third as u32),
            kv_cache_blocks: Blocks((fourth & BITS_24) as u32),
            time_in_state: Nanos(first & BITS_48),
            scheduled_tokens: (flags & flag::SCHEDULED != 0).then_some(scheduled),
            computed_tokens: (flags & flag::COMPUTED != 0).then_some(Tokens((third >> 32) as u32)),
        };
        let mut line = Line::new(page.first_chunk_mut()?);
        row.write(&OnlyId(id), &mut line);
        Some(Unpacked::Written(line.length()))
    }

    /// The values at `start`, and what stands behind them.
    #[inline(always)]
    fn words(&self, start: usize) -> Option<([u64; HEAD / 8], &'a [u8])> {
        let (head, rest) = self.rows.get(start..)?.split_first_chunk::<HEAD>()?;
        let words = head.as_chunks::<8>().0;
        Some((std::array::from_fn(|at| u64::from_ne_bytes(words[at])), rest))
    }

    /// The id that follows the values at `start`.
    #[inline(always)]
    fn id_behind(&self, start: usize) -> Option<&'a [u8]> {
        let ([_, second, ..], rest) = self.words(start)?;
        rest.get(..(second >> 32) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::ids::IdTable;

    fn text_of(packed: &[u8]) -> Vec<u8> {
        let mut page = vec![0; ROW_ROOM];
        let mut text = Vec::new();
        let mut packed = Packed::new(packed);
        while let Some(row) = packed.unpack(&mut page) {
            text.extend_from_slice(match &row {
                Unpacked::Written(length) => &page[..*length],
                Unpacked::Text(text) => text,
            });
        }
        assert_eq!(packed.at, packed.rows.len());
        text
    }

    proptest::proptest! {
        #[test]
        fn a_packed_row_has_the_text_of_the_row(
            numbers in proptest::array::uniform2(proptest::num::u64::ANY),
            small in proptest::array::uniform5(proptest::option::of(proptest::num::u32::ANY)),
            words in (0..State::ALL.len(), proptest::option::of(0..WaitingReason::ALL.len())),
            shifts in proptest::array::uniform7(0..64_u32),
            id in "[a-z0-9,\"\n-]{1,60}",
            repeat in proptest::sample::select(vec![1_usize, 80, 4096]),
        ) {
            let mut ids = IdTable::default();
            let request_id = ids.intern(&id.repeat(repeat));
            let short = |at: usize| small[at].map(|value| value >> (shifts[at] % 32));
            let row = IterationRequestRow {
                iteration_id: IterationId(numbers[0] >> shifts[5]),
                request_id,
                state: State::ALL[words.0],
                queue_position: short(0).map(|at| QueuePosition((at as i32).max(-1))),
                waiting_reason: words.1.map(|at| WaitingReason::ALL[at]),
                tokens_generated: Tokens(short(1).unwrap_or_default()),
                kv_cache_blocks: Blocks(short(2).unwrap_or_default()),
                time_in_state: Nanos(numbers[1] >> shifts[6]),
                scheduled_tokens: short(3).map(Tokens),
                computed_tokens: short(4).map(Tokens),
            };
            let other = ids.intern("another");
            let mut places = [IdPlace::default(); 2];
            // The second buffer starts anew: what the first one brought is not there.
            for buffer in 1..3 {
                let (mut packed, mut text) = (Vec::new(), Vec::new());
                for (at, key) in [request_id, other, other, request_id].into_iter().enumerate() {
                    let row = IterationRequestRow { request_id: key, ..row };
                    let place = &mut places[usize::from(key == other)];
                    if at == 2 {
                        pack_with_id(&row, &ids, place, buffer, &mut packed);
                    } else {
                        pack(&row, &ids, place, buffer, &mut packed);
                    }
                    row.write(&ids, &mut text);
                }
                proptest::prop_assert_eq!(text_of(&packed), text);
            }
        }
    }
}
