//! Decisions that are stamped with the beginning of their steps.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::EVENT_COUNTS;
use crate::diagnose::mixups::DECISIONS_AT_START;
use crate::diagnose::pass::each;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRow, Table};
use crate::log::values::EventType as E;

/// Moments that are looked for.
const MOST: usize = 1 << 12;
/// Moments that are no chance.
const SEVERAL: usize = 2;

const fn is_decision(kind: E) -> bool {
    matches!(
        kind,
        E::RequestScheduled | E::RequestResumed | E::RequestPreempted | E::RequestEvicted
    )
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let of_decision = |seen: &Seen<'_>| {
        let about = seen.finding.message.starts_with("the request_");
        seen.rule == "M015" && seen.table() == Some(Table::Events) && about
    };
    if !board.open().any(|seen| of_decision(&seen)) {
        return Some(());
    }
    // Moments of steps that a coarse clock has cut down are those of decisions, too, which are cut alike.
    let lasts = |seen: &Seen<'_>| seen.rule == "M010" && seen.column() == Some("duration");
    if board.open().any(|seen| lasts(&seen)) {
        return Some(());
    }
    // By moment: the step that the event names.
    let mut open: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    each::<EventRow>(
        dir,
        |_| None,
        |row, _| {
            if is_decision(row.event_type) && open.len() < MOST {
                open.insert(row.timestamp.0, row.details.iteration_id.map(|id| id.0));
            }
        },
    )?;
    let all = open.len();
    let named = open.values().any(Option::is_some);
    let mut decided = false;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let at = Moments::of(row, &report.dialect);
            if at.decided > at.start {
                decided |= open.contains_key(&at.decided.0);
                // A step may begin where the one before has ended.
                let id = row.iteration_id.0;
                if open.get(&at.start.0).is_some_and(|named| named.is_none_or(|named| named == id))
                {
                    open.remove(&at.start.0);
                }
            }
        },
    )?;
    // One that finds the engine asleep may come behind the beginning of its step.
    // Where no event names its step, per_request.csv must agree.
    let agreed = named || !board.has(&["M006"]);
    if !agreed || all < SEVERAL || decided || open.len() * 2 > all {
        return Some(());
    }
    let explains = |seen: &Seen<'_>| match (seen.rule, seen.request()) {
        ("M015", _) => of_decision(seen) || seen.table() != Some(Table::Events),
        ("Q001", _) => seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column)),
        (_, Some(_)) => seen.is(&["M006", "M013", "M014", "S004", "C006"]),
        (_, None) => seen.is(&["Q007", "Q009", "M014", "C010"]),
    };
    let text = "decisions are stamped with start_time of their steps instead of start_time + \
                scheduling_overhead"
        .to_owned();
    let lead = &["M015"];
    board.claim(Claim { cause: DECISIONS_AT_START, text, lead, explains: Box::new(explains) });
    Some(())
}
