//! What is missing as a whole: one loss that many findings follow from.
//!
//! A logger that forgets one request in one file, one kind of event, one step, or every tenth row breaks
//! many rules at once, each with figures of its own. Here the files are counted once more, only if
//! such findings are there; where something is missing throughout, the findings that it explains
//! are folded under the one that names it, with the loss for a cause. What is folded is still listed
//! and counted: a loss is likely, not proven.

mod count;
pub(super) mod explain;
mod preemptions;
mod requests;
mod rows;
mod single;
mod steps;
mod stride;

use crate::check::{CheckReport, Severity};
use crate::diagnose::board::{Board, Seen};
use crate::diagnose::losses::count::Counts;
use crate::log::reader::LogDir;
use crate::log::schema::Table;

/// The losses that are recognised: the id of the cause, and what it says.
pub static LOSSES: &[(&str, &str)] = &[
    (LOST_REQUEST, "Requests have no row in one file at all, and others tell of them."),
    (LOST_STEP, "Steps have no row in one file at all, and others tell of them."),
    (LOST_KIND, "Events or changes of one kind are nowhere in their file, or those of one ending."),
    (LOST_ROWS, "A file lacks rows here and there: every so many, or without order."),
];

const LOST_REQUEST: &str = "lost-request";
const LOST_STEP: &str = "lost-step";
const LOST_KIND: &str = "lost-kind";
const LOST_ROWS: &str = "lost-rows";

/// Folds the findings of a report under losses.
pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) {
    // Where clocks differ, or rows are out of order, nothing is told of what is missing.
    if !board.has(explain::TRACES) || board.has(&["M019", "F007", "X009"]) {
        return;
    }
    let Some(counts) = Counts::of(dir, &report.dialect, board) else { return };
    steps::find_beginning(board, &counts);
    requests::find(board, &counts);
    steps::find(board, &counts);
    single::find(board, &counts);
    preemptions::find(board, &counts);
    rows::find(board, &counts);
}

/// Whether rows of a file are there that cannot be read: then it is not known what it lacks.
fn has_unread(board: &Board<'_, '_>, table: Table) -> bool {
    let unread =
        |seen: Seen<'_>| seen.is(&["F002", "F003", "F004", "F006"]) && seen.table() == Some(table);
    board.all().any(|seen| seen.severity == Severity::Error && unread(seen))
}

/// Whether a finding is of a file's end.
fn is_of(seen: &Seen<'_>, table: Table) -> bool {
    let mark = seen.finding.primary.as_ref().map(|mark| mark.at.table);
    mark == Some(table) || seen.finding.message.starts_with(table.file_name())
}
