//! The reference logger: a scheduler calls its hooks, it writes the five files.
//!
//! A scheduler's step calls, in this order:
//!
//! 1. [`SchedulerLogger::begin_iteration`] when `schedule()` is entered (`S`);
//! 2. [`SchedulerLogger::record_schedule`] when it returns (`D`), then one hook per decision
//!    (preempted, scheduled, resumed) and one per request in the queues;
//! 3. [`SchedulerLogger::record_model_output`] when the model's output arrives (`O`), then one hook
//!    per request that got tokens or is finished;
//! 4. [`SchedulerLogger::end_iteration`] when `update_from_output()` returns (`E`).
//!
//! Decisions carry no time of their own: they are stamped with their step's `D`, outcomes with its
//! `E`, so two readings of a clock can never disagree. With overlapping steps, 1 and 2 concern the
//! newest step, 3 and 4 the oldest. Arrivals and aborts may come at any time between hooks.

mod active;
mod hooks;
mod iteration_metrics;
mod request_metrics;

use std::path::{Path, PathBuf};

use crate::log::ids::RequestKey;
use crate::log::run_info::RunInfo;
pub use crate::log::values::WaitingReason;
use crate::log::values::{FinishReason, LogLevel, State};
use crate::log::writer::WriteError;
use crate::units::{Blocks, Bytes, IterationId, Nanos, Priority, Tokens};

use active::Active;
pub use hooks::LoggerHooks;
pub use iteration_metrics::{IterationMetrics, KvCacheUsage};
pub use request_metrics::RequestMetrics;

/// The variable that turns logging on (`1`; anything else is off).
pub const LOGGING_VARIABLE: &str = "VLLM_SCHEDULER_LOGGING";
/// The variable that names the log directory.
pub const LOG_DIR_VARIABLE: &str = "VLLM_SCHEDULER_LOG_DIR";
/// The log directory where none is named.
pub const DEFAULT_LOG_DIR: &str = "./scheduler_logs";

/// A request that the logger knows. Stale handles (of completed requests) are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHandle {
    pub(crate) key: RequestKey,
    pub(crate) generation: u32,
}

impl RequestHandle {
    /// The handle that a disabled logger gives for every request.
    pub const DISABLED: Self = Self { key: RequestKey(u32::MAX), generation: u32::MAX };
}

/// A request in the running queue after a step was decided.
#[derive(Clone, Copy, Debug)]
pub struct RunningRequest<R = RequestHandle> {
    /// Which request.
    pub request: R,
    /// Blocks it holds.
    pub kv_cache_blocks: Blocks,
    /// Tokens given to it by this step.
    pub scheduled_tokens: Tokens,
    /// Tokens computed before this step.
    pub computed_tokens: Tokens,
    /// Whether it had not caught up with its known tokens before this step.
    pub prefill: bool,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggerOptions {
    /// How much is written.
    pub log_level: LogLevel,
    /// The most steps between two flushes.
    pub flush_interval_iterations: u64,
    /// The longest time, by the caller's clock, between two flushes.
    pub flush_interval: Nanos,
    /// Device bytes of one KV cache block; `None` leaves `kv_cache_memory_bytes` empty.
    pub kv_bytes_per_block: Option<Bytes>,
    /// Device bytes of the weights; `None` of either leaves `gpu_memory_bytes` empty.
    pub weight_bytes: Option<Bytes>,
    /// Whether an older log in the directory is replaced.
    pub force: bool,
    /// Whether a kill in the middle of a flush still leaves whole rows: a child process writes it.
    pub kill_safe: bool,
}

impl Default for LoggerOptions {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Standard,
            flush_interval_iterations: 100,
            flush_interval: Nanos(60 * Nanos::SECOND.0),
            kv_bytes_per_block: None,
            weight_bytes: None,
            force: false,
            kill_safe: true,
        }
    }
}

/// A hook that was called in an order that no scheduler has. The log is as if it had not been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The handle is of no live request.
    #[error("{hook}: the request is not live (never arrived, or completed before)")]
    UnknownRequest {
        /// The hook.
        hook: &'static str,
    },
    /// A live request has this id already.
    #[error("record_request_arrival: request {id} is live already")]
    DuplicateRequest {
        /// The id.
        id: String,
    },
    /// The request id is empty.
    #[error("record_request_arrival: the request id is empty")]
    EmptyId,
    /// The request is in a state from which this cannot happen.
    #[error("{hook}: request {id} is {from}, which cannot become {to}")]
    IllegalTransition {
        /// The hook.
        hook: &'static str,
        /// The request.
        id: String,
        /// Its state.
        from: State,
        /// The state it was to enter.
        to: State,
    },
    /// No step is open for this hook.
    #[error("{hook}: {missing}")]
    OutOfOrder {
        /// The hook.
        hook: &'static str,
        /// What should have come before.
        missing: &'static str,
    },
    /// A request does not end like this there.
    #[error("{hook}: a request does not end with {reason} here")]
    FinishReason {
        /// The hook.
        hook: &'static str,
        /// The reason that it was called with.
        reason: FinishReason,
    },
    /// The caller's clock went backwards.
    #[error("{hook}: the time {now} is before {last}, the last one seen")]
    TimeBackwards {
        /// The hook.
        hook: &'static str,
        /// The time it was called with.
        now: Nanos,
        /// The latest time of an earlier hook.
        last: Nanos,
    },
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum LoggerError {
    /// It was called out of order.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The log could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the log of a scheduler, or nothing at the cost of one branch per hook.
///
/// Memory is proportional to the live requests and to the rows of `flush_interval_iterations`
/// steps. Whatever happens between two hooks, the files end with whole rows.
#[derive(Debug, Default)]
pub struct SchedulerLogger {
    active: Option<Box<Active>>,
}

impl SchedulerLogger {
    /// A logger that writes nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }

    /// A logger that writes to `directory`, which is created if need be.
    ///
    /// # Errors
    /// Where the directory is not empty (unless `force`) or cannot be written.
    pub fn create(
        directory: &Path,
        run: &RunInfo,
        options: LoggerOptions,
    ) -> Result<Self, WriteError> {
        Ok(Self { active: Some(Box::new(Active::create(directory, run, options)?)) })
    }

    /// The directory that the environment asks for: `VLLM_SCHEDULER_LOG_DIR` (default
    /// `./scheduler_logs`) if `VLLM_SCHEDULER_LOGGING` is `1`.
    #[must_use]
    pub fn directory_from_env() -> Option<PathBuf> {
        if std::env::var_os(LOGGING_VARIABLE)? != "1" {
            return None;
        }
        let directory = std::env::var_os(LOG_DIR_VARIABLE).filter(|name| !name.is_empty());
        Some(directory.map_or_else(|| PathBuf::from(DEFAULT_LOG_DIR), PathBuf::from))
    }

    /// Whether anything is written.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.active.is_some()
    }

    /// What is known of a live request.
    #[must_use]
    pub fn request(&self, request: RequestHandle) -> Option<&RequestMetrics> {
        self.active.as_ref()?.metrics(request)
    }

    /// The steps whose output is not processed yet, oldest first.
    pub fn open_iterations(&self) -> impl Iterator<Item = &IterationMetrics> {
        self.active.iter().flat_map(|active| active.open_iterations())
    }

    /// A request reached the server at `now`.
    ///
    /// # Errors
    /// If the id is empty or live, or the time goes backwards.
    pub fn record_request_arrival(
        &mut self,
        now: Nanos,
        id: &str,
        input_tokens: Tokens,
        priority: Priority,
    ) -> Result<RequestHandle, LoggerError> {
        match &mut self.active {
            None => Ok(RequestHandle::DISABLED),
            Some(active) => Ok(active.arrival(now, id, input_tokens, priority)?),
        }
    }

    /// `schedule()` is entered (`S`).
    ///
    /// # Errors
    /// If the step before has not been decided, or the time goes backwards.
    pub fn begin_iteration(&mut self, now: Nanos) -> Result<IterationId, LoggerError> {
        match &mut self.active {
            None => Ok(IterationId::ZERO),
            Some(active) => Ok(active.begin_iteration(now)?),
        }
    }

    /// `schedule()` returns (`D`). The decisions follow by their own hooks.
    ///
    /// # Errors
    /// If no step has begun, or the time goes backwards.
    pub fn record_schedule(&mut self, now: Nanos, kv: KvCacheUsage) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.schedule(now, kv)?),
        }
    }

    /// The newest step took the blocks of a running request, which had `computed_tokens` computed.
    ///
    /// # Errors
    /// If the request is not running or no step has been decided.
    pub fn record_request_preempted(
        &mut self,
        request: RequestHandle,
        computed_tokens: Tokens,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.preempted(request, computed_tokens, blocks)?),
        }
    }

    /// The newest step scheduled a request for the first time; `cached_tokens` were found in the
    /// prefix cache.
    ///
    /// # Errors
    /// If the request is not waiting or no step has been decided.
    pub fn record_request_scheduled(
        &mut self,
        request: RequestHandle,
        cached_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.scheduled(request, cached_tokens)?),
        }
    }

    /// The newest step scheduled a preempted request again; `cached_tokens` were found in the prefix
    /// cache. Where that is fewer than it had computed, the request is recorded as evicted too.
    ///
    /// # Errors
    /// If the request is not preempted or no step has been decided.
    pub fn record_request_resumed(
        &mut self,
        request: RequestHandle,
        cached_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => {
                if let Some(lost) = active.resumed(request, cached_tokens)? {
                    active.evicted(request, lost)?;
                }
                Ok(())
            }
        }
    }

    /// The newest step gave blocks to a request (written at log level `full` only).
    ///
    /// # Errors
    /// If the request is not live or no step has been decided.
    pub fn record_kv_cache_allocated(
        &mut self,
        request: RequestHandle,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.allocated(request, blocks)?),
        }
    }

    /// The next request of the running queue, in its order.
    ///
    /// # Errors
    /// If the request is not running or no step has been decided.
    pub fn record_running(&mut self, running: RunningRequest) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.running(running)?),
        }
    }

    /// The next request of the waiting queues, in the order of service, and what kept it out.
    ///
    /// # Errors
    /// If the request is neither waiting nor preempted or no step has been decided.
    pub fn record_waiting(
        &mut self,
        request: RequestHandle,
        reason: WaitingReason,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.waiting(request, reason)?),
        }
    }

    /// The model's output for the oldest step arrives (`O`).
    ///
    /// # Errors
    /// If that step has not been decided or has its output, or the time goes backwards.
    pub fn record_model_output(&mut self, now: Nanos) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.model_output(now)?),
        }
    }

    /// The oldest step's output gave a request `tokens` new tokens and rejected drafts.
    ///
    /// # Errors
    /// If the request is not live or no output has arrived.
    pub fn record_tokens_generated(
        &mut self,
        request: RequestHandle,
        tokens: Tokens,
        rejected_drafts: Tokens,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.generated(request, tokens, rejected_drafts)?),
        }
    }

    /// The oldest step's output finished a request, which held `blocks` and had `computed_tokens`
    /// computed before that step. Ends with `stop` or `length` by the token that it got, or `error`.
    ///
    /// # Errors
    /// If the request is not live, got no token, or no output has arrived.
    pub fn record_request_completed(
        &mut self,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
        computed_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.completed(request, reason, blocks, computed_tokens)?),
        }
    }

    /// A request ended outside of a step's output at `now`: aborted, or rejected with an error.
    ///
    /// # Errors
    /// If the request is not live or got tokens in the output under way, or the time goes backwards.
    pub fn record_request_dropped(
        &mut self,
        now: Nanos,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => Ok(active.dropped(now, request, reason, blocks)?),
        }
    }

    /// `update_from_output()` returns (`E`) for the oldest step. Flushes where that is due.
    ///
    /// # Errors
    /// If no output has arrived, the time goes backwards, or the log cannot be written.
    pub fn end_iteration(&mut self, now: Nanos) -> Result<(), LoggerError> {
        match &mut self.active {
            None => Ok(()),
            Some(active) => active.end_iteration(now),
        }
    }

    /// Writes what is left: steps under way end now, without an output (one that has decided
    /// nothing leaves no trace); requests still alive get their rows as `unfinished`.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn shutdown(self, now: Nanos) -> Result<(), LoggerError> {
        match self.active {
            None => Ok(()),
            Some(active) => active.shutdown(now),
        }
    }
}
