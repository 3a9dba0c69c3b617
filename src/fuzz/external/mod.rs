//! Loggers and schedulers in other processes.

mod logger;
mod process;
mod words;

pub use logger::{ExternalLogger, PROTOCOL_VERSION};
pub use process::{Process, Program};
pub use words::split;
