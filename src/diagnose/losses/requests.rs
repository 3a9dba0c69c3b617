//! Requests of which one file has no row at all.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::LOST_REQUEST;
use crate::diagnose::losses::count::{Counts, Life};
use crate::diagnose::losses::explain::{
    CHANGES, EVENT_COUNTS, EVENTS_OF_REQUEST, EVENTS_OF_STEP, GAPS, ROW_COUNTS, ROWS_OF_REQUEST,
    ROWS_OF_STEP, listed,
};
use crate::log::schema::Table;
use crate::log::values::EventType;

/// Requests that are named.
const NAMED: usize = 4;

pub(super) fn find(board: &mut Board<'_, '_>, counts: &Counts) {
    // Requests that are missing both ways stand under other ids.
    if board.has(&["X001"]) && board.has(&["X003"]) {
        return;
    }
    of_requests(board, counts);
    for table in [Table::PerIterationRequests, Table::Events, Table::StateTransitions] {
        of_table(board, counts, table);
    }
}

fn is_lost(life: &Life, table: Table, counts: &Counts) -> bool {
    let shown = match table {
        Table::PerIterationRequests => {
            life.steps.is_some() && (life.first.is_some() || !counts.hides_waiting)
        }
        Table::StateTransitions => life.first.is_some(),
        _ => true,
    };
    shown && life.is_lost(table)
}

fn of_table(board: &mut Board<'_, '_>, counts: &Counts, table: Table) {
    let lost: Vec<(&str, &Life)> = counts
        .lives
        .iter()
        .filter(|(_, life)| is_lost(life, table, counts))
        .map(|(id, life)| (id.as_str(), life))
        .collect();
    let ids: Vec<&str> = lost.iter().map(|(id, _)| *id).collect();
    // Where all of them are missing they stand there under other ids.
    let all = match table {
        Table::Events => counts.requests,
        _ => counts.events.get(&EventType::RequestScheduled).map_or(0, |told| told.expected),
    };
    let none = ids.len() as u64 >= all;
    if ids.is_empty() || none || others_lack(board, counts, table, &lost) {
        return;
    }
    let of_request: &[&str] = match table {
        Table::PerIterationRequests => ROWS_OF_REQUEST,
        Table::Events => EVENTS_OF_REQUEST,
        _ => CHANGES,
    };
    let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
        (Some(request), step) if !ids.contains(&request) => {
            // Others stand further back in the queue than there are rows before them.
            let lived = step.is_some_and(|step| lost.iter().any(|(_, life)| life.has(step)));
            table == Table::PerIterationRequests && seen.is(&["Q005", "Q008"]) && lived
        }
        (Some(_), _) => seen.is(of_request),
        (None, Some(step)) => {
            let lived = lost.iter().any(|(_, life)| life.has(step));
            let since =
                lost.iter().any(|(_, life)| life.steps.is_some_and(|(first, _)| first <= step));
            match table {
                // What a request took and gave back is missing for good.
                Table::PerIterationRequests | Table::Events if seen.rule == "C010" => since,
                Table::PerIterationRequests => {
                    let rows = counts_of(seen, ROW_COUNTS) && seen.lacks();
                    // The counts may leave it out as well.
                    let counts =
                        seen.rule == "Q001" && counts_of(seen, EVENT_COUNTS) && !seen.lacks();
                    lived && seen.is(ROWS_OF_STEP) && (rows || counts)
                }
                Table::Events => {
                    lived
                        && seen.is(EVENTS_OF_STEP)
                        && counts_of(seen, EVENT_COUNTS)
                        && seen.lacks()
                }
                _ => false,
            }
        }
        (None, None) => false,
    };
    let steps = match (lost.as_slice(), table) {
        (
            [(_, Life { steps: Some((first, last)), .. })],
            Table::PerIterationRequests | Table::Events,
        ) => {
            format!(", although it lived from iteration {first} to {last}")
        }
        _ => String::new(),
    };
    let how = match ids.as_slice() {
        [_] => "its rows are dropped, or the logger does not take it up",
        _ => "their rows are dropped, or the logger does not take them up",
    };
    let text = format!("{}{steps}: {how}", lacking(&ids, table));
    board.claim(Claim {
        cause: LOST_REQUEST,
        text,
        lead: &["X001", "Q001", "X004", "Q004", "K002", "C008"],
        explains: Box::new(explains),
    });
}

/// Whether the file lacks rows of other requests, too: then these are lost like those.
fn others_lack(
    board: &Board<'_, '_>,
    counts: &Counts,
    table: Table,
    lost: &[(&str, &Life)],
) -> bool {
    let of_others = |rules: &[&str]| {
        board.open().any(|seen| {
            let other = seen.request().is_some_and(|id| lost.iter().all(|(lost, _)| *lost != id));
            other && seen.is(rules)
        })
    };
    match table {
        Table::PerIterationRequests => of_others(GAPS),
        Table::Events => counts.events.iter().any(|(kind, told)| {
            let of = |life: &Life| {
                life.events.iter().filter(|it| it.0 == *kind).map(|it| it.1).sum::<u64>()
            };
            let theirs: u64 = lost.iter().map(|(_, life)| of(life)).sum();
            told.found > 0 && told.found + theirs < told.expected
        }),
        _ => of_others(&["S001"]),
    }
}

/// Whether a count of a step is of one of these columns; other findings may be of any.
fn counts_of(seen: &Seen<'_>, columns: &[&str]) -> bool {
    seen.rule != "Q001" || seen.column().is_some_and(|column| columns.contains(&column))
}

fn lacking(ids: &[&str], table: Table) -> String {
    match ids {
        [one] => format!("request {one} has no row in {table} at all"),
        many => format!(
            "{} requests have no row in {table} at all ({})",
            many.len(),
            listed(many, NAMED)
        ),
    }
}

/// Requests without a row in per_request.csv.
fn of_requests(board: &mut Board<'_, '_>, counts: &Counts) {
    let named = board.open().filter(|seen| seen.rule == "X003").filter_map(|seen| seen.request());
    // Others have one, and go on behind it.
    let mut ids: Vec<&str> = named.filter(|id| !counts.lives.contains_key(*id)).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return;
    }
    let of = counts.requests + ids.len() as u64;
    let text = format!(
        "{}, which has {} of the {of} requests that the log tells of: it is written when a request \
         ends, in whatever way",
        lacking(&ids, Table::PerRequest),
        counts.requests,
    );
    board.claim(Claim {
        cause: LOST_REQUEST,
        text,
        lead: &["X003"],
        explains: Box::new(|seen| match seen.request() {
            Some(id) => ids.contains(&id),
            // What they held is never given back.
            None => seen.rule == "C010",
        }),
    });
}
