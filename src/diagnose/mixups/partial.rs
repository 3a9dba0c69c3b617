//! Rows that were written before they were whole, and once more when they were.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::WRITTEN_TWICE;
use crate::log::reader::{LogDir, Splitter};
use crate::log::schema::{RawRecord, Table};

/// Rows that are no chance.
const SEVERAL: u64 = 2;
/// Columns that are named.
const NAMED: usize = 4;
/// What stands in a field that is not filled in yet.
const BLANKS: [&str; 5] = ["", "0", "0.0", "0.000000", "{}"];

/// What says which row it is, and the rules that see that one stands twice.
const KEYS: [(Table, &[&str], &[&str]); 5] = [
    (Table::PerRequest, &["request_id", "arrival_time"], &["F007", "F003", "F008"]),
    (Table::PerIteration, &["iteration_id", "start_time"], &["M011", "F003", "F008"]),
    (
        Table::PerIterationRequests,
        &["iteration_id", "request_id", "state"],
        &["S006", "F003", "F008", "Q001"],
    ),
    (Table::Events, &["timestamp", "event_type", "request_id"], &["F009", "S005", "X002", "F008"]),
    (
        Table::StateTransitions,
        &["request_id", "timestamp", "state"],
        &["S001", "S003", "M004", "F003", "F008"],
    ),
];

/// Rows of a file that stand twice.
struct Twice {
    /// How many do.
    pairs: u64,
    /// Those of which both are the same.
    same: u64,
    /// All lines of the file.
    rows: u64,
    /// The columns that only the second of them has.
    columns: Vec<String>,
    line: u64,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    for (table, keys, lead) in &KEYS {
        if !board.has(lead) {
            continue;
        }
        let Some(twice) = look(dir, *table, keys) else { continue };
        let Twice { pairs, same, rows, columns, line } = twice;
        let all = (pairs + same) * 2 == rows;
        if pairs < SEVERAL && !(all && same >= SEVERAL) {
            continue;
        }
        let which = if all {
            format!("every row of {table} stands twice")
        } else {
            format!("{pairs} rows of {table} stand twice (the first in line {line})")
        };
        let text = if columns.is_empty() {
            format!(
                "{which}, the one behind the other: it is written by two hooks, or flushed twice"
            )
        } else {
            format!(
                "{which}, at first without {}, then whole: it is written when it is begun and once more when it \
                 is over",
                listed(&columns, NAMED)
            )
        };
        // What two rows say of one thing, each is true of.
        let explains =
            |seen: &Seen<'_>| seen.table() == Some(*table) || !seen.rule.starts_with('F');
        board.claim(Claim { cause: WRITTEN_TWICE, text, lead, explains: Box::new(explains) });
    }
    Some(())
}

fn look(dir: &LogDir, table: Table, keys: &[&str]) -> Option<Twice> {
    let mut records = Splitter::new(dir.file(table)?.open().ok()?);
    records.skip_bom().ok()?;
    let mut next = || -> Option<Option<(Vec<String>, u64)>> {
        let Some(record) = records.next_record().ok()? else { return Some(None) };
        let field =
            |index| String::from_utf8_lossy(record.field(index).unwrap_or_default()).into_owned();
        Some(Some(((0..record.len()).map(field).collect(), record.line)))
    };
    let (header, _) = next()??;
    let places: Vec<usize> =
        keys.iter().map(|key| header.iter().position(|name| name == key)).collect::<Option<_>>()?;
    let mut twice = Twice { pairs: 0, same: 0, rows: 0, columns: Vec::new(), line: 0 };
    let mut before: Option<(Vec<String>, u64)> = None;
    while let Some((row, line)) = next()? {
        twice.rows += 1;
        let same = |first: &[String]| {
            first.len() == row.len()
                && places.iter().all(|place| first.get(*place) == row.get(*place))
        };
        let Some((first, first_line)) = before.take().filter(|(first, _)| same(first)) else {
            before = Some((row, line));
            continue;
        };
        let differ = |index: &usize| first[*index] != row[*index];
        let columns: Vec<usize> = (0..row.len()).filter(differ).collect();
        // Of events only the details may be missing; there, 0 is one number like all others.
        let blank = |index: &usize| match table {
            Table::Events => first[*index].is_empty(),
            _ => BLANKS.contains(&first[*index].as_str()),
        };
        if columns.is_empty() {
            twice.same += 1;
            continue;
        }
        if !columns.iter().all(blank) {
            before = Some((row, line));
            continue;
        }
        if twice.pairs == 0 {
            twice.line = first_line;
        }
        twice.pairs += 1;
        for name in columns.into_iter().filter_map(|index| header.get(index)) {
            if !twice.columns.contains(name) {
                twice.columns.push(name.clone());
            }
        }
    }
    Some(twice)
}
