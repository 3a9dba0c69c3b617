//! Files of which all moments are those of the others times one number, or one and the same.

use std::collections::BTreeSet;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::causes::units;
use crate::diagnose::losses::explain::{CHANGES, EVENTS_OF_REQUEST, EVENTS_OF_STEP};
use crate::diagnose::mixups::jump::{self, Told};
use crate::diagnose::mixups::{ONE_MOMENT, SCALED_MOMENTS};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRow, Table, TransitionRow};
use crate::units::Nanos;

/// Different moments that are no chance.
const SEVERAL: usize = 3;
/// Factors from here on are units, of which more is told elsewhere; below the other one it is the pace of a clock.
const UNIT: f64 = 500.0;
const PACE: f64 = 0.01;
/// Longer units: how many nanoseconds they have, that in words, and their names.
const UNITS: [(i128, &str, &str); 3] = [
    (1_000, "a thousand", "microseconds"),
    (1_000_000, "a million", "milliseconds"),
    (1_000_000_000, "a billion", "seconds"),
];
/// How far a moment may be from what the factor makes of it, for what was cut off; and so many parts of it, for
/// what a float leaves.
const NEAR: f64 = 1.5;
const PARTS: f64 = 1e13;

/// Rules of rows of per_request.csv alone.
const OF_REQUESTS: &[&str] = &["M001", "M002", "M008", "M009", "M017", "C005", "K008"];

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M006", "M010", "M014", "M015", "M020", "S003"]) {
        return Some(());
    }
    let lives = jump::lives(dir)?;
    let files = [
        (Table::Events, jump::of_events(dir, &lives)?),
        (Table::StateTransitions, jump::of_changes(dir, lives.clone())?),
        (Table::PerIteration, jump::of_ends(dir, report, &lives)?),
    ];
    let odd: Vec<_> =
        files.iter().filter(|(_, told)| told.iter().any(|(_, off)| *off != 0)).collect();
    for (table, _) in &odd {
        one_moment(dir, board, *table)?;
    }
    match odd.as_slice() {
        [(table, told)] => factor(dir, board, *table, told),
        // Where two files differ it may be the third one.
        _ => Some(()),
    }
}

fn explains(table: Table, seen: &Seen<'_>) -> bool {
    match table {
        Table::Events => {
            seen.is(EVENTS_OF_REQUEST)
                || seen.is(EVENTS_OF_STEP)
                || seen
                    .is(&["M005", "M012", "M014", "M015", "S002", "S004", "Q004", "Q007", "Q009"])
                || seen.is(&["K011", "K012", "C010"])
        }
        Table::StateTransitions => {
            seen.is(CHANGES) && seen.rule != "X001" || seen.is(&["M005", "M007", "M015"])
        }
        _ => !seen.is(OF_REQUESTS) && seen.rule.starts_with(['M', 'S', 'Q', 'C', 'K', 'L', 'X']),
    }
}

fn claim(board: &mut Board<'_, '_>, table: Table, cause: &'static str, text: String) {
    let lead: &'static [&'static str] = match table {
        Table::Events => &["M015", "M014", "M020", "S003", "M006", "M007"],
        Table::StateTransitions => &["S003", "M006", "M004"],
        _ => &["M010", "M020", "M015", "M014"],
    };
    let explains = move |seen: &Seen<'_>| explains(table, seen);
    board.claim(Claim { cause, text, lead, explains: Box::new(explains) });
}

/// One stamp for everything.
fn one_moment(dir: &LogDir, board: &mut Board<'_, '_>, table: Table) -> Option<()> {
    let (mut rows, mut stamps) = (0_usize, BTreeSet::new());
    let mut see = |at: Nanos| {
        rows += 1;
        if stamps.len() < 2 {
            stamps.insert(at);
        }
    };
    match table {
        Table::Events => each::<EventRow>(dir, |_| None, |row, _| see(row.timestamp))?,
        Table::StateTransitions => {
            each::<TransitionRow>(dir, |_| None, |row, _| see(row.timestamp))?
        }
        _ => return Some(()),
    }
    let Some(at) = stamps.first().filter(|_| stamps.len() == 1 && rows >= SEVERAL) else {
        return Some(());
    };
    let why = if at.0 == 0 {
        "it is never filled in, or in a unit that is longer than the run"
    } else {
        "the clock is read once and not again"
    };
    let text =
        format!("timestamp is {at} in all {rows} rows of {table}, whatever happened when: {why}");
    claim(board, table, ONE_MOMENT, text);
    Some(())
}

/// One factor between all moments of two files.
fn factor(dir: &LogDir, board: &mut Board<'_, '_>, table: Table, told: &[Told]) -> Option<()> {
    let found = |(right, off): &Told| (right.0 as f64, (i128::from(right.0) + off) as f64);
    let Some((right, moved)) = told.iter().max_by_key(|(right, _)| *right).map(found) else {
        return Some(());
    };
    let times = moved / right;
    if let Some((_, many, unit)) = UNITS.into_iter().find(|(of, ..)| is_coarser(told, *of)) {
        let text = format!(
            "all moments of {table} are {many} times too small: they are in {unit}, and those of per_request.csv in \
             nanoseconds"
        );
        claim(board, table, units::UNIT.id, text);
        return Some(());
    }
    let is_pace = (times - 1.0).abs() < PACE;
    if right <= 0.0 || !(1.0 / UNIT..UNIT).contains(&times) || is_pace {
        return Some(());
    }
    let different: BTreeSet<Nanos> = told.iter().map(|(right, _)| *right).collect();
    let fits = |told: &Told| {
        let (right, moved) = found(told);
        (right * times - moved).abs() <= NEAR.max(moved / PARTS) * times.max(1.0)
    };
    if different.len() < SEVERAL || !told.iter().all(fits) {
        return Some(());
    }
    // What the steps themselves say that they lasted is right, then.
    if table == Table::PerIteration && !stretched(dir, times)? {
        return Some(());
    }
    let name = if times.fract() == 0.0 { format!("{times}") } else { format!("{times:.4}") };
    let columns =
        if table == Table::PerIteration { "start_time and end_time" } else { "timestamp" };
    let text = format!(
        "{columns} of {table} {} {name} times the moment that per_request.csv has, for each of {} that both have: a \
         factor is wrong",
        if table == Table::PerIteration { "are" } else { "is" },
        told.len()
    );
    claim(board, table, SCALED_MOMENTS, text);
    Some(())
}

/// Whether each moment is the one that per_request.csv has, cut to a unit of so many nanoseconds.
fn is_coarser(told: &[Told], unit: i128) -> bool {
    let found = |(right, off): &Told| i128::from(right.0) + off;
    let different: BTreeSet<i128> = told.iter().map(found).collect();
    let cut = |told: &Told| (found(told) * unit - i128::from(told.0.0)).abs() <= unit;
    different.len() >= SEVERAL && told.iter().all(cut)
}

/// Whether all steps last so many times as long as their durations by their moments.
fn stretched(dir: &LogDir, times: f64) -> Option<bool> {
    let mut all = true;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let lasts = row.end_time.0.abs_diff(row.start_time.0) as f64;
            all &= (row.duration.0 as f64 * times - lasts).abs() <= 2.0 * NEAR * times.max(1.0);
        },
    )?;
    Some(all)
}
