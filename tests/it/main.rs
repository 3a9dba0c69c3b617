//! All integration tests, in one binary.

mod fixtures;
mod graph;
mod reader;
mod rules;
mod tidy;
