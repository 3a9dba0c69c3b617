//! A smaller case that fails in the same way: whole requests and steps first, then values.

use crate::config::Policy;
use crate::fuzz::dice::Dice;
use crate::fuzz::failure::Failure;
use crate::fuzz::generate::{Limits, small_workload};
use crate::fuzz::sequence::{Call, EventSequence, RequestIndex};
use crate::fuzz::shrink_values::{smaller_calls, smaller_workloads};
use crate::fuzz::workload::Workload;

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest sequence found.
    pub sequence: EventSequence,
    /// How it fails.
    pub failure: Failure,
    /// How many cases were tried.
    pub tried: usize,
}

/// Small workloads drawn afresh before the case itself is reduced: a failure that is not rare shows
/// in one of them, and they are smaller than what reducing a large case ends with.
const FRESH: u64 = 300;

/// Runs a sequence; how it fails, if it does.
pub type Trial<'a> = &'a mut dyn FnMut(&EventSequence) -> Option<Failure>;

struct Shrinker<'a> {
    trial: Trial<'a>,
    failure: Failure,
    tried: usize,
    most: usize,
}

impl Shrinker<'_> {
    /// Whether `sequence` fails like the case at hand.
    fn fails(&mut self, sequence: &EventSequence) -> bool {
        if self.tried >= self.most {
            return false;
        }
        self.tried += 1;
        match (self.trial)(sequence) {
            Some(failure) if self.failure.is_like(&failure) => {
                self.failure = failure;
                true
            }
            _ => false,
        }
    }
}

/// Shrinks a failing sequence with at most `most` trials.
pub fn shrink(sequence: &EventSequence, failure: Failure, most: usize, trial: Trial<'_>) -> Shrunk {
    let mut shrinker = Shrinker { trial, failure, tried: 0, most };
    let sequence = match &sequence.workload {
        Some(workload) => shrink_legal(&mut shrinker, sequence.clone(), (**workload).clone()),
        None => shrink_calls(&mut shrinker, sequence.clone()),
    };
    Shrunk { sequence, failure: shrinker.failure, tried: shrinker.tried }
}

/// A legal sequence stays legal: its workload is made smaller and recorded again.
fn shrink_legal(
    shrinker: &mut Shrinker<'_>,
    mut best: EventSequence,
    mut workload: Workload,
) -> EventSequence {
    let limits = Limits { max_requests: 4, ..limits_of(&workload) };
    for fresh in 0..FRESH {
        let mut candidate = small_workload(&mut Dice::new(0, fresh), &limits);
        candidate.log_level = workload.log_level;
        let replace = move |workload: &mut Workload| workload.clone_from(&candidate);
        try_workload(shrinker, Box::new(replace), &mut best, &mut workload);
    }
    loop {
        let before = shrinker.tried;
        let mut progress = shrink_requests(shrinker, &mut best, &mut workload);
        progress |= shrink_life(shrinker, &mut best, &mut workload);
        for candidate in smaller_workloads(&workload) {
            progress |= try_workload(shrinker, candidate, &mut best, &mut workload);
        }
        if !progress || shrinker.tried == before {
            return best;
        }
    }
}

/// What the case at hand asks of a subject: a fresh one may not ask for more.
fn limits_of(workload: &Workload) -> Limits {
    let settings = &workload.settings;
    Limits {
        overlapping_steps: settings.async_scheduling == Some(true),
        speculative: settings.speculative_method.is_some(),
        prefix_caching: settings.enable_prefix_caching == Some(true),
        priority: settings.policy == Some(Policy::Priority),
        ..Limits::default()
    }
}

/// The earliest shutdown that still shows the failure, by bisection.
fn shrink_life(
    shrinker: &mut Shrinker<'_>,
    best: &mut EventSequence,
    workload: &mut Workload,
) -> bool {
    let (mut low, mut high) = (0, best.stopping_places());
    let mut progress = false;
    while low < high {
        let middle = low + (high - low) / 2;
        let stop = move |workload: &mut Workload| workload.shutdown_after = Some(middle);
        if try_workload(shrinker, Box::new(stop), best, workload) {
            progress = true;
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    progress
}

fn try_workload(
    shrinker: &mut Shrinker<'_>,
    change: Box<dyn Fn(&mut Workload)>,
    best: &mut EventSequence,
    workload: &mut Workload,
) -> bool {
    let mut candidate = workload.clone();
    change(&mut candidate);
    let Ok(sequence) = candidate.record(&best.origin) else { return false };
    let size = |sequence: &EventSequence, workload: &Workload| {
        (sequence.requests(), sequence.steps(), workload.weight())
    };
    // Strictly smaller, so that shrinking ends.
    let smaller = size(&sequence, &candidate) < size(best, workload);
    if !smaller || !shrinker.fails(&sequence) {
        return false;
    }
    *best = sequence;
    *workload = candidate;
    true
}

/// Delta debugging over whole requests.
fn shrink_requests(
    shrinker: &mut Shrinker<'_>,
    best: &mut EventSequence,
    workload: &mut Workload,
) -> bool {
    let mut progress = false;
    let mut size = workload.requests.len();
    while size >= 1 {
        let mut at = 0;
        while at < workload.requests.len() {
            let end = (at + size).min(workload.requests.len());
            let remove = move |candidate: &mut Workload| drop(candidate.requests.drain(at..end));
            let all = end - at == workload.requests.len();
            if !all && try_workload(shrinker, Box::new(remove), best, workload) {
                progress = true;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    progress
}

/// A hostile sequence needs no sense: requests, steps, then calls are left out, then numbers shrink.
fn shrink_calls(shrinker: &mut Shrinker<'_>, mut best: EventSequence) -> EventSequence {
    loop {
        let before = best.calls.len();
        remove_requests(shrinker, &mut best);
        remove_steps(shrinker, &mut best);
        remove_chunks(shrinker, &mut best);
        if best.calls.len() == before {
            break;
        }
    }
    for change in smaller_calls(&best) {
        let mut candidate = best.clone();
        change(&mut candidate);
        if candidate != best && shrinker.fails(&candidate) {
            best = candidate;
        }
    }
    best
}

fn keep(sequence: &EventSequence, keep: impl Fn(usize, &Call) -> bool) -> EventSequence {
    let mut candidate = EventSequence { calls: Vec::new(), ..sequence.clone() };
    let kept = sequence.calls.iter().enumerate().filter(|(index, call)| keep(*index, call));
    candidate.calls = kept.map(|(_, call)| call.clone()).collect();
    candidate
}

fn remove_requests(shrinker: &mut Shrinker<'_>, best: &mut EventSequence) {
    let last = best.calls.iter().filter_map(Call::request).max().map_or(0, |last| last.0);
    for index in (0..=last).rev() {
        let request = Some(RequestIndex(index));
        let candidate = keep(best, |_, call| call.request() != request);
        if candidate.calls.len() < best.calls.len() && shrinker.fails(&candidate) {
            *best = candidate;
        }
    }
}

fn remove_steps(shrinker: &mut Shrinker<'_>, best: &mut EventSequence) {
    let mut nth = 0;
    loop {
        let begins = best
            .calls
            .iter()
            .enumerate()
            .filter(|(_, call)| matches!(call, Call::Begin { .. }))
            .map(|(index, _)| index);
        let Some(begin) = begins.clone().nth(nth) else { return };
        let end = begins.clone().nth(nth + 1).unwrap_or(best.calls.len());
        let candidate = keep(best, |index, call| {
            !(begin..end).contains(&index)
                || matches!(call, Call::Arrival { .. } | Call::Shutdown { .. })
        });
        if shrinker.fails(&candidate) {
            *best = candidate;
        } else {
            nth += 1;
        }
    }
}

/// Delta debugging over runs of calls.
fn remove_chunks(shrinker: &mut Shrinker<'_>, best: &mut EventSequence) {
    let mut size = best.calls.len() / 2;
    while size >= 1 {
        let mut at = 0;
        while at < best.calls.len() {
            let candidate = keep(best, |index, _| !(at..at + size).contains(&index));
            if shrinker.fails(&candidate) {
                *best = candidate;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
}
