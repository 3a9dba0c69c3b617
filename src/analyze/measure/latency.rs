//! Requests: how they ended, how long they took, how much was done per second.

use std::collections::BTreeMap;

use crate::analyze::distribution::{Distribution, ratio};
use crate::analyze::figures::{Ending, RequestFigures};
use crate::analyze::model::{Latency, Requests, Throughput, Window};

/// The samples behind a [`Latency`].
#[derive(Clone, Debug, Default)]
pub struct LatencySamples {
    /// Arrival to first output token.
    pub ttft_ns: Distribution,
    /// Time per output token after the first.
    pub tpot_ns: Distribution,
    /// Arrival to completion.
    pub e2e_ns: Distribution,
    /// Time waiting or preempted.
    pub waiting_ns: Distribution,
    /// Time running.
    pub execution_ns: Distribution,
    /// Arrival to first scheduling.
    pub queueing_ns: Distribution,
}

impl LatencySamples {
    fn record(&mut self, request: &RequestFigures) {
        let queueing = request.first_scheduled_ns.map(|at| at.saturating_sub(request.arrival_ns));
        self.ttft_ns.record_nanos(request.ttft_ns);
        self.tpot_ns.record_or_undefined(request.tpot_ns);
        self.e2e_ns.record_nanos(request.e2e_ns);
        self.waiting_ns.record_nanos(Some(request.waiting_ns));
        self.execution_ns.record_nanos(Some(request.execution_ns));
        self.queueing_ns.record_nanos(queueing);
    }
}

impl From<LatencySamples> for Latency {
    fn from(samples: LatencySamples) -> Self {
        Self {
            ttft_ns: samples.ttft_ns.into(),
            tpot_ns: samples.tpot_ns.into(),
            e2e_ns: samples.e2e_ns.into(),
            waiting_ns: samples.waiting_ns.into(),
            execution_ns: samples.execution_ns.into(),
            queueing_ns: samples.queueing_ns.into(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct RequestsMeasure {
    endings: BTreeMap<Ending, u64>,
    finished: LatencySamples,
    all: LatencySamples,
    input: Distribution,
    output: Distribution,
    output_total: u64,
    finished_tokens: u64,
    cached: Option<u64>,
}

impl RequestsMeasure {
    pub(super) const fn finished(&self) -> &LatencySamples {
        &self.finished
    }

    pub(super) fn request(&mut self, request: &RequestFigures) {
        *self.endings.entry(request.ending).or_default() += 1;
        self.input.record_or_undefined(request.input_tokens.map(|tokens| tokens as f64));
        self.output_total += request.output_tokens;
        if let Some(cached) = request.cached_tokens {
            *self.cached.get_or_insert_default() += cached;
        }
        if request.ending.finished() {
            self.output.record(request.output_tokens as f64);
            self.finished_tokens += request.input_tokens.unwrap_or(0) + request.output_tokens;
            self.finished.record(request);
        }
        // A request without a row has none of the columns that a notebook reads.
        if request.ending != Ending::CutOff {
            self.all.record(request);
        }
    }

    fn count(&self, of: impl Fn(Ending) -> bool) -> u64 {
        self.endings.iter().filter(|(ending, _)| of(**ending)).map(|(_, count)| count).sum()
    }

    pub(super) fn throughput(&self, window: &Window, scheduled: Option<u64>) -> Throughput {
        let per_s = |count: u64| ratio(count as f64, window.duration_ns.as_secs_f64());
        Throughput {
            finished_requests_per_s: per_s(self.count(Ending::finished)),
            arrived_requests_per_s: per_s(self.count(|_| true)),
            output_tokens_per_s: per_s(self.output_total),
            scheduled_tokens_per_s: scheduled.and_then(per_s),
            finished_tokens_per_s: per_s(self.finished_tokens),
        }
    }

    pub(super) fn finish(self) -> (Requests, Latency, Latency) {
        let cached_share = self.cached.and_then(|cached| ratio(cached as f64, self.input.sum()));
        let requests = Requests {
            total: self.count(|_| true),
            finished: self.count(Ending::finished),
            by_ending: Ending::ALL
                .into_iter()
                .map(|ending| (ending.as_str(), self.endings.get(&ending).copied().unwrap_or(0)))
                .collect(),
            input_tokens: self.input.into(),
            output_tokens: self.output.into(),
            output_tokens_total: self.output_total,
            cached_tokens_total: self.cached,
            cached_share,
        };
        (requests, self.finished.into(), self.all.into())
    }
}
