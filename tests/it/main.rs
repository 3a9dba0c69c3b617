//! All integration tests, in one binary.

mod cli;
mod conform;
mod generate;
mod golden;
mod laws;
mod strategies;
mod support;
mod trace;
