//! Tells the ids of rows by looking back.
//!
//! Steps show the same requests in the same order, so a row nearly always has the id that stands as
//! many rows before it as that of the row before did. Whoever reads a file compares names at that
//! distance and says how far back the same name stands; whoever judges the rows then has the key without
//! a look at the name.

use wide::u8x16;

use crate::log::ids::{Foresight, IdTable, RequestKey};
use crate::log::reader::splitter::Named;

/// Rows that are remembered; steps of more rows are read the ordinary way.
const ROWS: usize = 1 << 14;
/// Longer names are not remembered.
const NAME_BYTES: usize = 64;
/// New requests and `completed` rows stand alone; so many rows that are not found are a new order.
const NEW_ORDER: u32 = 4;

/// How many rows back the same name stands; 0 if that is not known.
pub(super) type Distance = u32;

/// A name with what stands behind it, or nothing.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Name([u8; NAME_BYTES]);

/// Of a name, its last bytes and its length; both 0 if it is not remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tail {
    bytes: u64,
    len: usize,
}

/// The names of the last rows, on the side of the reader.
#[derive(Debug)]
pub(super) struct Names {
    ring: Vec<Name>,
    /// What of the names is looked at first.
    tails: Vec<Tail>,
    /// How many rows there were.
    count: usize,
    distance: Distance,
    /// How many rows in a row were not found.
    misses: u32,
    /// How many names may be looked through, by the rows up to `counted`.
    credit: usize,
    counted: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            ring: vec![Name([0; NAME_BYTES]); ROWS],
            tails: vec![Tail::default(); ROWS],
            count: 0,
            distance: 1,
            misses: 0,
            credit: ROWS,
            counted: 0,
        }
    }
}

impl Tail {
    #[inline(always)]
    fn of(name: Named<'_>) -> Self {
        let name = name.name();
        let bytes = match name.last_chunk() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => name.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
        };
        let len = if name.len() <= NAME_BYTES { name.len() } else { 0 };
        Self { bytes, len }
    }
}

/// Whether two blocks begin with the same bytes.
#[inline(always)]
fn agree(one: &[u8; NAME_BYTES], other: &[u8; NAME_BYTES], len: usize) -> bool {
    let (one, other) = (one.as_chunks::<16>().0, other.as_chunks::<16>().0);
    let differ = one.iter().zip(other).enumerate().fold(0u64, |differ, (index, (one, other))| {
        let alike = u8x16::new(*one).simd_eq(u8x16::new(*other)).to_bitmask();
        differ | u64::from(!alike & 0xffff) << (16 * index)
    });
    differ.trailing_zeros() as usize >= len
}

impl Names {
    /// Takes in the name of the next row.
    #[inline(always)]
    pub(super) fn next(&mut self, name: Named<'_>) -> Distance {
        let tail = Tail::of(name);
        if self.is_at(self.distance, name, tail) {
            return self.repeat(self.distance);
        }
        self.search(name, tail)
    }

    #[inline(always)]
    fn is_at(&self, distance: Distance, name: Named<'_>, tail: Tail) -> bool {
        let distance = distance as usize;
        if distance == 0 || distance > self.count.min(ROWS - 1) {
            return false;
        }
        let at = (self.count - distance) % ROWS;
        let block = name.within().filter(|_| tail.len > 0 && self.tails[at] == tail);
        block.is_some_and(|(block, len)| agree(&self.ring[at].0, block, len))
    }

    #[inline(always)]
    fn repeat(&mut self, distance: Distance) -> Distance {
        let (from, to) = ((self.count - distance as usize) % ROWS, self.count % ROWS);
        self.ring[to] = self.ring[from];
        self.tails[to] = self.tails[from];
        self.count += 1;
        distance
    }

    #[cold]
    fn search(&mut self, name: Named<'_>, tail: Tail) -> Distance {
        let expected = self.distance;
        let strays = [
            expected.saturating_add(1),
            expected.saturating_sub(1),
            expected.saturating_add(2),
            expected.saturating_sub(2),
        ];
        let near = strays.into_iter().find(|back| self.is_at(*back, name, tail));
        if let Some(distance) = near.or_else(|| self.search_far(name, tail)) {
            self.distance = distance;
            self.misses = 0;
            return self.repeat(distance);
        }
        let at = self.count % ROWS;
        self.tails[at] = match name.within() {
            Some((block, _)) => {
                self.ring[at] = Name(*block);
                tail
            }
            None => Tail::default(),
        };
        self.count += 1;
        0
    }

    /// Looks through all rows, the last one first, where the order seems to be a new one.
    fn search_far(&mut self, name: Named<'_>, tail: Tail) -> Option<Distance> {
        self.misses = self.misses.saturating_add(1);
        // This many tails are looked through in less time than a row is read.
        self.credit = (self.credit + 16 * (self.count - self.counted)).min(ROWS);
        self.counted = self.count;
        let most = self.count.min(ROWS - 1);
        if self.misses < NEW_ORDER || self.credit < most {
            return None;
        }
        let at = self.count % ROWS;
        let late = &self.tails[at.saturating_sub(most)..at];
        let early = &self.tails[ROWS - (most - late.len())..];
        let back = |index: Option<usize>, rows: &[Tail], skipped: usize| {
            index.map(|index| skipped + rows.len() - index)
        };
        let found = back(late.iter().rposition(|other| *other == tail), late, 0)
            .or_else(|| back(early.iter().rposition(|other| *other == tail), early, late.len()));
        self.credit -= found.unwrap_or(most);
        // Of two names with one tail only the last is seen; the other is no repetition then.
        found.map(|distance| distance as Distance).filter(|back| self.is_at(*back, name, tail))
    }
}

/// The keys of the last rows, on the side of the judge.
#[derive(Debug)]
pub(super) struct Keys {
    ring: Vec<(RequestKey, u32)>,
    count: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self { ring: vec![(RequestKey::default(), 0); ROWS], count: 0 }
    }
}

impl Keys {
    /// The key of the next row.
    #[inline]
    pub(super) fn next(
        &mut self,
        distance: Distance,
        name: &[u8],
        foresight: &mut Foresight,
        ids: &mut IdTable,
    ) -> RequestKey {
        let (mut key, mut generation) =
            self.ring[self.count.wrapping_sub(distance as usize) % ROWS];
        // A key may have been released since, and belong to another request.
        if distance == 0 || !ids.is_still(key, generation) {
            key = foresight.key(name, ids);
            generation = ids.generation(key);
        }
        self.ring[self.count % ROWS] = (key, generation);
        self.count += 1;
        key
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A name with something behind it, as it stands in a row.
    fn padded(name: &str) -> String {
        format!("{name},running,{}{:128}", name.len(), "")
    }

    proptest! {
        #[test]
        fn looking_back_gives_the_keys_of_the_names(
            rows in proptest::collection::vec((0..12_u8, any::<bool>(), 0..40_usize), 0..400),
            long in 0..70_usize,
        ) {
            let mut names = Names::default();
            let (mut keys, mut foresight) = (Keys::default(), Foresight::default());
            let mut ids = IdTable::default();
            for (name, ends, repeat) in rows {
                for name in [name, name + 1].into_iter().cycle().take(1 + repeat) {
                    let text = format!("{name}{}", "x".repeat(long));
                    let distance = names.next(Named::new(padded(&text).as_bytes(), text.len()));
                    let key = keys.next(distance, text.as_bytes(), &mut foresight, &mut ids);
                    prop_assert_eq!(ids.get(&text), Some(key));
                }
                if ends && let Some(key) = ids.get(&format!("{name}{}", "x".repeat(long))) {
                    ids.release(key);
                }
            }
        }
    }

    #[test]
    fn nearly_every_row_of_a_step_is_found_by_looking_back() {
        let mut names = Names::default();
        let mut unknown = 0;
        let mut next = |request: u32| {
            let text = format!("cmpl-{request:08}");
            let row = padded(&text);
            unknown += u32::from(names.next(Named::new(row.as_bytes(), text.len())) == 0);
        };
        for step in 0..200 {
            // One request ends, another is admitted behind the others; one in the middle was
            // completed in the step before.
            (step..step + 300).for_each(&mut next);
            next(step);
        }
        // The first step, the new requests, the completed ones, and what it takes to see the order.
        assert!(unknown <= 300 + 199 + 200 + 40, "{unknown}");
    }
}
