//! One step with a moment that its own durations and both of its neighbours contradict.

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::ONE_WRONG_VALUE;
use crate::diagnose::pass::each;
use crate::log::dialect::Habit;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRow;
use crate::units::Nanos;

/// Rules that ask where in a step something is.
const NEAR: &[&str] = &[
    "M010", "M013", "M014", "M015", "M018", "M020", "S004", "Q001", "Q004", "K004", "C008", "C010",
];
/// Rules that go astray behind a step which ends far too late.
const BEHIND: &[&str] = &[
    "M010", "M013", "M015", "M018", "M020", "M021", "S002", "S004", "S008", "Q001", "Q004", "K002",
    "K004", "K006", "K010", "C008", "C009", "C010", "X004", "X005",
];

/// What a step says of its moments.
#[derive(Clone, Copy)]
struct Told {
    start: Nanos,
    end: Nanos,
    duration: Nanos,
    parts: Nanos,
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if report.overlapping || report.dialect.has(Habit::EndsAtDecision) {
        return Some(());
    }
    let lasts = |seen: &Seen<'_>| {
        seen.rule == "M010" && seen.finding.message.starts_with("duration is not end_time")
    };
    let wrong = board.iterations(lasts);
    let [step] = wrong.as_slice() else { return Some(()) };
    let step = *step;
    // Before it, itself and behind it.
    let mut near: [Option<Told>; 3] = [None; 3];
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let place =
                row.iteration_id.0.saturating_add(1).checked_sub(step).filter(|place| *place < 3);
            let Some(slot) = place.and_then(|place| near.get_mut(usize::try_from(place).ok()?))
            else {
                return;
            };
            let output = row.output_processing_duration.unwrap_or_default();
            let parts = [row.scheduling_overhead, row.forward_pass_duration, output];
            *slot = Some(Told {
                start: row.start_time,
                end: row.end_time,
                duration: row.duration,
                parts: parts.into_iter().fold(Nanos::ZERO, Nanos::saturating_add),
            });
        },
    )?;
    let [Some(before), Some(own), Some(behind)] = near else { return Some(()) };
    if own.parts != own.duration {
        return Some(());
    }
    let start = Nanos(own.end.0.saturating_sub(own.duration.0));
    let end = own.start.saturating_add(own.duration);
    // Which of the two, as the other and the duration have it, lies between both neighbours.
    let start_fits = start >= before.end && own.end <= behind.start;
    let end_fits = own.start >= before.end && end <= behind.start;
    let (column, told, right) = match (start_fits, end_fits) {
        (true, false) => ("start_time", own.start, start),
        (false, true) => ("end_time", own.end, end),
        _ => return Some(()),
    };
    let text = format!(
        "{column} of iteration {step} is {told}, and {right} by its other moment and its duration, which lies between the \
         steps before and behind it: it is {column} that is wrong"
    );
    let goes_astray = column == "end_time" && own.end > behind.start;
    let explains = |seen: &Seen<'_>| match seen.iteration() {
        Some(id) if id == step || id == step + 1 => seen.is(NEAR) || goes_astray && seen.is(BEHIND),
        id => goes_astray && seen.is(BEHIND) && id.is_none_or(|id| id > step),
    };
    let lead = &["M010"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}
