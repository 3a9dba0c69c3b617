//! Files of which every row is right, and that stand in another order than they are written in: that of a
//! column by which they were sorted afterwards, from their end, or none.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{CHANGES, EVENTS_OF_REQUEST, EVENTS_OF_STEP};
use crate::diagnose::mixups::{NO_ORDER, SORTED};
use crate::diagnose::pass::{each, of_requests};
use crate::log::reader::LogDir;
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Table, TransitionRow,
};
use crate::log::values::State;
use crate::units::Nanos;

/// Requests that are kept.
const MOST: usize = 1 << 14;
/// Rows of which the order is no chance.
const SEVERAL: u64 = 3;
/// Rows of requests that follow one another: one in so many steps back where they stand in no order.
const ONE_IN: u64 = 4;

/// Rules that go by one row, or by files other than that of the rows of steps.
const WITHOUT_ROWS: &[&str] = &[
    "M001", "M002", "M003", "M004", "M005", "M006", "M007", "M008", "M009", "M010", "M012", "C005",
    "K001", "K008", "S001", "S003", "X006", "X007",
];

/// What rows may be sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Text(String),
    /// What stands before the last digits of an id, and these.
    Natural(String, u64),
}

fn natural(id: &str) -> Key {
    let text = id.trim_end_matches(|c: char| c.is_ascii_digit());
    Key::Natural(text.to_owned(), id[text.len()..].parse().unwrap_or(0))
}

const fn backward(number: u64) -> Key {
    Key::Number(u64::MAX - number)
}

/// One order that a file may be in.
struct Sorting {
    /// How that came, for a sentence.
    how: &'static str,
    last: Option<Key>,
    /// Whether the rows are in it.
    holds: bool,
    /// Whether it tells rows apart.
    rises: bool,
}

const fn by(how: &'static str) -> Sorting {
    Sorting { how, last: None, holds: true, rises: false }
}

/// The orders that a file may be in, the likeliest first.
struct Orders {
    table: Table,
    sortings: Vec<Sorting>,
    rows: u64,
    /// Rows that should stand before the one before them.
    back: u64,
}

impl Orders {
    fn of<const N: usize>(table: Table, how: [&'static str; N]) -> Self {
        Self { table, sortings: how.map(by).into(), rows: 0, back: 0 }
    }

    fn see<const N: usize>(&mut self, keys: [Key; N], is_back: bool) {
        self.rows += 1;
        self.back += u64::from(is_back);
        for (sorting, key) in self.sortings.iter_mut().zip(keys) {
            if let Some(last) = &sorting.last {
                sorting.holds &= *last <= key;
                sorting.rises |= *last < key;
            }
            sorting.last = Some(key);
        }
    }

    /// The cause and its sentence.
    fn told(&self) -> Option<(&'static str, String)> {
        let table = self.table;
        if self.rows < SEVERAL {
            return None;
        }
        if let Some(sorting) = self.sortings.iter().find(|it| it.holds && it.rises) {
            return Some((SORTED, format!("{table} {}", sorting.how)));
        }
        (self.back >= SEVERAL && self.back * ONE_IN >= self.rows).then(|| {
            let text = format!(
                "{} of {} rows of {table} should stand before the one before them: they stand in no order, as \
                 after a shuffle, or where writers do not wait for one another",
                self.back, self.rows
            );
            (NO_ORDER, text)
        })
    }

    fn claim(
        &self,
        board: &mut Board<'_, '_>,
        lead: &'static [&'static str],
        explains: impl Fn(&Seen<'_>) -> bool,
    ) {
        if let Some((cause, text)) = self.told() {
            board.claim(Claim { cause, text, lead, explains: Box::new(explains) });
        }
    }
}

/// How often times go back where it is no chance.
const TWICE: u64 = 2;
/// The orders of events that go by their stamps.
const OF_TIME: usize = 2;

const FROM_END: &str = "is written from its end: what came last stands first";

/// Rows of steps, of which all others depend.
pub(super) fn find_rows(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X009"]) {
        return Some(());
    }
    let mut orders = Orders::of(
        Table::PerIterationRequests,
        [
            FROM_END,
            "is sorted by request_id, so that the rows of a step do not stand together",
            "is sorted by the number in request_id, so that the rows of a step do not stand together",
            "is sorted by iteration_id as text, in which 10 stands before 2",
            "is sorted by state, so that the rows of a step do not stand together",
        ],
    );
    let mut before = 0;
    let mut requests = BTreeSet::new();
    let (mut last, mut together) = (String::new(), true);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let step = row.iteration_id.0;
            let keys = [
                backward(step),
                Key::Text(id.to_owned()),
                natural(id),
                Key::Text(step.to_string()),
                Key::Text(row.state.as_str().to_owned()),
            ];
            orders.see(keys, step < before);
            before = step;
            if id != last {
                together &= requests.len() < MOST && requests.insert(id.to_owned());
                id.clone_into(&mut last);
            }
        },
    )?;
    if together && requests.len() > 1 {
        orders.sortings.push(Sorting {
            holds: true,
            rises: true,
            ..by("has the rows of each request together, not those of each step")
        });
    }
    orders.claim(board, &["X009"], |seen| !seen.is(WITHOUT_ROWS) || seen.rule == "X001");
    Some(())
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    steps(dir, board)?;
    requests(dir, board)?;
    changes(dir, board)?;
    events(dir, board)
}

/// Steps of which none is missing.
fn steps(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M011"]) {
        return Some(());
    }
    let mut orders = Orders::of(Table::PerIteration, []);
    let (mut before, mut least, mut most, mut together) = (0, u64::MAX, 0, 0_u64);
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let id = row.iteration_id.0;
            orders.see([], id < before);
            before = id;
            (least, most) = (least.min(id), most.max(id));
            together = together.wrapping_add(id);
        },
    )?;
    let count = most.checked_sub(least)?.checked_add(1)?;
    // Then each stands once, as their sum tells for all but the most unlikely files.
    let sum = (u128::from(least) + u128::from(most)) * u128::from(count) / 2;
    if count == orders.rows && sum as u64 == together {
        let elsewhere = &["M001", "M002", "M003", "M004", "M008", "M009", "C005", "K008", "S001"];
        orders.claim(board, &["M011"], |seen| !seen.is(elsewhere));
    }
    Some(())
}

/// Requests in another order than that of their ends.
fn requests(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let of_requests =
        |seen: &Seen<'_>| seen.rule == "X006" && seen.table() == Some(Table::PerRequest);
    if !board.open().any(|seen| of_requests(&seen)) {
        return Some(());
    }
    // Rows of which the end is wrong stand where they should.
    let disputed: BTreeSet<&str> = board
        .open()
        .filter(|seen| {
            seen.is(&["S003", "M015", "M001"]) && seen.table() == Some(Table::PerRequest)
        })
        .filter_map(|seen| seen.request())
        .collect();
    let mut orders = Orders::of(
        Table::PerRequest,
        [
            FROM_END,
            "has the requests in the order of their arrivals, not of their ends: it is sorted by \
             arrival_time, or written for all at once",
            "is sorted by request_id, not written as the requests end",
            "is sorted by the number in request_id, not written as the requests end",
            "is sorted by first_scheduled_time, not written as the requests end",
            "is sorted by completion_time as text, in which 10 stands before 2",
        ],
    );
    let mut before = 0;
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let end = row.completion_time.map_or(u64::MAX, |end| end.0);
            if disputed.contains(id) {
                return;
            }
            let keys = [
                backward(end),
                Key::Number(row.arrival_time.0),
                Key::Text(id.to_owned()),
                natural(id),
                Key::Number(row.first_scheduled_time.map_or(u64::MAX, |at| at.0)),
                Key::Text(end.to_string()),
            ];
            orders.see(keys, end < before);
            before = end;
        },
    )?;
    // Where all of them stand as they end, some other order is that as well.
    if orders.back == 0 {
        return Some(());
    }
    let [_, arrivals, ids, numbers, ..] = orders.sortings.as_mut_slice() else { return Some(()) };
    if arrivals.holds && (ids.holds || numbers.holds) {
        arrivals.how = "has the requests in the order of their arrivals, which is that of their ids, not of their \
                        ends: it is sorted by one of them, or written for all at once";
    }
    orders.claim(board, &["X006"], |seen| of_requests(seen) || seen.rule == "X008");
    Some(())
}

/// Changes that do not stand together by their requests, these in the order of their ends.
fn changes(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X006", "X008", "S001"]) || dir.file(Table::StateTransitions).is_none() {
        return Some(());
    }
    let mut orders = Orders::of(
        Table::StateTransitions,
        [
            FROM_END,
            "has the changes in the order of time, not those of each request together",
            "is sorted by request_id, not written as the requests end",
            "is sorted by the number in request_id, not written as the requests end",
            "is sorted by timestamp as text, in which 10 stands before 2",
        ],
    );
    let mut before = 0;
    let mut all: BTreeMap<String, Vec<(Nanos, Nanos)>> = BTreeMap::new();
    // Whose change stands before, when that one ended, and whether all stand from the end.
    let (mut last, mut end, mut reversed) = (String::new(), u64::MAX, true);
    let (mut back_within, mut some_apart) = (false, false);
    // When the last request that is over ended, and whether each did behind that before it.
    let (mut last_end, mut as_ended) = (0, true);
    let arrivals = of_requests(dir, MOST, |row| Some(row.arrival_time))?;
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let at = row.timestamp.0;
            let keys = [
                backward(at),
                Key::Number(at),
                Key::Text(id.to_owned()),
                natural(id),
                Key::Text(at.to_string()),
            ];
            // One that stands apart from the others of its request.
            let apart = id != last && all.contains_key(id);
            orders.see(keys, apart);
            some_apart |= apart;
            if row.state == State::Completed {
                as_ended &= std::mem::replace(&mut last_end, at) <= at;
            }
            if id == last {
                reversed &= at <= before;
                back_within |= at < before;
            } else {
                reversed &= at <= end;
                id.clone_into(&mut last);
                end = at;
            }
            before = at;
            if arrivals.contains_key(id) {
                let changes = all.entry(id.to_owned()).or_default();
                changes.push((row.timestamp, row.duration_in_prev_state));
            }
        },
    )?;
    // Then it is another file that is in another order.
    if as_ended && !some_apart && !back_within {
        return Some(());
    }
    if reversed {
        orders.sortings.push(Sorting { rises: true, ..by(FROM_END) });
    }
    // Each lasted until the next, once they are in order.
    let fits = all.iter_mut().all(|(id, changes)| {
        changes.sort_unstable();
        let mut from = arrivals[id];
        changes.iter().all(|(at, lasted)| {
            std::mem::replace(&mut from, *at).0.saturating_add(lasted.0) == at.0
        })
    });
    // Where each stands behind that before it, and the requests in the order of their ends, all is in order.
    let disturbed = |seen: &Seen<'_>| of_changes(seen) && seen.is(&["X006", "X008"]);
    if fits && (back_within || board.open().any(|seen| disturbed(&seen))) {
        let explains = |seen: &Seen<'_>| {
            of_changes(seen) && seen.is(&["X006"])
                || seen.is(CHANGES) && seen.rule != "X006"
                || seen.is(&["M015"])
        };
        orders.claim(board, &["X008", "X006", "S001"], explains);
    }
    Some(())
}

fn of_changes(seen: &Seen<'_>) -> bool {
    seen.table() == Some(Table::StateTransitions)
}

/// Events in the order of their stamps as text, or from the last to the first.
fn events(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M012"]) {
        return Some(());
    }
    let mut orders = Orders::of(
        Table::Events,
        [
            FROM_END,
            "is sorted by timestamp as text, in which 10 stands before 2",
            "is sorted by request_id, and by time within each request only",
            "is sorted by the number in request_id, and by time within each request only",
        ],
    );
    // Whose event stands before, how often the times go back from one request to the next, and whether they
    // do within one.
    let (mut last, mut before, mut back, mut back_within) = (String::new(), 0, 0_u64, false);
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, id| {
            let at = row.timestamp.0;
            let keys =
                [backward(at), Key::Text(at.to_string()), Key::Text(id.to_owned()), natural(id)];
            orders.see(keys, false);
            let is_back = at < std::mem::replace(&mut before, at);
            if id == last {
                back_within |= is_back;
            } else {
                back += u64::from(is_back);
                id.clone_into(&mut last);
            }
        },
    )?;
    // Requests that run one by one stand together anyway, and their numbers rise: one stamp is wrong then.
    let as_numbered = orders.sortings.last().is_some_and(|numbers| numbers.holds);
    if back_within || back < TWICE && as_numbered {
        orders.sortings.truncate(OF_TIME);
    }
    orders.claim(board, &["M012"], |seen| {
        seen.is(EVENTS_OF_REQUEST)
            || seen.is(EVENTS_OF_STEP)
            || seen.is(&["M012", "M014", "M015", "X003", "S002", "Q007", "Q009", "K009"])
    });
    Some(())
}
