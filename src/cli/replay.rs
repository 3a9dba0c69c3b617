//! `schedlog replay`: a trace in, a log directory out.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::arguments::log_level;
use crate::cli::stopwatch::Stopwatch;
use crate::cli::trace_args::TraceArgs;
use crate::cli::{EXIT_CLEAN, check, output};
use crate::engine::run::{LogOptions, replay_trace};
use crate::engine::totals::ReplayTotals;
use crate::log::values::LogLevel;
use crate::logger::{DEFAULT_LOG_DIR, LOG_DIR_VARIABLE, LOGGING_VARIABLE, SchedulerLogger};
use crate::settings::SettingsArgs;
use crate::stats::Quantiles;
use crate::units::Nanos;

/// Replay an arrival trace through the reference scheduler and write its log.
///
/// The log goes to --out; without it to VLLM_SCHEDULER_LOG_DIR (default ./scheduler_logs) if
/// VLLM_SCHEDULER_LOGGING is 1, and else nowhere.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    trace: TraceArgs,
    /// The log directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an older log in the directory.
    #[arg(long)]
    force: bool,
    /// How much is logged.
    #[arg(long, value_name = "LEVEL", default_value = "standard", value_parser = log_level)]
    log_level: LogLevel,
    /// The most steps between two flushes of the log.
    #[arg(long, value_name = "STEPS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..))]
    flush_interval_iterations: u64,
    /// The most (virtual) seconds between two flushes of the log.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    flush_interval_seconds: u64,
    /// The absolute start of the run, for run.json (nanoseconds since 1970).
    #[arg(long, value_name = "NS", default_value_t = 0)]
    start_time_unix_ns: u64,
    /// Check the log against every rule afterwards.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Args {
    fn log_options(&self) -> LogOptions {
        LogOptions {
            log_level: self.log_level,
            flush_interval_iterations: self.flush_interval_iterations,
            flush_interval: Nanos(self.flush_interval_seconds * Nanos::SECOND.0),
            start_time_unix_ns: self.start_time_unix_ns,
            force: self.force,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let directory = args.out.clone().or_else(SchedulerLogger::directory_from_env);
    if args.check && directory.is_none() {
        anyhow::bail!("--check: there is no log to check; name a directory with --out");
    }
    let settings = args.settings.resolve()?;
    let trace = args.trace.open()?;
    output::remark(&trace.summary().to_string());
    if directory.is_none() {
        output::note(&format!(
            "no log is written: name a directory with --out, or set {LOGGING_VARIABLE}=1 (and \
             {LOG_DIR_VARIABLE}, default {DEFAULT_LOG_DIR})"
        ));
    }
    let watch = Stopwatch::start();
    let bar = progress_bar();
    let options = args.log_options();
    let totals = replay_trace(&trace, &settings, directory.as_deref(), &options, |totals| {
        bar.set_position(totals.requests);
        bar.set_message(format!("{} steps", totals.iterations));
    })?;
    bar.finish_and_clear();
    let mut text = summary(&totals, watch.seconds());
    if let Some(directory) = &directory {
        let _ = writeln!(text, "log         {}", directory.display());
    }
    output::print(&text)?;
    match directory {
        Some(directory) if args.check => check::check_and_print(&directory),
        _ => Ok(EXIT_CLEAN),
    }
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} requests, {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn summary(totals: &ReplayTotals, elapsed_s: f64) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "requests    {} ({} finished, {} aborted, {} rejected)",
        totals.requests, totals.finished, totals.aborted, totals.rejected
    );
    let _ = writeln!(text, "iterations  {}", totals.iterations);
    let _ = writeln!(text, "preemptions {}", totals.preemptions);
    let _ = writeln!(
        text,
        "tokens      {} scheduled, {} from the prefix cache, {} generated",
        totals.scheduled_tokens, totals.cached_tokens, totals.output_tokens
    );
    for (name, quantiles) in [("ttft", &totals.ttft), ("tpot", &totals.tpot), ("e2e", &totals.e2e)]
    {
        let _ = writeln!(text, "{name:<11} {}", percentiles(quantiles));
    }
    let simulated = totals.simulated.as_secs_f64();
    let _ = writeln!(text, "simulated   {simulated:.3} s in {elapsed_s:.3} s");
    text
}

fn percentiles(quantiles: &Quantiles) -> String {
    if quantiles.count() == 0 {
        return "no samples".to_owned();
    }
    let approximately = if quantiles.is_exact() { "" } else { "about " };
    let parts: Vec<_> = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]
        .into_iter()
        .filter_map(|(name, q)| {
            let ms = quantiles.quantile(q)? / 1e6;
            Some(format!("{name} {approximately}{ms:.3} ms"))
        })
        .collect();
    parts.join("  ")
}
