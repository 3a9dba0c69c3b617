//! Conformance: the reference model against decision records of the real vLLM 0.32 scheduler.
//!
//! A record names the resolved settings, the requests, and for every engine iteration the arrivals,
//! aborts, model outputs and everything the scheduler decided. The model is driven by the inputs
//! through the very engine core that replays traces; every recorded decision is compared. On the way
//! the run can be logged, by the very logger that logs a replay.

pub mod compare;
mod end;
pub mod explain;
mod fast;
pub mod header;
pub mod log;
pub mod markdown;
pub mod record;
mod record_log;
pub mod report;
mod requests;
mod run;
mod state;
mod watch;

pub use compare::Counts;
pub use record::{BadRecord, Record};
pub use record_log::RecordLogError;
pub use report::{ConformReport, Divergence, Moment, Outcome, RecordReport, Side};
pub use run::{conform_and_log, conform_paths, conform_text, conform_text_and_log};
