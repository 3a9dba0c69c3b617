//! `schedlog check`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;

use crate::check::{CheckError, CheckOptions, CheckReport, Verdict, check_dir};
use crate::cli::arguments::span;
use crate::cli::log_settings::SettingFlags;
use crate::cli::{EXIT_USAGE, EXIT_VIOLATED, output};
use crate::conform::log::{ConformOptions, conform_log};
use crate::coverage::{self, Coverage, Dimension};
use crate::log::dialect::DEFAULT_SKEW_BOUND;
use crate::log::reader::LogDir;
use crate::policy::{Applied, Baseline, Collector, ConfigFile, Flags, Match, Policy};
use crate::report::{
    Sheet, Suite, TextOptions, Unread, write_annotations, write_json_suite, write_junit,
    write_sarif, write_suite, write_text,
};
use crate::units::{Nanos, counted};

/// Check logs against every rule.
///
/// Exit code: 0 clean, 1 violated (or not covered), 2 damaged, no log at all or not compared (--conform),
/// 3 internal error; of several logs the worst: violated, then damaged; 2 if one of them is no log.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directories of the logs.
    #[arg(value_name = "DIR", required = true)]
    dirs: Vec<PathBuf>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the report to a file, which appears only once it is whole.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show every finding instead of the first three of each kind.
    #[arg(long)]
    all: bool,
    /// Show what became of every rule.
    #[arg(long)]
    rules: bool,
    /// Also compare with the reference scheduler (V001; see `schedlog conform`).
    #[arg(long)]
    conform: bool,
    /// Where a logger reads its clock more than once for one moment (T001), take readings that differ by
    /// at most this for one, such as 200us or 0 [default: 50us].
    #[arg(long, value_name = "TIME", value_parser = span)]
    skew_bound: Option<Nanos>,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    coverage: CoverageArgs,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Which findings count.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rules and known findings")]
struct ChoiceArgs {
    /// Run only these rules: ids or prefixes, such as M002,K.
    #[arg(long, value_name = "RULES", value_delimiter = ',')]
    select: Vec<String>,
    /// Do not run these rules; wins over --select.
    #[arg(long, value_name = "RULES", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Findings listed in this file are known and do not count.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write all present findings to this file, as known ones.
    #[arg(long, value_name = "FILE", conflicts_with = "baseline")]
    write_baseline: Option<PathBuf>,
    /// What makes a finding known by the list that --write-baseline writes: being listed itself, or one
    /// of its kind [default: exact].
    #[arg(long, value_name = "HOW", value_enum)]
    baseline_match: Option<Match>,
    /// Read this file instead of the schedlog.toml of the working directory or, where that has none, of
    /// the log's own directory.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What the logs exercised.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Coverage")]
struct CoverageArgs {
    /// Show what each log exercised, and all of them together.
    #[arg(long)]
    coverage: bool,
    /// Fail (exit code 1) unless all logs together exercise everything of these kinds.
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',')]
    require_coverage: Vec<Dimension>,
}

impl CoverageArgs {
    const fn wanted(&self) -> bool {
        self.coverage || !self.require_coverage.is_empty()
    }
}

/// Forms of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: schedlog.check/1, or schedlog.check-suite/1 of several logs.
    Json,
    /// JUnit XML.
    Junit,
    /// SARIF 2.1.0.
    Sarif,
    /// Annotations in a GitHub workflow.
    Github,
}

/// One log, checked.
struct Checked {
    report: CheckReport,
    applied: Applied,
    coverage: Option<Coverage>,
    baseline: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If a directory is not a log, a file cannot be used or the report cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let outcome = check_and_report(args);
    // A report of an earlier check would be taken for one of this.
    if let (Err(_), Some(path)) = (&outcome, &args.output) {
        output::remove_file(path);
    }
    outcome
}

fn check_and_report(args: &Args) -> anyhow::Result<u8> {
    if args.choice.baseline_match.is_some() && args.choice.write_baseline.is_none() {
        anyhow::bail!(
            "--baseline-match is for --write-baseline: a list that is read says itself what makes a \
             finding known; leave --baseline-match out, or write the list anew with --write-baseline"
        );
    }
    let mut logs = Vec::new();
    let mut unread = Vec::new();
    for dir in &args.dirs {
        match check(args, dir) {
            Ok(log) => logs.push(log),
            // What is no log does not keep others from being checked; every other mistake does.
            Err(error) if error.is::<CheckError>() => {
                output::report_error(&error);
                unread.push(Unread { directory: dir.clone(), error: output::describe(&error) });
            }
            Err(error) => return Err(error),
        }
    }
    if !unread.is_empty() && args.dirs.len() > 1 {
        let (count, all) = (unread.len(), args.dirs.len());
        output::note(&format!("{count} of {all} directories could not be checked"));
    }
    // Of no log there is nothing to note as known.
    if !logs.is_empty() {
        accept_known(args, &mut logs)?;
    }
    let mut together = Coverage::default();
    logs.iter().filter_map(|log| log.coverage.as_ref()).for_each(|it| together.merge(it));
    let uncovered = uncovered(&args.coverage.require_coverage, &together);
    let all = args.all || !matches!(args.format, Format::Text | Format::Github);
    let sheets: Vec<_> = logs
        .iter()
        .map(|log| Sheet::new(&log.report, &log.applied, log.coverage.as_ref(), all))
        .collect();
    let suite = Suite {
        sheets: &sheets,
        unread: &unread,
        uncovered: &uncovered,
        together: args.coverage.wanted().then_some(&together),
    };
    write(args, &suite)?;
    for text in &uncovered {
        output::note(text);
    }
    let verdict = suite.verdict();
    // As damage does, a directory that cannot be checked never hides that another is violated.
    if verdict != Verdict::Violated && !unread.is_empty() {
        return Ok(EXIT_USAGE);
    }
    // What damage hides is not known; that something is not covered is.
    Ok(if uncovered.is_empty() { verdict.exit_code() } else { EXIT_VIOLATED })
}

fn check(args: &Args, dir: &Path) -> anyhow::Result<Checked> {
    let file = match &args.choice.config {
        Some(path) => Some(ConfigFile::read(path)?),
        None => ConfigFile::find(Path::new(""), dir)?,
    };
    let flags = Flags {
        select: args.choice.select.clone(),
        ignore: args.choice.ignore.clone(),
        conform: args.conform,
        baseline: args.choice.baseline.clone(),
        settings: args.settings.settings(),
        skew_bound: args.skew_bound,
    };
    let policy = Policy::new(flags, file)?;
    let mut report = policy.check(dir)?;
    if policy.conform {
        let options = ConformOptions {
            settings: args.settings.engine(),
            skew_bound: args.skew_bound.unwrap_or(DEFAULT_SKEW_BOUND),
            ..ConformOptions::default()
        };
        conform_log(dir, &options)?.join(&mut report);
    }
    let applied = policy.apply(&mut report);
    let coverage = if args.coverage.wanted() {
        let mut coverage = coverage::of_log(&LogDir::open(dir)?)?;
        coverage.add_rules(&report);
        Some(coverage)
    } else {
        None
    };
    Ok(Checked { report, applied, coverage, baseline: policy.baseline })
}

/// Takes known findings out of the reports, or notes all of them as known.
fn accept_known(args: &Args, logs: &mut [Checked]) -> anyhow::Result<()> {
    if let Some(path) = &args.choice.write_baseline {
        let mut collector = Collector::new(args.choice.baseline_match.unwrap_or_default());
        logs.iter().for_each(|log| collector.add(&log.report));
        let (total, kinds) = (collector.total(), collector.kinds());
        let (bytes, baseline) = collector.finish(path)?;
        output::write_file(path, &bytes)?;
        let kinds = kinds.map_or_else(String::new, |kinds| {
            format!(" of {}", counted(kinds as u64, "kind", "kinds"))
        });
        let (total, are) =
            (counted(total, "finding", "findings"), if total == 1 { "is" } else { "are" });
        output::note(&format!("{total}{kinds} {are} now known: {}", path.display()));
        let mut lists = BTreeMap::from([(path.clone(), baseline)]);
        logs.iter_mut().for_each(|log| log.baseline = Some(path.clone()));
        return apply_lists(&mut lists, logs);
    }
    apply_lists(&mut BTreeMap::new(), logs)
}

/// Takes out of each log what its list knows; logs that share a list share its counts.
fn apply_lists(
    lists: &mut BTreeMap<PathBuf, Baseline>,
    logs: &mut [Checked],
) -> anyhow::Result<()> {
    for log in &mut *logs {
        let Some(path) = &log.baseline else { continue };
        let list = match lists.entry(path.clone()) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(place) => place.insert(Baseline::read(path)?),
        };
        log.applied.accepted = Some(list.apply(&mut log.report));
    }
    // Only when all were looked at: a log of the same name may have what this one has not.
    for log in logs {
        let list = log.baseline.as_ref().and_then(|path| lists.get(path));
        if let (Some(list), Some(accepted)) = (list, &mut log.applied.accepted) {
            accepted.stale = list.left(&log.report);
        }
    }
    Ok(())
}

/// What must have been exercised and was not, a line for each kind.
fn uncovered(required: &[Dimension], coverage: &Coverage) -> Vec<String> {
    let missing = |dimension: &Dimension| {
        let missing = coverage.missing(*dimension);
        let text = format!("{} never exercised: {}", dimension.name(), missing.join(", "));
        (!missing.is_empty()).then_some(text)
    };
    required.iter().filter_map(missing).collect()
}

fn write(args: &Args, suite: &Suite<'_>) -> anyhow::Result<()> {
    let mut out = Vec::new();
    match args.format {
        Format::Text => {
            let color = args.output.is_none() && use_color();
            let (all, rules) = (args.all, args.rules);
            let options = TextOptions { color, all, rules, ..TextOptions::default() };
            write_suite(suite, &options, &mut out)?;
        }
        Format::Json => write_json_suite(suite, &mut out)?,
        Format::Junit => write_junit(suite, &mut out)?,
        Format::Sarif => write_sarif(suite, &mut out)?,
        Format::Github => write_annotations(suite, &mut out)?,
    }
    match &args.output {
        Some(path) => output::write_file(path, &out).context("the report is not written"),
        None => output::print_bytes(&out),
    }
}

fn use_color() -> bool {
    let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let cannot = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    std::io::stdout().is_terminal() && !asked_not_to && !cannot
}

/// Checks a log that was just written, and says what was found.
///
/// # Errors
/// As [`run`].
pub(super) fn check_and_print(dir: &Path) -> anyhow::Result<u8> {
    let report = check_dir(dir, &CheckOptions::default())?;
    let options = TextOptions { color: use_color(), ..TextOptions::default() };
    let mut out = Vec::new();
    write_text(&report, &options, &mut out)?;
    output::print_bytes(&out)?;
    Ok(report.verdict().exit_code())
}
