//! A file of changes that was left by another run.

use std::collections::BTreeMap;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::CHANGES;
use crate::diagnose::mixups::ANOTHER_RUN;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{RequestRow, Table, TransitionRow};
use crate::log::values::State;
use crate::units::Nanos;

/// Requests that are compared.
const MOST: usize = 1 << 14;
/// Ends that are no chance.
const SEVERAL: u64 = 2;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["S003", "M006", "X003"]) || dir.file(Table::StateTransitions).is_none() {
        return Some(());
    }
    let mut lives = BTreeMap::new();
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if lives.len() < MOST {
                lives.insert(id.to_owned(), (row.arrival_time, row.completion_time));
            }
        },
    )?;
    let (mut early, mut strangers, mut ends, mut fitting) = (0, 0, 0, 0);
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let Some((arrival, end)) = lives.get(id) else {
                strangers += u64::from(lives.len() < MOST);
                return;
            };
            early += u64::from(row.timestamp < *arrival);
            if row.state == State::Completed {
                ends += 1;
                fitting += u64::from(end.is_some_and(|end| is_at(row.timestamp, end)));
            }
        },
    )?;
    // A clock that is set otherwise is told of elsewhere.
    if ends < SEVERAL || fitting > 0 || early + strangers == 0 {
        return Some(());
    }
    let what = match early {
        0 => "it has requests that per_request.csv does not have",
        _ => "requests change before they arrive",
    };
    let text = format!(
        "none of {ends} ends in state_transitions.csv is at its moment of per_request.csv, and {what}: the file \
         is of another run"
    );
    let lead = &["S003", "M006", "X001", "X003"];
    let explains = |seen: &Seen<'_>| {
        seen.is(CHANGES) && seen.rule != "X001"
            || seen.is(&["X003", "M015", "M005"])
            || seen.rule == "X001"
                && seen.finding.message.starts_with(Table::StateTransitions.file_name())
    };
    board.claim(Claim { cause: ANOTHER_RUN, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Whether the stamp is the moment, in whatever unit.
fn is_at(stamp: Nanos, moment: Nanos) -> bool {
    [1, 1_000, 1_000_000, 1_000_000_000]
        .into_iter()
        .any(|unit| stamp.0.saturating_mul(unit).abs_diff(moment.0) < unit)
}
