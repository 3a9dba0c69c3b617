//! `schedlog conform`: the reference scheduler against a log, or against decision records of vLLM.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::cli::arguments::{log_level, span};
use crate::cli::output;
use crate::cli::stopwatch::Stopwatch;
use crate::cli::trace_args::{self, TraceReading};
use crate::conform::log::{ConformOptions, conform_log};
use crate::conform::{conform_and_log, conform_paths, markdown};
use crate::engine::run::LogOptions;
use crate::log::dialect::DEFAULT_SKEW_BOUND;
use crate::log::reader::{LogDir, LogDirError};
use crate::log::run_info::RUN_INFO_FILE;
use crate::log::values::LogLevel;
use crate::report::{write_conformance, write_conformance_json};
use crate::settings::Settings;
use crate::trace::TraceFormat;
use crate::units::Nanos;

/// Compares the reference scheduler with a log, or with decision records of the real vLLM 0.32.
///
/// A directory that holds a scheduler log is replayed: its arrivals, lengths and moments go through
/// the reference under the log's settings (run.json, or flags), and every decision is compared. After
/// a divergence the reference goes on from the log's decision. Exit code: 0 conforms, 1
/// diverges, 2 void (something is missing) or a file is damaged.
///
/// Anything else is read as decision records: every recorded field of every step is compared, up to
/// the first difference. Exit code: 0 all the same, 1 a difference, 2 a record could not be compared
/// (unreadable, or it asks for an unsupported setting).
///
/// With --log, the log of each recorded run is written too, as far as the record agrees: the same five
/// files that a replay writes, on the virtual clock of a fixed step latency.
#[derive(Debug, Args)]
pub(super) struct ConformArgs {
    /// The directory of a log; or record files (.jsonl, .jsonl.gz) and directories of them.
    #[arg(required = true, value_name = "LOG_OR_RECORD")]
    pub(super) paths: Vec<PathBuf>,
    /// How the report on a log is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show every divergence of a log that is kept instead of the first three.
    #[arg(long)]
    all: bool,
    /// Where the logger of a log reads its clock more than once for one moment, take readings that differ
    /// by at most this for one, such as 200us or 0 [default: 50us].
    #[arg(long, value_name = "TIME", value_parser = span)]
    skew_bound: Option<Nanos>,
    /// The trace that the log is a replay of: with it prefix sharing is compared block by block.
    #[arg(long, value_name = "TRACE")]
    trace: Option<PathBuf>,
    /// The format of the trace; found from its content where not given
    #[arg(long, value_enum, requires = "trace", help_heading = "Trace")]
    trace_format: Option<TraceFormat>,
    #[command(flatten)]
    reading: TraceReading,
    /// Records compared at a time; all cores by default.
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<usize>,
    /// Write the log of the recorded run to DIR; with several records, each to a directory in it that
    /// has the record's name.
    #[arg(long, value_name = "DIR")]
    pub(super) log: Option<PathBuf>,
    /// Replace older logs.
    #[arg(long, requires = "log")]
    pub(super) force: bool,
    /// How much is logged.
    #[arg(long, value_name = "LEVEL", default_value = "standard", requires = "log",
        value_parser = log_level)]
    pub(super) log_level: LogLevel,
    /// Print only the table of records and divergences, as markdown.
    #[arg(long)]
    pub(super) markdown: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Forms of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: schedlog.conform/1.
    Json,
}

impl ConformArgs {
    /// Whether there is an option that only a log has a use for.
    fn names_log_options(&self) -> bool {
        let settings = self.settings != Settings::default();
        let shown = self.format == Format::Json || self.all;
        self.trace.is_some() || shown || self.skew_bound.is_some() || settings
    }

    /// Whether there is an option that only records have a use for.
    const fn names_record_options(&self) -> bool {
        self.log.is_some() || self.markdown || self.jobs.is_some()
    }
}

/// Runs the command and returns its exit code.
///
/// # Errors
/// Where the report cannot be written or the log cannot be opened; what is wrong with a record is
/// part of the report.
pub(super) fn run(args: &ConformArgs) -> anyhow::Result<u8> {
    let is_log = |path: &PathBuf| match LogDir::open(path) {
        // What cannot be opened is told so, not taken for something else.
        Ok(_) | Err(LogDirError::Unreadable { .. }) => true,
        Err(_) => path.join(RUN_INFO_FILE).is_file(),
    };
    match &args.paths[..] {
        [log] if is_log(log) && args.names_record_options() => {
            bail!(
                "--log, --markdown and --jobs are for decision records, and {} is a log: leave them out",
                log.display()
            )
        }
        [log] if is_log(log) => run_log(args, log),
        paths if paths.iter().any(is_log) => {
            bail!("a log is compared alone: give one directory, or only records")
        }
        _ if args.names_log_options() => {
            bail!(
                "--trace, --format, --all, --skew-bound and settings are for the directory of a log, \
                 and {} is none: give the directory that holds per_request.csv and its sisters",
                args.paths[0].display()
            )
        }
        paths => run_records(args, paths),
    }
}

fn run_log(args: &ConformArgs, log: &Path) -> anyhow::Result<u8> {
    let open = |path: &PathBuf| trace_args::open(path, &args.reading, args.trace_format);
    let trace = args.trace.as_ref().map(open).transpose()?;
    let options = ConformOptions {
        settings: args.settings.clone(),
        trace: trace.as_ref(),
        skew_bound: args.skew_bound.unwrap_or(DEFAULT_SKEW_BOUND),
        ..ConformOptions::default()
    };
    let report = conform_log(log, &options)?;
    let mut out = Vec::new();
    match args.format {
        Format::Text => write_conformance(&report, args.all, &mut out)?,
        Format::Json => write_conformance_json(&report, &mut out)?,
    }
    output::print_bytes(&out)?;
    Ok(report.exit_code())
}

fn run_records(args: &ConformArgs, paths: &[PathBuf]) -> anyhow::Result<u8> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let watch = Stopwatch::start();
    let jobs = args.jobs.unwrap_or_else(cores);
    let report = match &args.log {
        None => conform_paths(paths, jobs),
        Some(directory) => {
            let (log_level, force) = (args.log_level, args.force);
            let options = LogOptions { log_level, force, ..LogOptions::default() };
            conform_and_log(paths, jobs, directory, &options)?
        }
    };
    if report.records.is_empty() {
        let shown: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        bail!(
            "{}: neither a log nor a decision record in it; give the directory that holds \
             per_request.csv and its sisters, or files of records (.jsonl, .jsonl.gz)",
            shown.join(", ")
        );
    }
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
