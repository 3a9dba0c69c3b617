//! Columns of times of which the values have a fraction, and the unit that they may be in.

use crate::diagnose::mixups::notation::{Notation, Place, fields};
use crate::log::schema::Table;

/// Fields with a fraction that are a column of them.
const SEVERAL: usize = 2;
/// No run lasts so many of a unit that is longer than a nanosecond and has a fraction, unless that is
/// microseconds.
const LONGEST: f64 = 1e5;
/// No model is done with a step in so many nanoseconds.
const SHORTEST_STEP: f64 = 1e3;
/// Nothing lasts so many.
const SHORTEST: f64 = 1.0;
/// Seconds of the calendar of the years in which there are such logs.
const CALENDAR: std::ops::Range<f64> = 1.5e9..4e9;
/// What a thousand nanoseconds are cut into.
const THOUSANDTHS: usize = 3;
/// A float of 64 bits has no more than three digits behind the point of so large a number.
const FEW_DIGITS: f64 = 1e12;

/// The values of a column that have a fraction.
#[derive(Debug, Default)]
pub(super) struct Fractions {
    count: usize,
    largest: f64,
    /// How many have as many digits behind the point as microseconds have.
    thousandths: usize,
    /// How many have more.
    finer: usize,
}

impl Fractions {
    pub(super) fn see(&mut self, text: &str) {
        let Some(value) = fields::fraction(text) else { return };
        self.count += 1;
        self.largest = value.max(self.largest);
        let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
        self.thousandths += usize::from(digits == THOUSANDTHS);
        self.finer += usize::from(digits > THOUSANDTHS);
    }

    /// The unit, if it is not that of a float which holds nanoseconds.
    pub(super) fn unit(&self, (table, name): Place) -> Option<Notation> {
        if self.count < SEVERAL {
            return None;
        }
        let moment = name.ends_with("_time") || name == "timestamp";
        let until_one = ["time_in_state", "duration_in_prev_state"].contains(&name);
        let bound = match name {
            _ if moment || until_one || table == Table::PerRequest => LONGEST,
            "duration" | "forward_pass_duration" => SHORTEST_STEP,
            // The other parts of a step may well be a few nanoseconds, and a fraction of one where they are
            // a mean.
            _ => SHORTEST,
        };
        // Nanoseconds by a clock of floats have digits without end.
        let in_micros = self.finer == 0 && self.thousandths >= SEVERAL && self.largest < FEW_DIGITS;
        if moment && CALENDAR.contains(&self.largest) && !in_micros {
            return Some(Notation::CalendarSeconds);
        }
        (self.largest < bound || in_micros).then_some(Notation::LongerUnit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(table: Table, name: &'static str, texts: &[&str]) -> Option<Notation> {
        let mut column = Fractions::default();
        texts.iter().for_each(|text| column.see(text));
        column.unit((table, name))
    }

    #[test]
    fn units_are_told_by_how_large_values_are_and_by_their_digits() {
        use Table::{Events, PerIteration, PerIterationRequests};
        let longer = Some(Notation::LongerUnit);
        let state = |texts| unit(PerIterationRequests, "time_in_state", texts);
        assert_eq!(state(&["0.0", "0.0514", "5.1e-05"]), longer);
        assert_eq!(state(&["0.0", "44.02374", "1211.059272"]), longer);
        assert_eq!(state(&["513425.0000012", "617000.00213"]), None);
        assert_eq!(state(&["0.0", "0.5"]), None);
        assert_eq!(unit(PerIteration, "duration", &["10.206", "11.3"]), longer);
        assert_eq!(unit(PerIteration, "scheduling_overhead", &["3.25", "7.1"]), None);
        assert_eq!(unit(Events, "timestamp", &["225.531", "1211059.272", "12.0"]), longer);
        let seconds = Some(Notation::CalendarSeconds);
        assert_eq!(unit(Events, "timestamp", &["1767225600.1234", "1767225600.25"]), seconds);
    }
}
