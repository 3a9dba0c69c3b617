//! Columns that are never filled in, of which other rules judge what other columns say.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::NEVER_FILLED;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRow, RequestRow, Table};
use crate::units::{Requests, Tokens};

/// Rows that are no chance.
const SEVERAL: u64 = 3;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    batches(dir, board)?;
    first_schedulings(dir, board)
}

/// Batches of no request, although steps schedule tokens.
fn batches(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    // Where rows do not say what they are given, it shows in what the step is said to do.
    if !board.has(&["Q003", "Q009"]) {
        return Some(());
    }
    let (mut empty, mut with_tokens) = (true, 0_u64);
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            empty &= row.batch_size == Requests(0);
            with_tokens += u64::from(row.total_tokens > Tokens::ZERO);
        },
    )?;
    if !empty || with_tokens < SEVERAL {
        return Some(());
    }
    let text = format!(
        "batch_size of per_iteration.csv is 0 in all rows, although {with_tokens} steps schedule tokens: it is \
         never filled in"
    );
    let lead = &["Q003", "Q009"];
    let explains = |seen: &Seen<'_>| match seen.rule {
        // A step ends no more requests than it serves.
        "Q001" => seen.finding.message.ends_with("in its batch"),
        _ => seen.is(&["Q003", "Q009"]),
    };
    board.claim(Claim { cause: NEVER_FILLED, text, lead, explains: Box::new(explains) });
    Some(())
}

/// First schedulings at 0, although there are events of them.
fn first_schedulings(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let of_column = |seen: &Seen<'_>| {
        seen.table() == Some(Table::PerRequest) && seen.column() == Some("first_scheduled_time")
    };
    let told = |seen: &Seen<'_>| has_more_events(seen) && of_column(seen);
    let is_zero = board.all().any(|seen| seen.rule == "F005" && of_column(&seen));
    let told = board.open().filter(told).count() as u64;
    if !is_zero || told < SEVERAL {
        return Some(());
    }
    let mut some = false;
    each::<RequestRow>(
        dir,
        |_| None,
        |row, _| some |= row.first_scheduled_time.is_some_and(|at| at.0 > 0),
    )?;
    if some {
        return Some(());
    }
    let text = format!(
        "first_scheduled_time of per_request.csv is 0 in all rows, although {told} requests have a \
         request_scheduled event: it is never filled in"
    );
    let lead = &["F005", "X002", "M006"];
    let explains = |seen: &Seen<'_>| {
        of_column(seen)
            || seen.is(&["M005", "M006", "M017", "Q006"])
            || seen.rule == "K007" && seen.finding.message.contains("never scheduled")
            || has_more_events(seen) && of_column(seen)
    };
    board.claim(Claim { cause: NEVER_FILLED, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Whether a request has more events than its row tells of.
fn has_more_events(seen: &Seen<'_>) -> bool {
    let more = seen.values().is_some_and(|(expected, actual)| actual > expected);
    seen.rule == "X002" && more
}
