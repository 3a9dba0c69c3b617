//! Durations that were cut to a coarser unit, of moments that were not, and the other way round.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::facts::COARSE_UNITS;
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::ROUNDED_DURATIONS;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow, Table, TransitionRow};
use crate::units::Nanos;

pub(super) const UNITS: [&str; 2] = ["milliseconds", "microseconds"];
/// Durations that are no chance, as one in a thousand is.
const SEVERAL: u64 = 3;
/// Amounts that are kept, and what part of the unit they are apart at least.
const DIFFERENT: usize = 2;
const PARTS: i128 = 128;
/// Files that are named.
const FILES: usize = 4;

/// Rules that compare a duration with the moments around it, or ask at which moment of a step something is.
pub(super) const ASKING: &[&str] = &[
    "M001", "M002", "M003", "M004", "M005", "M006", "M007", "M008", "M009", "M010", "M013", "M014",
    "M015", "M017", "M018", "M020", "S003", "S004", "S008", "Q001", "Q004", "Q007", "Q009",
];
/// Rules of these that have no value, or another one.
const WITHOUT_VALUE: &[&str] = &["M009", "M014", "S004", "S008", "Q001", "Q004", "Q007", "Q009"];

/// What one file has: moments that are no whole numbers of each unit, and whether all durations are.
#[derive(Default)]
struct Times {
    fine: [u64; COARSE_UNITS.len()],
    moments: u64,
    coarse: [bool; COARSE_UNITS.len()],
    durations: u64,
    /// What lies between two moments of a row and is no whole number of each unit, where the duration of the row
    /// is another: how often, and by how much. A run of which every step takes so many whole microseconds has
    /// whole durations by nature, and moments that are moved all lack the same.
    lacking: [(u64, BTreeSet<i128>); COARSE_UNITS.len()],
}

impl Times {
    fn see(&mut self, moments: &[u64], durations: &[Option<u64>]) {
        for (index, unit) in COARSE_UNITS.iter().enumerate() {
            let of_moments = moments.iter().filter(|moment| !moment.is_multiple_of(*unit));
            self.fine[index] += of_moments.count() as u64;
            self.coarse[index] &= durations.iter().flatten().all(|it| it.is_multiple_of(*unit));
        }
        self.moments += moments.len() as u64;
        self.durations += durations.iter().flatten().filter(|it| **it > 0).count() as u64;
    }

    fn see_span(&mut self, from: Nanos, to: Nanos, lasted: Nanos) {
        let span = i128::from(to.0) - i128::from(from.0);
        let off = span - i128::from(lasted.0);
        for ((rows, lacking), unit) in self.lacking.iter_mut().zip(COARSE_UNITS) {
            if off != 0 && span % i128::from(unit) != 0 {
                *rows += 1;
                note(lacking, off);
            }
        }
    }

    fn new() -> Self {
        Self { coarse: [true; COARSE_UNITS.len()], ..Self::default() }
    }
}

/// Keeps the least and the largest of amounts.
fn note(amounts: &mut BTreeSet<i128>, by: i128) {
    amounts.insert(by);
    if amounts.len() > DIFFERENT {
        let between = amounts.iter().nth(1).copied();
        between.inspect(|it| {
            amounts.remove(it);
        });
    }
}

/// Whether amounts are what is left of times that are cut to a unit: they vary, and by some part of it.
fn are_rests(amounts: &BTreeSet<i128>, unit: u64) -> bool {
    let ends = amounts.first().zip(amounts.last());
    ends.is_some_and(|(least, most)| (most - least) * PARTS >= i128::from(unit))
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    durations(dir, board)?;
    stamps(dir, board)
}

/// Moments of steps that were cut, where what lies between them was not.
fn stamps(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M010"]) {
        return Some(());
    }
    let mut cut = COARSE_UNITS.map(|unit| (unit, [true; 2], 0_u64));
    let (mut rows, mut off, mut amounts) = (0, 0, BTreeSet::new());
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            rows += 1;
            let by = i128::from(row.end_time.0)
                - i128::from(row.start_time.0)
                - i128::from(row.duration.0);
            off += u64::from(by != 0);
            note(&mut amounts, by);
            for (unit, all, fine) in &mut cut {
                all[0] &= row.start_time.0.is_multiple_of(*unit);
                all[1] &= row.end_time.0.is_multiple_of(*unit) && row.end_time.0 > 0;
                *fine += u64::from(!row.duration.0.is_multiple_of(*unit));
            }
        },
    )?;
    let names = ["start_time", "end_time"];
    for (index, (unit, all, fine)) in cut.into_iter().enumerate() {
        // What was cut off shows in the duration, which has it still.
        let shows = off * 2 > rows && are_rests(&amounts, unit);
        if rows < SEVERAL || all == [false; 2] || fine * 2 <= rows || !shows {
            continue;
        }
        let names: Vec<&str> =
            names.into_iter().zip(all).filter(|(_, cut)| *cut).map(|(it, _)| it).collect();
        let text = format!(
            "{} of per_iteration.csv {} whole {}, and durations are not: moments are rounded before they are \
             written. Write them as the clock gives them, in nanoseconds",
            names.join(" and "),
            if names.len() == 1 { "is in" } else { "are in" },
            UNITS[index]
        );
        let lead = &["M010", "M001", "M015"];
        let explains = |seen: &Seen<'_>| {
            seen.is(ASKING) && is_near(seen, unit) || seen.rule == "M010" || seen.rule == "M021"
        };
        board.claim(Claim { cause: ROUNDED_DURATIONS, text, lead, explains: Box::new(explains) });
        return Some(());
    }
    Some(())
}

/// Whether values differ by no more than was cut off. Each side of a comparison may have lost as much as a unit, and
/// there are up to three.
pub(super) fn is_near(seen: &Seen<'_>, unit: u64) -> bool {
    let off = seen.values().map(|(expected, actual)| (actual - expected).unsigned_abs());
    let bound = || seen.is(WITHOUT_VALUE) || ["M007", "M010"].contains(&seen.rule);
    off.map_or_else(bound, |off| off <= 4 * u128::from(unit))
}

fn durations(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M001", "M004", "M010"]) {
        return Some(());
    }
    let mut files = [
        Table::PerRequest,
        Table::PerIteration,
        Table::PerIterationRequests,
        Table::StateTransitions,
    ]
    .map(|table| (table, Times::new()));
    let [requests, steps, rows, changes] = &mut files;
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, _| {
            let parts = [row.waiting_time, row.execution_time].map(|it| Some(it.0));
            let until = [row.e2e_latency, row.ttft].map(|it| it.map(|it| it.0));
            // Arrivals are as coarse as the trace that was sent.
            let first: Vec<u64> = row.first_scheduled_time.iter().map(|at| at.0).collect();
            requests.1.see(&first, &[parts, until].concat());
            if let Some((end, latency)) = row.completion_time.zip(row.e2e_latency) {
                requests.1.see_span(row.arrival_time, end, latency);
            }
        },
    )?;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let lasted = [row.duration, row.scheduling_overhead, row.forward_pass_duration];
            steps.1.see(&[row.start_time.0, row.end_time.0], &lasted.map(|it| Some(it.0)));
            steps.1.see_span(row.start_time, row.end_time, row.duration);
        },
    )?;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, _| rows.1.see(&[], &[Some(row.time_in_state.0)]),
    )?;
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, _| changes.1.see(&[row.timestamp.0], &[Some(row.duration_in_prev_state.0)]),
    )?;
    for (index, unit) in COARSE_UNITS.into_iter().enumerate() {
        let cut = |it: &&(Table, Times)| it.1.coarse[index] && it.1.durations >= SEVERAL;
        // Rows of steps have no moments of their own. Where all is coarse, the moments of some file may be wrong.
        let coarse = |it: &(Table, Times)| it.1.moments > 0 && it.1.fine[index] * 2 <= it.1.moments;
        let cut: Vec<_> = files.iter().filter(cut).collect();
        let lacking = || files.iter().map(|it| &it.1.lacking[index]);
        let rows: u64 = lacking().map(|(rows, _)| rows).sum();
        let amounts: BTreeSet<i128> = lacking().flat_map(|(_, amounts)| amounts).copied().collect();
        let shows = rows >= SEVERAL && are_rests(&amounts, unit);
        // In one file of which only one column is compared that is told of the column.
        let alone = matches!(cut.as_slice(), [] | [_])
            && !matches!(cut.as_slice(), [(Table::PerRequest, _)]);
        if alone || files.iter().any(coarse) || !shows {
            continue;
        }
        let explains = |seen: &Seen<'_>| seen.is(ASKING) && is_near(seen, unit);
        let names: BTreeSet<&str> = cut.iter().map(|(table, _)| table.file_name()).collect();
        let text = format!(
            "durations in {} are whole {}, and the moments that they lie between are not: each was rounded before \
             it was written. Write the difference of the two moments as it is, in nanoseconds",
            listed(&names.into_iter().collect::<Vec<_>>(), FILES),
            UNITS[index]
        );
        let lead = &["M001", "M004", "M010", "M013"];
        board.claim(Claim { cause: ROUNDED_DURATIONS, text, lead, explains: Box::new(explains) });
        return Some(());
    }
    Some(())
}
