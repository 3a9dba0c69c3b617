//! How a quantity is distributed: samples, their summary, and means weighted by time.

use serde::Serialize;

use crate::stats::Quantiles;
use crate::units::Nanos;

/// The samples of one quantity.
#[derive(Clone, Debug)]
pub struct Distribution {
    quantiles: Quantiles,
    sum: Sum,
    min: f64,
    max: f64,
    undefined: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::with_resolution(1.0)
    }
}

impl Distribution {
    /// A distribution that, past a million samples, tells apart `resolution` values per unit.
    #[must_use]
    pub fn with_resolution(resolution: f64) -> Self {
        Self {
            quantiles: Quantiles::with_resolution(resolution),
            sum: Sum::default(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            undefined: 0,
        }
    }

    /// Adds a sample.
    pub fn record(&mut self, sample: f64) {
        self.quantiles.record_value(sample);
        self.sum.add(sample);
        self.min = self.min.min(sample);
        self.max = self.max.max(sample);
    }

    /// Adds a duration, or notes that there was none.
    pub fn record_nanos(&mut self, sample: Option<Nanos>) {
        self.record_or_undefined(sample.map(|nanos| nanos.0 as f64));
    }

    /// Adds a sample, or notes that there was none.
    pub fn record_or_undefined(&mut self, sample: Option<f64>) {
        match sample {
            Some(sample) => self.record(sample),
            None => self.undefined += 1,
        }
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.quantiles.count()
    }

    /// The sum of all samples.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum.total()
    }

    /// The mean; `None` without samples.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        ratio(self.sum(), self.count() as f64)
    }

    /// The `q`-quantile (`q` from 0 to 1), interpolated as pandas does; `None` without samples.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.quantiles.quantile(q)
    }

    /// The samples in order of size, while there are at most a million.
    #[must_use]
    pub fn samples(&self) -> Option<&[f64]> {
        self.quantiles.exact_samples()
    }

    /// The figures that are usually asked for.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let some = self.count() > 0;
        Summary {
            count: self.count(),
            undefined: self.undefined,
            exact: self.quantiles.is_exact(),
            mean: self.mean(),
            min: some.then_some(self.min),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            max: some.then_some(self.max),
        }
    }
}

impl From<Distribution> for Summary {
    fn from(mut distribution: Distribution) -> Self {
        distribution.quantiles.settle();
        distribution.summary()
    }
}

/// The usual figures of a distribution, in the unit that the member's name ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Samples.
    pub count: u64,
    /// Rows whose field is empty (or holds a 0 that stands for nothing): they are no samples.
    pub undefined: u64,
    /// Whether the quantiles are exact; past a million samples they have three digits.
    pub exact: bool,
    /// The arithmetic mean.
    pub mean: Option<f64>,
    /// The least.
    pub min: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// The 0.9-quantile.
    pub p90: Option<f64>,
    /// The 0.99-quantile.
    pub p99: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
}

/// A quantity that is read once per step, weighted by rows and by time.
///
/// A notebook's `mean()` gives every step the same weight, so that a thousand short decode steps
/// outweigh one long prefill; the time-weighted mean gives each value the time that it held.
#[derive(Clone, Debug)]
pub struct GaugeSamples {
    rows: Distribution,
    weighted: Sum,
    time: Nanos,
}

impl Default for GaugeSamples {
    fn default() -> Self {
        Self::with_resolution(1.0)
    }
}

impl GaugeSamples {
    /// A gauge that, past a million steps, tells apart `resolution` values per unit.
    #[must_use]
    pub fn with_resolution(resolution: f64) -> Self {
        Self {
            rows: Distribution::with_resolution(resolution),
            weighted: Sum::default(),
            time: Nanos::ZERO,
        }
    }

    /// Adds the value of one step, which held for `hold`, then was 0 for `empty`.
    pub fn record(&mut self, value: f64, hold: Nanos, empty: Nanos) {
        self.rows.record(value);
        self.weighted.add(value * hold.0 as f64);
        self.time = self.time.saturating_add(hold).saturating_add(empty);
    }
}

impl From<GaugeSamples> for Gauge {
    fn from(samples: GaugeSamples) -> Self {
        Self {
            time_weighted_mean: ratio(samples.weighted.total(), samples.time.0 as f64),
            row_weighted: samples.rows.into(),
        }
    }
}

/// A quantity that is read once per step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Gauge {
    /// The mean over time: a value holds from its step's decision to the next one's, and is 0
    /// while the engine has no request.
    pub time_weighted_mean: Option<f64>,
    /// The distribution over the rows of per_iteration.csv, every step counting the same.
    pub row_weighted: Summary,
}

/// A sum that keeps the digits that plain addition loses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    /// Adds a term (Neumaier's variant of Kahan's summation).
    pub fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        self.lost += if self.sum.abs() >= term.abs() {
            (self.sum - sum) + term
        } else {
            (term - sum) + self.sum
        };
        self.sum = sum;
    }

    /// The sum so far.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.sum + self.lost
    }
}

/// `part / whole`; `None` where there is no whole.
#[must_use]
pub fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_weights_are_not_row_weights() {
        let mut gauge = GaugeSamples::with_resolution(1.0);
        gauge.record(1.0, Nanos(10), Nanos::ZERO);
        gauge.record(3.0, Nanos(20), Nanos(10));
        let gauge = Gauge::from(gauge);
        assert_eq!(gauge.row_weighted.mean, Some(2.0));
        assert_eq!(gauge.time_weighted_mean, Some(1.75));
    }

    #[test]
    fn nothing_has_no_mean() {
        let mut empty = Distribution::default();
        empty.record_nanos(None);
        let summary = empty.summary();
        assert_eq!((summary.count, summary.undefined, summary.mean), (0, 1, None));
    }

    #[test]
    fn small_terms_are_not_lost() {
        let mut sum = Sum::default();
        for term in [1e16, 1.0, 1.0, -1e16] {
            sum.add(term);
        }
        assert_eq!(sum.total(), 2.0);
    }
}
