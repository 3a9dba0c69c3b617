//! Replay, check, fuzz and guard vLLM v1 scheduler logs.
//!
//! Data flows one way: an arrival [`trace`] drives the engine (a reference model of the scheduler
//! and its logger on a virtual clock), which writes a [`log`] directory; a reader takes the log of
//! any logger, the checks judge it, and a report shows what they found.

pub mod analyze;
pub mod check;
pub mod cli;
pub mod compare;
pub mod config;
pub mod conform;
pub mod coverage;
pub mod diagnose;
pub mod diff;
pub mod docs;
pub mod engine;
pub mod export;
pub mod fuzz;
pub mod invariants;
pub mod latency;
pub mod log;
pub mod logger;
pub mod policy;
pub mod report;
pub mod scheduler;
pub mod settings;
pub mod state_graph;
pub mod stats;
pub mod testing;
pub mod trace;
pub mod units;
pub mod view;
