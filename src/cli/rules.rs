//! `schedlog rules`.

use crate::cli::to_stdout;
use schedlog::invariants::ALL;

/// List the rules.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn run(_: &Args) -> anyhow::Result<u8> {
    to_stdout(|out| {
        for rule in ALL {
            writeln!(out, "{} {:<32} {}", rule.id, rule.name, rule.summary())?;
        }
        Ok(())
    })?;
    Ok(0)
}
