//! All integration tests, in one binary.

mod golden;
mod laws;
mod strategies;
mod support;
mod trace;
