//! A finding: what a rule saw, as data. Rendering is the report's business.

use std::fmt;

use crate::log::ids::{Ids, RequestKey};
use crate::log::reader::Location;
use crate::log::schema::Table;
use crate::units::IterationId;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Odd, but nothing that the log says is wrong.
    Warning,
    /// A part of the log is missing or unreadable.
    Damage,
    /// The log contradicts itself or its settings.
    Error,
}

impl Severity {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Damage => "damage",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A place in the log and what it has to do with a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The row.
    pub at: Location,
    /// The column, if one is meant.
    pub column: Option<&'static str>,
    /// What is to be seen there.
    pub label: String,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is; the rule's own severity unless the rule says otherwise.
    pub severity: Option<Severity>,
    /// One sentence.
    pub message: String,
    /// The row that is wrong; none if a whole file is meant.
    pub primary: Option<Mark>,
    /// The file that is wrong as a whole, if it is one and no row of it.
    pub file: Option<Table>,
    /// Rows that contradict it.
    pub related: Vec<Mark>,
    /// The request.
    pub request: Option<String>,
    /// The request that the message names, which may be another.
    pub named: Option<String>,
    /// The iteration.
    pub iteration: Option<IterationId>,
    /// What the value should be.
    pub expected: Option<String>,
    /// What it is.
    pub actual: Option<String>,
}

impl Finding {
    /// A finding about the whole log or a whole file.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            severity: None,
            message: message.into(),
            primary: None,
            file: None,
            related: Vec::new(),
            request: None,
            named: None,
            iteration: None,
            expected: None,
            actual: None,
        }
    }

    /// The file that is wrong as a whole.
    #[must_use]
    pub const fn of_file(mut self, file: Table) -> Self {
        self.file = Some(file);
        self
    }

    /// The row and column that are wrong.
    #[must_use]
    pub fn at(mut self, at: Location, column: &'static str) -> Self {
        self.primary = Some(Mark { at, column: Some(column), label: String::new() });
        self
    }

    /// The row that is wrong.
    #[must_use]
    pub fn at_row(mut self, at: Location) -> Self {
        self.primary = Some(Mark { at, column: None, label: String::new() });
        self
    }

    /// A row that contradicts it.
    #[must_use]
    pub fn with(mut self, at: Location, column: &'static str, label: impl Into<String>) -> Self {
        self.related.push(Mark { at, column: Some(column), label: label.into() });
        self
    }

    /// A row that contradicts it, if there is one.
    #[must_use]
    pub fn with_row(mut self, at: Option<Location>, label: impl Into<String>) -> Self {
        if let Some(at) = at {
            self.related.push(Mark { at, column: None, label: label.into() });
        }
        self
    }

    /// The request that it is about.
    #[must_use]
    pub fn of<I: Ids + ?Sized>(mut self, key: RequestKey, ids: &I) -> Self {
        self.request = Some(ids.id(key).to_owned());
        self
    }

    /// The request that the message names, which may be another.
    #[must_use]
    pub fn naming(mut self, request: impl Into<String>) -> Self {
        self.named = Some(request.into());
        self
    }

    /// The iteration that it is about.
    #[must_use]
    pub const fn in_iteration(mut self, id: IterationId) -> Self {
        self.iteration = Some(id);
        self
    }

    /// Both sides of the contradiction.
    #[must_use]
    pub fn values(mut self, expected: impl fmt::Display, actual: impl fmt::Display) -> Self {
        self.expected = Some(expected.to_string());
        self.actual = Some(actual.to_string());
        self
    }

    /// Another severity than the rule's.
    #[must_use]
    pub const fn as_severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }
}
