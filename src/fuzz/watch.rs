//! Real time: how fast a run is, when it is to end, and how long another process may take. No case
//! depends on it.

pub use std::time::Duration;
use std::time::Instant;

/// Measures how long a run takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
