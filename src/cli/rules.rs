//! `schedlog rules`.

use crate::cli::output;
use crate::invariants::every;

/// List the rules.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the command.
///
/// # Errors
/// If stdout cannot be written.
pub(super) fn run(_: &Args) -> anyhow::Result<u8> {
    let lines: Vec<_> =
        every().map(|rule| format!("{} {:<32} {}\n", rule.id, rule.name, rule.summary())).collect();
    output::print(&lines.concat())?;
    Ok(0)
}
