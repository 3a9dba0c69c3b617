//! The hooks as a trait, so that the engine can drive any logger.

use crate::log::values::FinishReason;
use crate::logger::{
    KvCacheUsage, LoggerError, RequestHandle, RunningRequest, SchedulerLogger, WaitingReason,
};
use crate::units::{Blocks, Nanos, Priority, Tokens};

/// What a scheduler tells its logger, in the order that [`crate::logger`] describes.
///
/// Implement it for your own logger to have it driven by the engine or by recorded event sequences.
pub trait LoggerHooks: Sized {
    /// How the logger names a request that it knows.
    type Request: Copy;
    /// Why a hook failed; the log should then be as if the hook had not been called.
    type Error: std::error::Error;

    /// Whether anything is logged; a caller may leave out the hooks of a step if not.
    fn is_enabled(&self) -> bool {
        true
    }

    /// A request reached the server at `now`.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_request_arrival(
        &mut self,
        now: Nanos,
        id: &str,
        input_tokens: Tokens,
        priority: Priority,
    ) -> Result<Self::Request, Self::Error>;

    /// `schedule()` is entered (`S`).
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn begin_iteration(&mut self, now: Nanos) -> Result<(), Self::Error>;

    /// `schedule()` returns (`D`).
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_schedule(&mut self, now: Nanos, kv: KvCacheUsage) -> Result<(), Self::Error>;

    /// The newest step took the blocks of a running request.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_request_preempted(
        &mut self,
        request: Self::Request,
        computed_tokens: Tokens,
        blocks: Blocks,
    ) -> Result<(), Self::Error>;

    /// The newest step scheduled a request for the first time.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_request_scheduled(
        &mut self,
        request: Self::Request,
        cached_tokens: Tokens,
    ) -> Result<(), Self::Error>;

    /// The newest step scheduled a preempted request again.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_request_resumed(
        &mut self,
        request: Self::Request,
        cached_tokens: Tokens,
    ) -> Result<(), Self::Error>;

    /// The newest step gave blocks to a request.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_kv_cache_allocated(
        &mut self,
        request: Self::Request,
        blocks: Blocks,
    ) -> Result<(), Self::Error>;

    /// The next request of the running queue, in its order.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_running(&mut self, running: RunningRequest<Self::Request>)
    -> Result<(), Self::Error>;

    /// The next request of the waiting queues, and what kept it out.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_waiting(
        &mut self,
        request: Self::Request,
        reason: WaitingReason,
    ) -> Result<(), Self::Error>;

    /// The model's output for the oldest step arrives (`O`).
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_model_output(&mut self, now: Nanos) -> Result<(), Self::Error>;

    /// The oldest step's output gave a request tokens and rejected drafts.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_tokens_generated(
        &mut self,
        request: Self::Request,
        tokens: Tokens,
        rejected_drafts: Tokens,
    ) -> Result<(), Self::Error>;

    /// The oldest step's output finished a request.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_request_completed(
        &mut self,
        request: Self::Request,
        reason: FinishReason,
        blocks: Blocks,
        computed_tokens: Tokens,
    ) -> Result<(), Self::Error>;

    /// A request ended outside of a step's output.
    ///
    /// # Errors
    /// If the logger rejects the call.
    fn record_request_dropped(
        &mut self,
        now: Nanos,
        request: Self::Request,
        reason: FinishReason,
        blocks: Blocks,
    ) -> Result<(), Self::Error>;

    /// `update_from_output()` returns (`E`) for the oldest step.
    ///
    /// # Errors
    /// If the logger rejects the call, or cannot write.
    fn end_iteration(&mut self, now: Nanos) -> Result<(), Self::Error>;

    /// The scheduler stops.
    ///
    /// # Errors
    /// If the logger cannot write.
    fn shutdown(self, now: Nanos) -> Result<(), Self::Error>;
}

impl LoggerHooks for SchedulerLogger {
    type Request = RequestHandle;
    type Error = LoggerError;

    fn is_enabled(&self) -> bool {
        self.is_enabled()
    }

    fn record_request_arrival(
        &mut self,
        now: Nanos,
        id: &str,
        input_tokens: Tokens,
        priority: Priority,
    ) -> Result<RequestHandle, LoggerError> {
        self.record_request_arrival(now, id, input_tokens, priority)
    }

    fn begin_iteration(&mut self, now: Nanos) -> Result<(), LoggerError> {
        self.begin_iteration(now).map(|_| ())
    }

    fn record_schedule(&mut self, now: Nanos, kv: KvCacheUsage) -> Result<(), LoggerError> {
        self.record_schedule(now, kv)
    }

    fn record_request_preempted(
        &mut self,
        request: RequestHandle,
        computed_tokens: Tokens,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        self.record_request_preempted(request, computed_tokens, blocks)
    }

    fn record_request_scheduled(
        &mut self,
        request: RequestHandle,
        cached_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        self.record_request_scheduled(request, cached_tokens)
    }

    fn record_request_resumed(
        &mut self,
        request: RequestHandle,
        cached_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        self.record_request_resumed(request, cached_tokens)
    }

    fn record_kv_cache_allocated(
        &mut self,
        request: RequestHandle,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        self.record_kv_cache_allocated(request, blocks)
    }

    fn record_running(&mut self, running: RunningRequest) -> Result<(), LoggerError> {
        self.record_running(running)
    }

    fn record_waiting(
        &mut self,
        request: RequestHandle,
        reason: WaitingReason,
    ) -> Result<(), LoggerError> {
        self.record_waiting(request, reason)
    }

    fn record_model_output(&mut self, now: Nanos) -> Result<(), LoggerError> {
        self.record_model_output(now)
    }

    fn record_tokens_generated(
        &mut self,
        request: RequestHandle,
        tokens: Tokens,
        rejected_drafts: Tokens,
    ) -> Result<(), LoggerError> {
        self.record_tokens_generated(request, tokens, rejected_drafts)
    }

    fn record_request_completed(
        &mut self,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
        computed_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        self.record_request_completed(request, reason, blocks, computed_tokens)
    }

    fn record_request_dropped(
        &mut self,
        now: Nanos,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        self.record_request_dropped(now, request, reason, blocks)
    }

    fn end_iteration(&mut self, now: Nanos) -> Result<(), LoggerError> {
        self.end_iteration(now)
    }

    fn shutdown(self, now: Nanos) -> Result<(), LoggerError> {
        self.shutdown(now)
    }
}
