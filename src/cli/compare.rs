//! `schedlog compare`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::analyze::Slo;
use crate::cli::{EXIT_CLEAN, output};
use crate::compare::{CompareOptions, compare_dirs, to_text};

/// Put two or more runs side by side: figures, ratios with intervals, settings that differ.
///
/// The first run is the base. Intervals come from resampling the requests of each run, so they tell
/// chance among requests, not among repetitions of a run.
///
/// Exit code: 0, or 2 if one of them is no log.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directories of the logs.
    #[arg(value_name = "DIR", num_args = 2.., required = true)]
    dirs: Vec<PathBuf>,
    /// How the comparison is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Objectives, e.g. ttft=200ms,tpot=50ms,e2e=10s.
    #[arg(long, value_name = "OBJECTIVES")]
    slo: Option<Slo>,
    /// The seed of the resampling.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many resamples are drawn.
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    resamples: u32,
}

/// Forms of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: schedlog.compare/1.
    Json,
}

/// Runs the command.
///
/// # Errors
/// If a directory is not a log or stdout cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let options =
        CompareOptions { slo: args.slo, seed: args.seed, resamples: args.resamples as usize };
    let comparison = compare_dirs(&args.dirs, &options)?;
    let text = match args.format {
        Format::Text => to_text(&comparison),
        Format::Json => serde_json::to_string_pretty(&comparison)? + "\n",
    };
    output::print(&text)?;
    Ok(EXIT_CLEAN)
}
