//! The four moments of a step, read from its row.

use crate::log::dialect::{Dialect, Habit};
use crate::log::schema::IterationRow;
use crate::units::Nanos;

/// The four moments of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// `S`: `schedule()` is entered.
    pub start: Nanos,
    /// `D`: `schedule()` returns.
    pub decided: Nanos,
    /// `O`: the output arrives.
    pub output: Nanos,
    /// `E`: `update_from_output()` returns.
    pub end: Nanos,
}

impl Moments {
    /// The moments of a row, as its dialect writes them.
    #[must_use]
    pub fn of(row: &IterationRow, dialect: &Dialect) -> Self {
        let start = row.start_time;
        let decided = start.saturating_add(row.scheduling_overhead);
        let output = decided.saturating_add(row.forward_pass_duration);
        let end = if dialect.has(Habit::EndsAtDecision) {
            output.saturating_add(row.output_processing_duration.unwrap_or_default())
        } else {
            row.end_time
        };
        Self { start, decided, output, end }
    }
}
