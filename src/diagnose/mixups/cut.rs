//! Logs of which every time was cut to a coarser unit by itself.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::facts::COARSE_UNITS;
use crate::diagnose::mixups::ALL_TIMES_CUT;
use crate::diagnose::mixups::coarse::{ASKING, UNITS, is_near};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, RequestRow, TransitionRow};
use crate::units::Nanos;

/// What is off by one unit that is no chance: by so many findings of so many rules.
const SEVERAL: usize = 3;
const RULES: usize = 2;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    for (index, unit) in COARSE_UNITS.into_iter().enumerate() {
        if is_short_by(board, unit) && all_whole(dir, unit)? {
            let text = format!(
                "all times of the log are whole {}, and what lasts is one of them short of the moments that it lies \
                 between, wherever it is off: each was cut by itself before it was written. Write moments and \
                 durations as the clock gives them, in nanoseconds",
                UNITS[index]
            );
            let lead = &["M001", "M004", "M010", "M007"];
            // Blocks that a decision frees are taken for those of an end, once it is cut down.
            let is_freed = |seen: &Seen<'_>| {
                seen.rule == "M015" && seen.finding.message.starts_with("the kv_cache_freed event")
            };
            let explains = |seen: &Seen<'_>| {
                (seen.is(ASKING) || seen.rule == "M021") && is_near(seen, unit) || is_freed(seen)
            };
            board.claim(Claim { cause: ALL_TIMES_CUT, text, lead, explains: Box::new(explains) });
            return Some(());
        }
    }
    Some(())
}

/// Whether differences that are off lack one unit, and nothing else is.
fn is_short_by(board: &Board<'_, '_>, unit: u64) -> bool {
    // What lasts between two moments of which each was cut is as long or one unit longer.
    let lasts = |seen: &Seen<'_>| {
        seen.is(&["M001", "M004", "M007"])
            || seen.rule == "M010" && seen.finding.message.contains(" - ")
    };
    let (mut findings, mut rules) = (0, BTreeSet::new());
    for seen in board.open().filter(lasts) {
        let short = |(expected, actual): (i128, i128)| expected - actual == i128::from(unit);
        if !seen.values().is_some_and(short) {
            return false;
        }
        findings += 1;
        rules.insert(seen.rule);
    }
    findings >= SEVERAL && rules.len() >= RULES
}

/// Whether all times are whole numbers of the unit, some of them.
fn all_whole(dir: &LogDir, unit: u64) -> Option<bool> {
    let mut whole = true;
    let mut see = |times: &[Option<Nanos>]| {
        whole &= times.iter().flatten().all(|time| time.0.is_multiple_of(unit));
    };
    each::<RequestRow>(
        dir,
        |_| None,
        |row, _| {
            let until = [row.arrival_time, row.waiting_time, row.execution_time].map(Some);
            see(&until);
            see(&[row.first_scheduled_time, row.completion_time, row.e2e_latency, row.ttft]);
        },
    )?;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            see(&[row.start_time, row.end_time, row.duration].map(Some));
            see(&[row.scheduling_overhead, row.forward_pass_duration].map(Some));
        },
    )?;
    each::<IterationRequestRow>(dir, |_| None, |row, _| see(&[Some(row.time_in_state)]))?;
    each::<EventRow>(dir, |_| None, |row, _| see(&[Some(row.timestamp)]))?;
    each::<TransitionRow>(
        dir,
        |_| None,
        |row, _| see(&[row.timestamp, row.duration_in_prev_state].map(Some)),
    )?;
    Some(whole)
}
