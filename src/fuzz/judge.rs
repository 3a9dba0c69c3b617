//! One case: a logger is driven, its log is checked, and both opinions are compared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::fuzz::drive::{Rejection, drive};
use crate::fuzz::failure::Failure;
use crate::fuzz::generate::Limits;
use crate::fuzz::ledger::{Facts, differences};
use crate::fuzz::opinion::{self, Opinion};
use crate::fuzz::sequence::{EventSequence, SequenceKind};
use crate::logger::SchedulerLogger;

/// A logger under test.
pub trait Subject: Send {
    /// What it can be asked for.
    fn limits(&self) -> Limits;

    /// Writes the log of `sequence` into `directory`, which is empty.
    ///
    /// # Errors
    /// If it crashes, hangs or fails.
    fn write(
        &mut self,
        sequence: &EventSequence,
        directory: &Path,
    ) -> Result<Vec<Rejection>, Failure>;

    /// Runs a case in `directory`, which is emptied first.
    fn judge(&mut self, sequence: &EventSequence, directory: &Path) -> Judgement {
        if let Err(message) = empty(directory) {
            return Judgement::failed(Failure::Unreadable { message });
        }
        let rejected = match self.write(sequence, directory) {
            Ok(rejected) => rejected,
            Err(failure) => return Judgement::failed(failure),
        };
        let opinion = catch_unwind(AssertUnwindSafe(|| opinion::of(directory, sequence)));
        match opinion {
            Err(panic) => {
                Judgement::failed(Failure::CheckPanic { message: panic_message(&*panic) })
            }
            Ok(Err(message)) => Judgement::failed(Failure::Unreadable { message }),
            Ok(Ok(opinion)) => weigh(sequence, directory, opinion, rejected),
        }
    }
}

/// The logger of this crate, in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceLogger;

impl Subject for ReferenceLogger {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn write(
        &mut self,
        sequence: &EventSequence,
        directory: &Path,
    ) -> Result<Vec<Rejection>, Failure> {
        let options = sequence.logger_options();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            SchedulerLogger::create(directory, &sequence.run, options)
                .map(|logger| drive(sequence, logger))
        }));
        match outcome {
            Ok(Ok(rejected)) => Ok(rejected),
            Ok(Err(error)) => Err(Failure::Refused { message: error.to_string() }),
            Err(panic) => Err(Failure::Crash { message: panic_message(&*panic) }),
        }
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// The result of a case.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// What is wrong, if anything is.
    pub failure: Option<Failure>,
    /// Rules that compared something.
    pub exercised: Vec<&'static str>,
    /// Whether the checks found fault with the log.
    pub flagged: bool,
    /// Calls that the logger refused.
    pub rejected: usize,
}

impl Judgement {
    pub(super) fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}

fn weigh(
    sequence: &EventSequence,
    directory: &Path,
    opinion: Opinion,
    mut rejected: Vec<Rejection>,
) -> Judgement {
    let legal = sequence.kind == SequenceKind::Legal;
    let refused = rejected.len();
    let flagged = !opinion.broken.is_empty();
    let failure = if legal && !rejected.is_empty() {
        Some(Failure::Rejected(rejected.swap_remove(0)))
    } else if flagged && !legal || !sequence.is_shut_down() {
        // Found out; and a log that was cut off by a kill claims nothing.
        None
    } else {
        let facts = Facts::of(&sequence.calls);
        let differences = differences(&facts, directory);
        if flagged {
            let as_called = differences.is_empty();
            Some(Failure::Violated { broken: opinion.broken, as_called })
        } else if differences.is_empty() {
            None
        } else {
            Some(Failure::Unnoticed { differences })
        }
    };
    Judgement { failure, exercised: opinion.exercised, flagged, rejected: refused }
}

/// Removes the files in a directory, which is made if it is not there.
fn empty(directory: &Path) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(problem)?;
    for entry in std::fs::read_dir(directory).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(problem)?;
        } else {
            std::fs::remove_file(&path).map_err(problem)?;
        }
    }
    Ok(())
}
