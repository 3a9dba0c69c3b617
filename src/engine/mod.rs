//! The engine around the scheduler: which batch is built and which output is processed when.

pub mod core;

pub use core::{Driver, EngineCore, Progress};
