//! Requests that steps count and no other file tells of: those were filtered by request.

use std::collections::BTreeMap;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENTS_OF_STEP, ROWS_OF_STEP};
use crate::diagnose::mixups::HIDDEN_REQUEST;

/// Steps that count them which are no chance.
const SEVERAL: usize = 3;

/// Queues of which a request is in one.
const QUEUES: [&str; 2] = ["running_count", "waiting_count"];
/// What happens to a request once.
const ONCE: [&str; 2] = ["admitted_count", "completed_count"];

/// Rules that find a request in one file and not in another, or rows of it missing.
const KNOWN: &[&str] =
    &["X001", "X002", "X003", "Q004", "S001", "S003", "S007", "K004", "K006", "K010", "M011"];

pub(super) fn find(board: &mut Board<'_, '_>) {
    if board.has(KNOWN) {
        return;
    }
    // In each step, by how many its queues are longer than its rows.
    let mut more: BTreeMap<u64, i128> = BTreeMap::new();
    let mut happened = false;
    for seen in board.open().filter(|seen| seen.rule == "Q001") {
        let Some(((rows, counted), step)) = seen.values().zip(seen.iteration()) else { return };
        if counted <= rows {
            return;
        }
        match seen.column() {
            Some(column) if QUEUES.contains(&column) => {
                *more.entry(step).or_default() += counted - rows;
            }
            Some(column) => happened |= ONCE.contains(&column),
            None => return,
        }
    }
    let tokens: Vec<_> = board.open().filter(|seen| seen.rule == "K002").collect();
    // Tokens that no row has are of a request; that a count is too large may have other reasons.
    let spent = |seen: &Seen<'_>| {
        let fewer = seen.values().is_none_or(|(rows, counted)| rows < counted);
        fewer && seen.iteration().is_some_and(|step| more.contains_key(&step))
    };
    if more.len() < SEVERAL || !happened || tokens.is_empty() || !tokens.iter().all(spent) {
        return;
    }
    let Some(most) = more.values().max() else { return };
    let text = format!(
        "per_iteration.csv counts requests of which no other file has anything, up to {most} of them at once, \
         and all others agree: the other files were filtered by request"
    );
    let explains = |seen: &Seen<'_>| {
        let of_step = seen.is(ROWS_OF_STEP) || seen.is(EVENTS_OF_STEP);
        (of_step || seen.is(&["C008", "C010", "L003", "Q011"]) || seen.rule == "X005")
            && (seen.iteration().is_some() || seen.request().is_none())
    };
    let lead = &["Q001"];
    board.claim(Claim { cause: HIDDEN_REQUEST, text, lead, explains: Box::new(explains) });
}
