//! Quantiles of what a run measured, exact as long as the samples fit in memory.

use std::cell::OnceCell;

use hdrhistogram::Histogram;

/// How many samples are kept one by one; 8 MiB.
const EXACT_SAMPLES: usize = 1 << 20;
/// Significant decimal digits of a quantile beyond that.
const SKETCH_DIGITS: u8 = 3;

/// The distribution of a quantity that is not negative.
///
/// Up to 1,048,576 samples quantiles are exact and interpolated linearly, to the last digit as
/// pandas does by default; beyond that they come from a histogram of constant size, to three
/// significant digits.
#[derive(Clone, Debug)]
pub struct Quantiles {
    samples: Vec<f64>,
    sketch: Option<Histogram<u64>>,
    sorted: OnceCell<Vec<f64>>,
    in_order: bool,
    count: u64,
    /// Steps of the sketch per unit of the quantity.
    resolution: f64,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::with_resolution(1.0)
    }
}

impl Quantiles {
    /// Quantiles whose sketch tells apart `resolution` values per unit; 1 suits whole numbers.
    #[must_use]
    pub fn with_resolution(resolution: f64) -> Self {
        Self {
            samples: Vec::new(),
            sketch: None,
            sorted: OnceCell::new(),
            in_order: false,
            count: 0,
            resolution,
        }
    }

    /// Adds a whole number.
    pub fn record(&mut self, sample: u64) {
        self.record_value(sample as f64);
    }

    /// Adds a sample.
    pub fn record_value(&mut self, sample: f64) {
        self.count += 1;
        self.sorted.take();
        self.in_order = false;
        let resolution = self.resolution;
        if let Some(sketch) = &mut self.sketch {
            record_in(sketch, sample * resolution);
            return;
        }
        self.samples.push(sample);
        if self.samples.len() > EXACT_SAMPLES
            && let Ok(mut sketch) = Histogram::new(SKETCH_DIGITS)
        {
            for sample in std::mem::take(&mut self.samples) {
                record_in(&mut sketch, sample * resolution);
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
            return Some(sketch.value_at_quantile(q) as f64 / self.resolution);
        }
        quantile_of(self.sorted(), q)
    }

    /// The samples in order of size, as long as they are kept one by one.
    #[must_use]
    pub fn exact_samples(&self) -> Option<&[f64]> {
        self.is_exact().then(|| self.sorted())
    }

    /// Puts the samples in order in place, so that asking for quantiles needs no second copy.
    pub fn settle(&mut self) {
        self.sorted.take();
        self.samples.sort_unstable_by(f64::total_cmp);
        self.in_order = true;
    }

    fn sorted(&self) -> &[f64] {
        if self.in_order {
            return &self.samples;
        }
        self.sorted.get_or_init(|| {
            let mut sorted = self.samples.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted
        })
    }
}

/// The `q`-quantile of samples that are in order of size, interpolated linearly.
#[must_use]
pub fn quantile_of(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = last as f64 * q.clamp(0.0, 1.0);
    let below = (rank as usize).min(last);
    let above = (below + 1).min(last);
    let (low, high, weight) = (sorted[below], sorted[above], rank - below as f64);
    // numpy goes from the nearer end, which decides the last digit.
    Some(if weight >= 0.5 {
        high - (high - low) * (1.0 - weight)
    } else {
        low + (high - low) * weight
    })
}

fn record_in(sketch: &mut Histogram<u64>, sample: f64) {
    let sample = sample.max(0.0).round() as u64;
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
        quantiles.settle();
        assert_eq!(quantiles.quantile(0.5), Some(25.0));
        assert_eq!(quantiles.exact_samples(), Some(&[10.0, 20.0, 30.0, 40.0][..]));
    }

    #[test]
    fn the_last_digit_is_that_of_numpy() {
        // np.quantile([0.1, 0.7, 1.3], [0.9, 0.99]) and np.quantile([1, 10**9 + 7], 0.9)
        assert_eq!(quantile_of(&[0.1, 0.7, 1.3], 0.9), Some(1.1800000000000002));
        assert_eq!(quantile_of(&[0.1, 0.7, 1.3], 0.99), Some(1.288));
        assert_eq!(quantile_of(&[1.0, 1_000_000_007.0], 0.9), Some(900000006.4));
    }

    #[test]
    fn many_samples_keep_three_digits() {
        let mut quantiles = Quantiles::with_resolution(1e6);
        for sample in 0..3_000_000 {
            quantiles.record_value(f64::from(sample) / 1e6);
        }
        assert!(!quantiles.is_exact());
        assert_eq!(quantiles.exact_samples(), None);
        let median = quantiles.quantile(0.5).unwrap();
        assert!((median - 1.5).abs() < 0.0015, "{median}");
    }
}
