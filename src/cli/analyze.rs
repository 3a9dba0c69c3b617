//! `schedlog analyze`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::analyze::render::{to_csv, to_json, to_text};
use crate::analyze::{AnalyzeOptions, Slo, analyze_dir};
use crate::check::CheckOptions;
use crate::cli::{EXIT_CLEAN, output};
use crate::log::reader::LogDir;
use crate::view::collect::PictureOptions;
use crate::view::{page, picture, plots};

/// Say what a log tells about the run: latencies, throughput, steps, waiting, preemption, fairness.
///
/// Quantiles are those of pandas; a mean over steps is given by rows and by time. What the log
/// cannot say is listed at the end. docs/analyze.md explains every figure.
///
/// Exit code: 0, or 2 if there is no log.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of the log.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How the figures are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Objectives, e.g. ttft=200ms,tpot=50ms,e2e=10s: attainment and goodput.
    #[arg(long, value_name = "OBJECTIVES")]
    slo: Option<Slo>,
    /// Add steps over time to json and csv, in at most this many buckets.
    #[arg(long, value_name = "BUCKETS", default_value_t = 0)]
    series: usize,
    /// Draw charts into this directory, as SVG and PNG.
    #[arg(long, value_name = "PLOTS")]
    plots: Option<PathBuf>,
    /// Write one web page: charts, timeline, requests and what a check finds.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Forms of the analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: schedlog.analyze/1.
    Json,
    /// One figure per row: figure,unit,value.
    Csv,
}

/// Runs the command.
///
/// # Errors
/// If the directory is not a log, or stdout, a chart or the page cannot be written; the latter before
/// anything is said.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    args.plots.as_deref().map_or(Ok(()), output::check_directory)?;
    args.html.as_deref().map_or(Ok(()), output::check_file)?;
    let options = AnalyzeOptions { slo: args.slo, series_buckets: args.series };
    let analysis = analyze_dir(&args.dir, &options)?;
    let text = match args.format {
        Format::Text => to_text(&analysis),
        Format::Json => to_json(&analysis)?,
        Format::Csv => to_csv(&analysis)?,
    };
    output::print(&text)?;
    if let Some(directory) = &args.plots {
        write_plots(&args.dir, directory)?;
    }
    if let Some(file) = &args.html {
        let page = page::page(&LogDir::open(&args.dir)?, &CheckOptions::default())?;
        output::write_file(file, page.as_bytes())?;
        output::note(&format!("page {}", file.display()));
    }
    Ok(EXIT_CLEAN)
}

fn write_plots(dir: &Path, directory: &Path) -> anyhow::Result<()> {
    let picture = picture(&LogDir::open(dir)?, &PictureOptions::default())?;
    let written = plots::write_plots(&picture, directory)?;
    output::wrote_images(written.len(), directory);
    Ok(())
}
