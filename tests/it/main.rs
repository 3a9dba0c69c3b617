//! All integration tests, in one binary.

mod generate;
mod trace;
