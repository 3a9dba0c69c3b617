//! What can be wrong with a logger, or with the checks.

use std::fmt;

use crate::fuzz::drive::Rejection;
use crate::fuzz::ledger::Difference;

/// A rule that a log breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule's id.
    pub rule: String,
    /// Its first finding.
    pub message: String,
}

/// Why a case failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The logger panicked, or its process ended by itself.
    Crash {
        /// Its last words.
        message: String,
    },
    /// The checks panicked.
    CheckPanic {
        /// The panic's message.
        message: String,
    },
    /// The logger did not answer in time.
    Hang {
        /// What it was to answer.
        waiting_for: String,
    },
    /// The logger wrote something else than answers to its standard output.
    Noise {
        /// The line.
        line: String,
    },
    /// The logger said that it failed.
    Refused {
        /// What it said.
        message: String,
    },
    /// The logger refused a call of a legal sequence.
    Rejected(Rejection),
    /// The log of a legal sequence breaks rules.
    Violated {
        /// The rules.
        broken: Vec<Broken>,
        /// Whether the log says what the calls say all the same: then the rules are to blame.
        as_called: bool,
    },
    /// The checks accept the log, but it does not say what the calls say.
    Unnoticed {
        /// Where.
        differences: Vec<Difference>,
    },
    /// A scheduler decides otherwise than the reference.
    Differs {
        /// The step, counted from 0.
        step: u64,
        /// The part of the decision.
        what: String,
        /// What the reference decides.
        reference: String,
        /// What the scheduler decides.
        scheduler: String,
    },
    /// The log cannot be checked at all.
    Unreadable {
        /// Why.
        message: String,
    },
}

impl Failure {
    /// Whether `other` is the same failure of another case, as far as shrinking is concerned.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Violated { broken, .. }, Self::Violated { broken: others, .. }) => {
                broken.iter().any(|one| others.iter().any(|other| other.rule == one.rule))
            }
            (Self::Unnoticed { differences }, Self::Unnoticed { differences: others }) => {
                differences.iter().any(|one| others.iter().any(|other| other.table == one.table))
            }
            (Self::Differs { what, .. }, Self::Differs { what: other, .. }) => what == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// A short name of failures like this one, usable in a file name.
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::Crash { .. } => "crash".to_owned(),
            Self::CheckPanic { .. } => "check-panic".to_owned(),
            Self::Hang { .. } => "hang".to_owned(),
            Self::Noise { .. } => "noise".to_owned(),
            Self::Refused { .. } => "refused".to_owned(),
            Self::Rejected(_) => "rejected".to_owned(),
            Self::Violated { broken, .. } => {
                broken.first().map_or_else(String::new, |broken| broken.rule.clone())
            }
            Self::Unnoticed { differences } => {
                let table = differences.first().map(|difference| difference.table.file_name());
                format!("unnoticed-{}", table.unwrap_or_default().trim_end_matches(".csv"))
            }
            Self::Differs { what, .. } => format!("differs-{what}"),
            Self::Unreadable { .. } => "unreadable".to_owned(),
        }
    }

    /// In a few words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::CheckPanic { .. } => "panic of the checks",
            Self::Hang { .. } => "hang",
            Self::Noise { .. } => "noise on standard output",
            Self::Refused { .. } => "failed call",
            Self::Rejected(_) => "legal call rejected",
            Self::Violated { as_called: false, .. } => "wrong log",
            Self::Violated { as_called: true, .. } => "false verdict",
            Self::Unnoticed { .. } => "wrong log that the checks accept",
            Self::Differs { .. } => "other decision",
            Self::Unreadable { .. } => "no log",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::Crash { message }
            | Self::CheckPanic { message }
            | Self::Refused { message }
            | Self::Unreadable { message } => write!(f, ": {message}"),
            Self::Hang { waiting_for } => write!(f, ": no answer to {waiting_for}"),
            Self::Noise { line } => write!(f, ": {line:?}"),
            Self::Rejected(rejection) => {
                write!(f, ": call {}: {}", rejection.call, rejection.message)
            }
            Self::Violated { broken, as_called } => {
                for Broken { rule, message } in broken {
                    write!(f, "\n  {rule}: {message}")?;
                }
                if *as_called {
                    write!(f, "\n  the log says what the calls say: the rules are to blame")?;
                }
                Ok(())
            }
            Self::Differs { step, what, reference, scheduler } => write!(
                f,
                " in step {step}: {what}\n  reference: {reference}\n  scheduler: {scheduler}"
            ),
            Self::Unnoticed { differences } => {
                differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))
            }
        }
    }
}
