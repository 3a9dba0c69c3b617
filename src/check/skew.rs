//! Readings of one moment that differ a little, apart from real mistakes.
//!
//! A logger that reads its clock twice in one call writes two moments for one. In a log that is seen
//! to do so ([`Habit::ClockSkew`](crate::log::dialect::Habit)) small differences are counted here.

use hdrhistogram::Histogram;

use crate::log::reader::Location;
use crate::units::Nanos;

/// Differences that are shown.
const SHOWN: usize = 3;

/// All small differences of one log.
#[derive(Debug, Default)]
pub struct Skew {
    /// Moments that were compared.
    pub compared: u64,
    /// The differences in nanoseconds.
    pub differences: Option<Histogram<u64>>,
    /// The first of them, with where they stand.
    pub first: Vec<(Location, Nanos)>,
}

impl Skew {
    /// Takes in a difference.
    #[cold]
    pub(super) fn note(&mut self, difference: Nanos, at: Location) {
        if self.differences.is_none() {
            // Three digits over any range: creation fails for other arguments only.
            self.differences = Histogram::new(3).ok();
        }
        if let Some(differences) = &mut self.differences {
            differences.saturating_record(difference.0);
        }
        if self.first.len() < SHOWN {
            self.first.push((at, difference));
        }
    }
}
