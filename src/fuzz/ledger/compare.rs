//! A log against the facts: every row by its key, every field that both have.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::fuzz::ledger::facts::{FactRow, Facts};
use crate::log::schema::{Table, TableSchema};

/// One thing that a log says otherwise than the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file.
    pub table: Table,
    /// What names the row.
    pub row: String,
    /// What is different.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: row [{}]: {}", self.table, self.row, self.what)
    }
}

/// At most so many differences of a file are told.
const MOST: usize = 5;

/// What the log in `directory` says otherwise than `facts`.
///
/// Files and columns that the log does not have are passed over, as is `0` for an undefined value:
/// whether a log may look like that is the checks' business.
#[must_use]
pub fn differences(facts: &Facts, directory: &Path) -> Vec<Difference> {
    let tables: [(Table, &[&str], Vec<FactRow>); 5] = [
        (
            Table::PerRequest,
            &["arrival_time", "request_id"],
            facts.requests.iter().map(|fact| fact.row()).collect(),
        ),
        (
            Table::PerIteration,
            &["iteration_id"],
            facts.steps.iter().map(|fact| fact.row()).collect(),
        ),
        (
            Table::PerIterationRequests,
            &["iteration_id", "request_id", "state"],
            facts.queues.iter().map(|fact| fact.row()).collect(),
        ),
        (
            Table::Events,
            &["timestamp", "event_type", "request_id"],
            facts.events.iter().map(|fact| fact.row()).collect(),
        ),
        (
            Table::StateTransitions,
            &["request_id", "timestamp", "state"],
            facts.requests.iter().flat_map(|fact| &fact.changes).map(|fact| fact.row()).collect(),
        ),
    ];
    let mut found = Vec::new();
    for (table, key, expected) in tables {
        match read(directory, table, key) {
            Ok(None) => {}
            Ok(Some(rows)) => compare(table, expected, rows, &mut found),
            Err(error) => found.push(Difference {
                table,
                row: "the file".to_owned(),
                what: format!("cannot be read: {error}"),
            }),
        }
    }
    found
}

/// The fields of a row by the name of their column.
type Fields = BTreeMap<&'static str, String>;

/// The rows of a file by key, block events left out; `None` if it is not there.
fn read(
    directory: &Path,
    table: Table,
    key: &[&str],
) -> csv::Result<Option<BTreeMap<String, Vec<Fields>>>> {
    let path = directory.join(table.file_name());
    if !path.is_file() {
        return Ok(None);
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path)?;
    let names = column_names(table.schema(), reader.headers()?);
    let mut rows: BTreeMap<String, Vec<Fields>> = BTreeMap::new();
    for record in reader.records() {
        let record = record?;
        let fields: Fields = names
            .iter()
            .zip(record.iter())
            .filter_map(|(name, field)| Some(((*name)?, field.to_owned())))
            .collect();
        if fields.get("event_type").is_some_and(|event| event.starts_with("kv_cache_")) {
            continue;
        }
        let key: Vec<_> = key.iter().map(|name| fields.get(name).map_or("", |f| f)).collect();
        rows.entry(key.join(" ")).or_default().push(fields);
    }
    Ok(Some(rows))
}

/// The schema's names for the columns of a header.
fn column_names(schema: &TableSchema, header: &csv::StringRecord) -> Vec<Option<&'static str>> {
    header.iter().map(|name| schema.column(name).map(|index| schema.columns[index].name)).collect()
}

fn compare(
    table: Table,
    expected: Vec<FactRow>,
    mut rows: BTreeMap<String, Vec<Fields>>,
    found: &mut Vec<Difference>,
) {
    let before = found.len();
    let mut tell = |row: String, what: String| {
        if found.len() < before + MOST {
            found.push(Difference { table, row, what });
        }
    };
    for fact in expected {
        let twins = rows.get_mut(&fact.key).filter(|rows| !rows.is_empty());
        match twins.map(|rows| rows.remove(0)) {
            None => tell(fact.key, "it is missing".to_owned()),
            Some(fields) => {
                if let Some(what) = first_difference(&fact, &fields) {
                    tell(fact.key, what);
                }
            }
        }
    }
    for (key, left) in rows {
        for _ in left {
            tell(key.clone(), "no call says so".to_owned());
        }
    }
}

fn first_difference(fact: &FactRow, fields: &Fields) -> Option<String> {
    fact.fields.iter().find_map(|(name, expected)| {
        let actual = fields.get(name)?;
        let undefined = expected.is_empty() && actual == "0";
        (actual != expected && !undefined)
            .then(|| format!("{name} is {actual:?}, the calls say {expected:?}"))
    })
}
