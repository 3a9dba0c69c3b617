//! Every row of every file twice, as a logger writes them that is registered twice.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::WRITTEN_TWICE;
use crate::diagnose::pass::Ahead;
use crate::log::ids::RequestKey;
use crate::log::reader::LogDir;
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};

/// Rows of all files that are no chance.
const SEVERAL: u64 = 8;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M011"]) {
        return Some(());
    }
    let mut rows = pairs::<IterationRow>(dir, Table::PerIteration, |_| None)?;
    rows += pairs::<RequestRow>(dir, Table::PerRequest, |row| Some(row.request_id))?;
    rows += pairs::<EventRow>(dir, Table::Events, |row| row.request_id)?;
    rows +=
        pairs::<IterationRequestRow>(dir, Table::PerIterationRequests, |row| Some(row.request_id))?;
    rows += pairs::<TransitionRow>(dir, Table::StateTransitions, |row| Some(row.request_id))?;
    if rows < SEVERAL {
        return Some(());
    }
    let text =
        "every row of every file stands twice, the one behind the other: the logger is registered \
                twice, or two of them write into one directory"
            .to_owned();
    let lead = &["F007", "M011", "S006", "X002", "S001"];
    let explains = |_: &Seen<'_>| true;
    board.claim(Claim { cause: WRITTEN_TWICE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// How many rows stand twice; `None` if any does not.
fn pairs<R: Row + PartialEq>(
    dir: &LogDir,
    table: Table,
    id: fn(&R) -> Option<RequestKey>,
) -> Option<u64> {
    if dir.file(table).is_none() {
        return Some(0);
    }
    let mut rows = Ahead::<R>::open(dir, id)?;
    let mut pairs = 0;
    while let Some(row) = rows.next_if(|_| true) {
        if rows.next_if(|_| true)? != row {
            return None;
        }
        pairs += 1;
    }
    Some(pairs)
}
