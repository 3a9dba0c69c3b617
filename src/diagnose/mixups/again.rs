//! Events that are written again for what was noted already, and what counts them.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Seen};
use crate::log::values::EventType;

/// Kinds of which each request has one, and the column that counts them in a step.
const KINDS: [(EventType, Option<&str>); 4] = [
    (EventType::RequestArrived, None),
    (EventType::RequestScheduled, Some("admitted_count")),
    (EventType::FirstTokenGenerated, None),
    (EventType::RequestCompleted, Some("completed_count")),
];

/// Rules that go by the moment of an event of which there should be one.
const FOLLOWING: &[&str] =
    &["C008", "L003", "M007", "M015", "M018", "M020", "S002", "S003", "X008"];

/// Only folds: what is said of findings of X002 fits.
pub(super) fn find(board: &mut Board<'_, '_>) {
    for (kind, column) in KINDS {
        let more = |seen: &Seen<'_>| {
            let of_kind = seen.finding.message.contains(&format!(" {kind} events "));
            seen.rule == "X002" && of_kind && !seen.lacks()
        };
        let ids: BTreeSet<&str> =
            board.open().filter(more).filter_map(|seen| seen.request()).collect();
        // Of another kind there may be as many less: then it is the names that are wrong.
        let less = board.open().any(|seen| seen.rule == "X002" && seen.lacks());
        if ids.is_empty() || less {
            continue;
        }
        let whole = |seen: &Seen<'_>| more(seen) && seen.request() == ids.first().copied();
        let explains = |seen: &Seen<'_>| match seen.request() {
            Some(id) => whole(seen) || ids.contains(id) && seen.is(FOLLOWING),
            None => {
                seen.rule == "Q001" && column.is_some() && seen.column() == column && seen.adds()
            }
        };
        board.fold(&["X002"], explains);
    }
}
