//! Quantiles of what a run measured, exact as long as the samples fit in memory.

use std::cell::OnceCell;

use hdrhistogram::Histogram;

/// How many samples are kept one by one; 8 MiB.
const EXACT_SAMPLES: usize = 1 << 20;
/// Significant decimal digits of a quantile beyond that.
const SKETCH_DIGITS: u8 = 3;

/// The distribution of a quantity.
///
/// Up to 1,048,576 samples quantiles are exact and interpolated linearly, as pandas does by default;
/// beyond that they come from a histogram of constant size, to three significant digits.
#[derive(Clone, Debug, Default)]
pub struct Quantiles {
    samples: Vec<u64>,
    sketch: Option<Histogram<u64>>,
    sorted: OnceCell<Vec<u64>>,
    count: u64,
}

impl Quantiles {
    /// Adds a sample.
    pub fn record(&mut self, sample: u64) {
        self.count += 1;
        self.sorted.take();
        if let Some(sketch) = &mut self.sketch {
            record_in(sketch, sample);
            return;
        }
        self.samples.push(sample);
        if self.samples.len() > EXACT_SAMPLES
            && let Ok(mut sketch) = Histogram::new(SKETCH_DIGITS)
        {
            for sample in self.samples.drain(..) {
                record_in(&mut sketch, sample);
            }
            self.sketch = Some(sketch);
        }
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether the quantiles are exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.sketch.is_none()
    }

    /// The `q`-quantile (`q` from 0 to 1); `None` without samples.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if let Some(sketch) = &self.sketch {
            return Some(sketch.value_at_quantile(q) as f64);
        }
        let sorted = self.sorted.get_or_init(|| {
            let mut sorted = self.samples.clone();
            sorted.sort_unstable();
            sorted
        });
        let last = sorted.len().checked_sub(1)?;
        let rank = q.clamp(0.0, 1.0) * last as f64;
        let below = rank as usize;
        let above = (below + 1).min(last);
        let (low, high) = (sorted[below] as f64, sorted[above] as f64);
        Some(low + (high - low) * (rank - below as f64))
    }
}

fn record_in(sketch: &mut Histogram<u64>, sample: u64) {
    // The histogram grows with its samples, so there is none that it refuses; were there one, the
    // nearest that it has is the best answer.
    if sketch.record(sample).is_err() {
        sketch.saturating_record(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated_linearly() {
        let mut quantiles = Quantiles::default();
        assert_eq!(quantiles.quantile(0.5), None);
        for sample in [40, 10, 30, 20] {
            quantiles.record(sample);
        }
        assert_eq!(quantiles.quantile(0.5), Some(25.0));
        assert_eq!(quantiles.quantile(0.0), Some(10.0));
        assert_eq!(quantiles.quantile(1.0), Some(40.0));
        assert!(quantiles.is_exact());
    }

    #[test]
    fn many_samples_keep_three_digits() {
        let mut quantiles = Quantiles::default();
        for sample in 0..3_000_000 {
            quantiles.record(sample);
        }
        assert!(!quantiles.is_exact());
        let median = quantiles.quantile(0.5).unwrap();
        assert!((median - 1_500_000.0).abs() < 1_500.0, "{median}");
    }
}
