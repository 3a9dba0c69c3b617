//! When conversations start.

use super::options::{ArrivalProcess, GenerateOptions};
use super::random::Source;
use crate::units::Nanos;

/// Moments that never decrease.
#[derive(Debug)]
pub(super) struct Arrivals {
    process: ArrivalProcess,
    source: Source,
    /// The mean time between two arrivals, in nanoseconds.
    mean: f64,
    cv: f64,
    burst_size: u32,
    burst_spacing: Nanos,
    on: f64,
    off: f64,
    /// Arrivals so far, the last one, and what is left of the time that it is in.
    count: u64,
    now: Nanos,
    on_left: f64,
}

impl Arrivals {
    pub(super) fn new(options: &GenerateOptions, mut source: Source) -> Self {
        let on = options.on_time.0 as f64;
        let on_left = match options.arrival {
            ArrivalProcess::OnOff => on * source.exponential(),
            _ => 0.0,
        };
        Self {
            process: options.arrival,
            source,
            mean: 1e9 / options.rate,
            cv: options.cv,
            burst_size: options.burst_size,
            burst_spacing: options.burst_spacing,
            on,
            off: options.off_time.0 as f64,
            count: 0,
            now: Nanos::ZERO,
            on_left,
        }
    }

    /// The next arrival.
    pub(super) fn next(&mut self) -> Nanos {
        let nth = self.count;
        self.count += 1;
        self.now = match self.process {
            // From the number of the arrival, so that rounding does not add up.
            ArrivalProcess::Fixed => nanos(nth as f64 * self.mean),
            ArrivalProcess::Burst => {
                let (burst, place) =
                    (nth / u64::from(self.burst_size), nth % u64::from(self.burst_size));
                let start = nanos(burst as f64 * f64::from(self.burst_size) * self.mean);
                start.saturating_add(Nanos(self.burst_spacing.0.saturating_mul(place)))
            }
            ArrivalProcess::Poisson => {
                let gap = self.source.exponential();
                self.after(self.mean * gap)
            }
            ArrivalProcess::Gamma => {
                let shape = 1.0 / (self.cv * self.cv);
                let gap = self.source.gamma(shape) / shape;
                self.after(self.mean * gap)
            }
            ArrivalProcess::OnOff => {
                let gap = self.on_off_gap();
                self.after(gap)
            }
        };
        self.now
    }

    /// Poisson arrivals while on, none while off; the rate while on makes up for the rest.
    fn on_off_gap(&mut self) -> f64 {
        let mut busy = self.mean * self.on / (self.on + self.off) * self.source.exponential();
        let mut gap = 0.0;
        while busy > self.on_left {
            busy -= self.on_left;
            gap += self.on_left + self.off * self.source.exponential();
            self.on_left = self.on * self.source.exponential();
        }
        self.on_left -= busy;
        gap + busy
    }

    fn after(&self, gap: f64) -> Nanos {
        self.now.saturating_add(nanos(gap)).min(Nanos(i64::MAX.unsigned_abs()))
    }
}

/// The nearest whole nanosecond.
fn nanos(time: f64) -> Nanos {
    // Casting cuts the fraction off and stops at the largest number.
    Nanos((time + 0.5) as u64)
}
