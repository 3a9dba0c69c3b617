//! `schedlog compare`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::ValueEnum;

use crate::analyze::Slo;
use crate::cli::{EXIT_CLEAN, output};
use crate::compare::{CompareOptions, compare_dirs, to_text};
use crate::log::reader::LogDir;
use crate::view::chart::{MOST_RUNS, NamedPicture, overlaid};
use crate::view::collect::PictureOptions;
use crate::view::{picture, plots};

/// Characters of a directory's name in a legend, at most.
const NAME_CHARS: usize = 36;

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
    /// Draw charts of the runs over one another into this directory, as SVG and PNG.
    #[arg(long, value_name = "PLOTS")]
    plots: Option<PathBuf>,
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
/// If a directory is not a log, or stdout or a chart cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let options =
        CompareOptions { slo: args.slo, seed: args.seed, resamples: args.resamples as usize };
    if args.plots.is_some() && args.dirs.len() > MOST_RUNS {
        bail!("{} runs: --plots can tell at most {MOST_RUNS} apart; name fewer", args.dirs.len());
    }
    args.plots.as_deref().map_or(Ok(()), output::check_directory)?;
    let comparison = compare_dirs(&args.dirs, &options)?;
    let text = match args.format {
        Format::Text => to_text(&comparison),
        Format::Json => serde_json::to_string_pretty(&comparison)? + "\n",
    };
    output::print(&text)?;
    if let Some(directory) = &args.plots {
        let names = comparison.runs.iter().map(|run| run.name.as_str());
        let runs: Vec<_> =
            names.zip(&args.dirs).map(|(name, dir)| named(name, dir)).collect::<Result<_, _>>()?;
        let written = plots::write_charts(&overlaid(&runs), directory)?;
        output::wrote_images(written.len(), directory);
    }
    Ok(EXIT_CLEAN)
}

/// A run as it is drawn: with its letter and the end of its directory's name.
fn named(letter: &str, dir: &Path) -> anyhow::Result<NamedPicture> {
    let picture = picture(&LogDir::open(dir)?, &PictureOptions::default())?;
    let full = dir.display().to_string();
    let length = full.chars().count();
    let name = if length > NAME_CHARS {
        format!("{letter} …{}", full.chars().skip(length + 1 - NAME_CHARS).collect::<String>())
    } else {
        format!("{letter} {full}")
    };
    Ok(NamedPicture { name, picture })
}
