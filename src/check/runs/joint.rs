//! Walking through a file up to its joint.

use crate::log::ids::IdTable;
use crate::log::reader::{FormKind, FormProblem, Item, Located, Location, LogDir, LogDirError};
use crate::log::schema::Row;

/// Where a row stands, and what stands before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Where the row, or what stands unreadable right before it, begins.
    pub(super) at: Location,
    /// Whether something unreadable stands right before it.
    pub(super) torn: bool,
}

/// Where the second run begins: at a second header, in a row behind which another one stands without a
/// line break, or at the place that `begins` names.
pub(super) fn joint<R: Row>(
    dir: &LogDir,
    mut begins: impl FnMut(&Located<R>, Place, &IdTable) -> Option<Location>,
) -> Result<Option<Location>, LogDirError> {
    let Some(mut reader) = dir.reader::<R>()? else { return Ok(None) };
    let mut ids = IdTable::default();
    let mut before: Option<Location> = None;
    while let Some(item) = reader.next(&mut ids) {
        match item {
            Item::Row(row) => {
                let torn = before.is_some();
                let at = before.take().unwrap_or(row.at());
                let found = begins(&row, Place { at, torn }, &ids);
                if found.is_some() {
                    return Ok(found);
                }
            }
            Item::Problem(problem) => {
                before = before.or(problem.at);
                if before.is_some() && (is_header::<R>(&problem) || is_joined(&problem)) {
                    return Ok(before);
                }
            }
        }
    }
    Ok(None)
}

/// Where the first row stands, or what cannot be read before it.
pub(super) fn first_row<R: Row>(dir: &LogDir) -> Result<Option<Location>, LogDirError> {
    joint::<R>(dir, |_, place, _| Some(place.at))
}

/// Whether the record has more fields than a row.
pub(super) fn is_joined(problem: &FormProblem) -> bool {
    matches!(problem.kind, FormKind::FieldCount { expected, found } if found > expected)
}

/// Whether the record is the header, perhaps behind a torn row.
pub(super) fn is_header<R: Row>(problem: &FormProblem) -> bool {
    let Some(text) = &problem.text else { return false };
    match problem.kind {
        FormKind::Field(_) => problem.column.is_some_and(|column| text.ends_with(column)),
        FormKind::FieldCount { .. } => {
            let columns = R::SCHEMA.columns;
            text.contains(&format!("{},{}", columns[0].name, columns[1].name))
        }
        _ => false,
    }
}
