//! Files that were left by another run, and requests of one that stand behind those of this.

use std::collections::BTreeSet;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::CHANGES;
use crate::diagnose::mixups::{ANOTHER_CLOCK, ANOTHER_RUN};
use crate::diagnose::pass::{Ahead, each, of_requests};
use crate::log::ids::{IdTable, Ids};
use crate::log::moments::Moments;
use crate::log::reader::{Item, LogDir};
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow, Table, TransitionRow};
use crate::log::values::State;
use crate::units::Nanos;

/// Rules that go by neither rows of steps nor by what requests they are of.
const WITHOUT_ROWS: &[&str] = &[
    "M001", "M002", "M003", "M004", "M005", "M006", "M007", "M008", "M009", "M010", "M011", "M012",
    "C005", "K001", "K008", "S001", "S003",
];
/// Requests that are compared.
const MOST: usize = 1 << 14;
/// Ends that are no chance.
const SEVERAL: u64 = 2;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["S003", "M006", "X003"]) || dir.file(Table::StateTransitions).is_none() {
        return Some(());
    }
    let lives = of_requests(dir, MOST, |row| Some((row.arrival_time, row.completion_time)))?;
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

/// Rows of steps of another run.
pub(super) fn find_rows(
    dir: &LogDir,
    report: &CheckReport,
    board: &mut Board<'_, '_>,
) -> Option<()> {
    // Steps that are numbered in another way are no other steps.
    if !board.has(&["S004", "Q001", "X003", "M013", "M014", "S008"]) || board.has(&["M011"]) {
        return Some(());
    }
    let Some(mut rows) = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id)) else {
        return Some(());
    };
    let completions = of_requests(dir, MOST, |row| row.completion_time)?;
    let (mut ends, mut fitting) = (0, 0);
    // How much later steps end than the requests that they finish.
    let mut later = BTreeSet::new();
    let latest = completions.values().max().copied().unwrap_or_default();
    let (mut steps, mut counted) = (0_u64, 0_u64);
    // Steps with rows, and those without before another that has some.
    let (mut shown, mut empty, mut gap) = (0_u64, 0_u64, 0_u64);
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            let end = Moments::of(step, &report.dialect).end;
            let (mut running, mut some) = (0, false);
            while let Some((row, id)) = rows.next_if(|row| row.iteration_id <= step.iteration_id) {
                let here = row.iteration_id == step.iteration_id;
                some |= here;
                running += u32::from(here && row.state == State::Running);
                if here && row.state == State::Completed {
                    ends += 1;
                    let completed = completions.get(&id);
                    fitting += u64::from(completed.is_some_and(|it| is_at(*it, end)));
                    later.extend(completed.map(|it| i128::from(end.0) - i128::from(it.0)));
                }
            }
            gap += u64::from(!some);
            if some {
                shown += 1;
                empty += std::mem::take(&mut gap);
            }
            steps += 1;
            counted += u64::from(running == step.running_count.0);
        },
    )?;
    if ends < SEVERAL || fitting > 0 {
        return Some(());
    }
    if counted == steps {
        let all = later.first().filter(|by| later.len() == 1 && **by > i128::from(latest.0));
        if let Some(by) = all {
            another_clock(board, *by);
        }
        return Some(());
    }
    if counted * 2 > steps || empty * 2 > shown {
        return Some(());
    }
    let text = format!(
        "none of {ends} ends in per_iteration_requests.csv is in the step that ends at completion_time of \
         the request, and {counted} of {steps} steps have as many running rows as they count: the file is \
         of another run"
    );
    let lead = &["S004", "X003", "Q001", "X004", "K002"];
    let explains = |seen: &Seen<'_>| !seen.is(WITHOUT_ROWS);
    board.claim(Claim { cause: ANOTHER_RUN, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Steps that are all behind the end of the last request.
fn another_clock(board: &mut Board<'_, '_>, by: i128) {
    let text = format!(
        "per_iteration.csv runs on another clock than per_request.csv: every step ends {by} ns later than the \
         requests that it finishes"
    );
    let lead = &["M014", "S004", "M013", "S008"];
    let explains = |seen: &Seen<'_>| !seen.is(WITHOUT_ROWS);
    board.claim(Claim { cause: ANOTHER_CLOCK, text, lead, explains: Box::new(explains) });
}

/// Requests behind the end of the run, of which no other file tells.
pub(super) fn find_requests(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let named = board.open().filter(|seen| seen.rule == "X001");
    let mut unknown: BTreeSet<&str> = named.filter_map(|seen| seen.request()).collect();
    if (unknown.len() as u64) < SEVERAL {
        return Some(());
    }
    let all = unknown.clone();
    let mut reader = dir.reader::<RequestRow>().ok()??;
    let mut ids = IdTable::default();
    // The line from which on completions begin again.
    let (mut from, mut latest, mut only) = (None, Nanos::ZERO, true);
    while let Some(item) = reader.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        let end = row.row.completion_time;
        if from.is_none() && end.is_some_and(|end| end < latest) {
            from = Some(row.line);
        }
        latest = end.map_or(latest, |end| latest.max(end));
        only &= unknown.remove(ids.id(row.row.request_id)) == from.is_some();
        ids.release(row.row.request_id);
    }
    let Some(line) = from.filter(|_| only && unknown.is_empty()) else { return Some(()) };
    let text = format!(
        "from line {line} of per_request.csv on ends begin again, of requests of which no other file tells: \
         requests of another run"
    );
    let lead = &["X001"];
    let explains = |seen: &Seen<'_>| {
        seen.request().is_some_and(|id| all.contains(id)) || seen.is(&["X006", "X008"])
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
