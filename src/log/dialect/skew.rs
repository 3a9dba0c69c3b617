//! Whether a log reads its clock more than once for one moment.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::log::ids::RequestKey;
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, RequestRow, TransitionRow};
use crate::log::values::{EventType, State};
use crate::units::{IterationId, Nanos};

/// How much two readings of one moment may differ unless told otherwise: the cost of a logger call.
pub const DEFAULT_SKEW_BOUND: Nanos = Nanos(50_000);

/// Differences of one kind that must be there for a habit.
const FEWEST: usize = 3;

/// Whether differences of one kind are a habit: most are not zero, nearly all are small, and they
/// vary. A constant difference is a mistake, and so is a single one.
fn is_habit(differences: &[u64], bound: Nanos) -> bool {
    let nonzero: Vec<u64> = differences.iter().copied().filter(|value| *value > 0).collect();
    let small: BTreeSet<u64> = nonzero.iter().copied().filter(|value| *value <= bound.0).collect();
    let few_large = nonzero.iter().filter(|value| **value > bound.0).count() * 10 <= nonzero.len();
    nonzero.len() >= FEWEST
        && nonzero.len() * 2 >= differences.len()
        && few_large
        && small.len() >= FEWEST
}

/// The first rows of each file.
pub(super) struct Samples<'a> {
    pub(super) iterations: &'a [IterationRow],
    pub(super) rows: &'a [IterationRequestRow],
    pub(super) requests: &'a [RequestRow],
    pub(super) transitions: &'a [TransitionRow],
    pub(super) events: &'a [EventRow],
    /// Whether the log is held to the reference's moments.
    pub(super) exact: bool,
}

pub(super) fn is_skewed(samples: &Samples<'_>, bound: Nanos) -> bool {
    let Samples { iterations, rows, requests, transitions, events, exact } = samples;
    let kinds = [
        latencies(requests),
        sums(requests),
        spans(iterations),
        parts(iterations),
        stays(iterations, rows),
        changes(transitions),
    ];
    let accounts = kinds.iter().any(|differences| is_habit(differences, bound));
    accounts || *exact && stamps_vary(iterations, events, bound)
}

/// Whether decisions are stamped a little off the `D` of any step, by differences that vary.
pub(super) fn stamps_vary(iterations: &[IterationRow], events: &[EventRow], bound: Nanos) -> bool {
    is_habit(&decisions(iterations, events), bound)
}

/// Whether most decisions are stamped with the `D` of a step exactly.
pub(super) fn decisions_are_exact(iterations: &[IterationRow], events: &[EventRow]) -> bool {
    let differences = decisions(iterations, events);
    differences.iter().filter(|difference| **difference == 0).count() * 2 > differences.len()
}

fn apart(one: Nanos, other: Nanos) -> u64 {
    one.0.abs_diff(other.0)
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

/// From each decision to the nearest `D`.
fn decisions(iterations: &[IterationRow], events: &[EventRow]) -> Vec<u64> {
    let mut decided: Vec<u64> = iterations.iter().map(|row| decision(row).0).collect();
    decided.sort_unstable();
    let Some(last) = decided.last().copied() else { return Vec::new() };
    let nearest = |event: &EventRow| {
        let kind = matches!(
            event.event_type,
            EventType::RequestScheduled | EventType::RequestPreempted | EventType::RequestResumed
        );
        let at = event.timestamp.0;
        if !kind || at > last {
            return None;
        }
        let index = decided.partition_point(|other| *other < at);
        let around = [index.checked_sub(1), Some(index)];
        around.into_iter().flatten().filter_map(|i| decided.get(i)).map(|d| d.abs_diff(at)).min()
    };
    events.iter().filter_map(nearest).collect()
}
