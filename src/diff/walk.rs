//! Walks both logs file by file, side by side.

use std::collections::VecDeque;

use crate::diff::classes::Class;
use crate::diff::stream::{Fields, Stream};
use crate::diff::{DiffError, DiffOptions, Difference, FieldDifference};
use crate::log::reader::LogDir;
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};

/// Rows shown before a difference.
const CONTEXT: usize = 3;

/// What a walk over all files found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) differences: Vec<Difference>,
    pub(super) rows: u64,
}

/// Compares the columns of one class in every file.
pub(super) fn compare(
    golden: &LogDir,
    new: &LogDir,
    class: Class,
    options: DiffOptions,
) -> Result<Walked, DiffError> {
    let mut walked = Walked::default();
    let rows = &mut walked.rows;
    let found = [
        table::<IterationRow>(golden, new, class, options, rows)?,
        table::<IterationRequestRow>(golden, new, class, options, rows)?,
        table::<EventRow>(golden, new, class, options, rows)?,
        table::<TransitionRow>(golden, new, class, options, rows)?,
        table::<RequestRow>(golden, new, class, options, rows)?,
    ];
    // The earliest step first; files without steps tell the consequences.
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    found.sort_by_key(|(iteration, _)| iteration.unwrap_or(u64::MAX));
    walked.differences = found.into_iter().map(|(_, difference)| difference).collect();
    Ok(walked)
}

type Found = Option<(Option<u64>, Difference)>;

fn table<R: Row>(
    golden: &LogDir,
    new: &LogDir,
    class: Class,
    options: DiffOptions,
    rows: &mut u64,
) -> Result<Found, DiffError> {
    let (mut golden, mut new) = (Stream::<R>::open(golden)?, Stream::<R>::open(new)?);
    if !golden.is_there() || !new.is_there() {
        let only_one = golden.is_there() != new.is_there() && class == Class::Decision;
        return Ok(only_one.then(|| (None, missing_file::<R>(class))));
    }
    let columns: Vec<_> = (0..R::SCHEMA.columns.len())
        .filter(|at| golden.has(*at) && new.has(*at))
        .filter(|at| Class::of(R::SCHEMA.table, R::SCHEMA.columns[*at].name) == class)
        .collect();
    let mut found: Found = None;
    let mut before = VecDeque::new();
    loop {
        let (left, right) = match shift(&mut golden, &mut new)? {
            Shift::None => (golden.next()?, new.next()?),
            Shift::OnlyGolden => (golden.next()?, None),
            Shift::OnlyNew => (None, new.next()?),
        };
        if left.is_none() && right.is_none() {
            return Ok(found);
        }
        *rows += 1;
        let fields = differing::<R>(left.as_ref(), right.as_ref(), &columns, options);
        let both = left.is_some() && right.is_some();
        // Rows that only one side has are different decisions, whatever they count.
        if fields.is_empty() && (both || class != Class::Decision) {
            if found.is_none() {
                keep(&mut before, left);
            }
            continue;
        }
        if let Some((_, difference)) = &mut found {
            difference.rows += 1;
            continue;
        }
        let iteration = left.iter().chain(&right).filter_map(|row| row.iteration).min();
        let difference = Difference {
            class,
            table: R::SCHEMA.table,
            golden: left.map(|row| row.side),
            new: right.map(|row| row.side),
            fields,
            before: before.drain(..).collect(),
            rows: 1,
        };
        found = Some((iteration, difference));
    }
}

/// How far a row is looked for on the other side.
const REACH: usize = 64;

/// Which side has a row here that the other one lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    None,
    OnlyGolden,
    OnlyNew,
}

/// Rows are put side by side by what they are of, so that a lost row is one difference and not one per
/// row behind it.
fn shift<R: Row>(golden: &mut Stream<R>, new: &mut Stream<R>) -> Result<Shift, DiffError> {
    let (Some(left), Some(right)) = (golden.peek(0)?, new.peek(0)?) else { return Ok(Shift::None) };
    let (left, right) = (identity::<R>(left), identity::<R>(right));
    if left == right {
        return Ok(Shift::None);
    }
    for distance in 1..=REACH {
        let (old, young) = (golden.peek(distance)?, new.peek(distance)?);
        if old.is_none() && young.is_none() {
            break;
        }
        if old.is_some_and(|row| identity::<R>(row) == right) {
            return Ok(Shift::OnlyGolden);
        }
        if young.is_some_and(|row| identity::<R>(row) == left) {
            return Ok(Shift::OnlyNew);
        }
    }
    Ok(Shift::None)
}

/// What a row is of.
fn identity<R: Row>(row: &Fields) -> Vec<String> {
    let names: &[&str] = match R::SCHEMA.table {
        Table::PerIteration => &["iteration_id"],
        Table::PerIterationRequests => &["iteration_id", "request_id", "state"],
        Table::Events => &["event_type", "request_id"],
        Table::StateTransitions => &["request_id", "state"],
        Table::PerRequest => &["request_id"],
    };
    let columns = names.iter().filter_map(|name| R::SCHEMA.column(name));
    columns.map(|at| row.fields.get(at).unwrap_or_default().to_owned()).collect()
}

fn keep(before: &mut VecDeque<String>, row: Option<Fields>) {
    if before.len() == CONTEXT {
        before.pop_front();
    }
    before.extend(row.map(|row| row.side.text));
}

fn missing_file<R: Row>(class: Class) -> Difference {
    Difference {
        class,
        table: R::SCHEMA.table,
        golden: None,
        new: None,
        fields: Vec::new(),
        before: Vec::new(),
        rows: 0,
    }
}

fn differing<R: Row>(
    golden: Option<&Fields>,
    new: Option<&Fields>,
    columns: &[usize],
    options: DiffOptions,
) -> Vec<FieldDifference> {
    let (Some(golden), Some(new)) = (golden, new) else { return Vec::new() };
    columns
        .iter()
        .filter_map(|&at| {
            let (old, new) = (golden.fields.get(at)?, new.fields.get(at)?);
            let column = R::SCHEMA.columns[at].name;
            let same = old == new || is_close(R::SCHEMA.table, column, old, new, options);
            (!same).then(|| FieldDifference { column, golden: old.to_owned(), new: new.to_owned() })
        })
        .collect()
}

/// Whether two times are within the tolerance. Rates follow from times and are as close as those.
fn is_close(table: Table, column: &str, old: &str, new: &str, options: DiffOptions) -> bool {
    if Class::of(table, column) != Class::Time || options.time_tolerance.0 == 0 {
        return false;
    }
    if column == "throughput" {
        return true;
    }
    match (old.parse::<u64>(), new.parse::<u64>()) {
        (Ok(old), Ok(new)) => old.abs_diff(new) <= options.time_tolerance.0,
        _ => false,
    }
}
