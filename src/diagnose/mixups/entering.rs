//! Requests that still wait in the rows of the step that admits them, or still run in those of the step that
//! preempts them.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{ROWS_OF_REQUEST, ROWS_OF_STEP};
use crate::diagnose::mixups::LATE_COUNT;
use crate::diagnose::pass::{each, of_requests};
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, Table};
use crate::log::values::EventType;

/// Requests that are kept.
const MOST: usize = 1 << 14;
/// Requests that are no chance.
const SEVERAL: usize = 3;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    admitted(dir, board)?;
    preempted(dir, board)
}

/// Whether the row of a step has this state of a request where it should have that one.
fn has(seen: &Seen<'_>, told: &str, right: &str) -> bool {
    let says = |text: &Option<String>, word: &str| text.as_deref() == Some(word);
    says(&seen.finding.expected, right) && says(&seen.finding.actual, told)
}

fn is_state(seen: &Seen<'_>) -> bool {
    seen.rule == "S004" && seen.table() == Some(Table::PerIterationRequests)
}

fn claim(board: &mut Board<'_, '_>, text: String) {
    let explains = |seen: &Seen<'_>| {
        seen.is(ROWS_OF_STEP) || seen.is(ROWS_OF_REQUEST) || seen.is(&["C010", "M015"])
    };
    board.claim(Claim { cause: LATE_COUNT, text, lead: &["S004"], explains: Box::new(explains) });
}

fn admitted(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let mut late: BTreeSet<&str> = BTreeSet::new();
    for seen in board.open().filter(is_state) {
        let id = seen.request().filter(|_| has(&seen, "waiting", "running"));
        // A second row of one request is of another mistake.
        if !id.is_some_and(|id| late.insert(id)) {
            return Some(());
        }
    }
    if late.len() < SEVERAL {
        return Some(());
    }
    let scheduled = of_requests(dir, MOST, |row| row.first_scheduled_time)?;
    if scheduled.keys().any(|id| !late.contains(id.as_str())) {
        return Some(());
    }
    let text = format!(
        "each of {} requests has a waiting row in the step that admits it: state is read before the step decides, and \
         what it holds behind that",
        late.len()
    );
    claim(board, text);
    Some(())
}

fn preempted(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let mut late: BTreeSet<(&str, u64)> = BTreeSet::new();
    for seen in board.open().filter(is_state) {
        let at = seen.request().zip(seen.iteration());
        let Some(at) = at.filter(|_| has(&seen, "running", "preempted")) else { return Some(()) };
        late.insert(at);
    }
    if late.is_empty() {
        return Some(());
    }
    let (mut all, mut named) = (0_usize, 0_usize);
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, id| {
            if row.event_type == EventType::RequestPreempted {
                let step = row.details.iteration_id.map(|step| step.0);
                all += 1;
                named += usize::from(step.is_some_and(|step| late.contains(&(id, step))));
            }
        },
    )?;
    // One that is resumed at once is in no other state.
    if named < late.len() || named * 2 <= all {
        return Some(());
    }
    let text = format!(
        "{named} of {all} preempted requests have a running row in the step that preempts them: state is read before the \
         step decides"
    );
    claim(board, text);
    Some(())
}
