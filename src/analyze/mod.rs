//! What a log says about the run: figures for people who look instead of reading.
//!
//! [`read_log`] streams the five files once and shows steps, rows, events and complete requests
//! to any number of [`Sink`]s. Everything downstream (the [`Analysis`], exports, charts) is a sink.
//! This module only reads logs; it does not judge them and knows no scheduler.

pub mod distribution;
pub mod figures;
mod live;
mod measure;
pub mod model;
mod pass;
pub mod render;
pub mod series;
pub mod slo;
pub mod source;
pub mod spans;

pub use figures::{Ending, RequestFigures, Step};
pub use measure::{AnalyzeOptions, LatencySamples, Measure};
pub use model::Analysis;
pub use pass::{Sink, read_log};
pub use slo::Slo;
pub use source::LogDescription;
pub use spans::{Activity, Span};

use std::path::Path;

use crate::log::reader::LogDirError;

/// Analyses the log in a directory.
///
/// # Errors
/// If the directory is not a log or a file in it cannot be opened.
pub fn analyze_dir(path: &Path, options: &AnalyzeOptions) -> Result<Analysis, LogDirError> {
    let mut measure = Measure::new(options);
    let log = read_log(path, &mut [&mut measure])?;
    Ok(measure.analysis(log))
}
