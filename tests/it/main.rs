//! All integration tests, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod analyze;
mod causes;
mod check_laws;
mod cli;
mod compare;
mod conform;
mod coverage;
mod dialects;
mod edits;
mod export;
mod fixtures;
mod generate;
mod golden;
mod graph;
mod laws;
mod notebook;
mod policy;
mod reader;
mod report;
mod rules;
mod schema;
mod strategies;
mod support;
mod tidy;
mod trace;
