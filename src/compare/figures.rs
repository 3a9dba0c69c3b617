//! The figures that are compared.

use serde::Serialize;

use crate::analyze::distribution::Distribution;
use crate::analyze::{Analysis, LatencySamples};

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// Neither.
    Neither,
}

/// A latency with its samples.
pub(super) struct LatencyFigure {
    pub(super) name: &'static str,
    pub(super) samples: fn(&LatencySamples) -> &Distribution,
}

/// Latencies, each compared by its mean and quantiles.
pub(super) const LATENCIES: [LatencyFigure; 4] = [
    LatencyFigure { name: "ttft", samples: |samples| &samples.ttft_ns },
    LatencyFigure { name: "tpot", samples: |samples| &samples.tpot_ns },
    LatencyFigure { name: "e2e", samples: |samples| &samples.e2e_ns },
    LatencyFigure { name: "waiting", samples: |samples| &samples.waiting_ns },
];

/// A figure of a run as a whole: it has no interval, as there is one run.
pub(super) struct RunFigure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Whether it is a number of things.
    pub(super) is_count: bool,
    pub(super) better: Better,
    pub(super) value: fn(&Analysis) -> Option<f64>,
}

const fn figure(
    name: &'static str,
    unit: &'static str,
    better: Better,
    value: fn(&Analysis) -> Option<f64>,
) -> RunFigure {
    RunFigure { name, unit, is_count: false, better, value }
}

const fn count(
    name: &'static str,
    better: Better,
    value: fn(&Analysis) -> Option<f64>,
) -> RunFigure {
    RunFigure { name, unit: "", is_count: true, better, value }
}

/// Figures of the run as a whole.
pub(super) const RUN: [RunFigure; 19] = [
    count("requests", Better::Neither, |a| Some(a.requests.total as f64)),
    count("finished requests", Better::Higher, |a| Some(a.requests.finished as f64)),
    figure("observed time", "s", Better::Neither, |a| Some(a.window.duration_ns.as_secs_f64())),
    figure("finished requests/s", "1/s", Better::Higher, |a| a.throughput.finished_requests_per_s),
    figure("output tokens/s", "1/s", Better::Higher, |a| a.throughput.output_tokens_per_s),
    figure("scheduled tokens/s", "1/s", Better::Neither, |a| a.throughput.scheduled_tokens_per_s),
    figure("SLO met by finished", "%", Better::Higher, |a| {
        percent(a.slo.as_ref()?.share_of_finished)
    }),
    figure("goodput requests/s", "1/s", Better::Higher, |a| a.slo.as_ref()?.goodput_requests_per_s),
    figure("preemptions/request", "", Better::Lower, |a| a.preemption.per_request),
    figure("tokens recomputed", "%", Better::Lower, |a| percent(a.preemption.recomputed_share)),
    figure("prefix cache hits", "%", Better::Higher, |a| percent(a.requests.cached_share)),
    count("steps", Better::Neither, |a| Some(a.iterations.as_ref()?.count as f64)),
    figure("step duration mean", "ms", Better::Neither, |a| {
        Some(a.iterations.as_ref()?.duration_ns.mean? / 1e6)
    }),
    figure("scheduling of step time", "%", Better::Lower, |a| {
        percent(a.iterations.as_ref()?.scheduling_share)
    }),
    figure("batch size, time mean", "", Better::Neither, |a| {
        a.iterations.as_ref()?.batch_size.time_weighted_mean
    }),
    figure("KV utilisation, time mean", "%", Better::Neither, |a| {
        percent(a.iterations.as_ref()?.kv_utilisation.time_weighted_mean)
    }),
    figure("waiting queue, time mean", "", Better::Lower, |a| {
        a.iterations.as_ref()?.waiting.time_weighted_mean
    }),
    figure("Jain, output rate", "", Better::Higher, |a| a.fairness.jain_of_output_rate),
    figure("Jain, waiting", "", Better::Higher, |a| a.fairness.jain_of_waiting),
];

fn percent(share: Option<f64>) -> Option<f64> {
    share.map(|share| share * 100.0)
}
