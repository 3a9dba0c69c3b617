//! All integration tests, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check_laws;
mod cli;
mod conform;
mod conform_canaries;
mod conform_log;
mod fixtures;
mod generate;
mod golden;
mod graph;
mod laws;
mod reader;
mod rules;
mod strategies;
mod support;
mod tidy;
mod trace;
mod wrong_scheduler;
