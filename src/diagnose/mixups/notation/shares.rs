//! Blocks in use that are written as a share of the cache.

use crate::diagnose::mixups::notation::{Notation, Place, fields};
use crate::log::schema::Table;

/// The column of which metrics have a share.
pub(super) const USED: Place = (Table::PerIteration, "kv_cache_used");
/// Fields with a fraction that are a column of them.
const SEVERAL: usize = 2;

/// The values of a column that cannot be read as counts.
#[derive(Debug, Default)]
pub(super) struct Shares {
    fractions: usize,
    largest: f64,
    /// Some are no numbers.
    other: bool,
}

impl Shares {
    pub(super) fn see(&mut self, text: &str) {
        self.fractions += usize::from(fields::fraction(text).is_some());
        match text.parse::<f64>() {
            Ok(value) if value >= 0.0 => self.largest = value.max(self.largest),
            _ => self.other = true,
        }
    }

    /// What they are shares of: 1, or 100.
    pub(super) fn of(&self) -> Option<Notation> {
        if self.fractions < SEVERAL || self.other {
            return None;
        }
        match self.largest {
            ..=1.0 => Some(Notation::Share),
            ..=100.0 => Some(Notation::Percent),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_by_the_largest() {
        let of = |texts: &[&str]| {
            let mut column = Shares::default();
            texts.iter().for_each(|text| column.see(text));
            column.of()
        };
        assert_eq!(of(&["0.0", "0.25", "0.75", "1.0"]), Some(Notation::Share));
        assert_eq!(of(&["0.0", "12.5", "99.5"]), Some(Notation::Percent));
        assert_eq!(of(&["0.0", "12.5", "512.5"]), None);
        assert_eq!((of(&["1.0", "2.0"]), of(&["0.5", "0.25", "-"])), (None, None));
    }
}
