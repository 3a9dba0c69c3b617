//! All integration tests, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check_laws;
mod cli;
mod conform;
mod damage;
mod dialect_logs;
mod dialect_writer;
mod dialects;
mod fixtures;
mod generate;
mod golden;
mod graph;
mod laws;
mod mutants;
mod notebook;
mod reader;
mod rules;
mod sheets;
mod skew;
mod strategies;
mod support;
mod tidy;
mod trace;
