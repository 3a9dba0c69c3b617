//! `schedlog export`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::EXIT_CLEAN;
use crate::export::{ocel, perfetto};

/// Write a log in the form of another tool: a trace viewer, process mining, data frames.
///
/// What is written appears under its name only once it is whole. docs/export.md says what is where.
///
/// Exit code: 0, or 2 if there is no log or the export cannot be written.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of the log.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The form.
    #[arg(long, value_enum)]
    format: Format,
    /// Where to write: a file, which is replaced if it is there; for parquet a new directory.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

/// Forms of other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Trace JSON for ui.perfetto.dev and chrome://tracing.
    Perfetto,
    /// Object-centric event log, OCEL 2.0 JSON.
    Ocel,
    /// One Parquet file per table.
    Parquet,
}

/// Runs the command.
///
/// # Errors
/// If the directory is not a log or the export cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    match args.format {
        Format::Perfetto => perfetto::export(&args.dir, &args.out)?,
        Format::Ocel => ocel::export(&args.dir, &args.out)?,
        Format::Parquet => parquet(args)?,
    }
    Ok(EXIT_CLEAN)
}

#[cfg(feature = "parquet")]
fn parquet(args: &Args) -> anyhow::Result<()> {
    Ok(crate::export::parquet::export(&args.dir, &args.out)?)
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Args) -> anyhow::Result<()> {
    anyhow::bail!("this build does not write Parquet: build schedlog with --features parquet")
}
