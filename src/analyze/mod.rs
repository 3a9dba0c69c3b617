//! What a log says about the run: figures for people who look instead of reading.
//!
//! [`read_log`] streams the five files once and shows steps, rows, events and complete requests
//! to any number of [`Sink`]s. Everything downstream (the analysis, exports, charts) is a sink.
//! This module only reads logs; it does not judge them and knows no scheduler.

pub mod distribution;
pub mod figures;
mod live;
mod pass;
pub mod source;
pub mod spans;

pub use figures::{Ending, RequestFigures, Step};
pub use pass::{Sink, read_log};
pub use source::LogDescription;
pub use spans::{Activity, Span};
