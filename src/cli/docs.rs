//! `schedlog docs`: regenerates the generated pages.

use std::path::PathBuf;

use anyhow::Context;

/// Write the pages that are generated from the declarations.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory to write to.
    #[arg(default_value = "docs")]
    dir: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If a page cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    for (name, text) in crate::docs::pages() {
        let path = args.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(0)
}
