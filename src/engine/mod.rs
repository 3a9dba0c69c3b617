//! The engine around the scheduler: which batch is built and which output is processed when, on a
//! virtual clock, and the log of it.

pub mod arrivals;
pub mod core;
pub mod replay;
pub mod run;
pub mod timeline;
pub mod totals;

pub use core::{Driver, EngineCore, Progress};
