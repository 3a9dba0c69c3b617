//! `schedlog diff`: two logs by meaning.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::{EXIT_CLEAN, EXIT_VIOLATED, output};
use crate::diff::{DiffOptions, diff_dirs, render};
use crate::log::run_info::RUN_INFO_FILE;
use crate::log::schema::Table;
use crate::trace::parse_duration;
use crate::units::Nanos;

/// Compare a log with a golden one: decisions first, then counts, then times.
///
/// Shows the first difference in context. Exit code: 0 the same, 1 different, 2 a side is not a log.
/// With --bless 0 means that the golden log is as the new one now; 2 that it is untouched, unless the
/// message says how far it came.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log that is right.
    #[arg(value_name = "GOLDEN")]
    golden: PathBuf,
    /// The log to compare with it.
    #[arg(value_name = "DIR")]
    new: PathBuf,
    /// Times this far apart are the same, such as 250us or 2ms (nanoseconds without a unit).
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0ns",
        conflicts_with = "ignore_times")]
    time_tolerance: Nanos,
    /// Do not compare times.
    #[arg(long)]
    ignore_times: bool,
    /// Replace the golden log by the new one if they differ (or if there is none yet).
    #[arg(long)]
    bless: bool,
}

fn duration(text: &str) -> Result<Nanos, String> {
    let is_bare = text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_bare { format!("{text}ns") } else { text.to_owned() };
    parse_duration(&text).map_err(|error| error.to_string())
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    if args.bless && !args.golden.exists() {
        bless(&args.golden, &args.new)?;
        output::note(&format!("{}: made", args.golden.display()));
        return Ok(EXIT_CLEAN);
    }
    let options =
        DiffOptions { time_tolerance: args.time_tolerance, ignore_times: args.ignore_times };
    let report = diff_dirs(&args.golden, &args.new, options)?;
    let shown = output::print(&render(&report));
    if args.bless {
        shown.with_context(|| format!("{}: not replaced", args.golden.display()))?;
    } else {
        shown?;
    }
    if report.is_same() {
        return Ok(EXIT_CLEAN);
    }
    if args.bless {
        bless(&args.golden, &args.new)?;
        // Not on stdout: whoever reads the differences may have seen enough and be gone.
        output::note(&format!("{}: replaced by {}", args.golden.display(), args.new.display()));
        return Ok(EXIT_CLEAN);
    }
    Ok(EXIT_VIOLATED)
}

/// Copies the files of a log; whatever else is in the golden directory stays.
fn bless(golden: &Path, new: &Path) -> anyhow::Result<()> {
    // A directory that is no log must not become a golden one.
    crate::log::reader::LogDir::open(new)?;
    std::fs::create_dir_all(golden).with_context(|| {
        format!("{}: cannot be made; name a directory that can be", golden.display())
    })?;
    let plain = Table::ALL.map(|table| table.file_name().to_owned());
    let names = plain.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
    for name in names.chain([RUN_INFO_FILE.to_owned()]) {
        let (from, to) = (new.join(&name), golden.join(&name));
        if from.is_file() {
            std::fs::copy(&from, &to).with_context(|| {
                format!("{}: cannot be written, and files before it are replaced; check the path and its room, and bless again", to.display())
            })?;
        } else if to.is_file() {
            std::fs::remove_file(&to).with_context(|| {
                format!(
                    "{}: cannot be removed; check the permissions of its directory",
                    to.display()
                )
            })?;
        }
    }
    Ok(())
}
