//! The analysis as data: `schedlog.analyze/1`. Members are only ever added within one version.
//!
//! The unit is the end of a member's name; a member without one is a number of things. `None` is
//! "undefined" or "the log does not tell", never 0.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::analyze::distribution::{Gauge, Summary};
use crate::analyze::figures::QueuePoint;
use crate::analyze::render::{wide, wide_option};
use crate::analyze::series::Series;
use crate::analyze::slo::SloReport;
use crate::analyze::source::LogDescription;
use crate::units::Nanos;

/// The version of the form.
pub const ANALYZE_SCHEMA: &str = "schedlog.analyze/1";

/// What a log says about the run.
#[derive(Clone, Debug, Serialize)]
pub struct Analysis {
    /// The version of this form.
    pub schema: &'static str,
    /// Where the figures come from, and what they cannot say.
    pub log: LogDescription,
    /// The observed time.
    pub window: Window,
    /// Requests by how they ended.
    pub requests: Requests,
    /// Latencies of the requests that finished.
    pub latency: Latency,
    /// Latencies of all rows with a value, aborted and rejected requests included: what a
    /// notebook's `df[column].quantile()` sees.
    pub latency_of_all_rows: Latency,
    /// Work per second of the observed time.
    pub throughput: Throughput,
    /// Where the time of finished requests went.
    pub breakdown: Option<Breakdown>,
    /// Preemptions and what they cost.
    pub preemption: Preemption,
    /// Steps, their durations and contents.
    pub iterations: Option<Iterations>,
    /// Rows of per_iteration_requests.csv by state.
    pub rows_by_state: Option<BTreeMap<&'static str, u64>>,
    /// What kept requests waiting.
    pub waiting: Option<Waiting>,
    /// Stays per state, by state_transitions.csv.
    pub stays_ns: Option<BTreeMap<&'static str, Summary>>,
    /// Rows of events.csv by type.
    pub events: Option<BTreeMap<&'static str, u64>>,
    /// How evenly requests were served, and who was not.
    pub fairness: Fairness,
    /// Attainment of service level objectives, if any were given.
    pub slo: Option<SloReport>,
    /// Steps over time, if asked for.
    pub series: Option<Series>,
}

/// The observed time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    /// The first arrival or step.
    pub from_ns: Nanos,
    /// The last step or completion.
    pub to_ns: Nanos,
    /// Between the two.
    pub duration_ns: Nanos,
    /// Time in which a step was in progress; overlapping steps count once.
    pub stepping_ns: Nanos,
    /// Its share.
    pub stepping_share: Option<f64>,
}

/// Requests by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Requests {
    /// All that the log names.
    pub total: u64,
    /// Finished: ended by a stop token or their length.
    pub finished: u64,
    /// Per ending.
    pub by_ending: BTreeMap<&'static str, u64>,
    /// Prompt lengths.
    pub input_tokens: Summary,
    /// Output lengths of finished requests.
    pub output_tokens: Summary,
    /// Tokens generated for all requests.
    pub output_tokens_total: u64,
    /// Tokens found in the prefix cache.
    pub cached_tokens_total: Option<u64>,
    /// Their share of all prompt tokens.
    pub cached_share: Option<f64>,
}

/// Latencies of a group of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Arrival to first output token.
    pub ttft_ns: Summary,
    /// Time per output token after the first.
    pub tpot_ns: Summary,
    /// Arrival to completion.
    pub e2e_ns: Summary,
    /// Time waiting or preempted.
    pub waiting_ns: Summary,
    /// Time running.
    pub execution_ns: Summary,
    /// Arrival to first scheduling.
    pub queueing_ns: Summary,
}

/// Work per second of the observed time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Throughput {
    /// Finished requests.
    pub finished_requests_per_s: Option<f64>,
    /// Requests that arrived.
    pub arrived_requests_per_s: Option<f64>,
    /// Generated tokens, those of unfinished and aborted requests included.
    pub output_tokens_per_s: Option<f64>,
    /// Scheduled tokens, recomputed ones and rejected drafts included.
    pub scheduled_tokens_per_s: Option<f64>,
    /// Prompt and output tokens of finished requests.
    pub finished_tokens_per_s: Option<f64>,
}

/// Where the time of finished requests went; the parts sum to exactly the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Breakdown {
    /// Finished requests whose life could be cut.
    pub requests: u64,
    /// Their time from arrival to completion.
    #[serde(serialize_with = "wide")]
    pub e2e_ns: u128,
    /// What it went into.
    pub parts: Vec<Part>,
    /// Whether recomputation is told apart; if not, prefill and decode include it.
    pub tells_recomputation: bool,
}

/// One part of the time of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Part {
    /// The activity.
    pub activity: &'static str,
    /// Summed over requests.
    #[serde(serialize_with = "wide")]
    pub time_ns: u128,
    /// Of the whole.
    pub share: Option<f64>,
    /// Per request.
    pub mean_ns: Option<f64>,
    /// The longest of one request.
    pub max_ns: u64,
}

/// Preemptions and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Preemption {
    /// How many.
    pub preemptions: u64,
    /// Requests that were preempted at least once.
    pub preempted_requests: u64,
    /// Their share of all requests.
    pub preempted_share: Option<f64>,
    /// Preemptions per request.
    pub per_request: Option<f64>,
    /// Preemptions per thousand steps.
    pub per_thousand_iterations: Option<f64>,
    /// The most of one request.
    pub most_of_one_request: u64,
    /// Resumptions that found cache blocks gone.
    pub evictions: u64,
    /// Tokens computed a second time.
    pub recomputed_tokens: Option<u64>,
    /// Their share of all scheduled tokens.
    pub recomputed_share: Option<f64>,
    /// Time that requests were preempted.
    #[serde(serialize_with = "wide")]
    pub preempted_ns: u128,
    /// Time that requests spent computing again.
    #[serde(serialize_with = "wide_option")]
    pub recomputation_ns: Option<u128>,
}

/// Steps, their durations and contents.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Iterations {
    /// How many.
    pub count: u64,
    /// Per action; in some dialects a step has several.
    pub by_action: BTreeMap<&'static str, u64>,
    /// Start to end.
    pub duration_ns: Summary,
    /// Inside `schedule()`.
    pub scheduling_ns: Summary,
    /// From the decision to the model's output.
    pub forward_ns: Summary,
    /// Inside `update_from_output()`.
    pub output_processing_ns: Summary,
    /// Time inside `schedule()` / time of steps.
    pub scheduling_share: Option<f64>,
    /// Time of forward passes / time of steps.
    pub forward_share: Option<f64>,
    /// Time inside `update_from_output()` / time of steps.
    pub output_processing_share: Option<f64>,
    /// The mean over steps of (time inside `schedule()` / duration): what a notebook computes.
    pub scheduling_share_row_mean: Option<f64>,
    /// Scheduled tokens.
    pub tokens: u64,
    /// Of these, prefill.
    pub prefill_tokens: u64,
    /// Of these, decode.
    pub decode_tokens: u64,
    /// Requests with a token in the step.
    pub batch_size: Gauge,
    /// Tokens per step.
    pub tokens_per_step: Gauge,
    /// Prefill tokens per step.
    pub prefill_tokens_per_step: Gauge,
    /// Decode tokens per step.
    pub decode_tokens_per_step: Gauge,
    /// Blocks in use / usable blocks.
    pub kv_utilisation: Gauge,
    /// Share of the time with at least nine tenths of the blocks in use.
    pub kv_above_90_percent_time_share: Option<f64>,
    /// Length of the running queue.
    pub running: Gauge,
    /// Length of the waiting queue.
    pub waiting: Gauge,
}

/// What kept requests waiting.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Waiting {
    /// Time that all requests waited or were preempted.
    #[serde(serialize_with = "wide")]
    pub time_ns: u128,
    /// Per reason, the longest first.
    pub reasons: Vec<Reason>,
    /// Time before any step looked at the request, or of which the rows say no reason.
    #[serde(serialize_with = "wide")]
    pub unexplained_ns: u128,
}

/// One reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Reason {
    /// Its name in the log.
    pub reason: &'static str,
    /// Rows that carry it: one per request and step.
    pub rows: u64,
    /// Time that it kept requests waiting.
    #[serde(serialize_with = "wide")]
    pub time_ns: u128,
    /// Of all waiting.
    pub time_share: Option<f64>,
}

/// How evenly requests were served.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fairness {
    /// Jain's index of the output rates (output tokens / e2e) of finished requests: 1 if all are
    /// equal, 1/n if one has everything.
    pub jain_of_output_rate: Option<f64>,
    /// Jain's index of e2e / (input + output tokens) of finished requests.
    pub jain_of_time_per_token: Option<f64>,
    /// Jain's index of the waiting times of all requests.
    pub jain_of_waiting: Option<f64>,
    /// Those that waited longest, the longest first.
    pub longest_waits: Vec<LongWait>,
    /// Figures per priority, most urgent first; one class under FCFS.
    pub by_priority: Vec<PriorityClass>,
    /// Whether there are more priorities than classes were kept.
    pub more_priorities: bool,
}

/// A request that waited long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LongWait {
    /// Its id.
    pub request_id: String,
    /// How it ended.
    pub ending: &'static str,
    /// Its priority.
    pub priority: Option<i64>,
    /// Time waiting or preempted.
    pub waiting_ns: Nanos,
    /// Of this, after a preemption.
    pub preempted_ns: Nanos,
    /// Preemptions.
    pub preemptions: u64,
    /// The reason that kept it longest.
    pub main_reason: Option<&'static str>,
    /// Its place in the waiting queue over time.
    pub queue: Vec<QueuePoint>,
}

/// Requests of one priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PriorityClass {
    /// The priority; lower is served first.
    pub priority: i64,
    /// How many.
    pub requests: u64,
    /// Finished ones.
    pub finished: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Time waiting or preempted, of all.
    pub waiting_ns: Summary,
    /// Of finished ones.
    pub ttft_ns: Summary,
    /// Of finished ones.
    pub e2e_ns: Summary,
}
