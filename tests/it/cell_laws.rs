//! Any single cell of a full log that is changed is found: emptied, one more, ten times as much, or
//! its neighbour's.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schedlog::check::Verdict;

use crate::fixtures::tripped;
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets};

/// Changes that the rest of a log does not tell from a right value, and why.
const FREE: &[(&str, &[Change], &str)] = &[
    (
        "I.evicted_blocks",
        &[Change::OneMore, Change::TenTimes, Change::Neighbour],
        "which of the blocks taken had cached content is known to the scheduler's pool only; the sum \
         and the step's blocks bound it",
    ),
    (
        "R.computed_tokens",
        &[Change::OneMore],
        "where steps overlap, the tokens of steps in flight may be counted in a completed row",
    ),
];

const FILES: [&str; 5] = ["P", "I", "R", "E", "T"];

fn sheet<'a>(log: &'a mut Sheets, file: &str) -> &'a mut Sheet {
    match file {
        "P" => &mut log.p,
        "I" => &mut log.i,
        "R" => &mut log.r,
        "E" => &mut log.e,
        _ => &mut log.t,
    }
}

fn is_free(place: &str, change: Change) -> bool {
    FREE.iter().any(|(free, changes, _)| *free == place && changes.contains(&change))
}

/// Whether the checker says anything about the log.
fn is_found(log: &Sheets) -> bool {
    let (_directory, report) = log.log().check();
    report.verdict() != Verdict::Clean || !tripped(&report).is_empty()
}

#[test]
fn an_empty_cell_among_filled_ones_is_found() {
    let mut survivors = BTreeMap::<String, BTreeSet<String>>::new();
    let mut tried = 0;
    for (name, log) in full_logs() {
        for file in FILES {
            let columns = sheet(&mut log.clone(), file).header.clone();
            for (index, column) in columns.iter().enumerate() {
                let mut wrong = log.clone();
                let rows = &mut sheet(&mut wrong, file).rows;
                let filled: Vec<_> =
                    (0..rows.len()).filter(|row| !rows[*row][index].is_empty()).collect();
                if filled.len() < 2 {
                    continue;
                }
                rows[filled[filled.len() / 2]][index].clear();
                tried += 1;
                let place = format!("{file}.{column}");
                if !is_found(&wrong) {
                    survivors.entry(place).or_default().insert(name.clone());
                }
            }
        }
    }
    println!("{tried} cells emptied, survivors: {survivors:#?}");
    assert!(tried > 800, "{tried}");
    assert!(survivors.is_empty(), "{survivors:#?}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    OneMore,
    TenTimes,
    Neighbour,
    Empty,
}

/// The cell changed; none if this leaves it as it is.
fn changed(sheet: &Sheet, row: usize, column: usize, change: Change) -> Option<String> {
    let text = &sheet.rows[row][column];
    let number = |change: fn(u64) -> u64| {
        if let Ok(number) = text.parse::<u64>() {
            return Some(change(number).to_string());
        }
        if let Some((whole, rest)) = text.split_once('.') {
            return Some(format!("{}.{rest}", change(whole.parse().ok()?)));
        }
        // A number in the details.
        let start = text.rfind(|c: char| !c.is_ascii_digit() && c != '}')? + 1;
        let end = text.len() - usize::from(text.ends_with('}'));
        let value: u64 = text.get(start..end)?.parse().ok()?;
        Some(format!("{}{}{}", &text[..start], change(value), &text[end..]))
    };
    let new = match change {
        Change::OneMore => number(|n| n + 1)?,
        Change::TenTimes => number(|n| n * 10)?,
        Change::Neighbour => sheet.rows.get(row + 1)?[column].clone(),
        Change::Empty => String::new(),
    };
    (new != *text).then_some(new)
}

/// How many changes are tried.
const CHANGES: usize = 600;

#[test]
fn any_changed_cell_is_found() {
    let logs = full_logs();
    let mut random = ChaCha8Rng::seed_from_u64(20_261_124);
    let mut by_column = BTreeMap::<String, (usize, usize)>::new();
    let mut survivors = Vec::new();
    let changes = [Change::OneMore, Change::TenTimes, Change::Neighbour, Change::Empty];
    let count = std::env::var("CELL_CHANGES").ok().and_then(|n| n.parse().ok()).unwrap_or(CHANGES);
    let mut tried = 0;
    while tried < count {
        let (name, log) = logs.choose(&mut random).unwrap();
        let file = *FILES.choose(&mut random).unwrap();
        let mut wrong = log.clone();
        let sheet = sheet(&mut wrong, file);
        let (row, column) =
            (random.random_range(0..sheet.len()), random.random_range(0..sheet.header.len()));
        let change = *changes.choose(&mut random).unwrap();
        let Some(new) = changed(sheet, row, column, change) else { continue };
        let place = format!("{file}.{}", sheet.header[column]);
        let old = std::mem::replace(&mut sheet.rows[row][column], new.clone());
        let line = sheet.rows[row].join(",");
        tried += 1;
        let found = is_found(&wrong);
        let score = by_column.entry(place.clone()).or_default();
        score.0 += usize::from(found);
        score.1 += 1;
        if !found {
            survivors.push((
                is_free(&place, change),
                format!("{name} {place} row {row}: {old:?} {change:?} {new:?} in {line}"),
            ));
        }
    }
    println!("{} of {tried} changes found", tried - survivors.len());
    by_column
        .iter()
        .filter(|(_, (found, all))| found < all)
        .for_each(|(place, (found, all))| println!("{place}: {found} of {all}"));
    survivors.iter().for_each(|(free, line)| println!("survived (free: {free}): {line}"));
    let surprising: Vec<_> = survivors.iter().filter(|(free, _)| !free).collect();
    assert!(surprising.is_empty(), "{surprising:#?}");
}
