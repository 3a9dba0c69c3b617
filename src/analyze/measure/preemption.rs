//! Where the time of requests went, and what preemptions cost.

use crate::analyze::distribution::ratio;
use crate::analyze::figures::RequestFigures;
use crate::analyze::model::{Breakdown, Part, Preemption};
use crate::analyze::spans::Activity;

#[derive(Clone, Debug, Default)]
pub(super) struct PreemptionMeasure {
    requests: u64,
    preemptions: u64,
    preempted_requests: u64,
    most: u64,
    evictions: u64,
    recomputed: Option<u64>,
    scheduled: Option<u64>,
    /// Per activity, of all requests.
    time_of_all: [u128; Activity::ALL.len()],
    cut: u64,
    e2e: u128,
    /// Per activity, of finished requests.
    time: [u128; Activity::ALL.len()],
    longest: [u64; Activity::ALL.len()],
}

impl PreemptionMeasure {
    pub(super) fn request(&mut self, request: &RequestFigures) {
        self.requests += 1;
        self.preemptions += request.preemptions;
        self.preempted_requests += u64::from(request.preemptions > 0);
        self.most = self.most.max(request.preemptions);
        self.evictions += request.evictions;
        if let Some(tokens) = request.recomputed_tokens {
            *self.recomputed.get_or_insert_default() += tokens;
        }
        if let Some(tokens) = request.scheduled_tokens {
            *self.scheduled.get_or_insert_default() += tokens;
        }
        let time = Activity::ALL.map(|activity| request.time(activity).0);
        for (sum, time) in self.time_of_all.iter_mut().zip(time) {
            *sum += u128::from(time);
        }
        // A request whose life takes no time has no spans, and is cut all the same.
        let cut = !request.spans.is_empty() || request.completion_ns == Some(request.arrival_ns);
        if request.ending.finished() && cut {
            self.cut += 1;
            for (index, time) in time.into_iter().enumerate() {
                self.e2e += u128::from(time);
                self.time[index] += u128::from(time);
                self.longest[index] = self.longest[index].max(time);
            }
        }
    }

    pub(super) fn breakdown(&self, tells_recomputation: bool) -> Option<Breakdown> {
        let part = |(index, activity): (usize, Activity)| Part {
            activity: activity.as_str(),
            time_ns: self.time[index],
            share: ratio(self.time[index] as f64, self.e2e as f64),
            mean_ns: ratio(self.time[index] as f64, self.cut as f64),
            max_ns: self.longest[index],
        };
        (self.cut > 0).then(|| Breakdown {
            requests: self.cut,
            e2e_ns: self.e2e,
            parts: Activity::ALL.into_iter().enumerate().map(part).collect(),
            tells_recomputation,
        })
    }

    pub(super) fn preemption(
        &self,
        iterations: Option<u64>,
        tells_recomputation: bool,
    ) -> Preemption {
        let per = |whole: u64, count: u64| ratio(count as f64, whole as f64);
        Preemption {
            preemptions: self.preemptions,
            preempted_requests: self.preempted_requests,
            preempted_share: per(self.requests, self.preempted_requests),
            per_request: per(self.requests, self.preemptions),
            per_thousand_iterations: iterations
                .and_then(|iterations| ratio(self.preemptions as f64 * 1e3, iterations as f64)),
            most_of_one_request: self.most,
            evictions: self.evictions,
            recomputed_tokens: self.recomputed,
            recomputed_share: self
                .recomputed
                .zip(self.scheduled)
                .and_then(|(again, all)| per(all, again)),
            preempted_ns: self.time_of_all[Activity::Preempted as usize],
            recomputation_ns: tells_recomputation
                .then(|| self.time_of_all[Activity::Recomputation as usize]),
        }
    }
}
