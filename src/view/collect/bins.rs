//! The distribution of durations: exact quantiles and bins of less than half a per cent.

use std::collections::BTreeMap;

use crate::stats::Quantiles;

/// Bins per doubling of the value: 1 << 8. The bars of a chart are wider than that, and stand where
/// their samples are.
const SUB_BITS: u32 = 8;

/// The distribution of a quantity in whole units.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    quantiles: Quantiles,
    bins: BTreeMap<u32, u64>,
    sum: f64,
}

impl Distribution {
    /// Adds a sample.
    pub fn record(&mut self, sample: u64) {
        self.quantiles.record(sample);
        *self.bins.entry(bin_of(sample)).or_default() += 1;
        self.sum += sample as f64;
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.quantiles.count()
    }

    /// The `q`-quantile; `None` without samples.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.quantiles.quantile(q)
    }

    /// The mean; `None` without samples.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum / self.count() as f64)
    }

    /// The bins that have samples: `(from, below, samples)`, ascending.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        self.bins.iter().map(|(&bin, &count)| (lower(bin), lower(bin + 1), count))
    }

    /// The share of samples up to each value, in percent, as corners of a stair.
    #[must_use]
    pub fn cumulative(&self) -> Vec<(f64, f64)> {
        let total = self.count().max(1) as f64;
        let mut below = 0;
        let mut points = Vec::new();
        for (low, high, samples) in self.bins() {
            if below == 0 {
                points.push((low.max(1.0), 0.0));
            }
            below += samples;
            points.push((((low + high) / 2.0).max(1.0), below as f64 / total * 100.0));
        }
        points
    }
}

fn bin_of(sample: u64) -> u32 {
    let bits = 64 - sample.leading_zeros();
    if bits <= SUB_BITS + 1 {
        // At most 511: the shift below is zero, and every value has its own bin.
        return sample as u32;
    }
    let shift = bits - SUB_BITS - 1;
    // The shifted value has SUB_BITS + 1 bits.
    (shift << SUB_BITS) + (sample >> shift) as u32
}

fn lower(bin: u32) -> f64 {
    if bin < 2 << SUB_BITS {
        return f64::from(bin);
    }
    let shift = (bin >> SUB_BITS) - 1;
    let scale = if shift < 64 { (1_u64 << shift) as f64 } else { u64::MAX as f64 };
    f64::from(bin - (shift << SUB_BITS)) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_lies_in_its_bin() {
        let mut sample = 1_u64;
        while sample < u64::MAX / 8 {
            for value in [sample - 1, sample, sample + 1] {
                let bin = bin_of(value);
                assert!(lower(bin) <= value as f64, "{value}");
                assert!(lower(bin + 1) >= value as f64, "{value}");
                assert!(lower(bin + 1) / lower(bin).max(1.0) < 1.01 || value < 512, "{value}");
            }
            sample = sample * 5 / 3 + 1;
        }
        assert!(lower(bin_of(u64::MAX)) > 1e19);
    }
}
