//! Times that are made of others of the same file, and do not add up.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{Samples, apart};
use crate::log::ids::RequestKey;
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow, TransitionRow};
use crate::log::values::State;
use crate::units::{IterationId, Nanos};

/// By how much each kind of them is off.
pub(super) fn differences(samples: &Samples<'_>) -> [Vec<u64>; 6] {
    let Samples { iterations, rows, requests, transitions, .. } = samples;
    [
        latencies(requests),
        sums(requests),
        spans(iterations),
        parts(iterations),
        stays(iterations, rows),
        changes(transitions),
    ]
}

fn latencies(requests: &[RequestRow]) -> Vec<u64> {
    let latency = |row: &RequestRow| {
        let span = row.completion_time?.checked_sub(row.arrival_time)?;
        Some(apart(span, row.e2e_latency?))
    };
    requests.iter().filter_map(latency).collect()
}

fn sums(requests: &[RequestRow]) -> Vec<u64> {
    let sum = |row: &RequestRow| {
        Some(apart(row.waiting_time.saturating_add(row.execution_time), row.e2e_latency?))
    };
    requests.iter().filter_map(sum).collect()
}

fn spans(iterations: &[IterationRow]) -> Vec<u64> {
    let span =
        |row: &IterationRow| Some(apart(row.end_time.checked_sub(row.start_time)?, row.duration));
    iterations.iter().filter_map(span).collect()
}

/// Of a request that stays in its state from one step to the next: by how much more or less its
/// time there has grown than has passed.
fn stays(iterations: &[IterationRow], rows: &[IterationRequestRow]) -> Vec<u64> {
    let decided: HashMap<IterationId, Nanos, FxBuildHasher> =
        iterations.iter().map(|row| (row.iteration_id, decision(row))).collect();
    let mut last: HashMap<RequestKey, (State, Nanos, Nanos), FxBuildHasher> = HashMap::default();
    let mut differences = Vec::new();
    for row in rows.iter().filter(|row| row.state != State::Completed) {
        let Some(now) = decided.get(&row.iteration_id).copied() else { continue };
        let before = last.insert(row.request_id, (row.state, now, row.time_in_state));
        let stays = before.filter(|(state, ..)| *state == row.state);
        let grown =
            stays.and_then(|(_, then, held)| Some(held.saturating_add(now.checked_sub(then)?)));
        differences.extend(grown.map(|grown| apart(grown, row.time_in_state)));
    }
    differences
}

fn decision(row: &IterationRow) -> Nanos {
    row.start_time.saturating_add(row.scheduling_overhead)
}

fn parts(iterations: &[IterationRow]) -> Vec<u64> {
    let part = |row: &IterationRow| {
        let output = row.output_processing_duration?;
        let sum = row.scheduling_overhead.saturating_add(row.forward_pass_duration);
        Some(apart(sum.saturating_add(output), row.duration))
    };
    iterations.iter().filter_map(part).collect()
}

/// Within a request, where its rows stand together.
fn changes(transitions: &[TransitionRow]) -> Vec<u64> {
    let pair = |pair: &[TransitionRow]| {
        let [before, now] = pair else { return None };
        let same = before.request_id == now.request_id && before.state != State::Completed;
        let passed = now.timestamp.checked_sub(before.timestamp).filter(|_| same)?;
        Some(apart(passed, now.duration_in_prev_state))
    };
    transitions.windows(2).filter_map(pair).collect()
}
