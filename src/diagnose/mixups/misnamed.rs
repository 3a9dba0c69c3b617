//! Columns of a file that stand under one another's names, and states and events that one name stands for.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{CHANGES, EVENTS_OF_REQUEST, EVENTS_OF_STEP};
use crate::diagnose::mixups::{EXCHANGED_COLUMNS, NEVER_FILLED, ONE_NAME};
use crate::diagnose::pass::{each, of_requests};
use crate::log::details::Details;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, Table, TransitionRow};
use crate::log::values::{EventType, State};

/// Requests that are kept.
const MOST: usize = 1 << 14;
/// Rows that are no chance.
const SEVERAL: u64 = 2;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    columns(dir, board)?;
    changes(dir, board)?;
    rows(dir, board)?;
    events(dir, board)
}

/// What details tell of the kinds of the event.
fn meant(details: &Details) -> &'static [EventType] {
    match details {
        it if it.input_tokens.is_some() => &[EventType::RequestArrived],
        it if it.computed_tokens.is_some() => &[EventType::RequestPreempted],
        it if it.lost_tokens.is_some() => &[EventType::RequestEvicted],
        it if it.output_tokens.is_some() => &[EventType::RequestCompleted],
        it if it.cached_tokens.is_some() => {
            &[EventType::RequestScheduled, EventType::RequestResumed]
        }
        it if it.blocks.is_some() => &[EventType::KvCacheAllocated, EventType::KvCacheFreed],
        _ => &[],
    }
}

/// Events with the name of another kind, by their details, where none has that of their own.
fn events(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["F009"]) {
        return Some(());
    }
    let mut kinds = BTreeSet::new();
    // By the name that they have and the kinds that they may be of.
    let mut others: BTreeMap<(&str, &'static [EventType]), u64> = BTreeMap::new();
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, _| {
            kinds.insert(row.event_type);
            let meant = meant(&row.details);
            if !meant.is_empty() && !meant.contains(&row.event_type) {
                *others.entry((row.event_type.as_str(), meant)).or_default() += 1;
            }
        },
    )?;
    for ((name, meant), count) in others {
        let mut absent = meant.iter().filter(|kind| !kinds.contains(kind));
        let Some(kind) = absent.next().filter(|_| absent.next().is_none() || meant.len() > 1)
        else {
            continue;
        };
        if count < SEVERAL {
            continue;
        }
        let text = format!(
            "events.csv has no {kind} event, and {count} {name} events have the details of one: they stand under \
             the wrong name"
        );
        let lead = &["F009"];
        let explains = |seen: &Seen<'_>| {
            seen.is(EVENTS_OF_REQUEST)
                || seen.is(EVENTS_OF_STEP)
                || seen.is(&["F009", "M015", "M014", "S002", "M005", "Q009"])
        };
        board.claim(Claim { cause: ONE_NAME, text, lead, explains: Box::new(explains) });
    }
    Some(())
}

/// Columns of per_iteration.csv of which the one is never larger than the other.
fn columns(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["C001", "M010"]) {
        return Some(());
    }
    let (mut rows, mut begins_last, mut total_least) = (0_u64, true, true);
    let (mut never_ends, mut starts) = (true, false);
    let (mut used, mut totals) = (BTreeSet::new(), BTreeSet::new());
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            rows += 1;
            never_ends &= row.end_time.0 == 0;
            starts |= row.start_time.0 > 0;
            begins_last &= row.end_time < row.start_time
                && row.start_time.0 - row.end_time.0 == row.duration.0;
            total_least &= row.kv_cache_total <= row.kv_cache_used;
            used.insert(row.kv_cache_used);
            totals.insert(row.kv_cache_total);
        },
    )?;
    if rows < SEVERAL {
        return Some(());
    }
    if total_least && used.len() == 1 && totals.len() > 1 {
        let text = "kv_cache_used and kv_cache_total are exchanged: what is used never changes, and is no less \
                    than what there is"
            .to_owned();
        let lead = &["C001", "C003"];
        let explains = |seen: &Seen<'_>| {
            seen.rule.starts_with('C') && seen.table() == Some(Table::PerIteration)
                || seen.is(&["Q008", "Q010", "C010"])
        };
        board.claim(Claim { cause: EXCHANGED_COLUMNS, text, lead, explains: Box::new(explains) });
    }
    let of_request =
        |seen: &Seen<'_>| seen.is(&["M001", "M002", "M003", "M004", "M008", "M009", "S001"]);
    let by_steps = |seen: &Seen<'_>| {
        seen.rule.starts_with(['M', 'S', 'Q', 'C', 'L', 'K']) && !of_request(seen)
    };
    let lead = &["M010"];
    if never_ends && starts {
        let text =
            "end_time of per_iteration.csv is 0 in all rows: it is never filled in".to_owned();
        board.claim(Claim { cause: NEVER_FILLED, text, lead, explains: Box::new(by_steps) });
    } else if begins_last {
        let text = "start_time and end_time are exchanged: every step ends before it begins, by its duration"
            .to_owned();
        board.claim(Claim { cause: EXCHANGED_COLUMNS, text, lead, explains: Box::new(by_steps) });
    }
    Some(())
}

/// Changes from `running` to `waiting`, where there is none to `preempted`.
fn changes(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["S001"]) {
        return Some(());
    }
    let mut before: BTreeMap<String, State> = BTreeMap::new();
    let (mut back, mut preempted) = (0_u64, false);
    let counted = of_requests(dir, MOST, |row| Some(row.preemption_count.0 > 0))?;
    let mut all_counted = true;
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            preempted |= row.state == State::Preempted;
            let last = before.insert(id.to_owned(), row.state);
            if last == Some(State::Running) && row.state == State::Waiting {
                back += 1;
                all_counted &= counted.get(id) == Some(&true);
            }
        },
    )?;
    if preempted || back == 0 || !all_counted {
        return Some(());
    }
    let text = format!(
        "state_transitions.csv has no change to preempted, and {back} from running to waiting: preempted requests \
         are called waiting"
    );
    let explains = |seen: &Seen<'_>| seen.is(CHANGES) && seen.rule != "X001";
    let lead = &["S001"];
    board.claim(Claim { cause: ONE_NAME, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Rows of one state under the name of another.
fn rows(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["S006", "S007"]) {
        return Some(());
    }
    let mut before: BTreeMap<String, (State, u64)> = BTreeMap::new();
    let (mut back, mut twice) = (0_u64, 0_u64);
    let counted = of_requests(dir, MOST, |row| Some(row.preemption_count.0 > 0))?;
    let mut all_counted = true;
    let mut seen_states = BTreeSet::new();
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            seen_states.insert(row.state.as_str());
            let step = row.iteration_id.0;
            let last = before.insert(id.to_owned(), (row.state, step));
            if last.is_some_and(|last| last.0 == State::Running) && row.state == State::Waiting {
                back += 1;
                all_counted &= counted.get(id) == Some(&true);
            }
            twice += u64::from(last == Some((State::Running, step)) && row.state == State::Running);
        },
    )?;
    let lacks = |state: State| !seen_states.contains(state.as_str());
    if lacks(State::Preempted) && back > 0 && all_counted {
        let text = format!(
            "per_iteration_requests.csv has no preempted row, and {back} waiting ones behind running ones: \
             preempted requests are called waiting"
        );
        let explains = |seen: &Seen<'_>| {
            seen.is(&[
                "S007", "S004", "S008", "Q001", "Q006", "Q007", "Q008", "Q009", "Q011", "C004",
                "C010", "M013",
            ])
        };
        let lead = &["S007", "S004"];
        board.claim(Claim { cause: ONE_NAME, text, lead, explains: Box::new(explains) });
    }
    if lacks(State::Completed) && twice >= SEVERAL {
        let text = format!(
            "per_iteration_requests.csv has no completed row, and {twice} requests have a second running row in one \
             step: requests that end are called running"
        );
        let explains = |seen: &Seen<'_>| {
            seen.rule.starts_with(['S', 'Q', 'K', 'C'])
                && !seen.is(&["S001", "S003", "S005", "C005", "C006", "K001", "K005", "K008"])
                || seen.is(&["X004", "M013"])
        };
        let lead = &["S006"];
        board.claim(Claim { cause: ONE_NAME, text, lead, explains: Box::new(explains) });
    }
    Some(())
}
