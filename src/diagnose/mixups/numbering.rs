//! Iterations that are not numbered from 0.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::EVENT_COUNTS;
use crate::diagnose::mixups::OTHER_NUMBERING;
use crate::diagnose::pass::{Ahead, each};
use crate::log::dialect::Dialect;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, RequestRow};
use crate::log::values::EventType;

/// Events that are no chance.
const SEVERAL: u64 = 3;
/// Steps that are remembered; details name none that is older.
const REMEMBERED: u64 = 64;

/// Rules that look for an event in the step that its details name.
pub(super) const BY_DETAILS: &[&str] = &[
    "M014", "M015", "M018", "M020", "K011", "C006", "C008", "C010", "Q007", "Q008", "Q009", "Q010",
];

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let at_first = |seen: &Seen<'_>| {
        seen.rule == "M011" && seen.values().is_some_and(|(next, id)| next == 0 && id > 0)
    };
    let first = board.open().find(at_first).and_then(|seen| seen.iteration());
    let Some(first) = first else { return details_alone(dir, report, board) };
    let mut earlier = false;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, _| earlier |= row.iteration_id.0 < first,
    )?;
    // Then the log had a beginning.
    let start = Ahead::<IterationRow>::open(dir, |_| None)
        .and_then(|mut steps| steps.next_if(|_| true))
        .map(|(step, _)| step.start_time);
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, _| earlier |= row.first_scheduled_time.is_some_and(|at| Some(at) < start),
    )?;
    let details = details(dir, &report.dialect, i64::try_from(first).ok()?)?;
    if earlier || !details.as_named && !details.moved {
        return Some(());
    }
    let told_elsewhere = !details.as_named;
    let explains = |seen: &Seen<'_>| match seen.rule {
        "M011" => at_first(seen),
        "Q001" => {
            let counts_events = seen.column().is_some_and(|it| EVENT_COUNTS.contains(&it));
            told_elsewhere && counts_events
        }
        _ => told_elsewhere && seen.is(BY_DETAILS),
    };
    let text = if told_elsewhere {
        format!(
            "iterations are numbered from {first}, but from 0 in details of events.csv, where each \
             event names the step {first} before its own; no step is missing"
        )
    } else {
        format!(
            "iterations are numbered from {first} instead of 0: no file tells of an earlier one"
        )
    };
    let lead = &["M011"];
    board.claim(Claim { cause: OTHER_NUMBERING, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Details that name the step before or behind, where all else is numbered alike.
fn details_alone(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M014", "M015", "Q001"]) {
        return Some(());
    }
    // Other files say that the stamps are right.
    if board.has(&["M006", "M007", "S003", "M020"]) {
        return Some(());
    }
    for (moved, which, how) in [(-1, "behind", "large"), (1, "before", "small")] {
        let details = details(dir, &report.dialect, moved)?;
        if details.as_named || !details.moved || details.named < SEVERAL {
            continue;
        }
        let explains = |seen: &Seen<'_>| match seen.rule {
            "Q001" => seen.column().is_some_and(|it| EVENT_COUNTS.contains(&it)),
            _ => seen.is(BY_DETAILS),
        };
        let text = format!(
            "the stamps of events are right, as other files say too, but details name the step {which}: \
             iteration_id is one too {how}"
        );
        let lead = &["M014", "M015", "Q001"];
        board.claim(Claim { cause: OTHER_NUMBERING, text, lead, explains: Box::new(explains) });
        break;
    }
    Some(())
}

/// Of which steps the events are that name one.
struct Named {
    /// How many there are, without those of blocks.
    named: u64,
    /// Whether they are of those that they name.
    as_named: bool,
    /// Whether they are of those so much further.
    moved: bool,
}

fn details(dir: &LogDir, dialect: &Dialect, by: i64) -> Option<Named> {
    let mut steps = Ahead::<IterationRow>::open(dir, |_| None)?;
    let mut moments: BTreeMap<u64, Moments> = BTreeMap::new();
    let mut named = Named { named: 0, as_named: true, moved: true };
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, _| {
            let Some(id) = row.details.iteration_id.map(|id| id.0) else { return };
            let other = id.checked_add_signed(by);
            let furthest = other.max(Some(id));
            while let Some((step, _)) = steps.next_if(|it| Some(it.iteration_id.0) <= furthest) {
                moments.insert(step.iteration_id.0, Moments::of(&step, dialect));
            }
            while moments.first_key_value().is_some_and(|(step, _)| step + REMEMBERED < id) {
                moments.pop_first();
            }
            let blocks =
                matches!(row.event_type, EventType::KvCacheAllocated | EventType::KvCacheFreed);
            let is_of = |id: u64| {
                // Blocks may come to hand between two steps.
                blocks
                    || moments
                        .get(&id)
                        .is_some_and(|at| at.start <= row.timestamp && row.timestamp <= at.end)
            };
            named.named += u64::from(!blocks);
            named.as_named &= is_of(id);
            named.moved &= other.is_some_and(is_of);
        },
    )?;
    Some(named)
}
