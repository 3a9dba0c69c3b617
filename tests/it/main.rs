//! All integration tests, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod analyze;
mod check_laws;
mod cli;
mod conform;
mod dialects;
mod fixtures;
mod generate;
mod golden;
mod graph;
mod laws;
mod notebook;
mod reader;
mod rules;
mod strategies;
mod support;
mod tidy;
mod trace;
