//! Facts that two files tell, each with a moment of its own.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{Compared, Kind, Samples};
use crate::log::dialect::skew::clock::Clock;
use crate::log::dialect::{Dialect, Habit};
use crate::log::ids::RequestKey;
use crate::log::schema::RequestRow;
use crate::log::values::{EventType, State};
use crate::units::Nanos;

/// The moments of one kind of each request, in the order of the file.
type Told = HashMap<RequestKey, Vec<Nanos>, FxBuildHasher>;

/// By how much the files are off, for each kind of fact.
pub(super) fn differences(samples: &Samples<'_>, dialect: &Dialect, clock: &Clock) -> Vec<Kind> {
    use EventType as T;
    let events = |kind| events(samples, kind);
    let changes = |state| changes(samples, state);
    let scheduled = records(samples, |row| row.first_scheduled_time);
    let ended = records(samples, |row| row.completion_time);
    let arrived = records(samples, |row| Some(row.arrival_time));
    let answered = records(samples, |row| Some(row.arrival_time.saturating_add(row.ttft?)));
    let ran = changes(State::Running);
    let first = |what, told: &Told, other: &Told| Kind {
        what: Some(what),
        differences: pairs(told, other, 0, true, clock),
    };
    let all = |what, told: &Told, other: &Told, skipped| Kind {
        what: Some(what),
        differences: pairs(told, other, skipped, false, clock),
    };
    let begun = events(T::RequestScheduled);
    let mut kinds = vec![
        first(Compared::FirstScheduledAndEvent, &scheduled, &begun),
        first(Compared::FirstScheduledAndChange, &scheduled, &ran),
        Kind { what: None, differences: pairs(&begun, &ran, 0, true, clock) },
        first(Compared::CompletionAndEvent, &ended, &events(T::RequestCompleted)),
        Kind { what: None, differences: pairs(&ended, &changes(State::Completed), 0, true, clock) },
        first(Compared::FirstTokenAndEvent, &answered, &events(T::FirstTokenGenerated)),
        first(Compared::ArrivalAndEvent, &arrived, &events(T::RequestArrived)),
        all(
            Compared::PreemptionAndChange,
            &events(T::RequestPreempted),
            &changes(State::Preempted),
            0,
        ),
        Kind { what: Some(Compared::FirstWait), differences: waits(samples, clock) },
    ];
    if !dialect.has(Habit::ResumedAtFirst) {
        kinds.push(all(Compared::ResumptionAndChange, &events(T::RequestResumed), &ran, 1));
    }
    kinds
}

fn events(samples: &Samples<'_>, kind: EventType) -> Told {
    let of_kind = samples.events.iter().filter(|event| event.event_type == kind);
    gather(of_kind.filter_map(|event| Some((event.request_id?, event.timestamp))))
}

fn changes(samples: &Samples<'_>, state: State) -> Told {
    let into = samples.transitions.iter().filter(|change| change.state == state);
    gather(into.map(|change| (change.request_id, change.timestamp)))
}

fn records(samples: &Samples<'_>, moment: impl Fn(&RequestRow) -> Option<Nanos>) -> Told {
    gather(samples.requests.iter().filter_map(|row| Some((row.request_id, moment(row)?))))
}

fn gather(moments: impl Iterator<Item = (RequestKey, Nanos)>) -> Told {
    let mut told = Told::default();
    for (key, at) in moments {
        told.entry(key).or_default().push(at);
    }
    told
}

/// One by one, the first `skipped` of `other` left out; of requests that have as many of both, or
/// only the first ones.
fn pairs(told: &Told, other: &Told, skipped: usize, first_only: bool, clock: &Clock) -> Vec<u64> {
    let most = if first_only { 1 } else { usize::MAX };
    let both = told.iter().filter_map(|(key, own)| Some((own, other.get(key)?.get(skipped..)?)));
    let alike = both.filter(|(own, other)| first_only || own.len() == other.len());
    alike
        .flat_map(|(own, other)| own.iter().zip(other).take(most))
        .map(|(own, other)| clock.between(*own, *other))
        .collect()
}

/// waiting_time of requests that were never preempted, and their first scheduling.
fn waits(samples: &Samples<'_>, clock: &Clock) -> Vec<u64> {
    let never = samples.requests.iter().filter(|row| row.preemption_count.0 == 0);
    let pair = |row: &RequestRow| {
        let waited = row.arrival_time.saturating_add(row.waiting_time);
        Some(clock.between(row.first_scheduled_time?, waited))
    };
    never.filter_map(pair).collect()
}
