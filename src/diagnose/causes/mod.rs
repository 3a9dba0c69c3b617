//! Why findings of one group are there: a table of recognisers, each of one habit of wrong loggers.
//!
//! A recogniser looks at the findings of a group (a sample of them, each with its row) and says what
//! they have in common, or nothing. Some tell what is wrong with the values ([`values`], [`times`], [`steps`],
//! [`units`], [`quotients`]), some look at the whole column, rows without a finding among them
//! ([`columns`]), some say where the findings are ([`places`]), some look at other groups too
//! ([`across`]). Of each kind the first that recognises something speaks; whatever names another column
//! or moment comes before a bare number. What it says is likely, not proven.

mod across;
mod columns;
mod negatives;
mod places;
mod quotients;
mod scales;
mod steps;
mod times;
pub(super) mod units;
mod values;
mod whole;

use std::collections::BTreeMap;

use crate::check::{Finding, Mark};
use crate::diagnose::causes::whole::{Cells, Whole};
use crate::diagnose::excerpt::Excerpts;
use crate::diagnose::facts::{Facts, Own};
use crate::diagnose::group::Group;
use crate::diagnose::{SAMPLE, story::Sums};
use crate::log::field::Field;
use crate::log::schema::Table;
use crate::units::Nanos;

/// What findings have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The recogniser.
    pub id: &'static str,
    /// A sentence.
    pub text: String,
}

/// What a recogniser speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// How a column is wrong in all of its rows, so that the places of the findings tell nothing more.
    Column,
    /// How the values are wrong.
    Values,
    /// Where the findings are.
    Places,
}

/// One habit of wrong loggers.
#[derive(Debug)]
pub struct Recogniser {
    /// Its name.
    pub id: &'static str,
    /// What it recognises.
    pub doc: &'static str,
    /// What it speaks of.
    pub about: About,
    /// Says what the findings of a group have in common.
    find: fn(&Case<'_>) -> Option<String>,
}

/// Every recogniser; of those of values and columns the first that fits speaks, and of those of places, so
/// the most special come first.
pub static RECOGNISERS: &[&Recogniser] = &[
    &units::UNIT,
    &across::SWAPPED,
    &across::MOVED,
    &times::RESET,
    &times::UNCOUNTED,
    &values::MINUS_ONE,
    &negatives::WRAPPED,
    &negatives::TURNED,
    &values::NEGATED,
    &values::LEFT_EMPTY,
    &values::EVENT_AGAIN,
    &steps::OTHER_STEP,
    &steps::OTHER_MOMENT,
    &steps::OTHER_BEGINNING,
    &quotients::QUOTIENT,
    &columns::STUCK,
    &columns::STEP_LATE,
    &columns::RUNNING_TOTAL,
    &columns::OTHER_VALUE,
    &columns::OTHER_COLUMN,
    &scales::FACTOR,
    &values::ROUNDED,
    &values::SINGLE_PRECISION,
    &values::OFF_BY_ONE,
    &values::OFFSET,
    &places::FLUSH,
    &places::STRIDE,
    &places::FROM_HERE_ON,
    &places::LAST_STEP,
    &places::ONE_STEP,
    &places::ONE_REQUEST,
    &places::PREEMPTED_ONLY,
    &places::ONE_ENDING,
];

/// One finding as recognisers see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point<'a> {
    pub(crate) request: Option<&'a str>,
    pub(crate) iteration: Option<u64>,
    /// Both values, where they are whole numbers.
    pub(crate) expected: Option<i128>,
    pub(crate) actual: Option<i128>,
    /// What the row says instead of a value.
    pub(crate) text: Option<&'a str>,
    /// What it should say.
    pub(crate) wanted: Option<&'a str>,
    /// The fields of the finding's row.
    pub(crate) row: BTreeMap<&'static str, &'a str>,
    /// Those of the first row that contradicts it.
    pub(crate) beside: BTreeMap<&'static str, &'a str>,
    /// What the request says of itself.
    pub(crate) own: Option<Own>,
    /// What the changes of the request add up to.
    pub(crate) sums: Option<Sums>,
}

/// A finding of any group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer<'a> {
    pub(crate) rule: &'static str,
    pub(crate) column: Option<&'static str>,
    pub(crate) request: Option<&'a str>,
    pub(crate) iteration: Option<u64>,
    pub(crate) expected: Option<i128>,
    pub(crate) actual: Option<i128>,
    /// The texts of both.
    pub(crate) texts: Option<(&'a str, &'a str)>,
}

/// The findings of a group.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) rule: &'static str,
    /// The file and column that the findings point at.
    pub(crate) table: Option<Table>,
    pub(crate) column: Option<&'static str>,
    pub(crate) points: Vec<Point<'a>>,
    /// The column as a whole, where that is looked at.
    pub(crate) whole: Option<Whole<'a>>,
    /// The findings of all groups.
    pub(crate) peers: &'a [Peer<'a>],
    pub(crate) facts: &'a Facts,
}

impl Case<'_> {
    /// The name of the column, for a sentence.
    fn column_name(&self) -> &'static str {
        match self.column {
            Some("details") => "the value in details",
            Some(column) => column,
            None => "the value",
        }
    }

    /// Whether the column is a time in nanoseconds.
    fn is_time(&self) -> bool {
        self.column.is_some_and(|column| {
            let tables = Table::ALL.iter().map(|table| table.schema());
            let columns = tables.flat_map(|schema| schema.columns);
            let mut same = columns.filter(|declared| declared.name == column);
            same.any(|declared| declared.kind == Nanos::KIND || column == "tpot")
        })
    }

    /// Whether at least two requests are among the findings.
    fn several_requests(&self) -> bool {
        let first = self.points.first().and_then(|point| point.request);
        self.points.iter().any(|point| point.request != first)
    }

    /// Whether two findings are of one request in steps that follow one another.
    fn goes_on(&self) -> bool {
        let follows = |one: &Point<'_>, other: &Point<'_>| {
            one.request == other.request
                && one.iteration.and_then(|id| id.checked_add(1)) == other.iteration
        };
        let mut points = self.points.iter();
        points.any(|one| one.iteration.is_some() && self.points.iter().any(|it| follows(one, it)))
    }

    /// Expected and actual of every finding; none unless all are whole numbers.
    fn pairs(&self) -> Option<Vec<(i128, i128)>> {
        self.points.iter().map(|point| Some((point.expected?, point.actual?))).collect()
    }

    /// By how much every finding is off.
    fn differences(&self) -> Option<Vec<i128>> {
        Some(self.pairs()?.into_iter().map(|(expected, actual)| actual - expected).collect())
    }

    /// The iterations, ascending and each once; none unless every finding has one.
    fn iterations(&self) -> Option<Vec<u64>> {
        let mut all: Vec<_> =
            self.points.iter().map(|point| point.iteration).collect::<Option<_>>()?;
        all.sort_unstable();
        all.dedup();
        Some(all)
    }
}

fn all_same<T: PartialEq>(values: &[T]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// Lists the first few of many.
fn list(values: &[impl ToString]) -> String {
    const LISTED: usize = 4;
    let mut text: Vec<_> = values.iter().take(LISTED).map(ToString::to_string).collect();
    if values.len() > LISTED {
        text.push("…".to_owned());
    }
    text.join(", ")
}

fn number(text: Option<&String>) -> Option<i128> {
    text?.parse().ok()
}

/// Looks for causes in every group.
pub(super) fn explain(
    groups: &mut [Group<'_>],
    excerpts: &Excerpts,
    windows: &Excerpts,
    facts: &Facts,
) {
    let cells = Cells::of(groups);
    let peers: Vec<Peer<'_>> = groups
        .iter()
        .flat_map(|group| group.findings.iter().take(SAMPLE).map(|f| peer(group.rule().id, f)))
        .collect();
    let found: Vec<_> = groups
        .iter()
        .map(|group| {
            let findings = group.findings.iter().take(SAMPLE);
            let place = group.place();
            recognise(&Case {
                rule: group.rule().id,
                table: place.map(|(table, _)| table),
                column: place.and_then(|(_, column)| column),
                points: findings.map(|finding| point(finding, excerpts, facts)).collect(),
                whole: place
                    .and_then(|(table, column)| Whole::of(table, column?, &cells, windows, facts)),
                peers: &peers,
                facts,
            })
        })
        .collect();
    for (group, causes) in groups.iter_mut().zip(found) {
        // Where something is missing as a whole, what the figures look like is its doing.
        if group.causes.is_empty() {
            group.causes = causes;
        }
    }
}

/// Whether a cause of this id says where the findings are, not how they are wrong.
pub(super) fn is_of_places(id: &str) -> bool {
    RECOGNISERS.iter().any(|it| it.id == id && it.about == About::Places)
}

/// Whether the cause is of two columns, whichever of them is looked at.
pub(super) fn names_its_place(cause: &Cause) -> bool {
    cause.id == across::SWAPPED.id
}

fn peer<'a>(rule: &'static str, finding: &'a Finding) -> Peer<'a> {
    Peer {
        rule,
        column: finding.primary.as_ref().and_then(|mark| mark.column),
        request: finding.request.as_deref(),
        iteration: finding.iteration.map(|id| id.0),
        expected: number(finding.expected.as_ref()),
        actual: number(finding.actual.as_ref()),
        texts: finding.expected.as_deref().zip(finding.actual.as_deref()),
    }
}

fn point<'a>(finding: &'a Finding, excerpts: &'a Excerpts, facts: &Facts) -> Point<'a> {
    let fields =
        |mark: Option<&Mark>| mark.map(|mark| excerpts.fields(mark.at)).unwrap_or_default();
    let request = finding.request.as_deref();
    Point {
        request,
        iteration: finding.iteration.map(|id| id.0),
        expected: number(finding.expected.as_ref()),
        actual: number(finding.actual.as_ref()),
        text: finding.actual.as_deref(),
        wanted: finding.expected.as_deref(),
        row: fields(finding.primary.as_ref()),
        beside: fields(finding.related.first()),
        own: request.and_then(|request| facts.own.get(request).copied()),
        sums: request.and_then(|request| facts.sums.get(request).copied()),
    }
}

/// What the recognisers say of a case.
pub(crate) fn recognise(case: &Case<'_>) -> Vec<Cause> {
    let first = |places: bool| {
        let all = RECOGNISERS.iter().filter(|it| (it.about == About::Places) == places);
        all.into_iter().find_map(|it| Some((it, Cause { id: it.id, text: (it.find)(case)? })))
    };
    // A divergence names whichever value differs first, so that those of several are of no one column.
    let values = if case.rule == "V001" { None } else { first(false) };
    match values {
        Some((it, cause)) if it.about == About::Column => vec![cause],
        values => [values, first(true)].into_iter().flatten().map(|(_, cause)| cause).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of what is recognised in findings of this column.
    pub(super) fn said(column: &'static str, points: &[Point<'_>]) -> Vec<String> {
        let facts = Facts {
            requests: 9,
            preempted_requests: 3,
            steps: 9,
            fine_steps: [8, 8],
            ..Facts::default()
        };
        said_of(&Case {
            rule: "M003",
            table: None,
            column: Some(column),
            points: points.to_vec(),
            whole: None,
            peers: &[],
            facts: &facts,
        })
    }

    /// The texts of what is recognised in a whole column.
    pub(super) fn said_of_column(column: &'static str, whole: Whole<'_>) -> Vec<String> {
        said_of(&Case {
            rule: "Q001",
            table: Some(Table::PerIteration),
            column: Some(column),
            points: Vec::new(),
            whole: Some(whole),
            peers: &[],
            facts: &Facts::default(),
        })
    }

    pub(super) fn said_of(case: &Case<'_>) -> Vec<String> {
        recognise(case).into_iter().map(|cause| format!("{}: {}", cause.id, cause.text)).collect()
    }

    /// Findings with these expected and actual values.
    pub(super) fn values(pairs: &[(i128, i128)]) -> Vec<Point<'static>> {
        let point = |(expected, actual): &(i128, i128)| Point {
            expected: Some(*expected),
            actual: Some(*actual),
            ..Point::default()
        };
        pairs.iter().map(point).collect()
    }

    #[test]
    fn every_recogniser_has_a_name_of_its_own_and_a_page() {
        let ids: std::collections::BTreeSet<_> = RECOGNISERS.iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), RECOGNISERS.len());
        assert!(RECOGNISERS.iter().all(|it| it.doc.ends_with('.')));
    }

    #[test]
    fn values_that_divergences_name_first_are_of_no_column() {
        let points = values(&[(64, 48), (63, 48), (16, 48)]);
        let facts = Facts::default();
        let case = |rule| Case {
            rule,
            table: Some(Table::PerIterationRequests),
            column: None,
            points: points.clone(),
            whole: None,
            peers: &[],
            facts: &facts,
        };
        assert_eq!(
            said_of(&case("T001")),
            ["stuck: the value is 48 in all of them: it is not updated"]
        );
        assert_eq!(said_of(&case("V001")), [""; 0]);
    }

    #[test]
    fn nothing_is_recognised_where_nothing_is_common() {
        assert_eq!(said("duration", &[]), [""; 0]);
        assert_eq!(said("duration", &values(&[(100, 137)])), [""; 0]);
        assert_eq!(said("duration", &values(&[(100, 137), (230, 11), (9, 2)])), [""; 0]);
    }
}
