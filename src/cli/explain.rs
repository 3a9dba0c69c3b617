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
        let near = near(&args.rule);
        let near = if near.is_empty() {
            String::new()
        } else {
            format!("did you mean {}? ", near.join(", "))
        };
        bail!("there is no rule {}; {near}`schedlog rules` lists all of them", args.rule);
    };
    output::print(&rule_page(rule))?;
    Ok(0)
}

/// Rules that may have been meant: by an id with a digit more or less, or by a name that is or has a
/// part that is spelled alike.
fn near(given: &str) -> Vec<String> {
    const SHOWN: usize = 5;
    let given = given.trim().to_ascii_lowercase();
    let likeness = |id: &str, name: &str| {
        let id = id.to_ascii_lowercase();
        let of_id =
            if id.starts_with(given.get(..1)?) && given[1..].chars().all(|c| c.is_ascii_digit()) {
                strsim::normalized_damerau_levenshtein(&given, &id)
            } else {
                0.0
            };
        let words = name.split('-').filter(|word| word.len() > 2).chain([name]);
        let of_name = words
            .map(|word| strsim::normalized_damerau_levenshtein(&given, word))
            .fold(0.0, f64::max);
        Some(of_id.max(of_name)).filter(|likeness| *likeness >= 0.6)
    };
    let mut found: Vec<_> =
        every().filter_map(|rule| Some((likeness(rule.id, rule.name)?, rule))).collect();
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    found.iter().take(SHOWN).map(|(_, rule)| format!("{} {}", rule.id, rule.name)).collect()
}
