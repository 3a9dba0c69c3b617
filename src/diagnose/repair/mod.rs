//! What if one value were another one? Guesses at a single mistake, each tried by checking the log once more.
//!
//! Where several groups are left, the findings themselves tell which values could be meant: what they expect,
//! and by how much two sides differ. If with one of these changes, of a cell, a row or a whole column,
//! nothing is left to find, that is the mistake, and all else follows from it. Only small logs are tried.

mod guesses;
mod sheet;

use hashbrown::HashMap;

use crate::check::{CheckOptions, CheckReport, Finding, Severity, is_clean};
use crate::diagnose::causes::Cause;
use crate::diagnose::fold::Item;
use crate::diagnose::group::Group;
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::{ONE_WRONG_VALUE, WRONG_COLUMN};
use crate::diagnose::repair::guesses::Guess;
use crate::diagnose::repair::sheet::{Place, Sheet};
use crate::diagnose::shape::shape;
use crate::log::reader::LogDir;
use crate::log::schema::Table;

/// How often a log is checked once more, at most.
const TRIES: u64 = 64;
/// How many bytes are read again for that.
const BYTES: u64 = 32 << 20;
/// Of a log of which that leaves fewer tries than these, none is made.
const FEWEST: u64 = 4;
/// How many bytes of a log there may be to one of a compressed file.
const PACKED: u64 = 8;

/// Lines that are named.
const NAMED: usize = 4;

/// The files of the log.
pub(super) struct Sheets {
    all: [Option<Sheet>; 5],
    /// Rows of per_iteration.csv by step, those of its requests by step and request, requests by id.
    steps: HashMap<String, usize>,
    rows: HashMap<(String, String), usize>,
    requests: HashMap<String, usize>,
}

impl Sheets {
    fn read(dir: &LogDir, most: u64) -> Self {
        let all = Table::ALL.map(|table| Sheet::read(dir, table, most));
        let mut sheets =
            Self { all, steps: HashMap::new(), rows: HashMap::new(), requests: HashMap::new() };
        let keys = |table: Table, column: &'static str| {
            let sheet = sheets.of(table);
            sheet.into_iter().flat_map(move |sheet| {
                let text = |row| sheet.cell(row, column).map(str::to_owned);
                (0..sheet.len()).filter_map(move |row| Some((text(row)?, row)))
            })
        };
        let steps = keys(Table::PerIteration, "iteration_id").collect();
        let requests = keys(Table::PerRequest, "request_id").collect();
        let of_rows = sheets.of(Table::PerIterationRequests);
        let rows = keys(Table::PerIterationRequests, "iteration_id")
            .filter_map(|(step, row)| {
                Some(((step, of_rows?.cell(row, "request_id")?.to_owned()), row))
            })
            .collect();
        (sheets.steps, sheets.rows, sheets.requests) = (steps, rows, requests);
        sheets
    }

    fn of(&self, table: Table) -> Option<&Sheet> {
        self.all[table as usize].as_ref()
    }

    /// Rows of the step and the request of a finding, whether it points at them or not.
    fn told_of(&self, finding: &Finding) -> Vec<(Table, usize)> {
        let step = finding.iteration.map(|id| id.0.to_string());
        let request = finding.request.clone();
        let of_step = step.as_ref().and_then(|step| self.steps.get(step));
        let of_request = request.as_ref().and_then(|id| self.requests.get(id));
        let of_both = step.zip(request).and_then(|both| self.rows.get(&both));
        let rows = [
            of_step.map(|row| (Table::PerIteration, *row)),
            of_request.map(|row| (Table::PerRequest, *row)),
            of_both.map(|row| (Table::PerIterationRequests, *row)),
        ];
        rows.into_iter().flatten().collect()
    }

    /// The log with this changed.
    fn with(&self, dir: &LogDir, guess: &Guess) -> Option<LogDir> {
        let (table, bytes) = match guess {
            Guess::Cell(row, place, text) => {
                (place.table, self.of(place.table)?.with(*row, *place, text)?)
            }
            Guess::Shifted(place, off) => {
                let change = |it: i128| it.checked_add(*off).filter(|it| *it >= 0);
                (place.table, self.of(place.table)?.with_each(*place, change)?)
            }
            Guess::Scaled(place, factor) => {
                let change = |it: i128| (it % factor == 0).then_some(it / factor);
                (place.table, self.of(place.table)?.with_each(*place, change)?)
            }
            Guess::Expected(place, texts) => {
                (place.table, self.of(place.table)?.with_all(*place, texts)?)
            }
            Guess::Removed(row, table) => (*table, self.of(*table)?.without(*row)),
            Guess::Swapped(row, table) => (*table, self.of(*table)?.swapped(*row)?),
        };
        Some(dir.with(table, bytes))
    }

    /// What is wrong, in a sentence.
    fn tell(&self, guess: &Guess) -> Option<Cause> {
        let named = |place: &Place| match place.member {
            Some(member) => format!("{member} in the details"),
            None => place.column.to_owned(),
        };
        let rows = |place: &Place| match place.kind {
            Some(kind) => format!("every {kind} row of {}", place.table.file_name()),
            None => format!("every row of {}", place.table.file_name()),
        };
        Some(match guess {
            Guess::Cell(row, place, text) => {
                let sheet = self.of(place.table)?;
                let (line, told) = (sheet.line(*row), sheet.value(*row, *place)?);
                let (file, name) = (place.table.file_name(), named(place));
                let told = if told.is_empty() { "empty" } else { told };
                let text = format!(
                    "{name} in line {line} of {file} is {told}: with {text} there, no finding is left, so that it is this \
                     one value that is wrong"
                );
                Cause { id: ONE_WRONG_VALUE, text }
            }
            Guess::Shifted(place, off) => {
                let (rows, name) = (rows(place), named(place));
                let size = if *off < 0 { "large" } else { "small" };
                let text = format!(
                    "{name} is {} too {size} in {rows}: without that, no finding is left",
                    off.abs()
                );
                Cause { id: WRONG_COLUMN, text }
            }
            Guess::Scaled(place, factor) => {
                let (rows, name) = (rows(place), named(place));
                let text = format!(
                    "{name} is {factor} times what it should be in {rows}: without that, no finding is left"
                );
                Cause { id: WRONG_COLUMN, text }
            }
            Guess::Expected(place, texts) => {
                let sheet = self.of(place.table)?;
                let lines: Vec<u64> = texts.keys().map(|row| sheet.line(*row)).collect();
                let (file, name) = (place.table.file_name(), named(place));
                let text = format!(
                    "{name} is wrong in lines {} of {file}: with what is expected there, no finding is left",
                    listed(&lines, NAMED)
                );
                Cause { id: WRONG_COLUMN, text }
            }
            Guess::Removed(row, table) => {
                let line = self.of(*table)?.line(*row);
                let text = format!(
                    "line {line} of {} is one too many: without it, no finding is left",
                    table.file_name()
                );
                Cause { id: ONE_WRONG_VALUE, text }
            }
            Guess::Swapped(row, table) => {
                let sheet = self.of(*table)?;
                let (line, next) = (sheet.line(*row), sheet.line(row + 1));
                let text = format!(
                    "line {line} of {} stands before line {next} and belongs behind it: in that order no finding is left",
                    table.file_name()
                );
                Cause { id: ONE_WRONG_VALUE, text }
            }
        })
    }

    /// How well a finding shows what is wrong: best if it points there.
    fn rank(&self, guess: &Guess, finding: &Finding) -> u8 {
        let (table, row, column) = match guess {
            Guess::Cell(row, place, _) => (place.table, Some(*row), Some(place.column)),
            Guess::Shifted(place, _) | Guess::Scaled(place, _) | Guess::Expected(place, _) => {
                (place.table, None, Some(place.column))
            }
            Guess::Removed(row, table) | Guess::Swapped(row, table) => (*table, Some(*row), None),
        };
        let says = match guess {
            Guess::Cell(_, _, text) => finding.expected.as_ref() == Some(text),
            Guess::Shifted(_, off) => guesses::off(finding) == Some(*off),
            _ => true,
        };
        let offset = row.and_then(|row| Some(self.of(table)?.offset(row)));
        let near = |mark: &crate::check::Mark| {
            mark.at.table == table && offset.is_none_or(|offset| mark.at.offset == offset)
        };
        let there = |mark: &crate::check::Mark| {
            near(mark) && column.is_none_or(|column| mark.column == Some(column))
        };
        let primary = finding.primary.as_ref();
        match () {
            () if primary.is_some_and(there) && says => 0,
            () if primary.is_some_and(there) => 1,
            () if finding.related.iter().any(there) => 2,
            () if primary.is_some_and(near) => 3,
            () => 4,
        }
    }
}

/// The one mistake.
pub(super) struct Found {
    /// The finding that shows it best.
    pub(super) lead: usize,
    /// What it is.
    pub(super) cause: Cause,
    /// Where its cause stands.
    pub(super) telling: Telling,
}

/// How a cause stands beside what the values of the findings have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// It says all.
    Alone,
    /// It says most.
    First,
    /// They say more.
    IfNothingElse,
}

/// Whether it is worth a try: more than one group says what is wrong.
pub(super) fn is_wanted(groups: &[Group<'_>]) -> bool {
    let told = groups.iter().filter(|group| group.severity > Severity::Warning);
    told.clone().count() > 1 && told.clone().any(|group| group.severity == Severity::Error)
}

/// Looks for the one change with which nothing is left to find, and folds everything under the finding that
/// shows it best.
pub(super) fn find(dir: &LogDir, report: &CheckReport, items: &mut [Item<'_>]) -> Option<Found> {
    if dir.is_growing() || report.begins_late {
        return None;
    }
    let size: u64 = Table::ALL
        .iter()
        .filter_map(|table| dir.file(*table))
        .map(|file| file.stored_bytes() * if file.compressed { PACKED } else { 1 })
        .sum();
    let tries = (BYTES / size.max(1)).min(TRIES);
    if tries < FEWEST {
        return None;
    }
    let sheets = Sheets::read(dir, BYTES / FEWEST);
    let rules: Vec<_> =
        report.rules.iter().map(|outcome| outcome.rule).filter(|rule| rule.id != "V001").collect();
    let options = CheckOptions {
        settings: report.settings.clone(),
        skew_bound: report.dialect.skew_bound,
        ..CheckOptions::default()
    };
    let found = guesses::of(report, &sheets)
        .into_iter()
        .filter_map(|guess| Some((sheets.with(dir, &guess)?, guess)))
        .take(usize::try_from(tries).unwrap_or(usize::MAX))
        .find(|(other, _)| is_clean(other, &options, &rules).is_ok_and(|is_clean| is_clean));
    let (_, guess) = found?;
    let is_of_conform = |item: &Item<'_>| report.rules[item.rule].rule.id == "V001";
    let is_error = |item: &Item<'_>| item.severity == Severity::Error && !is_of_conform(item);
    let ranks = items.iter().enumerate().filter(|(_, item)| is_error(item));
    let (_, lead) = ranks.map(|(index, item)| (sheets.rank(&guess, item.finding), index)).min()?;
    let cause = sheets.tell(&guess)?;
    let leader = items[lead];
    // Of a column all that shows it stands together.
    let is_one = matches!(guess, Guess::Cell(..) | Guess::Removed(..) | Guess::Swapped(..));
    let is_alike = |item: &Item<'_>| {
        let place = |item: &Item<'_>| {
            item.finding.primary.as_ref().map(|mark| (mark.at.table, mark.column))
        };
        (item.rule, item.severity, place(item)) == (leader.rule, leader.severity, place(&leader))
            && shape(item.finding) == shape(leader.finding)
    };
    for (index, item) in items.iter_mut().enumerate() {
        let leads = index == lead || !is_one && is_alike(item);
        // Whether the scheduler decides otherwise was not looked at again.
        item.root = (!leads && !is_of_conform(item)).then_some(lead);
    }
    let telling = match guess {
        Guess::Cell(..) | Guess::Removed(..) | Guess::Swapped(..) => Telling::Alone,
        Guess::Shifted(..) | Guess::Scaled(..) => Telling::First,
        Guess::Expected(..) => Telling::IfNothingElse,
    };
    Some(Found { lead, cause, telling })
}
