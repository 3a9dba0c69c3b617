//! Times that are made of others of the same file, and do not add up.
//!
//! What is off by exactly a time inside of its own step was counted from or to another moment of the
//! step. Two readings of one moment are never so far apart, but by chance where the clock is coarse.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::clock::{Clock, OTHER_MOMENT};
use super::{Compared, Kind, Samples, apart};
use crate::log::ids::RequestKey;
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow, TransitionRow};
use crate::log::values::State;
use crate::units::{IterationId, Nanos, Tokens};

/// A difference, and whether it is exactly a time inside of its step.
type Off = (u64, bool);

/// Of differences in a range of fewer units of the clock, some are such times by chance.
const FEWEST_UNITS: u64 = 12;

/// By how much each kind of them is off.
pub(super) fn differences(samples: &Samples<'_>, clock: &Clock) -> Vec<Kind> {
    let Samples { iterations, rows, requests, transitions, .. } = samples;
    let kinds = [
        (Compared::Latency, latencies(requests, clock)),
        (Compared::Sum, sums(requests, clock)),
        (Compared::Span, spans(iterations)),
        (Compared::Parts, parts(iterations)),
        (Compared::Stay, stays(iterations, rows)),
        (Compared::Change, changes(transitions, clock)),
        (Compared::FirstChange, first_changes(requests, transitions, clock)),
    ];
    kinds.map(|(what, offs)| Kind { what: Some(what), differences: told(&offs, clock) }).into()
}

/// The differences; if nearly all are times inside of steps, and not by chance, those are no readings.
fn told(offs: &[Off], clock: &Clock) -> Vec<u64> {
    let nonzero = || offs.iter().filter(|(off, _)| *off > 0);
    let inside = nonzero().filter(|(_, inside)| *inside).count();
    let range = nonzero().map(|(off, _)| *off).max().unwrap_or_default();
    let by_chance = range < clock.unit().0.saturating_mul(FEWEST_UNITS);
    let are_parts = !by_chance && inside * 10 >= nonzero().count() * 9;
    let differ = |&(off, inside): &Off| if are_parts && inside { OTHER_MOMENT } else { off };
    offs.iter().map(differ).collect()
}

/// The difference of two moments that are told for one, by any of these pairs.
fn moments<const N: usize>(
    pairs: [(Option<Nanos>, Option<Nanos>); N],
    clock: &Clock,
) -> Option<Off> {
    let mut off = None;
    for (one, other) in pairs {
        let (Some(one), Some(other)) = (one, other) else { continue };
        let inside = off.is_some_and(|(_, inside)| inside) || clock.are_of_steps(one, other);
        off = Some((apart(one, other), inside));
    }
    off.map(|(off, inside)| (off, inside && off > 0))
}

fn latencies(requests: &[RequestRow], clock: &Clock) -> Vec<Off> {
    let latency = |row: &RequestRow| {
        let told = row.arrival_time.saturating_add(row.e2e_latency?);
        moments([(row.completion_time, Some(told))], clock)
    };
    requests.iter().filter_map(latency).collect()
}

fn sums(requests: &[RequestRow], clock: &Clock) -> Vec<Off> {
    let sum = |row: &RequestRow| {
        let told = row.arrival_time.saturating_add(row.e2e_latency?);
        let waited = row.arrival_time.saturating_add(row.waiting_time);
        // What lacks is at the end of the wait or at that of the run.
        let ran = told.checked_sub(row.execution_time);
        let sum = waited.saturating_add(row.execution_time);
        // Where the request was preempted, the first wait may lack it all the same.
        let (first, off) = (row.first_scheduled_time, Nanos(apart(sum, told)));
        let first_wait = (first.and_then(|first| first.checked_sub(off)), first);
        moments([first_wait, (Some(waited), ran), (Some(sum), Some(told))], clock)
    };
    requests.iter().filter_map(sum).collect()
}

fn spans(iterations: &[IterationRow]) -> Vec<Off> {
    let span = |row: &IterationRow| {
        let off = apart(row.end_time.checked_sub(row.start_time)?, row.duration);
        Some((off, is_part(off, row)))
    };
    iterations.iter().filter_map(span).collect()
}

/// Whether a step takes so long for some of what it does.
fn is_part(time: u64, row: &IterationRow) -> bool {
    let [scheduling, forward, output] = [
        row.scheduling_overhead,
        row.forward_pass_duration,
        row.output_processing_duration.unwrap_or_default(),
    ];
    let around = scheduling.saturating_add(output);
    let with_forward = [scheduling, output].map(|part| part.saturating_add(forward));
    let parts = [scheduling, forward, output, around].into_iter().chain(with_forward);
    time > 0 && parts.into_iter().any(|part| part.0 == time)
}

/// Of a request that stays in its state from one step to the next: by how much more or less its
/// time there has grown than has passed. Of one that this step took in to run: how long it has run.
fn stays(iterations: &[IterationRow], rows: &[IterationRequestRow]) -> Vec<Off> {
    let steps: HashMap<IterationId, &IterationRow, FxBuildHasher> =
        iterations.iter().map(|row| (row.iteration_id, row)).collect();
    let mut last: HashMap<RequestKey, (State, &IterationRow, Nanos), FxBuildHasher> =
        HashMap::default();
    let mut differences = Vec::new();
    for row in rows.iter().filter(|row| row.state != State::Completed) {
        let Some(now) = steps.get(&row.iteration_id).copied() else { continue };
        let before = last.insert(row.request_id, (row.state, now, row.time_in_state));
        let Some((_, then, held)) = before.filter(|(state, ..)| *state == row.state) else {
            // Behind a gap of the rows it may have run before.
            let entered = row.state == State::Running
                && before.is_none_or(|(_, then, _)| follows(then, now))
                && row.tokens_generated == Tokens::ZERO;
            if entered {
                let off = row.time_in_state.0;
                differences.push((off, is_part(off, now)));
            }
            continue;
        };
        let grown = |now: Nanos, then: Nanos| {
            Some(apart(held.saturating_add(now.checked_sub(then)?), row.time_in_state))
        };
        let Some(off) = grown(decision(now), decision(then)) else { continue };
        // A request that entered its state with the step before had been there for less than no time.
        let began = if held == Nanos::ZERO { decision(then) } else { then.start_time };
        let counted_from_start = grown(now.start_time, began) == Some(0);
        differences.push((off, off > 0 && counted_from_start));
    }
    differences
}

fn follows(before: &IterationRow, now: &IterationRow) -> bool {
    before.iteration_id.0.checked_add(1) == Some(now.iteration_id.0)
}

fn decision(row: &IterationRow) -> Nanos {
    row.start_time.saturating_add(row.scheduling_overhead)
}

fn parts(iterations: &[IterationRow]) -> Vec<Off> {
    // Where every step lasts as long as from its beginning to its end, and none takes any time for its
    // output, what the parts lack is that time: it is never filled in.
    let is_whole = |row: &IterationRow| row.start_time.saturating_add(row.duration) == row.end_time;
    let unfilled = |row: &IterationRow| row.output_processing_duration == Some(Nanos::ZERO);
    let lacks_outputs = iterations.iter().all(|row| is_whole(row) && unfilled(row));
    let part = |row: &IterationRow| {
        let output = row.output_processing_duration?;
        let sum = row.scheduling_overhead.saturating_add(row.forward_pass_duration);
        let off = apart(sum.saturating_add(output), row.duration);
        Some((off, lacks_outputs && off > 0 || is_part(off, row)))
    };
    iterations.iter().filter_map(part).collect()
}

/// Within a request, where its rows stand together.
fn changes(transitions: &[TransitionRow], clock: &Clock) -> Vec<Off> {
    let pair = |pair: &[TransitionRow]| {
        let [before, now] = pair else { return None };
        let same = before.request_id == now.request_id && before.state != State::Completed;
        same.then(|| change(before.timestamp, now, clock))?
    };
    transitions.windows(2).filter_map(pair).collect()
}

/// Since the arrival.
fn first_changes(
    requests: &[RequestRow],
    transitions: &[TransitionRow],
    clock: &Clock,
) -> Vec<Off> {
    let mut arrived: HashMap<RequestKey, Nanos, FxBuildHasher> =
        requests.iter().map(|row| (row.request_id, row.arrival_time)).collect();
    let first = |row: &TransitionRow| change(arrived.remove(&row.request_id)?, row, clock);
    transitions.iter().filter_map(first).collect()
}

fn change(before: Nanos, now: &TransitionRow, clock: &Clock) -> Option<Off> {
    let since = now.timestamp.checked_sub(now.duration_in_prev_state);
    let until = before.saturating_add(now.duration_in_prev_state);
    let pairs = [(since, Some(before)), (Some(until), Some(now.timestamp))];
    (before <= now.timestamp).then(|| moments(pairs, clock))?
}
