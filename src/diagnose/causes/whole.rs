//! A column as a whole: what its rows say, and what findings say that they should.
//!
//! A finding shows a row that is wrong. That a wrong habit is the reason shows as well in the rows
//! without a finding, in which the habit must make no difference.

use std::collections::BTreeMap;

use crate::check::Finding;
use crate::diagnose::excerpt::Excerpts;
use crate::diagnose::facts::{Facts, Tally};
use crate::diagnose::group::Group;
use crate::log::field::Field;
use crate::log::reader::Location;
use crate::log::schema::Table;
use crate::log::values::{ActionSet, State};
use crate::units::{Blocks, IterationId, Requests};

/// What a cell should be, as far as a finding says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    least: i128,
    most: i128,
}

impl Bounds {
    /// Any number that a log may have.
    const ALL: Self = Self { least: 0, most: i128::MAX };

    const fn only(value: i128) -> Self {
        Self { least: value, most: value }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(least) = text.strip_prefix("at least ") {
            return Some(Self { least: least.parse().ok()?, ..Self::ALL });
        }
        if let Some(most) = text.strip_prefix("at most ") {
            return Some(Self { most: most.parse().ok()?, ..Self::ALL });
        }
        match text.split_once(" to ") {
            Some((least, most)) => {
                Some(Self { least: least.parse().ok()?, most: most.parse().ok()? })
            }
            None => text.parse().ok().map(Self::only),
        }
    }

    fn and(self, other: Self) -> Self {
        Self { least: self.least.max(other.least), most: self.most.min(other.most) }
    }

    pub(super) fn contain(self, value: i128) -> bool {
        (self.least..=self.most).contains(&value)
    }
}

/// A column of a file.
type Place = (Table, &'static str);

/// What all findings together say of cells.
#[derive(Debug, Default)]
pub(super) struct Cells<'a> {
    told: BTreeMap<Place, BTreeMap<Location, Vec<&'a Finding>>>,
    /// Where the findings of a column end of which not all were kept.
    cut: BTreeMap<Place, Location>,
}

impl<'a> Cells<'a> {
    pub(super) fn of(groups: &[Group<'a>]) -> Self {
        let mut cells = Self::default();
        for group in groups {
            let consequences = group.consequences.iter().flat_map(|it| &it.findings);
            for finding in group.findings.iter().chain(consequences) {
                let Some(mark) = &finding.primary else { continue };
                let Some(column) = mark.column else { continue };
                let rows = cells.told.entry((mark.at.table, column)).or_default();
                rows.entry(mark.at).or_default().push(finding);
            }
            let outcome = group.outcome;
            if outcome.errors + outcome.damages + outcome.warnings > outcome.findings.len() as u64 {
                let marks = outcome.findings.iter().filter_map(|it| it.primary.as_ref());
                let mut last: BTreeMap<Place, Location> = BTreeMap::new();
                for mark in marks {
                    if let Some(column) = mark.column {
                        last.insert((mark.at.table, column), mark.at);
                    }
                }
                for (place, at) in last {
                    let cut = cells.cut.entry(place).or_insert(at);
                    *cut = at.min(*cut);
                }
            }
        }
        cells
    }
}

/// One cell of the column.
#[derive(Clone, Debug)]
pub(super) struct Cell<'a> {
    pub(super) fields: BTreeMap<&'static str, &'a str>,
    tally: Tally,
    /// What it says; of words, which of them.
    pub(super) written: i128,
    /// What it should say, if that is known.
    bounds: Option<Bounds>,
    /// Whether it has a finding.
    pub(super) wrong: bool,
}

/// A column, as far as its rows were looked at.
#[derive(Clone, Debug)]
pub(crate) struct Whole<'a> {
    pub(super) cells: Vec<Cell<'a>>,
    pub(super) table: Table,
    name: &'static str,
    /// Whether all findings say what exactly there should be; rows without a finding are right then.
    strict: bool,
    /// Whether the column holds words.
    pub(super) words: bool,
}

/// A value of a step that its rows make.
type Made = (&'static str, &'static str, fn(&Tally) -> u64);

static MADE: [Made; 5] = [
    ("the preempted rows of the step", Requests::KIND, |t| t.rows[State::Preempted as usize]),
    ("the completed rows of the step", Requests::KIND, |t| t.rows[State::Completed as usize]),
    ("the waiting rows of the step", Requests::KIND, |t| t.rows[State::Waiting as usize]),
    ("the blocks of the step's completed rows", Blocks::KIND, |t| t.ended_blocks),
    ("the blocks that the step takes from what it preempts", Blocks::KIND, |t| t.preempted_blocks),
];

impl<'a> Whole<'a> {
    /// The column, if its rows were fetched.
    pub(super) fn of(
        table: Table,
        name: &'static str,
        cells: &Cells<'_>,
        windows: &'a Excerpts,
        facts: &Facts,
    ) -> Option<Self> {
        let told = cells.told.get(&(table, name))?;
        let column = &table.schema().columns[table.schema().column(name)?];
        let cut = cells.cut.get(&(table, name));
        let words = column.kind == ActionSet::KIND;
        let mut vocabulary: Vec<String> = Vec::new();
        let mut value = |text: &str| match words {
            true => Some(vocabulary.iter().position(|word| word == text).unwrap_or_else(|| {
                vocabulary.push(text.to_owned());
                vocabulary.len() - 1
            }) as i128),
            false => text.parse().ok(),
        };
        let mut found = Vec::new();
        let mut strict = true;
        let window = facts.windows.get(&table)?.iter();
        for at in window.take_while(|at| cut.is_none_or(|cut| *at <= cut)) {
            let fields = windows.fields(*at);
            let Some(text) = fields.get(name).copied() else { continue };
            let Some(written) = value(text) else { continue };
            // Some rules judge a sum of several rows, or something else.
            let of_cell = |it: &&&Finding| it.actual.as_deref() == Some(text);
            let findings: Vec<_> = told.get(at).into_iter().flatten().filter(of_cell).collect();
            let wrong = !findings.is_empty();
            let said = findings.iter().map(|finding| {
                let text = finding.expected.as_deref()?;
                if words { value(text).map(Bounds::only) } else { Bounds::parse(text) }
            });
            let said: Vec<_> = said.collect();
            let all_said = said.iter().all(Option::is_some);
            // What is said in words bounds nothing.
            let bounds = said.into_iter().flatten().reduce(Bounds::and);
            strict &= !wrong || all_said && bounds.is_some_and(|it| it.least == it.most);
            let step = fields.get("iteration_id").and_then(|id| id.parse().ok()).map(IterationId);
            let tally = step.and_then(|step| facts.tallies.get(&step).copied()).unwrap_or_default();
            found.push(Cell { fields, tally, written, bounds, wrong });
        }
        if strict {
            let right = found.iter_mut().filter(|cell| !cell.wrong);
            right.for_each(|cell| cell.bounds = Some(Bounds::only(cell.written)));
        }
        found.iter().any(|cell| cell.wrong).then_some(Self {
            cells: found,
            table,
            name,
            strict,
            words,
        })
    }

    /// Whether it is known of every row what exactly it should say.
    pub(super) const fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether all rows say the same.
    pub(super) fn is_constant(&self) -> bool {
        self.cells.windows(2).all(|pair| pair[0].written == pair[1].written)
    }

    /// Whether every row is right if this is what it means: that of no row may be outside of what it
    /// should be, and at least `least` wrong rows must be right then (one more where what they should be
    /// is not known exactly). Where nothing can be told of a row it stands for no other.
    pub(super) fn is_mended(&self, least: usize, meant: impl Fn(usize) -> Option<i128>) -> bool {
        let mut mended = 0;
        for (index, cell) in self.cells.iter().enumerate() {
            let Some(value) = meant(index) else { continue };
            if !cell.bounds.unwrap_or(Bounds::ALL).contain(value) {
                return false;
            }
            mended += usize::from(cell.wrong && cell.bounds.is_some());
        }
        mended >= if self.strict { least } else { least + 1 }
    }

    /// Whether some rows are too small and some too large, or all are wrong for certain.
    pub(super) fn is_wrong_both_ways(&self) -> bool {
        let of_wrong = || self.cells.iter().filter(|cell| cell.wrong);
        let low = |cell: &Cell<'_>| cell.bounds.is_some_and(|it| cell.written < it.least);
        let high = |cell: &Cell<'_>| cell.bounds.is_some_and(|it| cell.written > it.most);
        self.strict || of_wrong().any(low) && of_wrong().any(high)
    }

    /// Whether the findings say how small and how large the wrong rows should be, so that not every
    /// other value is as good.
    pub(super) fn tells_values(&self) -> bool {
        let bounded = |it: Bounds| it.least > 0 && it.most < i128::MAX || it.least == it.most;
        let mut wrong = self.cells.iter().filter(|cell| cell.wrong);
        self.is_wrong_both_ways() || wrong.all(|cell| cell.bounds.is_some_and(bounded))
    }

    /// The other columns of the same unit, each with its values.
    pub(super) fn others(&self) -> Vec<(&'static str, Vec<Option<i128>>)> {
        let schema = self.table.schema();
        let columns = schema.columns.iter().filter(|it| it.kind == self.kind());
        let others = columns.map(|it| it.name).filter(|name| *name != self.name);
        let of_row = |name: &'static str| {
            self.cells.iter().map(move |cell| cell.fields.get(name)?.parse().ok()).collect()
        };
        others.map(|name| (name, of_row(name))).collect()
    }

    /// What the rows of a step make of the same unit, each with its values.
    pub(super) fn made(&self) -> Vec<(&'static str, Vec<Option<i128>>)> {
        let made = MADE
            .iter()
            .filter(|(_, unit, _)| self.table == Table::PerIteration && *unit == self.kind());
        let of_step = |make: fn(&Tally) -> u64| {
            self.cells.iter().map(move |cell| Some(i128::from(make(&cell.tally)))).collect()
        };
        made.map(|(name, _, make)| (*name, of_step(*make))).collect()
    }

    fn kind(&self) -> &'static str {
        let mut columns = self.table.schema().columns.iter();
        columns.find(|it| it.name == self.name).map_or("", |it| it.kind)
    }
}

#[cfg(test)]
impl Whole<'_> {
    /// A column of steps with these expected and actual values, and another one.
    pub(super) fn test(
        name: &'static str,
        rows: &[(&str, i128)],
        other: &[(&'static str, &[&'static str])],
    ) -> Self {
        let cells: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(index, (expected, written))| {
                let bounds = Bounds::parse(expected);
                let wrong = !bounds.is_some_and(|bounds| bounds.contain(*written));
                Cell {
                    fields: other.iter().map(|(name, values)| (*name, values[index])).collect(),
                    tally: Tally::default(),
                    written: *written,
                    bounds: bounds.filter(|_| wrong),
                    wrong,
                }
            })
            .collect();
        let exact = |cell: &Cell<'_>| cell.bounds.is_none_or(|it| it.least == it.most);
        let strict = cells.iter().all(exact);
        let mut whole = Self { cells, table: Table::PerIteration, name, strict, words: false };
        if strict {
            for cell in &mut whole.cells {
                cell.bounds.get_or_insert(Bounds::only(cell.written));
            }
        }
        whole
    }
}
