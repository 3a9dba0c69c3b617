//! A log in the forms of other tools: trace viewers, process mining, data frames.
//!
//! Each form is a [`Sink`](crate::analyze::Sink) or reads the tables; what is written appears under
//! its name only once it is whole.

mod date;
pub mod ocel;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod perfetto;
mod place;

pub use place::{ExportError, NewDirectory, NewFile};
