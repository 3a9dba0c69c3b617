//! The clock of all files jumps once: what lasts across that moment is off by one and the same time, by
//! another clock that does not jump, and all else is right.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::CLOCK_JUMPS;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRow, RequestRow};

/// Spans that are kept.
const MOST: usize = 1 << 14;
/// Spans before the jump, and behind it, that are right.
const SEVERAL: usize = 3;
/// Spans that are off; one alone is a wrong number.
const AT_LEAST: usize = 2;
/// Nothing less is a correction.
const LEAST: i128 = 100_000;

/// Rules that go by two moments, or by how long something lasted.
const ASKING: &[&str] = &[
    "M001", "M002", "M003", "M004", "M005", "M006", "M007", "M010", "M012", "M013", "M014", "M015",
    "M016", "M017", "M018", "M020", "M021", "Q001", "Q004", "Q006", "Q007", "Q009", "Q011", "S002",
    "S003", "S004", "S008", "C008", "C010", "L003", "X006", "X008",
];

/// From when to when something lasted by its stamps, and how much longer that is than it says.
#[derive(Clone, Copy)]
struct Span {
    from: i128,
    to: i128,
    off: i128,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    // Where only steps are off it is their clock, of which more is told elsewhere.
    if !board.has(&["M001"]) {
        return Some(());
    }
    let lasted = |seen: &Seen<'_>| {
        seen.rule == "M001" || seen.rule == "M010" && seen.column() == Some("duration")
    };
    let mut offs = board.open().filter(lasted).filter_map(|seen| seen.values());
    let by = offs.next().map(|(expected, actual)| expected - actual)?;
    if by.abs() < LEAST || offs.any(|(expected, actual)| expected - actual != by) {
        return Some(());
    }
    drop(offs);
    // What the other clock tells of a request adds up.
    if board.has(&["M002"]) {
        return Some(());
    }
    let mut spans: Vec<Span> = Vec::new();
    let mut note = |from: u64, to: u64, lasted: u64| {
        let [from, to, lasted] = [from, to, lasted].map(i128::from);
        if spans.len() < MOST {
            spans.push(Span { from, to, off: to - from - lasted });
        }
    };
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| note(row.start_time.0, row.end_time.0, row.duration.0),
    )?;
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, _| {
            if let Some((end, latency)) = row.completion_time.zip(row.e2e_latency) {
                note(row.arrival_time.0, end.0, latency.0);
            }
        },
    )?;
    let Some((early, late)) = between(&spans, by) else { return Some(()) };
    let (way, order) = if by > 0 { ("ahead", (early, late)) } else { ("back", (late, early)) };
    let text = format!(
        "what lasts across a moment between {} and {} ns is {} ns {} by its stamps than it says, and nothing else \
         is: the clock of all stamps was set {way} there by so much",
        order.0.min(order.1),
        order.0.max(order.1),
        by.abs(),
        if by > 0 { "longer" } else { "shorter" },
    );
    let lead = &["M001", "M010"];
    let explains = |seen: &Seen<'_>| seen.is(ASKING);
    board.claim(Claim { cause: CLOCK_JUMPS, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Between which moments the clock was set, if all that is off lasts across one moment and nothing else does.
fn between(spans: &[Span], by: i128) -> Option<(i128, i128)> {
    let wrong = || spans.iter().filter(|span| span.off != 0);
    if wrong().any(|span| span.off != by) || wrong().count() < AT_LEAST {
        return None;
    }
    let from = wrong().map(|span| span.from).max()?;
    let to = wrong().map(|span| span.to).min()?;
    // Stamps around the jump may be of before or behind it.
    let near = by.abs();
    if from > to + near {
        return None;
    }
    let (low, high) = (from.min(to), from.max(to));
    let right = || spans.iter().filter(|span| span.off == 0);
    let before = right().filter(|span| span.to <= high + near).count();
    let behind = right().filter(|span| span.from >= low - near).count();
    let across = |at: i128| right().any(|span| span.from < at - near && span.to > at + near);
    // Somewhere in between nothing that is right goes on.
    let mut moments = right().flat_map(|span| [span.from, span.to]).chain([low, high]);
    let some = moments.any(|at| (low..=high).contains(&at) && !across(at));
    (some && before >= SEVERAL && behind >= SEVERAL).then_some((from, to))
}
