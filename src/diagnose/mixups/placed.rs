//! Moments of a step that stand for another one of it, in all rows of a file: what per_request.csv has tells which.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{CHANGES, EVENT_COUNTS};
use crate::diagnose::mixups::{NEVER_FILLED, OTHER_PLACE};
use crate::diagnose::pass::{FirstsAndEnds, each, each_step, of_requests};
use crate::log::dialect::Habit;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRow, TransitionRow};
use crate::log::values::State;
use crate::units::Nanos;

/// Requests whose moments are kept, and steps.
const MOST: usize = 1 << 14;
/// Moments that are no chance.
const SEVERAL: u64 = 3;

/// Rules that ask at which moment of a step something is.
const ASKING: &[&str] = &[
    "M006", "M010", "M013", "M014", "M015", "M018", "M020", "M021", "S002", "S004", "S008", "Q004",
    "Q009", "C008", "C010",
];

/// What all rows agree with, and how many of them tell.
#[derive(Clone, Copy)]
struct All {
    holds: bool,
    rows: u64,
}

impl All {
    const NONE: Self = Self { holds: true, rows: 0 };

    fn see(&mut self, holds: bool) {
        self.holds &= holds;
        self.rows += 1;
    }

    const fn is_told(self) -> bool {
        self.holds && self.rows >= SEVERAL
    }
}

/// What steps say of themselves, and what requests say of them.
struct Steps {
    /// The parts add up to duration, to what lies between both moments, to the latter and scheduling_overhead, to the
    /// latter and output_processing_duration.
    parts: All,
    whole: All,
    overhead_more: All,
    output_more: All,
    /// No step has an overhead.
    no_overhead: All,
    /// Requests are first scheduled at start_time, later than `D` and before `O`.
    at_start: All,
    later: All,
    /// Requests end at end_time, and so much later as the output is processed.
    at_end: All,
    behind_end: All,
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if report.dialect.has(Habit::EndsAtDecision) {
        return Some(());
    }
    if board.has(&["M010", "M015", "M020"]) {
        of_steps(dir, report, board)?;
    }
    of_changes(dir, report, board)
}

fn of_steps(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let steps = steps(dir, report)?;
    let is = All::is_told;
    let at_end = is(steps.at_end);
    let (cause, text) = if is(steps.overhead_more) && is(steps.at_start) && at_end {
        (
            OTHER_PLACE,
            "start_time of per_iteration.csv is the moment of the decision: between it and end_time lies what duration \
             has without scheduling_overhead, and requests are first scheduled at it",
        )
    } else if is(steps.output_more) && is(steps.behind_end) {
        (
            OTHER_PLACE,
            "end_time of per_iteration.csv is the moment at which the output arrives: output_processing_duration lies \
             behind it, and requests end as that is over",
        )
    } else if is(steps.parts)
        && is(steps.whole)
        && is(steps.no_overhead)
        && is(steps.later)
        && at_end
    {
        (
            NEVER_FILLED,
            "scheduling_overhead of per_iteration.csv is 0 in all rows, although each request is first scheduled later \
             than start_time: it is never filled in, or counted in forward_pass_duration",
        )
    } else {
        return Some(());
    };
    let lead = &["M010", "M015", "M020", "S004"];
    let explains = |seen: &Seen<'_>| match seen.rule {
        "Q001" => seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column)),
        _ => seen.is(ASKING),
    };
    board.claim(Claim { cause, text: text.to_owned(), lead, explains: Box::new(explains) });
    Some(())
}

fn steps(dir: &LogDir, report: &CheckReport) -> Option<Steps> {
    let mut moments_of = FirstsAndEnds::read(dir, MOST)?;
    let mut steps = Steps {
        parts: All::NONE,
        whole: All::NONE,
        overhead_more: All::NONE,
        output_more: All::NONE,
        no_overhead: All::NONE,
        at_start: All::NONE,
        later: All::NONE,
        at_end: All::NONE,
        behind_end: All::NONE,
    };
    each_step(dir, |step, rows| {
        let at = Moments::of(step, &report.dialect);
        let output = step.output_processing_duration.unwrap_or_default();
        let parts = [step.scheduling_overhead, step.forward_pass_duration, output];
        let parts = parts.into_iter().fold(Nanos::ZERO, Nanos::saturating_add);
        let lies = Nanos(at.end.0.saturating_sub(at.start.0));
        steps.parts.see(parts == step.duration);
        steps.whole.see(parts == lies);
        let more = |part: Nanos| part > Nanos::ZERO && lies.saturating_add(part) == parts;
        steps.overhead_more.see(more(step.scheduling_overhead));
        steps.output_more.see(more(output));
        steps.no_overhead.see(step.scheduling_overhead == Nanos::ZERO);
        for (row, id) in rows {
            let (first, end) = moments_of.told_by(row, id);
            if let Some(first) = first {
                steps.at_start.see(first == at.start);
                steps.later.see(first > at.decided && first < at.output);
            }
            if let Some(end) = end {
                steps.at_end.see(end == at.end);
                steps.behind_end.see(end == at.end.saturating_add(output));
            }
        }
    })?;
    Some(steps)
}

/// Changes that are stamped with the end of the step that decides them.
fn of_changes(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let of_change = |seen: &Seen<'_>| {
        seen.rule == "M006" && seen.finding.message.ends_with("the first running change")
    };
    let of_event = |seen: &Seen<'_>| seen.rule == "M006" && !of_change(seen);
    if !board.open().any(|seen| of_change(&seen)) || board.open().any(|seen| of_event(&seen)) {
        return Some(());
    }
    let mut ends: BTreeMap<Nanos, [Nanos; 2]> = BTreeMap::new();
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            let at = Moments::of(step, &report.dialect);
            if ends.len() < MOST {
                ends.insert(at.decided, [at.start, at.end]);
            }
        },
    )?;
    let mut firsts = of_requests(dir, MOST, |row| row.first_scheduled_time)?;
    let (mut at_start, mut at_end) = (All::NONE, All::NONE);
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if row.state != State::Running {
                return;
            }
            // Only the first is that of the first scheduling.
            let Some(step) = firsts.remove(id).and_then(|first| ends.get(&first)) else { return };
            at_start.see(row.timestamp == step[0]);
            at_end.see(row.timestamp == step[1]);
        },
    )?;
    let moment = match (at_start.is_told(), at_end.is_told()) {
        (true, _) => "start_time",
        (false, true) => "end_time",
        (false, false) => return Some(()),
    };
    let text = format!(
        "decisions in state_transitions.csv are stamped with {moment} of their steps: per_request.csv and events.csv \
         have start_time + scheduling_overhead"
    );
    let explains = |seen: &Seen<'_>| match seen.rule {
        "M006" => of_change(seen),
        "M015" => seen.finding.message.contains("the change to"),
        _ => seen.is(CHANGES) && seen.rule != "X001",
    };
    let lead = &["M006"];
    board.claim(Claim { cause: OTHER_PLACE, text, lead, explains: Box::new(explains) });
    Some(())
}
