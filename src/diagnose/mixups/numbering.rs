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

/// Steps that are remembered; details name none that is older.
const REMEMBERED: u64 = 64;

/// Rules that look for an event in the step that its details name.
const BY_DETAILS: &[&str] = &[
    "M014", "M015", "M018", "M020", "K011", "C006", "C008", "C010", "Q007", "Q008", "Q009", "Q010",
];

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let at_first = |seen: &Seen<'_>| {
        seen.rule == "M011" && seen.values().is_some_and(|(next, id)| next == 0 && id > 0)
    };
    let first = board.open().find(at_first).and_then(|seen| seen.iteration());
    let Some(first) = first else { return Some(()) };
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
    let details = details(dir, &report.dialect, first)?;
    if earlier || !details.as_named && !details.from_zero {
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

/// Of which steps the events are that name one.
struct Named {
    /// Of those that they name.
    as_named: bool,
    /// Of those so much further as the first one is from 0.
    from_zero: bool,
}

fn details(dir: &LogDir, dialect: &Dialect, first: u64) -> Option<Named> {
    let mut steps = Ahead::<IterationRow>::open(dir, |_| None)?;
    let mut moments: BTreeMap<u64, Moments> = BTreeMap::new();
    let mut named = Named { as_named: true, from_zero: true };
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, _| {
            let Some(id) = row.details.iteration_id.map(|id| id.0) else { return };
            let furthest = id.saturating_add(first);
            while let Some((step, _)) = steps.next_if(|step| step.iteration_id.0 <= furthest) {
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
            named.as_named &= is_of(id);
            named.from_zero &= is_of(furthest);
        },
    )?;
    Some(named)
}
