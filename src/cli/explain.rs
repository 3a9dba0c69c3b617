//! `schedlog explain`.

use anyhow::bail;

use crate::cli::output;
use crate::docs::rule_page;
use crate::invariants::{every, find};

/// Explain a rule.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The id of the rule, such as M002.
    rule: String,
}

/// Runs the command.
///
/// # Errors
/// If there is no such rule or stdout cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let Some(rule) = find(&args.rule) else {
        let family = args.rule.get(..1).unwrap_or_default().to_ascii_uppercase();
        let near: Vec<_> =
            every().filter(|rule| rule.id.starts_with(&family)).map(|rule| rule.id).collect();
        let known =
            if near.is_empty() { "schedlog rules lists them".into() } else { near.join(", ") };
        bail!("there is no rule {}; known are: {known}", args.rule);
    };
    output::print(&rule_page(rule))?;
    Ok(0)
}
