//! `schedlog plot`.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::check::CheckOptions;
use crate::cli::output;
use crate::log::reader::LogDir;
use crate::view::collect::PictureOptions;
use crate::view::{page, picture, plots};

/// Draw the charts of a log as SVG and PNG, or as one web page.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of the log.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The directory for the images.
    #[arg(long, value_name = "PLOTS", required_unless_present = "html")]
    out: Option<PathBuf>,
    /// One web page with charts, timeline, requests and findings.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If the directory is not a log or an image cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let dir = LogDir::open(&args.dir)?;
    if let Some(out) = &args.out {
        write_images(&dir, out)?;
    }
    if let Some(file) = &args.html {
        let page = page::page(&dir, &CheckOptions::default())?;
        std::fs::write(file, page).with_context(|| format!("{}: cannot write", file.display()))?;
        output::print(&format!("{}\n", file.display()))?;
    }
    Ok(0)
}

fn write_images(dir: &LogDir, out: &Path) -> anyhow::Result<()> {
    let picture = picture(dir, &PictureOptions::default())?;
    let written = plots::write_plots(&picture, out)?;
    if !cfg!(feature = "plots") {
        output::note("no PNG: this program was built without the feature `plots`");
    }
    for path in written {
        output::print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}
