//! Headers of which the names are those of the log in other letters: in capitals, with spaces, without what
//! lies between words.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::OTHER_NOTATION;
use crate::log::schema::Table;

/// Files that are named.
const FILES: usize = 5;

/// The letters and digits of a name, all small.
fn letters(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The column that is meant by a name which is not its own.
fn meant(table: Table, name: &str) -> Option<&'static str> {
    let columns = table.schema().columns.iter();
    let mut same = columns.filter(|column| letters(column.name) == letters(name));
    same.next().map(|column| column.name).filter(|column| *column != name)
}

/// What is said of the header of a file.
struct Header<'a> {
    table: Table,
    /// Names that are none of the log's, and the columns that they stand for.
    meant: Vec<(&'a str, &'static str)>,
}

/// Whether the finding is of the header of this file.
fn is_of(table: Table, seen: &Seen<'_>) -> bool {
    seen.rule == "F001" && seen.finding.message.starts_with(&format!("{table}: "))
}

impl<'a> Header<'a> {
    fn of(board: &Board<'_, 'a>, table: Table) -> Option<Self> {
        let names = board.all().filter(|seen| is_of(table, seen) && seen.column().is_none());
        let pair = |seen: Seen<'a>| {
            let name = seen.finding.actual.as_deref()?;
            Some((name, meant(table, name)?))
        };
        let meant: Vec<_> = names.filter_map(pair).collect();
        (!meant.is_empty()).then_some(Self { table, meant })
    }

    /// Whether a finding says that one of these columns is missing, or that a name of them is none.
    fn explains(&self, seen: &Seen<'_>) -> bool {
        let rest = seen.finding.message.strip_prefix(&format!("{}: ", self.table));
        let Some(rest) = rest.filter(|_| is_of(self.table, seen)) else { return false };
        let missing = |(_, column): &(&str, &'static str)| {
            rest.strip_prefix(column).is_some_and(|rest| rest.starts_with(": "))
        };
        let named =
            |(name, _): &(&str, &'static str)| seen.finding.actual.as_deref() == Some(*name);
        self.meant.iter().any(|it| missing(it) || named(it))
    }
}

pub(super) fn find(board: &mut Board<'_, '_>) {
    let headers: Vec<_> =
        Table::ALL.into_iter().filter_map(|table| Header::of(board, table)).collect();
    let Some((name, column)) = headers.first().and_then(|header| header.meant.first()) else {
        return;
    };
    let files: Vec<&str> = headers.iter().map(|header| header.table.file_name()).collect();
    let text = format!(
        "names of columns in {} are written in other letters ('{name}'): write them as they are, {column} for \
         this one",
        listed(&files, FILES)
    );
    let explains = |seen: &Seen<'_>| headers.iter().any(|header| header.explains(seen));
    let lead = &["F001"];
    board.claim(Claim { cause: OTHER_NOTATION, text, lead, explains: Box::new(explains) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_other_letters_are_those_of_columns() {
        let of_steps = |name| meant(Table::PerIteration, name);
        for name in ["Start Time", "start-time", "startTime", "StartTime", "START_TIME"] {
            assert_eq!(of_steps(name), Some("start_time"), "{name}");
        }
        assert_eq!((of_steps("start_time"), of_steps("start")), (None, None));
    }
}
