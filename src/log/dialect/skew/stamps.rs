//! Stamps of what happened at a moment of a step, and that moment.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use super::Samples;
use crate::log::dialect::skew::clock::Clock;
use crate::log::dialect::{Dialect, Habit};
use crate::log::ids::RequestKey;
use crate::log::schema::{EventRow, RequestRow, TransitionRow};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::Nanos;

/// From what is decided to the nearest `D`, for each kind of event and change.
pub(super) fn decisions(samples: &Samples<'_>, dialect: &Dialect, clock: &Clock) -> Vec<Vec<u64>> {
    use EventType as T;
    let kinds = [
        T::RequestScheduled,
        T::RequestPreempted,
        T::RequestResumed,
        T::RequestEvicted,
        T::KvCacheAllocated,
    ];
    // What is noted at the first scheduling too is no resumption.
    let mut first = HashSet::with_hasher(FxBuildHasher);
    let mut again = |event: &&EventRow| {
        event.event_type != T::RequestResumed
            || !dialect.has(Habit::ResumedAtFirst)
            || !first.insert(event.request_id)
    };
    let mut events = Vec::new();
    for kind in kinds {
        let stamps = of_kind(samples, kind).filter(&mut again).map(|event| event.timestamp);
        events.push(stamps.filter_map(|at| clock.off_decision(at)).collect());
    }
    let changed = |row: &TransitionRow| {
        (row.state != State::Completed).then(|| clock.off_decision(row.timestamp))?
    };
    let changes = samples.transitions.iter().filter_map(changed).collect();
    let scheduled = |row: &RequestRow| clock.off_decision(row.first_scheduled_time?);
    let records = samples.requests.iter().filter_map(scheduled).collect();
    events.extend([changes, records]);
    events
}

/// From what an output brought to the nearest `E`, for each kind of event, change and record.
pub(super) fn ends(samples: &Samples<'_>, clock: &Clock) -> Vec<Vec<u64>> {
    let reasons: HashMap<RequestKey, Option<FinishReason>, FxBuildHasher> =
        samples.requests.iter().map(|row| (row.request_id, row.finish_reason)).collect();
    // An abort has a moment of its own.
    let ran = |key: Option<RequestKey>, told: Option<FinishReason>| {
        let reason = told.or_else(|| key.and_then(|key| *reasons.get(&key)?));
        reason.is_some_and(|reason| !reason.is_drop())
    };
    let off_end = |at: Nanos| clock.off_end(at);
    let tokens = of_kind(samples, EventType::FirstTokenGenerated);
    let ended = of_kind(samples, EventType::RequestCompleted)
        .filter(|event| ran(event.request_id, event.details.finish_reason));
    let changed = samples.transitions.iter().filter(|change| change.state == State::Completed);
    let changed = changed.filter(|change| ran(Some(change.request_id), None));
    let records = samples.requests.iter().filter(|row| ran(Some(row.request_id), None));
    vec![
        tokens.map(|event| event.timestamp).filter_map(off_end).collect(),
        ended.map(|event| event.timestamp).filter_map(off_end).collect(),
        changed.map(|change| change.timestamp).filter_map(off_end).collect(),
        records.filter_map(|row| row.completion_time).filter_map(off_end).collect(),
    ]
}

/// By how far stamps are beyond the steps that they name or that rows tell of, so that they contradict
/// them also where anything may be stamped at any moment of its step.
pub(super) fn contradictions(samples: &Samples<'_>, clock: &Clock) -> Vec<Vec<u64>> {
    let outside = |event: &EventRow| {
        let step = clock.step(event.details.iteration_id?)?;
        let at = event.timestamp;
        let early = step.start.saturating_sub(at).0;
        let beyond = early.max(at.saturating_sub(step.end).0);
        Some(if beyond > 0 && clock.knows(at) { u64::MAX } else { beyond })
    };
    let decided = |event: &&EventRow| {
        event.event_type.is_decision() && event.event_type != EventType::KvCacheAllocated
    };
    let tokens = of_kind(samples, EventType::FirstTokenGenerated).filter_map(outside).collect();
    // The rows of a step show what was decided by its `D`.
    let changed = samples.transitions.iter().filter(|change| change.state != State::Completed);
    let late = changed.filter_map(|change| clock.behind_decision(change.timestamp)).collect();
    vec![samples.events.iter().filter(decided).filter_map(outside).collect(), tokens, late]
}

fn of_kind<'a>(
    samples: &'a Samples<'_>,
    kind: EventType,
) -> impl Iterator<Item = &'a EventRow> + use<'a> {
    samples.events.iter().filter(move |event| event.event_type == kind)
}
