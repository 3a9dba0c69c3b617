//! A clock that jumps in the middle of a file: up to some moment it is that of per_request.csv, and from there
//! on it is off by one and the same time.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::CHANGES;
use crate::diagnose::mixups::CLOCK_JUMPS;
use crate::diagnose::pass::{each, each_step, of_requests};
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, Table, TransitionRow};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::Nanos;

/// Requests whose moments are kept.
const MOST: usize = 1 << 14;
/// Moments that are no chance, before the jump and behind it.
const SEVERAL: usize = 3;
/// No step takes less, so that a shorter time may be that between two moments of one.
const LEAST: i128 = 1_000_000;

/// Rules that go by no moment of other files.
const WITHIN_ROWS: &[&str] =
    &["M001", "M002", "M003", "M008", "M009", "M011", "M017", "C005", "K001", "K008", "S001"];

/// A moment of a request by per_request.csv, and how much later another file has it.
pub(super) type Told = (Nanos, i128);

/// What per_request.csv tells of a request.
#[derive(Clone, Copy)]
pub(super) struct Life {
    arrival: Nanos,
    first: Option<Nanos>,
    end: Option<Nanos>,
    /// Whether no step's output ends it.
    dropped: bool,
    /// Whether its first scheduling was met.
    begun: bool,
}

pub(super) type Lives = BTreeMap<String, Life>;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M006", "M014", "M015", "M020", "S003", "S004"]) {
        return Some(());
    }
    let lives = lives(dir)?;
    let told = [
        (Table::PerIteration, of_steps(dir, report, lives.clone())?),
        (Table::Events, of_events(dir, &lives)?),
        (Table::StateTransitions, of_changes(dir, lives)?),
    ];
    // Where more than one jumps it may as well be per_request.csv.
    let mut jumps = told.into_iter().filter_map(|(table, told)| Some((table, jump(told)?)));
    let Some((table, (before, behind, by))) = jumps.next() else { return Some(()) };
    if jumps.next().is_some() {
        return Some(());
    }
    let way = if by > 0 { "later" } else { "earlier" };
    let text = format!(
        "up to {before} ns {table} has the moments of per_request.csv, and from {behind} ns on it has all of \
         them {} ns {way}: its clock jumps",
        by.abs()
    );
    let lead = &["M014", "S003", "M006", "M007", "M015", "S004"];
    let explains = |seen: &Seen<'_>| match table {
        Table::StateTransitions => seen.is(CHANGES) || seen.is(&["M005", "M007", "M015"]),
        _ => !seen.is(WITHIN_ROWS) && seen.rule != "M004",
    };
    board.claim(Claim { cause: CLOCK_JUMPS, text, lead, explains: Box::new(explains) });
    Some(())
}

/// The moments of per_request.csv.
pub(super) fn lives(dir: &LogDir) -> Option<Lives> {
    of_requests(dir, MOST, |row| {
        let (first, end) = (row.first_scheduled_time, row.completion_time);
        let dropped = row.finish_reason.is_some_and(FinishReason::is_drop);
        Some(Life { arrival: row.arrival_time, first, end, dropped, begun: false })
    })
}

/// Between which moments of per_request.csv the file jumps, and by how much.
fn jump(mut told: Vec<Told>) -> Option<(Nanos, Nanos, i128)> {
    told.sort_unstable();
    let (_, by) = *told.last()?;
    let agreeing = told.iter().take_while(|(_, off)| *off == 0).count();
    let (before, behind) = told.split_at(agreeing);
    let all = behind.iter().all(|(_, off)| *off == by);
    let several = before.len() >= SEVERAL && behind.len() >= SEVERAL;
    (all && several && by.abs() >= LEAST).then(|| (before[before.len() - 1].0, behind[0].0, by))
}

fn note(told: &mut Vec<Told>, right: Option<Nanos>, found: Nanos) {
    told.extend(right.map(|right| (right, i128::from(found.0) - i128::from(right.0))));
}

/// First schedulings are at the decisions of their steps, and ends of completed rows at their ends.
fn of_steps(dir: &LogDir, report: &CheckReport, mut lives: Lives) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    each_step(dir, |step, rows| {
        let moments = Moments::of(step, &report.dialect);
        for (row, id) in rows {
            let Some(life) = lives.get_mut(id) else { continue };
            match row.state {
                State::Running if !std::mem::replace(&mut life.begun, true) => {
                    note(&mut told, life.first, moments.decided);
                }
                State::Completed if !life.dropped => note(&mut told, life.end, moments.end),
                _ => {}
            }
        }
    })?;
    Some(told)
}

/// Ends of completed rows alone.
pub(super) fn of_ends(dir: &LogDir, report: &CheckReport, lives: &Lives) -> Option<Vec<Told>> {
    let begun = |life: &Life| Life { begun: true, ..*life };
    of_steps(dir, report, lives.iter().map(|(id, life)| (id.clone(), begun(life))).collect())
}

pub(super) fn of_events(dir: &LogDir, lives: &Lives) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, id| {
            let Some(life) = lives.get(id) else { return };
            let right = match row.event_type {
                EventType::RequestArrived => Some(life.arrival),
                EventType::RequestScheduled => life.first,
                EventType::RequestCompleted => life.end,
                _ => None,
            };
            note(&mut told, right, row.timestamp);
        },
    )?;
    Some(told)
}

pub(super) fn of_changes(dir: &LogDir, mut lives: Lives) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let Some(life) = lives.get_mut(id) else { return };
            match row.state {
                State::Running if !std::mem::replace(&mut life.begun, true) => {
                    note(&mut told, life.first, row.timestamp);
                }
                State::Completed => note(&mut told, life.end, row.timestamp),
                _ => {}
            }
        },
    )?;
    Some(told)
}
