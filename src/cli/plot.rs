//! `schedlog plot`.

use std::path::PathBuf;

use crate::cli::output;
use crate::log::reader::LogDir;
use crate::view::collect::PictureOptions;
use crate::view::{picture, plots};

/// Draw the charts of a log as SVG and PNG.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of the log.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The directory for the images.
    #[arg(long, value_name = "PLOTS")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If the directory is not a log or an image cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let dir = LogDir::open(&args.dir)?;
    let picture = picture(&dir, &PictureOptions::default())?;
    let written = plots::write_plots(&picture, &args.out)?;
    if !cfg!(feature = "plots") {
        output::note("no PNG: this program was built without the feature `plots`");
    }
    for path in written {
        output::print(&format!("{}\n", path.display()))?;
    }
    Ok(0)
}
