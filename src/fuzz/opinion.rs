//! What the checks think of a log.

use std::path::Path;

use crate::check::{CheckOptions, LogSettings, Severity, check_dir};
use crate::fuzz::failure::Broken;
use crate::fuzz::sequence::EventSequence;

/// The verdict of the checks, as far as fuzzing needs it.
#[derive(Clone, Debug, Default)]
pub struct Opinion {
    /// Rules with findings that are more than warnings.
    pub broken: Vec<Broken>,
    /// Rules that compared something.
    pub exercised: Vec<&'static str>,
}

/// Checks the log in a directory. The sequence tells the settings that the log does not.
///
/// # Errors
/// If there is no log that could be checked.
pub fn of(directory: &Path, sequence: &EventSequence) -> Result<Opinion, String> {
    let options = CheckOptions {
        settings: LogSettings::from_run_info(&sequence.run),
        ..CheckOptions::default()
    };
    let report = check_dir(directory, &options).map_err(|error| error.to_string())?;
    let mut opinion = Opinion::default();
    for outcome in &report.rules {
        if outcome.exercised > 0 {
            opinion.exercised.push(outcome.rule.id);
        }
        if outcome.errors + outcome.damages == 0 {
            continue;
        }
        let is_serious = |severity: Option<Severity>| {
            severity.unwrap_or(outcome.rule.severity) > Severity::Warning
        };
        let finding = outcome.findings.iter().find(|finding| is_serious(finding.severity));
        let message = finding.map_or_else(String::new, |finding| finding.message.clone());
        opinion.broken.push(Broken { rule: outcome.rule.id.to_owned(), message });
    }
    Ok(opinion)
}
