//! Workloads: settings and requests from which the reference scheduler makes a legal sequence.

use serde::{Deserialize, Serialize};

use crate::engine::replay::{ReplayError, replay};
use crate::engine::run::{LogOptions, reference_run_info};
use crate::fuzz::recorder::Recorder;
use crate::fuzz::sequence::{Call, EventSequence, SEQUENCE_VERSION, SequenceKind};
use crate::log::values::LogLevel;
use crate::settings::{Resolved, SettingError, Settings};
use crate::trace::{Arrival, TraceRequest, private_token};
use crate::units::{Nanos, Priority, RequestId, TokenId, TokenRun, Tokens, push_run};

/// No case of a fuzzer needs more.
const CALLS_MAX: usize = 100_000;

/// A request of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkRequest {
    /// Its id.
    pub id: String,
    /// When it arrives.
    pub arrival_ns: u64,
    /// Prompt tokens, at least 1.
    pub input_tokens: u32,
    /// Tokens that the model produces, at least 1.
    pub output_tokens: u32,
    /// The client's limit.
    pub max_tokens: u32,
    /// Lower is served first.
    pub priority: i64,
    /// When the client gives up, counted from the arrival.
    pub abort_after_ns: Option<u64>,
    /// The prompt begins with tokens of this shared text.
    pub prefix: Option<u32>,
    /// How many tokens of it.
    pub prefix_tokens: u32,
    /// Rejected at its arrival.
    pub failed: bool,
}

/// Settings, requests, and how the log is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// The engine's settings.
    pub settings: Settings,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The most steps between two flushes.
    pub flush_interval_iterations: u64,
    /// The longest time between two flushes.
    pub flush_interval_ns: u64,
    /// Times are multiples of this: a coarse clock. 1 is exact.
    pub clock_step_ns: u64,
    /// Shut down after so many of the moments at which a scheduler can stop; at the end if none.
    pub shutdown_after: Option<u32>,
    /// The requests.
    pub requests: Vec<WorkRequest>,
}

/// Why a workload makes no sequence.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The engine would not start.
    #[error(transparent)]
    Settings(#[from] SettingError),
    /// The engine stops on the way, as vLLM would.
    #[error("{0}")]
    Engine(String),
}

impl Workload {
    /// The settings, resolved.
    ///
    /// # Errors
    /// If the engine would not start with them.
    pub fn resolve(&self) -> Result<Resolved, SettingError> {
        self.settings.resolve()
    }

    /// How much there is to read in it, between workloads of as many requests and steps.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let requests = self.requests.iter().map(|request| {
            let tokens = [
                request.input_tokens,
                request.output_tokens,
                request.max_tokens,
                request.prefix_tokens,
            ];
            tokens.into_iter().map(u64::from).sum::<u64>()
        });
        let engine = [self.settings.max_model_len, self.settings.num_gpu_blocks];
        let engine = engine.into_iter().flatten().map(u64::from);
        // The text's length counts the digits of the times and the settings that are given.
        let text = serde_json::to_string(self).map_or(0, |text| text.len() as u64);
        requests.chain(engine).sum::<u64>() + text
    }

    /// The requests as a trace, in order of arrival.
    #[must_use]
    pub fn trace(&self) -> Vec<TraceRequest> {
        let mut requests: Vec<_> = self.requests.iter().zip(0..).map(trace_request).collect();
        requests.sort_by_key(|request| match request.arrival {
            Arrival::At(at) => at,
            Arrival::AfterTurn { .. } => Nanos::MAX,
        });
        requests
    }

    /// Runs the reference scheduler and records what it tells its logger.
    ///
    /// # Errors
    /// If the engine would not start, or dies or hangs as vLLM would.
    pub fn record(&self, origin: &str) -> Result<EventSequence, WorkloadError> {
        let resolved = self.resolve()?;
        let mut calls = Vec::new();
        let trace = self.trace().into_iter().map(Ok::<_, std::convert::Infallible>);
        replay(trace, &resolved, Recorder::new(&mut calls, CALLS_MAX), |_| {}).map_err(
            |error: ReplayError<std::convert::Infallible>| WorkloadError::Engine(error.to_string()),
        )?;
        if let Some(moments) = self.shutdown_after {
            cut(&mut calls, moments, self.clock_step_ns.max(1));
        }
        coarsen(&mut calls, self.clock_step_ns);
        let options = LogOptions {
            log_level: self.log_level,
            flush_interval_iterations: self.flush_interval_iterations,
            flush_interval: Nanos(self.flush_interval_ns),
            start_time_unix_ns: 0,
            force: true,
        };
        Ok(EventSequence {
            version: SEQUENCE_VERSION,
            kind: SequenceKind::Legal,
            origin: origin.to_owned(),
            run: reference_run_info(&resolved, &options),
            flush_interval_iterations: self.flush_interval_iterations,
            flush_interval_ns: Nanos(self.flush_interval_ns),
            kv_bytes_per_block: resolved.kv_bytes_per_block,
            weight_bytes: Some(resolved.weight_bytes),
            workload: Some(Box::new(self.clone())),
            calls,
        })
    }
}

fn trace_request((request, ordinal): (&WorkRequest, u32)) -> TraceRequest {
    let input = request.input_tokens;
    let shared = request.prefix.map_or(0, |_| request.prefix_tokens.min(input));
    let mut prompt = Vec::new();
    if let Some(prefix) = request.prefix {
        let first = TokenId(u64::from(prefix) << 32);
        push_run(&mut prompt, TokenRun { first, len: Tokens(shared) });
    }
    let own = TokenRun { first: private_token(ordinal, shared), len: Tokens(input - shared) };
    push_run(&mut prompt, own);
    TraceRequest {
        ordinal,
        id: RequestId::from(request.id.as_str()),
        arrival: Arrival::At(Nanos(request.arrival_ns)),
        session: None,
        input_tokens: Tokens(input),
        output_tokens: Tokens(request.output_tokens),
        max_tokens: Tokens(request.max_tokens),
        priority: Priority(request.priority),
        abort_after: request.abort_after_ns.map(Nanos),
        prompt,
        failed: request.failed,
    }
}

/// The places behind which a scheduler can stop: not inside `schedule()`'s report, nor inside
/// `update_from_output()`.
pub(super) fn stopping_places(calls: &[Call]) -> impl Iterator<Item = usize> + '_ {
    calls.iter().enumerate().filter_map(|(index, call)| {
        let next = calls.get(index + 1)?;
        let after = matches!(
            call,
            Call::End { .. } | Call::Arrival { .. } | Call::Begin { .. } | Call::Output { .. }
        );
        let before =
            matches!(next, Call::Begin { .. } | Call::Output { .. } | Call::Arrival { .. });
        // A time of its own begins a new moment; without one the call belongs to the one before. A
        // request that is rejected at its arrival is so at once.
        let new_moment = next.now().is_some() && !matches!(next, Call::Dropped { .. });
        (new_moment && (after || before)).then_some(index + 1)
    })
}

/// Shuts down at a stopping place. `later`: time goes on until somebody stops the scheduler.
fn cut(calls: &mut Vec<Call>, moments: u32, later: u64) {
    let place = stopping_places(calls).nth(moments as usize);
    if let Some(place) = place {
        calls.truncate(place);
        let now = calls.iter().rev().find_map(Call::now).unwrap_or_default();
        calls.push(Call::Shutdown { now: now.saturating_add(Nanos(later)) });
    }
}

fn coarsen(calls: &mut [Call], step: u64) {
    if step > 1 {
        for now in calls.iter_mut().filter_map(Call::now_mut) {
            now.0 -= now.0 % step;
        }
    }
}
