//! A request that steps count and no file tells of.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENTS_OF_STEP, ROWS_OF_STEP, listed};
use crate::diagnose::mixups::HIDDEN_REQUEST;

/// Steps that count it which are no chance.
const SEVERAL: usize = 3;

/// Queues of which a request is in one.
const QUEUES: [&str; 2] = ["running_count", "waiting_count"];

/// Rules that find a request in one file and not in another, or rows of it missing.
const KNOWN: &[&str] = &["X001", "X002", "X003", "Q004", "S001", "K004", "K006", "M011"];

pub(super) fn find(board: &mut Board<'_, '_>) {
    if board.has(KNOWN) {
        return;
    }
    let counts: Vec<_> = board.open().filter(|seen| seen.rule == "Q001").collect();
    if !counts.iter().all(|seen| seen.values().is_some_and(|(rows, counted)| counted - rows == 1)) {
        return;
    }
    let mut queues: BTreeMap<u64, usize> = BTreeMap::new();
    let mut ends = BTreeSet::new();
    for seen in &counts {
        let Some(step) = seen.iteration() else { return };
        match seen.column() {
            Some(column) if QUEUES.contains(&column) => *queues.entry(step).or_default() += 1,
            Some("completed_count") => {
                ends.insert(step);
            }
            _ => {}
        }
    }
    // Of a step that has no other request no row is left.
    for step in board.iterations(|seen| seen.rule == "X004") {
        queues.entry(step).or_insert(1);
    }
    let steps: Vec<u64> = queues.keys().copied().collect();
    let ([first, ..], [.., last]) = (steps.as_slice(), steps.as_slice()) else { return };
    // From its arrival to its end it is in one queue at a time.
    let once = queues.values().all(|count| *count == 1);
    let all = last - first + 1 == steps.len() as u64;
    // Steps that were under way when it ended still have it.
    let ended = ends.len() <= 1 && ends.iter().all(|end| (first..=last).contains(&end));
    if !once || !all || steps.len() < SEVERAL || !ended {
        return;
    }
    // Tokens that no row has are of a request; that a count is one too large may have other reasons.
    let spent = board.iterations(|seen| seen.rule == "K002");
    let ran = counts.iter().any(|seen| seen.column() == Some(QUEUES[0]));
    if !ran || !spent.iter().any(|step| (first..=last).contains(&step)) {
        return;
    }
    let columns: BTreeSet<&str> = counts.iter().filter_map(Seen::column).collect();
    let columns: Vec<_> = columns.into_iter().collect();
    let text = format!(
        "from iteration {first} to {last} the counts of each step ({}) are of one request more than there are \
         rows and events: that request is in no file, as where two have had one id",
        listed(&columns, columns.len())
    );
    let explains = |seen: &Seen<'_>| {
        seen.iteration().is_some_and(|step| step >= *first)
            && (seen.is(ROWS_OF_STEP)
                || seen.is(EVENTS_OF_STEP)
                || seen.is(&["C008", "L003", "Q011"]))
    };
    let lead = &["Q001"];
    board.claim(Claim { cause: HIDDEN_REQUEST, text, lead, explains: Box::new(explains) });
}
