//! Steps that overlap although run.json says that they do not.

use std::collections::VecDeque;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::facts::COARSE_UNITS;
use crate::diagnose::mixups::UNDECLARED_OVERLAP;
use crate::diagnose::pass::each;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRow;

/// Of so many steps one at least overlaps where the engine's do.
const ONE_IN: u64 = 4;

/// No pipeline has more stages, and so many steps under way at once.
const MOST_STAGES: usize = 16;

/// Rules that ask whether steps overlap.
const ASKING: &[&str] = &[
    "C003", "C004", "C008", "C009", "C010", "K002", "K004", "K006", "K007", "K011", "K012", "L001",
    "M010", "M014", "M015", "M018", "M020", "M021", "Q001", "Q004", "Q006", "Q007", "Q008", "Q009",
    "Q010", "S002", "S004",
];

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let declared = dir.run_info.as_ref().is_some_and(|info| !info.overlapping_steps);
    let begins_early = |seen: &Seen<'_>| seen.rule == "M010" && seen.column() == Some("start_time");
    if !declared || !board.open().any(|seen| begins_early(&seen)) {
        return Some(());
    }
    let mut last: VecDeque<Moments> = VecDeque::new();
    let (mut steps, mut overlapping, mut in_order) = (0, 0, true);
    let mut next = None;
    // By how much they overlap, and whether all begin at whole numbers of each coarser unit.
    let (mut most, mut whole) = (0, COARSE_UNITS.map(|unit| (unit, true)));
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let now = Moments::of(row, &report.dialect);
            whole.iter_mut().for_each(|(unit, all)| *all &= now.start.0.is_multiple_of(*unit));
            in_order &= next.is_none_or(|next| next <= row.iteration_id.0);
            next = row.iteration_id.0.checked_add(1);
            if let Some(before) = last.back() {
                steps += 1;
                overlapping += u64::from(now.start < before.end);
                most = most.max(before.end.0.saturating_sub(now.start.0));
                in_order &= before.start <= now.start && before.end <= now.end;
            }
            if last.len() == MOST_STAGES {
                in_order &= last.pop_front().is_none_or(|long_ago| long_ago.end <= now.start);
            }
            last.push_back(now);
        },
    )?;
    // What begins early by less than was cut off does not overlap.
    let cut = whole.iter().any(|(unit, all)| *all && most < *unit);
    if cut || !in_order || overlapping < 2 || overlapping * ONE_IN < steps {
        return Some(());
    }
    let text = format!(
        "run.json says that overlapping_steps is false, but {overlapping} of {steps} steps begin before \
         the one before has ended, while beginnings and ends are each in order: the engine's steps \
         overlap, and overlapping_steps should be true"
    );
    let explains = |seen: &Seen<'_>| match seen.rule {
        "M010" => begins_early(seen),
        _ => seen.is(ASKING),
    };
    let lead = &["M010"];
    board.claim(Claim { cause: UNDECLARED_OVERLAP, text, lead, explains: Box::new(explains) });
    Some(())
}
