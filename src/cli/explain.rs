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

/// Rules that may have been meant: by a number in another form or of the same family, or by words that
/// are spelled like some of its name.
fn near(given: &str) -> Vec<String> {
    const SHOWN: usize = 8;
    let given = given.trim().to_ascii_lowercase();
    let words = given.split('-').count();
    let likeness = |id: &str, name: &str| {
        let (family, digits) = (given.get(..1)?, given.get(1..)?);
        if let Ok(number) = digits.parse::<u32>() {
            let same = format!("{family}{number:03}").eq_ignore_ascii_case(id);
            let relative = id.to_ascii_lowercase().starts_with(family);
            return relative.then_some(if same { 2.0 } else { 0.0 });
        }
        let parts: Vec<_> = name.split('-').collect();
        let alike = parts
            .windows(words.min(parts.len()))
            .map(|part| strsim::normalized_damerau_levenshtein(&given, &part.join("-")))
            .fold(0.0, f64::max);
        (alike >= 0.6).then_some(alike)
    };
    let mut found: Vec<_> =
        every().filter_map(|rule| Some((likeness(rule.id, rule.name)?, rule))).collect();
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    if found.first().is_some_and(|(likeness, _)| *likeness > 1.0) {
        found.truncate(1);
    }
    found.iter().take(SHOWN).map(|(_, rule)| format!("{} {}", rule.id, rule.name)).collect()
}
