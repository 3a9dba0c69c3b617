//! For the tests of a crate that has a logger of its own.
//!
//! ```no_run
//! # use schedlog::testing::{EventSequence, LoggerHooks, drive};
//! # fn make_my_logger(_: &std::path::Path) -> schedlog::logger::SchedulerLogger { unimplemented!() }
//! # let sequence: EventSequence = unimplemented!();
//! # let directory = std::path::Path::new("");
//! // In proptest!{}, with the feature `testing`: sequence in schedlog::testing::event_sequences()
//! let rejected = drive(&sequence, make_my_logger(directory));
//! assert!(rejected.is_empty());
//! schedlog::assert_log_holds!(directory);
//! ```
//!
//! Implement [`LoggerHooks`] for the logger, drive it with sequences, and let
//! [`assert_log_holds!`](crate::assert_log_holds) check what it wrote. The strategies need the
//! feature `testing`.

#[cfg(feature = "testing")]
mod strategies;

use std::path::Path;

use crate::check::{CheckOptions, LogSettings, Verdict, check_dir};

pub use crate::fuzz::drive::{Rejection, drive};
pub use crate::fuzz::ledger::{Difference, Facts, differences};
pub use crate::fuzz::recorder::Recorder;
pub use crate::fuzz::sequence::{Call, EventSequence, RequestIndex, SequenceKind};
pub use crate::logger::{KvCacheUsage, LoggerHooks, RunningRequest};
#[cfg(feature = "testing")]
pub use strategies::{event_sequences, event_sequences_with, hostile_sequences, workloads};

/// What is wrong with the log in `directory`, as text; nothing if all that the checks can look at
/// holds. `sequence` tells the settings that the log does not.
///
/// # Errors
/// The findings, or why there is no log.
pub fn check_log(directory: &Path, sequence: Option<&EventSequence>) -> Result<(), String> {
    let settings = sequence.map(|sequence| LogSettings::from_run_info(&sequence.run));
    let options =
        CheckOptions { settings: settings.unwrap_or_default(), ..CheckOptions::default() };
    let report = check_dir(directory, &options).map_err(|error| error.to_string())?;
    if report.verdict() == Verdict::Clean {
        return Ok(());
    }
    let findings: Vec<_> = report
        .rules
        .iter()
        .filter(|outcome| outcome.errors + outcome.damages > 0)
        .flat_map(|outcome| {
            let first = outcome.findings.iter().take(3);
            first.map(|finding| format!("{}: {}", outcome.rule.id, finding.message))
        })
        .collect();
    Err(format!(
        "{}: {}\n  {}",
        directory.display(),
        report.verdict().as_str(),
        findings.join("\n  ")
    ))
}

/// Asserts that the log in a directory holds; panics with the findings if not.
///
/// With a second argument, an [`EventSequence`](crate::testing::EventSequence), the log must also
/// say what its calls say.
#[macro_export]
macro_rules! assert_log_holds {
    ($directory:expr $(,)?) => {
        if let Err(findings) = $crate::testing::check_log(
            ::std::convert::AsRef::<::std::path::Path>::as_ref(&$directory),
            ::std::option::Option::None,
        ) {
            panic!("the log does not hold: {findings}");
        }
    };
    ($directory:expr, $sequence:expr $(,)?) => {{
        let directory = ::std::convert::AsRef::<::std::path::Path>::as_ref(&$directory);
        let sequence: &$crate::testing::EventSequence = &$sequence;
        if let Err(findings) =
            $crate::testing::check_log(directory, ::std::option::Option::Some(sequence))
        {
            panic!("the log does not hold: {findings}");
        }
        let facts = $crate::testing::Facts::of(&sequence.calls);
        if let Some(difference) = $crate::testing::differences(&facts, directory).first() {
            panic!("the log does not say what the calls say: {difference}");
        }
    }};
}
