//! Any single cell of a full log that is changed is found: emptied, one more or less, ten times as
//! much, its neighbour's or another word; and any row that is lost, doubled or moved.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schedlog::check::Verdict;
use schedlog::log::values::{EventType, FinishReason, SchedulerAction, State, WaitingReason};

use crate::fixtures::tripped;
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets};

/// Changes that the rest of a log does not tell from a right value, and why.
const FREE: &[(&str, &[Change], &str)] = &[
    (
        "I.evicted_blocks",
        &[Change::OneMore, Change::OneLess, Change::TenTimes, Change::Neighbour],
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
    OneLess,
    Word,
}

/// The words of a column.
fn words(column: &str) -> Option<Vec<&'static str>> {
    fn all<T: Copy>(values: &[T], word: impl Fn(T) -> &'static str) -> Vec<&'static str> {
        values.iter().map(|value| word(*value)).collect()
    }
    Some(match column {
        "state" | "prev_state" => all(State::ALL, State::as_str),
        "waiting_reason" => all(WaitingReason::ALL, WaitingReason::as_str),
        "scheduler_action" => all(SchedulerAction::ALL, SchedulerAction::as_str),
        "finish_reason" => all(FinishReason::ALL, FinishReason::as_str),
        "event_type" => all(EventType::ALL, EventType::as_str),
        _ => return None,
    })
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
        Change::OneLess => number(|n| n.saturating_sub(1))?,
        Change::Word => {
            let words = words(&sheet.header[column])?;
            let next = (row + text.len()) % words.len();
            words[next].to_owned()
        }
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
    let changes = [
        Change::OneMore,
        Change::TenTimes,
        Change::Neighbour,
        Change::Empty,
        Change::OneLess,
        Change::Word,
    ];
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Move {
    Lost,
    Doubled,
    Swapped,
}

/// Whether the rest of a log does not tell that a row was moved or lost, and why.
fn is_free_move(
    log: &Sheets,
    settings: bool,
    file: &str,
    row: usize,
    change: Move,
) -> Option<&'static str> {
    let same = |sheet: &Sheet, column: &str| sheet.text(row, column) == sheet.text(row + 1, column);
    match (file, change) {
        ("E", Move::Swapped) if same(&log.e, "timestamp") => {
            Some("events of one moment have no order")
        }
        ("R", Move::Swapped)
            if same(&log.r, "state") && log.r.text(row, "state") == "completed" =>
        {
            Some("the completed rows of a step have no order")
        }
        ("I", Move::Lost) if row + 1 == log.i.len() && log.i.n(row, "batch_size") == 0 => {
            Some("an empty step at the end of the log leaves no trace")
        }
        ("E", _) if !settings && log.e.text(row, "event_type").starts_with("kv_cache_") => {
            Some("C008 needs block_size, and says so")
        }
        ("R", Move::Lost) => {
            let state = log.r.text(row, "state");
            let only = state != "running" && log.r.where_is("state", state).len() == 1;
            only.then_some("a log without any row of its state is a dialect, which is named")
        }
        _ => None,
    }
}

#[test]
fn any_row_lost_doubled_or_moved_is_found() {
    let logs = full_logs();
    let mut random = ChaCha8Rng::seed_from_u64(20_261_125);
    let count = std::env::var("ROW_CHANGES").ok().and_then(|n| n.parse().ok()).unwrap_or(CHANGES);
    let (mut tried, mut survivors) = (0, Vec::new());
    while tried < count {
        let (name, log) = logs.choose(&mut random).unwrap();
        let file = *FILES.choose(&mut random).unwrap();
        let change = *[Move::Lost, Move::Doubled, Move::Swapped].choose(&mut random).unwrap();
        let mut wrong = log.clone();
        let settings = random.random_bool(0.5);
        if !settings {
            wrong.run = serde_json::Value::Null;
        }
        let before = wrong.clone();
        let rows = &mut sheet(&mut wrong, file).rows;
        let row = random.random_range(0..rows.len() - 1);
        match change {
            Move::Lost => drop(rows.remove(row)),
            Move::Doubled => rows.insert(row, rows[row].clone()),
            Move::Swapped => rows.swap(row, row + 1),
        }
        if wrong == before {
            continue;
        }
        tried += 1;
        if !is_found(&wrong) && is_free_move(log, settings, file, row, change).is_none() {
            survivors.push(format!("{name} {file} row {row} {change:?}, run.json {settings}"));
        }
    }
    assert!(survivors.is_empty(), "{survivors:#?}");
}

#[test]
fn a_column_without_any_value_is_found_or_noted() {
    let mut survivors = Vec::new();
    for (name, log) in full_logs() {
        for file in FILES {
            let columns = sheet(&mut log.clone(), file).header.clone();
            for (index, column) in columns.iter().enumerate() {
                let mut wrong = log.clone();
                sheet(&mut wrong, file).rows.iter_mut().for_each(|row| row[index].clear());
                if wrong == log {
                    continue;
                }
                let (_directory, report) = wrong.log().check();
                let found = report.verdict() != Verdict::Clean || !tripped(&report).is_empty();
                let noted = report.notes.iter().any(|note| note.contains(column.as_str()));
                // A log without any details is a dialect, which is named.
                let named = column == "details" && !report.dialect.is_reference();
                if !found && !noted && !named {
                    survivors.push(format!("{name} {file}.{column}"));
                }
            }
        }
    }
    assert!(survivors.is_empty(), "{survivors:#?}");
}
