//! Moments of steps that are off by one and the same time in every row.
//!
//! Everything that is compared with them is off then, by so much; two of the moments of a step, what lies
//! between them and what other files tell of requests show which one it is.

use std::collections::BTreeSet;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::EVENT_COUNTS;
use crate::diagnose::mixups::SHIFTED_MOMENT;
use crate::diagnose::pass::{FirstsAndEnds, each_step};
use crate::log::dialect::Habit;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::units::Nanos;

/// Requests whose moments are kept.
const MOST: usize = 1 << 14;
/// Moments that are no chance.
const SEVERAL: u64 = 3;

/// Rules that ask at which moment of a step something is.
const ASKING: &[&str] = &[
    "M010", "M013", "M014", "M015", "M018", "M020", "M021", "S002", "S004", "S008", "Q004", "Q009",
    "Q011", "C008", "C010",
];

/// By how much something is later than what it is compared with, and how often it is compared.
#[derive(Default)]
struct Off {
    by: BTreeSet<i128>,
    times: u64,
}

impl Off {
    fn note(&mut self, found: Nanos, right: Nanos) {
        self.times += 1;
        if self.by.len() < 2 {
            self.by.insert(i128::from(found.0) - i128::from(right.0));
        }
    }

    /// The one difference of all.
    fn only(&self) -> Option<i128> {
        let only = self.by.first().filter(|_| self.by.len() == 1 && self.times >= SEVERAL);
        only.copied()
    }
}

#[derive(Default)]
struct Offs {
    /// Decisions, than first_scheduled_time of the requests that they admit.
    decided: Off,
    /// Ends, than completion_time of the requests that they finish.
    ends: Off,
    /// What lies between both, than duration.
    lasts: Off,
    /// Whether end_time is the moment of another part of each step.
    at_output: bool,
    /// Beginnings, than the end of the step before where nothing else lies between.
    behind: Vec<i128>,
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let ends_elsewhere = report.dialect.has(Habit::EndsAtDecision);
    if !board.has(&["M010"]) || ends_elsewhere {
        return Some(());
    }
    let offs = offs(dir, report)?;
    let (decided, ends, lasts) = (offs.decided.only(), offs.ends.only(), offs.lasts.only());
    let told = offs.ends.times;
    let way = |by: i128| (by.abs(), if by > 0 { "later" } else { "earlier" });
    let (by, text) = match (decided, ends, lasts) {
        (Some(0), Some(by), Some(more)) if by != 0 && by == more && !offs.at_output => {
            let (amount, way) = way(by);
            let text = format!(
                "end_time of per_iteration.csv is {amount} ns {way} in every row than start_time + duration, and \
                 than the completion_time of each of the {told} requests that steps finish: it is end_time that \
                 is off"
            );
            (by, text)
        }
        (Some(0), Some(by), Some(0)) if by > 0 && is_most(&offs.behind, -by) => {
            let (amount, way) = way(by);
            let text = format!(
                "end_time of per_iteration.csv is {amount} ns {way} in every row than the completion_time of each \
                 of the {told} requests that steps finish, and than the start_time of the step behind: it is \
                 end_time that is off, and duration with it"
            );
            (by, text)
        }
        (Some(by), Some(0), Some(less)) if by != 0 && by == -less => {
            let (amount, way) = way(by);
            let admitted = offs.decided.times;
            let text = format!(
                "start_time of per_iteration.csv is {amount} ns {way} in every row than end_time - duration, and \
                 start_time + scheduling_overhead than the first_scheduled_time of each of {admitted} requests: it \
                 is start_time that is off"
            );
            (by, text)
        }
        _ => return Some(()),
    };
    let lead = &["M010", "M020", "M015"];
    let explains = |seen: &Seen<'_>| match seen.values() {
        _ if seen.rule == "Q001" => seen.column().is_some_and(|it| EVENT_COUNTS.contains(&it)),
        Some((expected, actual)) if seen.rule == "M010" || seen.rule == "M015" => {
            (expected - actual).abs() <= 2 * by.abs()
        }
        _ => seen.is(ASKING),
    };
    board.claim(Claim { cause: SHIFTED_MOMENT, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Whether most of these are this one.
fn is_most(all: &[i128], one: i128) -> bool {
    let same = all.iter().filter(|other| **other == one).count();
    same as u64 >= SEVERAL && same * 2 > all.len()
}

fn offs(dir: &LogDir, report: &CheckReport) -> Option<Offs> {
    let mut moments_of = FirstsAndEnds::read(dir, MOST)?;
    let mut offs = Offs { at_output: true, ..Offs::default() };
    let mut before: Option<Nanos> = None;
    each_step(dir, |step, rows| {
        let moments = Moments::of(step, &report.dialect);
        offs.lasts.note(moments.end, moments.start.saturating_add(step.duration));
        offs.at_output &= moments.end == moments.output;
        if let Some(end) = before.replace(moments.end).filter(|_| offs.behind.len() < MOST) {
            offs.behind.push(i128::from(moments.start.0) - i128::from(end.0));
        }
        for (row, id) in rows {
            let (first, end) = moments_of.told_by(row, id);
            if let Some(first) = first {
                offs.decided.note(moments.decided, first);
            }
            if let Some(end) = end {
                offs.ends.note(moments.end, end);
            }
        }
    })?;
    Some(offs)
}
