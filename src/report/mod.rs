//! Findings to text, JSON, JUnit XML, SARIF and annotations; nothing else renders them.

mod annotations;
mod conformance;
mod coverage;
mod explain;
pub mod graph;
mod json;
mod junit;
mod sarif;
mod suite;
mod summary;
mod text;

pub use annotations::write_annotations;
pub use conformance::{CONFORM_SCHEMA, write_conformance, write_conformance_json};
pub use coverage::write_coverage;
pub use json::{JSON_SCHEMA, SUITE_SCHEMA, write_json, write_json_suite};
pub use junit::write_junit;
pub use sarif::write_sarif;
pub use suite::{Suite, Unread};
pub use text::{TextOptions, write_sheet, write_suite, write_text};

use std::path::PathBuf;

use crate::check::{CheckReport, Mark, Verdict};
use crate::coverage::Coverage;
use crate::diagnose::Diagnosis;
use crate::log::schema::Table;
use crate::policy::Applied;

/// A report and all that is told with it.
#[derive(Debug)]
pub struct Sheet<'a> {
    /// The report.
    pub report: &'a CheckReport,
    /// What the user's policy did to it.
    pub applied: &'a Applied,
    /// What the log exercised, if that was asked for.
    pub coverage: Option<&'a Coverage>,
    /// The findings, explained.
    pub diagnosis: Diagnosis<'a>,
}

impl<'a> Sheet<'a> {
    /// Explains a report; `all` for every finding that was kept.
    #[must_use]
    pub fn new(
        report: &'a CheckReport,
        applied: &'a Applied,
        coverage: Option<&'a Coverage>,
        all: bool,
    ) -> Self {
        Self { report, applied, coverage, diagnosis: Diagnosis::of(report, all) }
    }

    /// The path of a table's file, from where the check was started.
    fn path(&self, table: Table) -> PathBuf {
        let there = self.report.tables.iter().find(|summary| summary.table == table);
        let name = there.and_then(|summary| summary.file.as_deref());
        self.report.directory.join(name.unwrap_or_else(|| table.file_name()))
    }

    /// The column, counted from 1 in characters, at which a mark's field begins and ends.
    fn columns(&self, mark: &Mark) -> Option<(usize, usize)> {
        let span = self.diagnosis.excerpts.span(mark.at, mark.column?)?;
        let row = self.diagnosis.excerpts.row(mark.at)?;
        let chars = |end: usize| row.get(..end).map(|text| text.chars().count() + 1);
        Some((chars(span.start)?, chars(span.end)?))
    }
}

/// The worst of several verdicts: violated, damaged, clean.
#[must_use]
pub fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.max().unwrap_or(Verdict::Clean)
}

/// How many characters of a word are shown, of which so many are its end.
const LONGEST_WORD: usize = 200;
const SHOWN_END: usize = 40;

/// Text of a log without what could steer a terminal or change the order in which it is read, and with
/// words of a length that can be read.
fn visible(text: &str) -> String {
    let shown = |c: char| if steers(c) { '\u{fffd}' } else { c };
    let mut out = String::with_capacity(text.len().min(1 << 12));
    for word in text.split_inclusive([' ', ',']) {
        let length = if word.len() <= LONGEST_WORD { 0 } else { word.chars().count() };
        if length <= LONGEST_WORD {
            out.extend(word.chars().map(shown));
            continue;
        }
        out.extend(word.chars().take(LONGEST_WORD - SHOWN_END).map(shown));
        out.push('…');
        out.extend(word.chars().skip(length - SHOWN_END).map(shown));
    }
    out
}

/// Control characters but the tab, line separators and what turns the direction of writing.
const fn steers(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\n'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn nothing_steers_a_terminal_and_words_have_an_end() {
        assert_eq!(
            visible("a\u{9b}31m\u{85}\u{202e}\u{1b}[0m\tb"),
            "a\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}[0m\tb"
        );
        let long = format!("request {}z, and so on", "é".repeat(1000));
        let shown = visible(&long);
        assert_eq!(shown, format!("request {}…{}z, and so on", "é".repeat(160), "é".repeat(38)));
        assert_eq!(visible(&"é".repeat(200)), "é".repeat(200));
    }
}
