//! A log that is being written: what is new in it, how the engine does, and what the rules say.

mod follow;
mod lines;
mod pulse;
#[cfg(feature = "tui")]
pub mod screen;

pub use follow::{Engine, News};
pub use lines::{finding_line, header_line, status_line};
pub use pulse::{Pulse, Sample};
