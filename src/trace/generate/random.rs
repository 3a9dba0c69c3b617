//! Random numbers that are the same everywhere.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// One stream of random numbers of a seed.
#[derive(Debug)]
pub(super) struct Source(ChaCha8Rng);

impl Source {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        // The seed's bytes, spelt out: how a library spreads a small seed is not promised to stay.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub(super) fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 * STEP
    }

    /// Uniform between `min` and `max`, both included.
    pub(super) fn between(&mut self, min: u64, max: u64) -> u64 {
        let span = u128::from(max - min) + 1;
        // The bias of this is span / 2⁶⁴ and of no consequence here.
        let offset = (u128::from(self.0.next_u64()) * span) >> 64;
        min + u64::try_from(offset).unwrap_or(u64::MAX - min)
    }

    /// An index, by cumulative weights (the last one is the sum).
    pub(super) fn weighted(&mut self, cumulative: &[f64]) -> usize {
        let sum = cumulative.last().copied().unwrap_or(0.0);
        let point = self.unit() * sum;
        cumulative.partition_point(|weight| *weight <= point).min(cumulative.len().max(1) - 1)
    }

    /// Exponential with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.unit())
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(2.0 * self.exponential());
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Gamma of the given shape with mean `shape` (Marsaglia and Tsang).
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            // A variate of the next shape, and a power of a uniform one, bring it down.
            let boost = libm::pow(1.0 - self.unit(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            let u = 1.0 - self.unit();
            if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_cv(mut draw: impl FnMut(&mut Source) -> f64) -> (f64, f64) {
        let mut source = Source::new(7, 0);
        let count = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..count {
            let x = draw(&mut source);
            sum += x;
            squares += x * x;
        }
        let mean = sum / f64::from(count);
        (mean, (squares / f64::from(count) - mean * mean).sqrt() / mean)
    }

    #[test]
    fn moments_are_as_named() {
        let near = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 0.03 * expected, "{found} for {expected}");
        };
        let (mean, cv) = mean_and_cv(Source::exponential);
        near(mean, 1.0);
        near(cv, 1.0);
        for shape in [0.25, 1.0, 4.0] {
            let (mean, cv) = mean_and_cv(|source| source.gamma(shape));
            near(mean, shape);
            near(cv, 1.0 / shape.sqrt());
        }
        let (mean, _) = mean_and_cv(|source| source.normal() + 10.0);
        near(mean, 10.0);
        let (mean, _) = mean_and_cv(|source| source.between(3, 5) as f64);
        near(mean, 4.0);
    }

    #[test]
    fn weights_choose() {
        let mut source = Source::new(1, 1);
        let mut counts = [0; 3];
        (0..9_000).for_each(|_| counts[source.weighted(&[1.0, 1.0, 3.0])] += 1);
        assert_eq!(counts[1], 0);
        assert!((2_800..3_200).contains(&counts[0]), "{counts:?}");
    }
}
