//! Events that stand behind later ones: a block written twice, of another run or too late, or all in no
//! order.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENT_COUNTS, EVENTS_OF_REQUEST};
use crate::diagnose::mixups::{
    ANOTHER_RUN, CLOCK_SET_BACK, NO_ORDER, ONE_WRONG_VALUE, WRITTEN_LATE, WRITTEN_TWICE,
};
use crate::diagnose::pass::{each, of_requests};
use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{Item, Located, Location, LogDir};
use crate::log::schema::{EventRow, RequestRow, Table};
use crate::log::values::EventType;
use crate::units::Nanos;

/// Rules of rows of other files.
const WITHIN_ROWS: &[&str] =
    &["M001", "M002", "M003", "M004", "M008", "M009", "M010", "M011", "C005", "K008"];
/// Requests whose arrivals and ends are kept.
const MOST_REQUESTS: usize = 1 << 14;
/// Moments that are no chance.
const SEVERAL: u64 = 2;
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
    /// Events up to the last of these; of many findings only the first are known.
    looked_at: u64,
    /// All events, and those of them that are earlier than the one before, be it a little.
    events: u64,
    back: u64,
}

impl Block {
    /// Whether times go back so often that nothing is in order; one event in two does in a file that is
    /// shuffled.
    const fn is_no_block(&self) -> bool {
        let often = self.times * 4 >= self.looked_at && self.back * 4 >= self.events;
        self.times >= SEVERAL && often
    }

    /// Whether all that is too early stands in so many of its first lines.
    fn ends_within(&self, len: u64) -> bool {
        self.rows.first().is_some_and(|(first, _)| self.last < first + len)
    }
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M012"]) {
        return Some(());
    }
    let lines = board.open().filter(|seen| seen.rule == "M012");
    let lines = lines.filter_map(|seen| Some(seen.finding.primary.as_ref()?.at.line)).collect();
    let block = block(dir, &lines)?;
    let Some((first, _)) = block.rows.first().copied() else { return Some(()) };
    if block.is_no_block() {
        let Block { back, events, .. } = block;
        let text = format!(
            "{back} of {events} events are earlier than the one before: they stand in no order, as after a \
             shuffle, or where writers do not wait for one another"
        );
        claim(board, NO_ORDER, text);
    } else if let Some((line, len)) =
        copied(dir, &block)?.filter(|(_, len)| block.ends_within(*len))
    {
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
    } else if block.times == 1
        && (arrived_again(dir, first)? >= SEVERAL || board.open().any(|seen| is_again(&seen)))
    {
        let text = format!(
            "from line {first} on times begin again, and with them what had been noted of requests: \
             events of another run stand there"
        );
        claim(board, ANOTHER_RUN, text);
    } else if let Some(by) = set_back(dir, first)?.filter(|_| block.times == 1) {
        let text = format!(
            "from line {first} of events.csv on times are {by} ns earlier than those of per_request.csv, with \
             which they agree up to there: the clock is set back"
        );
        let explains = |seen: &Seen<'_>| !seen.is(WITHIN_ROWS);
        let lead = &["M012"];
        board.claim(Claim { cause: CLOCK_SET_BACK, text, lead, explains: Box::new(explains) });
    } else if let Some(text) = one_stamp(dir, board, &block)?.filter(|_| block.times == 1) {
        claim(board, ONE_WRONG_VALUE, text);
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

/// What is said of one event that is stamped wrong: that before the block, without which all is in order, or the
/// only one of it.
fn one_stamp(dir: &LogDir, board: &Board<'_, '_>, block: &Block) -> Option<Option<String>> {
    let Some((first, _)) = block.rows.first().copied() else { return Some(None) };
    let mut stamps = Vec::new();
    let mut at_first = None;
    events(dir, |row, _| {
        let at = row.row.timestamp;
        if row.line < first {
            // In a file that is in order up to there the last ones are the latest.
            stamps.push((at, row.line));
            if stamps.len() > 2 {
                stamps.remove(0);
            }
        } else if row.line == first {
            at_first = Some(at);
        }
    })?;
    let Some(at_first) = at_first else { return Some(None) };
    let later: Vec<u64> =
        stamps.iter().filter(|(at, _)| *at > at_first).map(|(_, line)| *line).collect();
    let told = match later.as_slice() {
        [line] if block.last > first => Some(format!(
            "line {line} of events.csv is later than those behind it, which are in order without it: its timestamp is \
             wrong, or it was written too early"
        )),
        _ if block.last == first && is_elsewhere(board, first) => Some(format!(
            "line {first} of events.csv is earlier than those before it, and other files have it at another moment: \
             its timestamp is wrong"
        )),
        _ => None,
    };
    Some(told)
}

/// Whether a moment of another file contradicts the stamp of this event.
fn is_elsewhere(board: &Board<'_, '_>, line: u64) -> bool {
    let is = |at: Location| at.table == Table::Events && at.line == line;
    board.open().filter(|seen| seen.is(&["M006", "M007", "M015", "S003"])).any(|seen| {
        let marks = seen.finding.primary.iter().chain(&seen.finding.related);
        marks.map(|mark| mark.at).any(is)
    })
}

/// Whether a request has an event more than it should have.
fn is_again(seen: &Seen<'_>) -> bool {
    seen.rule == "X002" && !seen.lacks()
}

fn claim(board: &mut Board<'_, '_>, cause: &'static str, text: String) {
    let explains = |seen: &Seen<'_>| match seen.rule {
        "Q001" => seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column)),
        "X002" => [WRITTEN_LATE, NO_ORDER, ONE_WRONG_VALUE].contains(&cause) || is_again(seen),
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
pub(super) fn events(dir: &LogDir, mut see: impl FnMut(&Located<EventRow>, &str)) -> Option<()> {
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
        block.events += 1;
        block.back += u64::from(now < before);
        // Stamps that vary a little go back a little.
        if now < before && early.contains(&row.line) {
            block.times += 1;
            block.looked_at = block.events;
        }
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

/// How many requests arrive from this line on which had arrived before it.
fn arrived_again(dir: &LogDir, first: u64) -> Option<u64> {
    let mut arrived = BTreeSet::new();
    let mut again = 0;
    events(dir, |row, id| {
        if row.row.event_type != EventType::RequestArrived {
            return;
        }
        if row.line >= first {
            again += u64::from(arrived.contains(id));
        } else if arrived.len() < MOST_REQUESTS {
            arrived.insert(id.to_owned());
        }
    })?;
    Some(again)
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

/// By how much arrivals and ends from this line on are earlier than those of per_request.csv, if all of them
/// are by the same, and none before it is.
fn set_back(dir: &LogDir, first: u64) -> Option<Option<u64>> {
    let of_row = |row: &RequestRow| Some((row.arrival_time, row.completion_time));
    let moments = of_requests(dir, MOST_REQUESTS, of_row)?;
    let (mut before_agree, mut behind) = (true, BTreeMap::<i128, u64>::new());
    events(dir, |row, id| {
        let told = match row.row.event_type {
            EventType::RequestArrived => moments.get(id).map(|(arrival, _)| *arrival),
            EventType::RequestCompleted => moments.get(id).and_then(|(_, end)| *end),
            _ => None,
        };
        let Some(told) = told else { return };
        let early = i128::from(told.0) - i128::from(row.row.timestamp.0);
        if row.line < first {
            before_agree &= early == 0;
        } else {
            *behind.entry(early).or_default() += 1;
        }
    })?;
    let only = behind.first_key_value().filter(|_| behind.len() == 1 && before_agree);
    Some(
        only.filter(|(_, count)| **count >= SEVERAL)
            .and_then(|(by, _)| u64::try_from(*by).ok().filter(|by| *by > 0)),
    )
}

/// Whether the block is of requests that per_request.csv does not have.
fn strangers(dir: &LogDir, block: &Block) -> Option<bool> {
    let mut known = false;
    each::<RequestRow>(dir, |row| Some(row.request_id), |_, id| known |= block.ids.contains(id))?;
    Some(!known && block.rows.len() < MOST)
}
