//! Arrivals that are written as changes of state.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::ARRIVALS_AS_CHANGES;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{Table, TransitionRow};
use crate::log::values::State;

/// Requests that are kept.
const MOST: usize = 1 << 14;
/// Rows that are no chance.
const SEVERAL: u64 = 2;

/// Whether a change is found to go from `waiting` to `waiting`.
fn is_entry(seen: &Seen<'_>) -> bool {
    seen.rule == "S001" && seen.finding.message.starts_with("waiting -> waiting")
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    // Where other changes are wrong, too, it is another mistake.
    let other = |seen: Seen<'_>| seen.rule == "S001" && !is_entry(&seen);
    if !board.has(&["S001"]) || board.open().any(other) {
        return Some(());
    }
    let mut begun = BTreeSet::new();
    let (mut rows, mut all) = (0_u64, true);
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if begun.len() < MOST && begun.insert(id.to_owned()) {
                rows += 1;
                all &= row.state == State::Waiting;
            }
        },
    )?;
    if !all || rows < SEVERAL {
        return Some(());
    }
    let text = format!(
        "the first row of each of {rows} requests in state_transitions.csv is a change to waiting: a request begins \
         to wait when it arrives, without a row. Leave these out"
    );
    let lines: BTreeSet<u64> = board
        .open()
        .filter(is_entry)
        .filter_map(|seen| Some(seen.finding.primary.as_ref()?.at.line))
        .collect();
    let explains = |seen: &Seen<'_>| {
        let here = || seen.finding.primary.as_ref().is_some_and(|it| lines.contains(&it.at.line));
        is_entry(seen)
            || seen.rule == "F008" && seen.table() == Some(Table::StateTransitions) && here()
    };
    let lead = &["S001"];
    board.claim(Claim { cause: ARRIVALS_AS_CHANGES, text, lead, explains: Box::new(explains) });
    Some(())
}
