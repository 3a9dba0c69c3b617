//! input_tokens of which an event and the row of a request say different numbers: which of the two is wrong
//! shows in what was scheduled for the request.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::{ONE_WRONG_VALUE, OTHER_UNIT};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, RequestRow};
use crate::log::values::State;

/// Requests that are named.
const NAMED: usize = 4;
/// Where it is more than one request in so many, the logger has another habit.
const ONE_IN: u64 = 4;

/// Rules of a request that go by its input_tokens.
const BY_INPUT: &[&str] = &[
    "K004", "K006", "K007", "K008", "K009", "K010", "K011", "K012", "C002", "C009", "C010", "L003",
    "Q008", "Q010",
];

/// What is said of a request: by its event and by its row.
type Said = (i128, i128);

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let said: BTreeMap<&str, Said> = board
        .open()
        .filter(is_input)
        .filter_map(|seen| Some((seen.request()?, seen.values()?)))
        .collect();
    if said.is_empty() {
        return Some(());
    }
    // By request whose number its own tokens add up to: whether it is that of the row.
    let mut right: BTreeMap<&str, bool> = BTreeMap::new();
    let mut all = 0_u64;
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            all += 1;
            let Some((id, (event, own))) = said.get_key_value(id) else { return };
            let Some(input) = input_of(row) else { return };
            if input == *own || input == *event {
                right.insert(*id, input == *own);
            }
        },
    )?;
    let few = said.len() as u64 * ONE_IN <= all.max(ONE_IN);
    let cause = if few { ONE_WRONG_VALUE } else { OTHER_UNIT };
    // Of one that is taken for another more is wrong than this.
    let is_more = |seen: &Seen<'_>| {
        seen.request().is_some_and(|id| said.contains_key(id)) && !is_of_input(seen)
    };
    if board.open().any(|seen| is_more(&seen)) {
        return Some(());
    }
    for of_row in [true, false] {
        let ids: BTreeSet<&str> =
            right.iter().filter(|(_, is)| **is == of_row).map(|(id, _)| *id).collect();
        let Some(first) = ids.first() else { continue };
        let text = told(of_row, &ids, said[first]);
        let tokens = scheduled(dir, &ids)?;
        let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
            (Some(id), _) => ids.contains(id) && is_of_input(seen),
            // Their tokens are counted as prefill instead of decode, or the other way round.
            (None, Some(step)) if seen.rule == "K002" && seen.column() != Some("total_tokens") => {
                let moved = seen.values().map(|(expected, actual)| (expected - actual).abs());
                moved.is_some_and(|by| tokens.get(&step).is_some_and(|tokens| by <= *tokens))
            }
            _ => false,
        };
        let lead = &["X007"];
        board.claim(Claim { cause, text, lead, explains: Box::new(explains) });
    }
    Some(())
}

fn is_input(seen: &Seen<'_>) -> bool {
    seen.rule == "X007" && seen.column() == Some("input_tokens")
}

fn is_of_input(seen: &Seen<'_>) -> bool {
    is_input(seen) || seen.is(BY_INPUT)
}

fn told(of_row: bool, ids: &BTreeSet<&str>, (event, own): Said) -> String {
    let all: Vec<&str> = ids.iter().copied().collect();
    match (all.as_slice(), of_row) {
        ([id], true) => format!(
            "the request_arrived event of {id} has {event} input_tokens, and per_request.csv {own}, which make the \
             scheduled_tokens of the request: it is the event that is wrong"
        ),
        ([id], false) => format!(
            "per_request.csv has {own} input_tokens for {id}, and its request_arrived event {event}, which make the \
             scheduled_tokens of the request: it is the row that is wrong"
        ),
        (all, true) => format!(
            "the request_arrived events of {} requests ({}) have other input_tokens than per_request.csv, of which \
             those make the scheduled_tokens of the requests: it is the events that are wrong",
            all.len(),
            listed(all, NAMED)
        ),
        (all, false) => format!(
            "per_request.csv has other input_tokens for {} requests ({}) than their request_arrived events, of \
             which those make the scheduled_tokens of the requests: it is the rows that are wrong",
            all.len(),
            listed(all, NAMED)
        ),
    }
}

/// The input_tokens that a request had by what was scheduled for it.
fn input_of(row: &RequestRow) -> Option<i128> {
    let ended = row.completion_time.is_some() && !row.finish_reason?.is_drop();
    let number = |tokens: crate::units::Tokens| i128::from(tokens.0);
    let output = number(row.output_tokens);
    let found = number(row.cached_tokens?) - number(row.recomputed_tokens?);
    (ended && output > 0).then_some(number(row.scheduled_tokens?) + found - output + 1)
}

/// How many tokens the steps schedule for these requests.
fn scheduled(dir: &LogDir, ids: &BTreeSet<&str>) -> Option<BTreeMap<u64, i128>> {
    let mut tokens: BTreeMap<u64, i128> = BTreeMap::new();
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if row.state == State::Running && ids.contains(id) {
                let scheduled = row.scheduled_tokens.unwrap_or_default();
                *tokens.entry(row.iteration_id.0).or_default() += i128::from(scheduled.0);
            }
        },
    )?;
    Some(tokens)
}
