//! What is missing as a whole: one loss that many findings follow from.
//!
//! A logger that forgets one request in one file, one kind of event, one step, or every tenth row breaks
//! many rules at once, each with figures of its own. Here the files are counted once more, only if
//! such findings are there; where something is missing throughout, the findings that it explains
//! are folded under the one that names it, with the loss for a cause. What is folded is still listed
//! and counted: a loss is likely, not proven.

mod count;
mod explain;
mod requests;
mod rows;
mod steps;
mod stride;

use std::collections::BTreeSet;

use crate::check::{CheckReport, Finding, Severity};
use crate::diagnose::causes::Cause;
use crate::diagnose::fold::Item;
use crate::diagnose::losses::count::Counts;
use crate::log::reader::LogDir;
use crate::log::schema::Table;

/// The losses that are recognised: the id of the cause, and what it says.
pub static LOSSES: &[(&str, &str)] = &[
    (LOST_REQUEST, "Requests have no row in one file at all, and others tell of them."),
    (LOST_STEP, "Steps have no row in one file at all, and others tell of them."),
    (LOST_KIND, "Events or changes of one kind are nowhere in their file, and others count them."),
    (LOST_ROWS, "A file lacks rows here and there: every so many, or without order."),
];

const LOST_REQUEST: &str = "lost-request";
const LOST_STEP: &str = "lost-step";
const LOST_KIND: &str = "lost-kind";
const LOST_ROWS: &str = "lost-rows";

/// A finding as a loss sees it.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    rule: &'static str,
    finding: &'a Finding,
    severity: Severity,
}

impl<'a> Seen<'a> {
    fn request(&self) -> Option<&'a str> {
        self.finding.request.as_deref()
    }

    fn iteration(&self) -> Option<u64> {
        self.finding.iteration.map(|id| id.0)
    }

    fn column(&self) -> Option<&'static str> {
        self.finding.primary.as_ref().and_then(|mark| mark.column)
    }

    fn is(&self, rules: &[&str]) -> bool {
        rules.contains(&self.rule)
    }

    /// Whether rows are fewer than what counts them: less is expected than found. What is no count may be
    /// so.
    fn lacks(&self) -> bool {
        if !self.is(&["Q001", "Q003", "K002", "C003", "X002"]) {
            return true;
        }
        let number = |text: &Option<String>| text.as_ref()?.parse::<i128>().ok();
        number(&self.finding.expected)
            .zip(number(&self.finding.actual))
            .is_none_or(|(rows, counted)| rows < counted)
    }
}

/// One loss.
struct Loss<'l> {
    cause: &'static str,
    text: String,
    /// The rules whose finding names it, the best first.
    lead: &'static [&'static str],
    explains: Box<dyn Fn(&Seen<'_>) -> bool + 'l>,
}

/// The findings, of which losses take away what they explain.
struct Board<'i, 'a> {
    items: &'i mut [Item<'a>],
    seen: Vec<Seen<'a>>,
    taken: Vec<bool>,
    leads: Vec<(usize, Cause)>,
}

impl<'a> Board<'_, 'a> {
    /// Findings of errors that no loss has explained yet.
    fn open(&self) -> impl Iterator<Item = Seen<'a>> {
        let errors = self.seen.iter().zip(&self.taken);
        errors
            .filter(|(seen, taken)| !**taken && seen.severity == Severity::Error)
            .map(|(seen, _)| *seen)
    }

    fn has(&self, rules: &[&str]) -> bool {
        self.open().any(|seen| seen.is(rules))
    }

    /// The iterations of findings of a rule, in order.
    fn iterations(&self, wanted: impl Fn(&Seen<'_>) -> bool) -> Vec<u64> {
        let all: BTreeSet<u64> =
            self.open().filter(wanted).filter_map(|seen| seen.iteration()).collect();
        all.into_iter().collect()
    }

    /// Folds what the loss explains under the finding that names it.
    fn claim(&mut self, loss: Loss<'_>) {
        let explained: Vec<usize> = (0..self.seen.len())
            .filter(|index| !self.taken[*index] && (loss.explains)(&self.seen[*index]))
            .collect();
        let place = |index: &usize| {
            let seen = &self.seen[*index];
            let rank = loss.lead.iter().position(|rule| *rule == seen.rule)?;
            // One that says what there is too much of because something else is missing comes last.
            let crooked = seen.rule == "X002" && seen.lacks();
            (seen.severity == Severity::Error).then_some((crooked, rank, *index))
        };
        let Some((_, _, lead)) = explained.iter().filter_map(place).min() else { return };
        for index in 0..self.items.len() {
            let follows = explained.contains(&index)
                || self.items[index].root.is_some_and(|root| explained.contains(&root));
            if follows && index != lead {
                self.items[index].root = Some(lead);
                self.taken[index] = true;
            }
        }
        self.items[lead].root = None;
        self.taken[lead] = true;
        self.leads.push((lead, Cause { id: loss.cause, text: loss.text }));
    }
}

/// Folds the findings of a report under losses; each with the index of the finding that leads.
pub(super) fn fold(
    dir: &LogDir,
    report: &CheckReport,
    items: &mut [Item<'_>],
) -> Vec<(usize, Cause)> {
    let seen: Vec<_> = items
        .iter()
        .map(|item| Seen {
            rule: report.rules[item.rule].rule.id,
            finding: item.finding,
            severity: item.severity,
        })
        .collect();
    let taken = vec![false; items.len()];
    let mut board = Board { items, seen, taken, leads: Vec::new() };
    // Where clocks differ, or rows are out of order, nothing is told of what is missing.
    if !board.has(explain::TRACES) || board.has(&["M019", "F007", "X009"]) {
        return Vec::new();
    }
    let Some(counts) = Counts::of(dir, &report.dialect, &board) else { return Vec::new() };
    requests::find(&mut board, &counts);
    steps::find(&mut board, &counts);
    rows::find(&mut board, &counts);
    board.leads
}

/// Whether a finding is of a file's end.
fn is_of(seen: &Seen<'_>, table: Table) -> bool {
    let mark = seen.finding.primary.as_ref().map(|mark| mark.at.table);
    mark == Some(table) || seen.finding.message.starts_with(table.file_name())
}
