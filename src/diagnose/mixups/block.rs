//! A block of events that stands behind later ones: written twice, of another run, or too late.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENT_COUNTS, EVENTS_OF_REQUEST};
use crate::diagnose::mixups::{ANOTHER_RUN, WRITTEN_LATE, WRITTEN_TWICE};
use crate::diagnose::pass::each;
use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{Item, Located, LogDir};
use crate::log::schema::{EventRow, RequestRow};
use crate::units::Nanos;

/// Events of the block that are remembered.
const MOST: usize = 1 << 12;

/// Where the times go back for the first time.
#[derive(Debug, Default)]
struct Block {
    /// The first lines of it, and what stands there.
    rows: Vec<(u64, u64)>,
    ids: BTreeSet<String>,
    /// The last line that is earlier than one before the block.
    last: u64,
    /// How often the times go back.
    times: u64,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M012"]) {
        return Some(());
    }
    let lines = board.open().filter(|seen| seen.rule == "M012");
    let lines = lines.filter_map(|seen| Some(seen.finding.primary.as_ref()?.at.line)).collect();
    let block = block(dir, &lines)?;
    let Some((first, _)) = block.rows.first().copied() else { return Some(()) };
    if let Some((line, len)) = copied(dir, &block)? {
        let (last, original) = (first + len - 1, line + len - 1);
        let text = if len == 1 {
            format!(
                "line {first} of events.csv is line {line} once more: the event was written twice"
            )
        } else {
            format!(
                "lines {first} to {last} of events.csv are lines {line} to {original} once more: a block \
                 was written twice"
            )
        };
        claim(board, WRITTEN_TWICE, text);
    } else if block.times == 1 && strangers(dir, &block)? {
        let text = format!(
            "from line {first} on events.csv has requests that per_request.csv does not have, and times \
             begin again: events of another run"
        );
        claim(board, ANOTHER_RUN, text);
    } else if block.times == 1 && board.open().any(|seen| is_again(&seen)) {
        let text = format!(
            "from line {first} on times begin again, and with them what had been noted of requests: \
             events of another run stand there"
        );
        claim(board, ANOTHER_RUN, text);
    } else if block.times == 1 {
        let text = if block.last == first {
            format!(
                "line {first} of events.csv is earlier than those before it: it was written too late"
            )
        } else {
            format!(
                "lines {first} to {} of events.csv are earlier than those before them, and each part is \
                 in order: a block was written too late",
                block.last
            )
        };
        claim(board, WRITTEN_LATE, text);
    }
    Some(())
}

/// Whether a request has an event more than it should have.
fn is_again(seen: &Seen<'_>) -> bool {
    seen.rule == "X002" && !seen.lacks()
}

fn claim(board: &mut Board<'_, '_>, cause: &'static str, text: String) {
    let explains = |seen: &Seen<'_>| match seen.rule {
        "Q001" => seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column)),
        "X002" => cause == WRITTEN_LATE || is_again(seen),
        _ => {
            seen.is(EVENTS_OF_REQUEST)
                || seen
                    .is(&["M012", "M014", "M015", "Q007", "Q009", "S002", "S005", "C010", "K009"])
        }
    };
    let lead = &["M012"];
    board.claim(Claim { cause, text, lead, explains: Box::new(explains) });
}

/// Calls `see` for every event with its id.
fn events(dir: &LogDir, mut see: impl FnMut(&Located<EventRow>, &str)) -> Option<()> {
    let mut reader = dir.reader::<EventRow>().ok()??;
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        let key = row.row.request_id;
        see(&row, key.map_or("", |key| ids.id(key)));
        if let Some(key) = key {
            ids.release(key);
        }
    }
    Some(())
}

/// What stands in a line.
fn content(row: &EventRow, id: &str) -> u64 {
    let text = format!("{} {} {id} {:?}", row.timestamp, row.event_type, row.details);
    xxh3_64(text.as_bytes())
}

/// The block that begins with the first of the lines that are too early.
fn block(dir: &LogDir, early: &BTreeSet<u64>) -> Option<Block> {
    let mut block = Block::default();
    let mut before = Nanos::ZERO;
    let mut latest = Nanos::ZERO;
    events(dir, |row, id| {
        let now = row.row.timestamp;
        // Stamps that vary a little go back a little.
        block.times += u64::from(now < before && early.contains(&row.line));
        if now < latest && block.times > 0 {
            block.last = row.line;
        }
        if block.times > 0 && block.rows.len() < MOST {
            block.rows.push((row.line, content(&row.row, id)));
            block.ids.insert(id.to_owned());
        }
        before = now;
        latest = latest.max(now);
    })?;
    Some(block)
}

/// The line from which on the same events stand before, and how many lines.
fn copied(dir: &LogDir, block: &Block) -> Option<Option<(u64, u64)>> {
    let first = block.rows.first()?;
    let mut best: Option<(u64, u64)> = None;
    let mut run: Option<(u64, u64)> = None;
    events(dir, |row, id| {
        if row.line >= first.0 {
            return;
        }
        let content = content(&row.row, id);
        let same = |run: u64| block.rows.get(run as usize).is_some_and(|it| it.1 == content);
        run = match run {
            Some((line, len)) if same(len) => Some((line, len + 1)),
            _ if same(0) => Some((row.line, 1)),
            _ => None,
        };
        if run.map(|run| run.1) > best.map(|best| best.1) {
            best = run;
        }
    })?;
    Some(best)
}

/// Whether the block is of requests that per_request.csv does not have.
fn strangers(dir: &LogDir, block: &Block) -> Option<bool> {
    let mut known = false;
    each::<RequestRow>(dir, |row| Some(row.request_id), |_, id| known |= block.ids.contains(id))?;
    Some(!known && block.rows.len() < MOST)
}
