//! Rows that are there and cannot be read: the file does not end before the others, nor were its events not
//! written.

use crate::diagnose::board::{Board, Seen};
use crate::diagnose::losses::explain::EVENT_COUNTS;
use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{Item, LogDir};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};

/// Rules of rows that are not read, those of their fields first.
const UNREAD: &[&str] = &["F003", "F006", "F004", "F002"];

/// Only folds: why the rows are not read is told where that is known.
pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    for table in Table::ALL {
        let ends = |seen: &Seen<'_>| {
            let words = seen.finding.message.strip_prefix(table.file_name());
            seen.rule == "X005" && words.is_some_and(|words| words.starts_with(" ends before"))
        };
        let unread = |seen: &Seen<'_>| seen.is(UNREAD) && seen.table() == Some(table);
        let Some(first) = board.open().find(unread) else { continue };
        let is_first = |seen: &Seen<'_>| std::ptr::eq(seen.finding, first.finding);
        let cut = board.all().any(|seen| ends(&seen)) && ends_unread(dir, table)?;
        // Events that are counted and were not read; more of them than that are missing for another reason.
        let short = |seen: &Seen<'_>| {
            let counts = seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column));
            let lack = seen.values().map(|(found, counted)| counted - found);
            lack.filter(|lack| table == Table::Events && seen.rule == "Q001" && counts && *lack > 0)
        };
        let lacking: i128 = board.open().filter_map(|seen| short(&seen)).sum();
        let rows = board.open().filter(unread).count();
        let few = lacking > 0 && i128::try_from(rows).is_ok_and(|rows| lacking <= rows);
        if cut || few {
            board.fold(UNREAD, |seen| {
                is_first(seen) || cut && ends(seen) || few && short(seen).is_some()
            });
        }
    }
    Some(())
}

/// Whether the last row of the file is one that cannot be read.
fn ends_unread(dir: &LogDir, table: Table) -> Option<bool> {
    match table {
        Table::PerRequest => last_is_problem::<RequestRow>(dir, |row| Some(row.request_id)),
        Table::PerIteration => last_is_problem::<IterationRow>(dir, |_| None),
        Table::PerIterationRequests => {
            last_is_problem::<IterationRequestRow>(dir, |row| Some(row.request_id))
        }
        Table::Events => last_is_problem::<EventRow>(dir, |row| row.request_id),
        Table::StateTransitions => {
            last_is_problem::<TransitionRow>(dir, |row| Some(row.request_id))
        }
    }
}

fn last_is_problem<R: Row>(dir: &LogDir, key: fn(&R) -> Option<RequestKey>) -> Option<bool> {
    let mut reader = dir.reader::<R>().ok()??;
    let mut ids = IdTable::default();
    let mut problem = false;
    while let Some(item) = reader.next(&mut ids) {
        problem = match item {
            Item::Problem(_) => true,
            Item::Row(row) => {
                key(&row.row).into_iter().for_each(|key| ids.release(key));
                false
            }
        };
    }
    Some(problem)
}
