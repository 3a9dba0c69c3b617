//! Loggers and schedulers in other processes.

mod decisions;
mod logger;
mod process;
mod scheduler;
mod words;

pub use logger::{ExternalLogger, PROTOCOL_VERSION};
pub use process::{Process, Program};
pub use scheduler::ExternalScheduler;
pub use words::split;
