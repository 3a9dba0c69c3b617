//! All that one check has to report: the logs, what could not be checked, and what was not covered.

use std::path::PathBuf;

use crate::check::Verdict;
use crate::coverage::Coverage;
use crate::report::{Sheet, worst};

/// A directory that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// As it was given.
    pub directory: PathBuf,
    /// Why.
    pub error: String,
}

/// All that one check has to report.
#[derive(Debug, Default)]
pub struct Suite<'a> {
    /// The logs that were checked.
    pub sheets: &'a [Sheet<'a>],
    /// The directories that could not be.
    pub unread: &'a [Unread],
    /// What all logs together had to exercise and did not, a sentence for each kind.
    pub uncovered: &'a [String],
    /// What all logs together exercised, if that was asked for.
    pub together: Option<&'a Coverage>,
}

impl Suite<'_> {
    /// The worst of the verdicts; a directory that could not be checked counts as damaged.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let unread = self.unread.iter().map(|_| Verdict::Damaged);
        worst(self.sheets.iter().map(|sheet| sheet.report.verdict()).chain(unread))
    }
}
