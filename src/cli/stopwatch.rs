//! Real time, for what is said on a terminal about speed. The only place that reads the clock.

use std::time::Instant;

/// Measures how long a command took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Sleeps.
pub(super) fn pause_ms(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}

/// A span of real time, for those who wait.
#[cfg(feature = "tui")]
pub(super) const fn millis(ms: u64) -> std::time::Duration {
    std::time::Duration::from_millis(ms)
}
