//! `schedlog conform`: the model against decision records of the real scheduler.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output;
use crate::cli::stopwatch::Stopwatch;
use crate::conform::{conform_paths, markdown};

/// Compares the scheduler model with decision records of the real vLLM 0.32 scheduler.
///
/// The model is driven through each record's arrivals, aborts and model outputs; every recorded
/// field of every step is compared, up to the first difference. Exit code: 0 all the same, 1 a
/// difference, 2 a record could not be compared (unreadable, or it asks for an unsupported setting).
#[derive(Debug, Args)]
pub(super) struct ConformArgs {
    /// Record files (.jsonl, .jsonl.gz), or directories of them.
    #[arg(required = true, value_name = "RECORD")]
    pub(super) records: Vec<PathBuf>,
    /// Records compared at a time; all cores by default.
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<usize>,
    /// Print only the table of records and divergences, as markdown.
    #[arg(long)]
    pub(super) markdown: bool,
}

/// Runs the command and returns its exit code.
///
/// # Errors
/// Where the report cannot be written; what is wrong with a record is part of the report.
pub(super) fn run(args: &ConformArgs) -> anyhow::Result<u8> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let watch = Stopwatch::start();
    let report = conform_paths(&args.records, args.jobs.unwrap_or_else(cores));
    let elapsed = watch.seconds();
    if args.markdown {
        output::print(&markdown::table(&report))?;
        if report.exit_code() != 0 {
            output::note(&report.to_string());
        }
    } else {
        output::print(&format!("{report}\n"))?;
        let per_second = report.counts().decisions() as f64 / elapsed;
        output::note(&format!("{elapsed:.2} s, {per_second:.0} decisions per second"));
    }
    Ok(report.exit_code())
}
