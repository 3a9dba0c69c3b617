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
    /// The largest of them.
    pub most: Nanos,
    /// The first rows that have one, each with its largest.
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
            // It grows with its values; none of a bounded difference is beyond what it can hold.
            let _ = differences.record(difference.0);
        }
        self.most = self.most.max(difference);
        // One row may be compared with several; it is shown with the largest of its differences.
        if let Some((_, shown)) = self.first.iter_mut().find(|(other, _)| *other == at) {
            *shown = difference.max(*shown);
        } else if self.first.len() < SHOWN {
            self.first.push((at, difference));
        }
    }
}
