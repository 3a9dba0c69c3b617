//! How sure a figure is: intervals from resampling, the same for the same seed everywhere.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::analyze::distribution::Distribution;
use crate::stats::quantile_of;

/// The most samples that are drawn from; more are reduced to so many order statistics.
const MOST_SAMPLES: usize = 10_000;
/// Fewer samples than this give no interval of a mean.
const LEAST_FOR_MEAN: u64 = 10;
/// Samples that a quantile needs on either side of it: p99 has an interval from 500 samples on.
const LEAST_BEYOND: f64 = 5.0;
/// The interval's bounds: 95 %.
const BOUNDS: (f64, f64) = (0.025, 0.975);

/// A figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// The mean.
    Mean,
    /// A quantile.
    Quantile(f64),
}

impl Statistic {
    /// The statistics that are compared.
    pub const ALL: [Self; 4] =
        [Self::Mean, Self::Quantile(0.5), Self::Quantile(0.9), Self::Quantile(0.99)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Mean => "mean".to_owned(),
            Self::Quantile(q) => format!("p{:.0}", q * 100.0),
        }
    }

    /// Its value for a distribution.
    #[must_use]
    pub fn of(self, distribution: &Distribution) -> Option<f64> {
        match self {
            Self::Mean => distribution.mean(),
            Self::Quantile(q) => distribution.quantile(q),
        }
    }

    /// Whether so many samples say how sure it is.
    fn has_interval(self, samples: u64) -> bool {
        match self {
            Self::Mean => samples >= LEAST_FOR_MEAN,
            // The slack is for 500 * (1 - 0.99), which is a little less than 5.
            Self::Quantile(q) => samples as f64 * q.min(1.0 - q) >= LEAST_BEYOND - 1e-9,
        }
    }
}

/// An interval that has the figure with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// The statistics of many resamples of one distribution; `None` where there are too few samples.
#[derive(Clone, Debug)]
pub struct Resampled([Option<Vec<f64>>; Statistic::ALL.len()]);

impl Resampled {
    /// Draws `resamples` times as many samples as there are, with replacement.
    #[must_use]
    pub fn of(distribution: &Distribution, resamples: usize, seed: u64, stream: u64) -> Self {
        let count = distribution.count();
        let wanted = Statistic::ALL.map(|statistic| statistic.has_interval(count));
        let mut figures = wanted.map(|wanted| wanted.then(|| Vec::with_capacity(resamples)));
        if !wanted.contains(&true) {
            return Self(figures);
        }
        let (samples, narrowing) = reduced(distribution);
        let estimates = Statistic::ALL.map(|statistic| evaluate(statistic, &samples));
        let mut random = random(seed, stream);
        let mut times = vec![0_u32; samples.len()];
        let mut drawn = Vec::with_capacity(samples.len());
        for _ in 0..resamples {
            draw(&mut random, &samples, &mut times, &mut drawn);
            for ((statistic, figures), estimate) in
                Statistic::ALL.iter().zip(&mut figures).zip(estimates)
            {
                if let Some(figures) = figures {
                    let figure = evaluate(*statistic, &drawn);
                    figures.push(estimate + (figure - estimate) * narrowing);
                }
            }
        }
        Self(figures)
    }

    /// The interval of a statistic, by its place in [`Statistic::ALL`].
    #[must_use]
    pub fn interval(&self, statistic: usize) -> Option<Interval> {
        interval(self.0.get(statistic)?.clone()?)
    }

    /// The interval of the ratio `self / base`.
    #[must_use]
    pub fn ratio(&self, base: &Self, statistic: usize) -> Option<Interval> {
        let (own, base) = (self.0.get(statistic)?.as_ref()?, base.0.get(statistic)?.as_ref()?);
        let positive = base.iter().all(|base| *base > 0.0);
        let ratios = own.iter().zip(base).map(|(own, base)| own / base).collect();
        if positive { interval(ratios) } else { None }
    }
}

fn interval(mut figures: Vec<f64>) -> Option<Interval> {
    figures.sort_unstable_by(f64::total_cmp);
    Some(Interval { low: quantile_of(&figures, BOUNDS.0)?, high: quantile_of(&figures, BOUNDS.1)? })
}

fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    // The seed's bytes, spelt out: how a library spreads a small seed is not promised to stay.
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_stream(stream);
    random
}

/// The samples in order of size, and by how much the spread of their resamples is too wide.
fn reduced(distribution: &Distribution) -> (Vec<f64>, f64) {
    if let Some(samples) = distribution.samples().filter(|samples| samples.len() <= MOST_SAMPLES) {
        return (samples.to_vec(), 1.0);
    }
    let place = |index: usize| (index as f64 + 0.5) / MOST_SAMPLES as f64;
    let samples =
        (0..MOST_SAMPLES).filter_map(|index| distribution.quantile(place(index))).collect();
    // The spread falls with the root of the number of samples.
    (samples, (MOST_SAMPLES as f64 / distribution.count() as f64).sqrt())
}

/// Draws as many samples as there are; `drawn` is in order of size as `samples` is.
fn draw(random: &mut ChaCha8Rng, samples: &[f64], times: &mut [u32], drawn: &mut Vec<f64>) {
    times.fill(0);
    for _ in samples {
        // The bias of this is samples / 2⁶⁴ and of no consequence.
        let index = (u128::from(random.next_u64()) * samples.len() as u128) >> 64;
        times[index as usize] += 1;
    }
    drawn.clear();
    for (sample, times) in samples.iter().zip(times) {
        drawn.extend(std::iter::repeat_n(*sample, *times as usize));
    }
}

fn evaluate(statistic: Statistic, sorted: &[f64]) -> f64 {
    match statistic {
        Statistic::Mean => sorted.iter().sum::<f64>() / sorted.len().max(1) as f64,
        Statistic::Quantile(q) => quantile_of(sorted, q).unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(samples: impl IntoIterator<Item = f64>) -> Distribution {
        let mut distribution = Distribution::default();
        samples.into_iter().for_each(|sample| distribution.record(sample));
        distribution
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let samples = distribution((0..200).map(f64::from));
        let interval = |seed, stream| Resampled::of(&samples, 500, seed, stream).interval(0);
        assert_eq!(interval(1, 2), interval(1, 2));
        assert_ne!(interval(1, 2), interval(2, 2));
        assert_ne!(interval(1, 2), interval(1, 3));
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_distribution() {
        // Uniform on 0..1: the mean's deviation is sqrt(1 / 12 / n).
        let count = 400;
        let samples = distribution((0..count).map(|i| (f64::from(i) + 0.5) / f64::from(count)));
        let interval = Resampled::of(&samples, 4000, 7, 0).interval(0).unwrap();
        let half = 1.96 * (1.0 / 12.0 / f64::from(count)).sqrt();
        assert!((interval.low - (0.5 - half)).abs() < half * 0.1, "{interval:?} {half}");
        assert!((interval.high - (0.5 + half)).abs() < half * 0.1, "{interval:?} {half}");
    }

    #[test]
    fn many_samples_narrow_the_interval_as_they_should() {
        let wide = distribution((0..10_000).map(|i| (f64::from(i) + 0.5) / 1e4));
        let narrow = distribution((0..40_000).map(|i| (f64::from(i) + 0.5) / 4e4));
        let width = |samples: &Distribution, statistic| {
            let interval = Resampled::of(samples, 300, 7, 0).interval(statistic).unwrap();
            interval.high - interval.low
        };
        for statistic in 0..Statistic::ALL.len() {
            let ratio = width(&narrow, statistic) / width(&wide, statistic);
            assert!((ratio - 0.5).abs() < 0.05, "{statistic}: {ratio}");
        }
    }

    #[test]
    fn few_samples_say_nothing_about_a_tail() {
        let resampled = Resampled::of(&distribution((0..50).map(f64::from)), 100, 0, 0);
        let some: Vec<_> = (0..4).map(|index| resampled.interval(index).is_some()).collect();
        assert_eq!(some, [true, true, true, false]);
        assert!(
            Resampled::of(&distribution((0..500).map(f64::from)), 100, 0, 0).interval(3).is_some()
        );
        assert!(Resampled::of(&distribution([1.0]), 100, 0, 0).interval(0).is_none());
    }
}
