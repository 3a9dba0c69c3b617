//! Counts what is in the files of a log, one file after the other.

use rustc_hash::FxHashMap;

use crate::check::CheckError;
use crate::coverage::{Coverage, Dimension, edge_name};
use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{Item, Located, LogDir};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, TransitionRow,
};
use crate::log::values::{
    ActionSet, EventType, FinishReason, SchedulerAction, State, WaitingReason,
};

/// Counters of one closed vocabulary.
macro_rules! counters {
    ($ty:ident) => {
        [0u64; $ty::ALL.len()]
    };
}

/// Calls `see` for every row of a file, with the table of its ids.
fn each<R: Row>(
    dir: &LogDir,
    mut see: impl FnMut(&Located<R>, &mut IdTable),
) -> Result<bool, CheckError> {
    let Some(mut reader) = dir.reader::<R>()? else { return Ok(false) };
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        if let Item::Row(row) = item {
            see(&row, &mut ids);
        }
    }
    Ok(reader.header().usable)
}

/// Changes of state, from the last state of every live request.
#[derive(Default)]
struct Changes {
    live: FxHashMap<RequestKey, State>,
    edges: [[u64; 4]; 4],
}

impl Changes {
    fn see(&mut self, key: RequestKey, state: State, ids: &mut IdTable) {
        let before = self.live.get(&key).copied().unwrap_or(State::Waiting);
        if before != state {
            self.edges[before as usize][state as usize] += 1;
        }
        if state == State::Completed {
            self.live.remove(&key);
            ids.release(key);
        } else {
            self.live.insert(key, state);
        }
    }

    fn add_to(&self, coverage: &mut Coverage) {
        for from in State::ALL {
            for to in State::ALL {
                let count = self.edges[*from as usize][*to as usize];
                coverage.add(Dimension::Edges, &edge_name(*from, *to), count);
            }
        }
    }
}

/// What a log exercised; the rules are the report's to add.
///
/// # Errors
/// If a file cannot be opened.
pub fn of_log(dir: &LogDir) -> Result<Coverage, CheckError> {
    let mut coverage = Coverage::default();
    let mut states = counters!(State);
    requests(dir, &mut coverage, &mut states)?;
    iterations(dir, &mut coverage)?;
    events(dir, &mut coverage)?;
    let mut changes = Changes::default();
    let told = each::<TransitionRow>(dir, |row, ids| {
        states[row.state as usize] += 1;
        changes.see(row.request_id, row.state, ids);
    })?;
    rows(dir, &mut coverage, &mut states, (!told).then_some(&mut changes))?;
    changes.add_to(&mut coverage);
    for state in State::ALL {
        coverage.add(Dimension::States, state.as_str(), states[*state as usize]);
    }
    Ok(coverage)
}

fn requests(dir: &LogDir, coverage: &mut Coverage, states: &mut [u64]) -> Result<(), CheckError> {
    let mut reasons = counters!(FinishReason);
    each::<RequestRow>(dir, |row, ids| {
        // A request is `waiting` at its arrival, without a row that says so.
        states[State::Waiting as usize] += 1;
        if let Some(reason) = row.finish_reason {
            reasons[reason as usize] += 1;
        }
        ids.release(row.request_id);
    })?;
    for reason in FinishReason::ALL {
        coverage.add(Dimension::FinishReasons, reason.as_str(), reasons[*reason as usize]);
    }
    Ok(())
}

fn iterations(dir: &LogDir, coverage: &mut Coverage) -> Result<(), CheckError> {
    let mut actions = counters!(SchedulerAction);
    each::<IterationRow>(dir, |row, _| {
        let set: ActionSet = row.scheduler_action;
        for action in set.iter() {
            actions[action as usize] += 1;
        }
    })?;
    for action in SchedulerAction::ALL {
        coverage.add(Dimension::Actions, action.as_str(), actions[*action as usize]);
    }
    Ok(())
}

fn events(dir: &LogDir, coverage: &mut Coverage) -> Result<(), CheckError> {
    let mut types = counters!(EventType);
    each::<EventRow>(dir, |row, ids| {
        types[row.event_type as usize] += 1;
        if let Some(key) = row.request_id {
            ids.release(key);
        }
    })?;
    for kind in EventType::ALL {
        coverage.add(Dimension::Events, kind.as_str(), types[*kind as usize]);
    }
    Ok(())
}

/// The rows of steps; without state_transitions.csv they tell the changes too.
fn rows(
    dir: &LogDir,
    coverage: &mut Coverage,
    states: &mut [u64],
    mut changes: Option<&mut Changes>,
) -> Result<(), CheckError> {
    let mut reasons = counters!(WaitingReason);
    each::<IterationRequestRow>(dir, |row, ids| {
        states[row.state as usize] += 1;
        if let Some(reason) = row.waiting_reason {
            reasons[reason as usize] += 1;
        }
        match &mut changes {
            Some(changes) => changes.see(row.request_id, row.state, ids),
            None => ids.release(row.request_id),
        }
    })?;
    for reason in WaitingReason::ALL {
        coverage.add(Dimension::Reasons, reason.as_str(), reasons[*reason as usize]);
    }
    Ok(())
}
