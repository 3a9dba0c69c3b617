//! What one value, row or column could be instead, by what the findings say of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{CheckReport, Declaration, Finding, Severity};
use crate::diagnose::repair::Sheets;
use crate::diagnose::repair::sheet::{MEMBERS, Place};
use crate::log::schema::Table;
use crate::log::values::{EventType, FinishReason, SchedulerAction, State};

/// Findings of a rule that are asked.
const ASKED: usize = 24;
/// Requests one of which a row may be of.
const IDS: usize = 3;
/// Findings that are off by the same before the whole column is taken to be.
const SEVERAL: usize = 3;

/// What could be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guess {
    /// Each number of a column is so much too small.
    Shifted(Place, i128),
    /// Each number of a column is so many times what it should be.
    Scaled(Place, i128),
    /// Each value of a column of which a rule expects another is that one.
    Expected(Place, BTreeMap<usize, String>),
    /// One value is another one.
    Cell(usize, Place, String),
    /// A row is one too many.
    Removed(usize, Table),
    /// A row stands before the one that should be before it.
    Swapped(usize, Table),
}

/// Which rules ask for a guess, how much, and how often.
#[derive(Debug, Default)]
struct Votes {
    rules: BTreeMap<&'static str, u32>,
    count: u32,
}

struct Guesses<'s> {
    sheets: &'s Sheets,
    /// The requests of which most is told.
    ids: Vec<String>,
    votes: BTreeMap<Guess, Votes>,
}

/// All guesses, the likeliest first.
pub(super) fn of(report: &CheckReport, sheets: &Sheets) -> Vec<Guess> {
    let mut all = Guesses { sheets, ids: told_of_most(report), votes: BTreeMap::new() };
    for outcome in &report.rules {
        let rule = outcome.rule;
        let errors = outcome.findings.iter().filter(|finding| {
            finding.severity.unwrap_or(rule.severity) == Severity::Error && rule.id != "V001"
        });
        let errors: Vec<&Finding> = errors.collect();
        errors.iter().take(ASKED).for_each(|finding| all.ask(rule, finding));
        all.ask_of_column(rule, &errors);
    }
    let mut all: Vec<(Guess, Votes)> = all.votes.into_iter().collect();
    all.sort_by_key(|(guess, votes)| {
        let weight: u32 = votes.rules.values().sum();
        (std::cmp::Reverse((weight, votes.count)), guess.clone())
    });
    all.into_iter().map(|(guess, _)| guess).collect()
}

/// The requests that most rules tell of.
fn told_of_most(report: &CheckReport) -> Vec<String> {
    let mut rules: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for outcome in &report.rules {
        for finding in outcome.findings.iter().take(ASKED) {
            for id in finding.request.iter().chain(&finding.named) {
                rules.entry(id).or_default().insert(outcome.rule.id);
            }
        }
    }
    let mut all: Vec<_> = rules.into_iter().map(|(id, rules)| (rules.len(), id)).collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.into_iter().take(IDS).map(|(_, id)| id.to_owned()).collect()
}

/// The first whole number in a text.
fn number(text: Option<&String>) -> Option<i128> {
    let text = text?;
    let start = text.find(|it: char| it.is_ascii_digit())?;
    let start = start - usize::from(text[..start].ends_with('-'));
    let end = text[start + 1..].find(|it: char| !it.is_ascii_digit());
    text[start..end.map_or(text.len(), |end| start + 1 + end)].parse().ok()
}

/// By how much a value is too small.
pub(super) fn off(finding: &Finding) -> Option<i128> {
    let (expected, actual) = (number(finding.expected.as_ref())?, number(finding.actual.as_ref())?);
    expected.checked_sub(actual).filter(|off| *off != 0)
}

/// The columns of a table that a rule reads.
fn read(rule: &Declaration, table: Table) -> impl Iterator<Item = &'static str> {
    let all = rule.reads.iter().chain(rule.also).filter(move |reads| reads.table == table);
    all.flat_map(|reads| reads.columns.iter().copied())
}

/// The values of a column: those of members, where it is the details.
fn places(table: Table, column: &'static str) -> Vec<Place> {
    match column {
        "details" => {
            let place = |member| Place { table, column, member: Some(member), kind: None };
            MEMBERS.into_iter().map(place).collect()
        }
        _ => vec![Place { table, column, member: None, kind: None }],
    }
}

impl Guesses<'_> {
    fn vote(&mut self, guess: Guess, rule: &'static str, weight: u32) {
        let votes = self.votes.entry(guess).or_default();
        let most = votes.rules.entry(rule).or_default();
        *most = weight.max(*most);
        votes.count += weight;
    }

    fn ask(&mut self, rule: &'static Declaration, finding: &Finding) {
        let off = off(finding);
        let marks = finding.primary.iter().map(|mark| (mark, true));
        let marks = marks.chain(finding.related.iter().map(|mark| (mark, false)));
        let mut rows = BTreeSet::new();
        for (mark, is_primary) in marks {
            let table = mark.at.table;
            let row = self.sheets.of(table).and_then(|sheet| sheet.row_at(mark.at.offset));
            let Some(row) = row else { continue };
            rows.insert((table, row));
            let Some(column) = mark.column else { continue };
            for place in places(table, column) {
                if is_primary {
                    self.expected(rule.id, finding, row, place);
                }
                self.near(rule.id, off, row, place, if is_primary { 3 } else { 2 });
            }
            if is_primary {
                self.vote(Guess::Removed(row, table), rule.id, 1);
                for before in row.checked_sub(1).into_iter().chain([row]) {
                    self.vote(Guess::Swapped(before, table), rule.id, 1);
                }
                self.elsewhere(rule.id, row, table);
            }
        }
        rows.extend(self.sheets.told_of(finding));
        for (table, row) in rows {
            for column in read(rule, table) {
                self.words(rule.id, row, table, column);
                for place in places(table, column) {
                    self.near(rule.id, off, row, place, 1);
                }
            }
        }
    }

    /// The value that the finding expects.
    fn expected(&mut self, rule: &'static str, finding: &Finding, row: usize, place: Place) {
        let Some(told) = self.sheets.of(place.table).and_then(|sheet| sheet.value(row, place))
        else {
            return;
        };
        let expected = if told.parse::<i128>().is_ok() {
            number(finding.expected.as_ref()).map(|it| it.to_string())
        } else {
            finding.expected.clone()
        };
        let is_word = |text: &String| !text.contains([' ', ',', '"']);
        if let Some(text) = expected.filter(|text| text != told && is_word(text)) {
            self.vote(Guess::Cell(row, place, text), rule, 3);
        }
    }

    /// The value by as much larger or smaller as two others differ.
    fn near(
        &mut self,
        rule: &'static str,
        off: Option<i128>,
        row: usize,
        place: Place,
        weight: u32,
    ) {
        let told = self.sheets.of(place.table).and_then(|sheet| sheet.number(row, place));
        let Some((told, off)) = told.zip(off) else { return };
        for value in [told.saturating_add(off), told.saturating_sub(off)] {
            if value >= 0 {
                self.vote(Guess::Cell(row, place, value.to_string()), rule, weight);
            }
        }
    }

    /// The row as one of another request, or of the step before or behind.
    fn elsewhere(&mut self, rule: &'static str, row: usize, table: Table) {
        let Some(sheet) = self.sheets.of(table) else { return };
        let mut cells: Vec<(&'static str, String)> = Vec::new();
        if let Some(told) = sheet.cell(row, "request_id") {
            let others = self.ids.iter().filter(|id| *id != told);
            cells.extend(others.map(|id| ("request_id", id.clone())));
        }
        if table == Table::PerIterationRequests {
            let told = sheet.cell(row, "iteration_id");
            let near = row.checked_sub(1).into_iter().chain([row + 1]);
            let near = near.filter(|near| *near < sheet.len());
            let steps: BTreeSet<&str> =
                near.filter_map(|near| sheet.cell(near, "iteration_id")).collect();
            let others = steps.into_iter().filter(|step| Some(*step) != told);
            cells.extend(others.map(|step| ("iteration_id", step.to_owned())));
        }
        for (column, text) in cells {
            let place = Place { table, column, member: None, kind: None };
            self.vote(Guess::Cell(row, place, text), rule, 1);
        }
    }

    /// The other words of the column.
    fn words(&mut self, rule: &'static str, row: usize, table: Table, column: &'static str) {
        let texts: Vec<&str> = match column {
            "state" | "prev_state" => State::ALL.iter().map(|it| it.as_str()).collect(),
            "event_type" => EventType::ALL.iter().map(|it| it.as_str()).collect(),
            "scheduler_action" => SchedulerAction::ALL.iter().map(|it| it.as_str()).collect(),
            "finish_reason" => FinishReason::ALL.iter().map(|it| it.as_str()).collect(),
            _ => return,
        };
        let place = Place { table, column, member: None, kind: None };
        let told = self.sheets.of(table).and_then(|sheet| sheet.value(row, place));
        let Some(told) = told.map(str::to_owned) else { return };
        for text in texts.into_iter().filter(|text| *text != told) {
            self.vote(Guess::Cell(row, place, text.to_owned()), rule, 1);
        }
    }

    /// What all findings of a rule in a column are off by, and what they expect.
    fn ask_of_column(&mut self, rule: &'static Declaration, findings: &[&Finding]) {
        let mut shifts: BTreeMap<(Place, i128), usize> = BTreeMap::new();
        let mut factors = shifts.clone();
        let mut expected: BTreeMap<Place, BTreeMap<usize, String>> = BTreeMap::new();
        // A column that contradicts theirs by the same may be what is wrong.
        let mut beside: BTreeMap<(Place, i128), usize> = BTreeMap::new();
        for finding in findings {
            for mark in &finding.related {
                let sheet = self.sheets.of(mark.at.table);
                let row = sheet.and_then(|sheet| Some((sheet, sheet.row_at(mark.at.offset)?)));
                let (Some((sheet, row)), Some(off), Some(column)) =
                    (row, off(finding), mark.column)
                else {
                    continue;
                };
                for place in places(mark.at.table, column) {
                    for kind in BTreeSet::from([None, sheet.kind(row)]) {
                        *beside.entry((Place { kind, ..place }, off)).or_default() += 1;
                    }
                }
            }
            let values = number(finding.expected.as_ref()).zip(number(finding.actual.as_ref()));
            let (Some(mark), Some((right, told))) = (&finding.primary, values) else { continue };
            let (table, Some(column)) = (mark.at.table, mark.column) else { continue };
            let Some(sheet) = self.sheets.of(table) else { continue };
            let Some(row) = sheet.row_at(mark.at.offset) else { continue };
            for place in places(table, column) {
                let own = sheet.number(row, place);
                for kind in BTreeSet::from([None, sheet.kind(row)]) {
                    let place = Place { kind, ..place };
                    *shifts.entry((place, right - told)).or_default() += 1;
                    if right > 1 && told > right && told % right == 0 {
                        *factors.entry((place, told / right)).or_default() += 1;
                    }
                }
                if own == Some(told) {
                    expected.entry(place).or_default().insert(row, right.to_string());
                }
            }
        }
        let asked = findings.len().min(ASKED);
        let often = |count: usize| count >= SEVERAL.min(asked);
        for ((place, off), count) in shifts {
            for column in read(rule, place.table).filter(|_| often(count)) {
                let weight = if column == place.column { 5 } else { 2 };
                for other in places(place.table, column) {
                    for off in [off, -off] {
                        let place = Place { kind: place.kind, ..other };
                        self.vote(Guess::Shifted(place, off), rule.id, weight);
                    }
                }
            }
        }
        for ((place, off), count) in beside {
            for off in [off, -off].into_iter().filter(|_| often(count)) {
                self.vote(Guess::Shifted(place, off), rule.id, 3);
            }
        }
        for ((place, factor), count) in factors {
            if often(count) {
                self.vote(Guess::Scaled(place, factor), rule.id, 5);
            }
        }
        for (place, texts) in expected {
            if texts.len() > 1 {
                self.vote(Guess::Expected(place, texts), rule.id, 5);
            }
        }
    }
}
