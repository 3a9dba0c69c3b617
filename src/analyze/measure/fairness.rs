//! How evenly requests were served, who waited longest, and what priorities did.

use std::collections::BTreeMap;

use crate::analyze::distribution::{Distribution, Sum, ratio};
use crate::analyze::figures::RequestFigures;
use crate::analyze::model::{Fairness, LongWait, PriorityClass};
use crate::analyze::spans::Activity;
use crate::log::values::WaitingReason;
use crate::units::Nanos;

/// How many of the longest waits are kept.
const LONGEST: usize = 10;
/// How many priorities are told apart.
const CLASSES: usize = 64;

/// Jain's index of samples: `(Σx)² / (n Σx²)`.
#[derive(Clone, Copy, Debug, Default)]
struct Jain {
    count: u64,
    sum: Sum,
    squares: Sum,
}

impl Jain {
    fn add(&mut self, sample: f64) {
        self.count += 1;
        self.sum.add(sample);
        self.squares.add(sample * sample);
    }

    fn index(&self) -> Option<f64> {
        let sum = self.sum.total();
        // Rounding must not make anything fairer than equal.
        ratio(sum * sum, self.count as f64 * self.squares.total()).map(|index| index.min(1.0))
    }
}

#[derive(Clone, Debug, Default)]
struct ClassMeasure {
    requests: u64,
    finished: u64,
    preemptions: u64,
    waiting: Distribution,
    ttft: Distribution,
    e2e: Distribution,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FairnessMeasure {
    output_rate: Jain,
    time_per_token: Jain,
    waiting: Jain,
    longest: Vec<(Nanos, LongWait)>,
    classes: BTreeMap<i64, ClassMeasure>,
    more_priorities: bool,
}

impl FairnessMeasure {
    pub(super) fn request(&mut self, request: &RequestFigures) {
        self.waiting.add(request.waiting_ns.0 as f64);
        if request.ending.finished()
            && let Some(e2e) = request.e2e_ns.filter(|e2e| *e2e > Nanos::ZERO)
        {
            let tokens = request.input_tokens.unwrap_or(0) + request.output_tokens;
            self.output_rate.add(request.output_tokens as f64 / e2e.as_secs_f64());
            self.time_per_token.add(e2e.0 as f64 / tokens.max(1) as f64);
        }
        self.class(request);
        let least = self.longest.last().map_or(Nanos::ZERO, |(wait, _)| *wait);
        let full = self.longest.len() == LONGEST;
        if request.waiting_ns > Nanos::ZERO && (!full || request.waiting_ns > least) {
            let place = self.longest.partition_point(|(wait, _)| *wait >= request.waiting_ns);
            self.longest.insert(place, (request.waiting_ns, long_wait(request)));
            self.longest.truncate(LONGEST);
        }
    }

    fn class(&mut self, request: &RequestFigures) {
        let Some(priority) = request.priority else { return };
        if !self.classes.contains_key(&priority.0) && self.classes.len() == CLASSES {
            self.more_priorities = true;
            return;
        }
        let class = self.classes.entry(priority.0).or_default();
        class.requests += 1;
        class.preemptions += request.preemptions;
        class.waiting.record_nanos(Some(request.waiting_ns));
        if request.ending.finished() {
            class.finished += 1;
            class.ttft.record_nanos(request.ttft_ns);
            class.e2e.record_nanos(request.e2e_ns);
        }
    }

    pub(super) fn fairness(self) -> Fairness {
        let class = |(priority, class): (i64, ClassMeasure)| PriorityClass {
            priority,
            requests: class.requests,
            finished: class.finished,
            preemptions: class.preemptions,
            waiting_ns: class.waiting.into(),
            ttft_ns: class.ttft.into(),
            e2e_ns: class.e2e.into(),
        };
        Fairness {
            jain_of_output_rate: self.output_rate.index(),
            jain_of_time_per_token: self.time_per_token.index(),
            jain_of_waiting: self.waiting.index(),
            longest_waits: self.longest.into_iter().map(|(_, wait)| wait).collect(),
            by_priority: self.classes.into_iter().map(class).collect(),
            more_priorities: self.more_priorities,
        }
    }
}

fn long_wait(request: &RequestFigures) -> LongWait {
    let reasons = request.waits.iter().filter(|wait| wait.reason.is_some());
    // Of equally long ones the first.
    let main = reasons.rev().max_by_key(|wait| wait.time_ns).and_then(|wait| wait.reason);
    LongWait {
        request_id: request.request_id.clone(),
        ending: request.ending.as_str(),
        priority: request.priority.map(|priority| priority.0),
        waiting_ns: request.waiting_ns,
        preempted_ns: request.time(Activity::Preempted),
        preemptions: request.preemptions,
        main_reason: main.map(WaitingReason::as_str),
        queue: request.queue.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_is_one_for_equals_and_one_nth_for_a_monopoly() {
        let index = |samples: &[f64]| {
            let mut jain = Jain::default();
            samples.iter().for_each(|sample| jain.add(*sample));
            jain.index()
        };
        assert_eq!(index(&[3.0, 3.0, 3.0]), Some(1.0));
        assert_eq!(index(&[4.0, 0.0, 0.0, 0.0]), Some(0.25));
        assert_eq!(index(&[0.0, 0.0]), None);
        assert_eq!(index(&[]), None);
    }
}
