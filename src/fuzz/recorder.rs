//! A logger that writes nothing down but the calls themselves.

use crate::fuzz::sequence::{Call, RequestIndex};
use crate::log::values::FinishReason;
use crate::logger::{
    HookError, KvCacheUsage, LoggerError, LoggerHooks, RunningRequest, WaitingReason,
};
use crate::units::{Blocks, Nanos, Priority, Tokens};

/// Appends every hook call to a list, up to a limit: some engines go round in circles for ever.
#[derive(Debug)]
pub struct Recorder<'a> {
    calls: &'a mut Vec<Call>,
    requests: u32,
    most: usize,
}

impl<'a> Recorder<'a> {
    /// Records into `calls`, at most `most` of them.
    pub fn new(calls: &'a mut Vec<Call>, most: usize) -> Self {
        Self { calls, requests: 0, most }
    }

    fn push(&mut self, call: Call) -> Result<(), LoggerError> {
        if self.calls.len() >= self.most {
            let missing = "the end of the run, after more calls than are recorded";
            return Err(HookError::OutOfOrder { hook: "recorder", missing }.into());
        }
        self.calls.push(call);
        Ok(())
    }
}

impl LoggerHooks for Recorder<'_> {
    type Request = RequestIndex;
    type Error = LoggerError;

    fn record_request_arrival(
        &mut self,
        now: Nanos,
        id: &str,
        input_tokens: Tokens,
        priority: Priority,
    ) -> Result<RequestIndex, LoggerError> {
        let request = RequestIndex(self.requests);
        self.requests += 1;
        let request_id = id.to_owned();
        self.push(Call::Arrival { now, request, request_id, input_tokens, priority })?;
        Ok(request)
    }

    fn begin_iteration(&mut self, now: Nanos) -> Result<(), LoggerError> {
        self.push(Call::Begin { now })
    }

    fn record_schedule(&mut self, now: Nanos, kv: KvCacheUsage) -> Result<(), LoggerError> {
        let KvCacheUsage { used, total, evicted } = kv;
        self.push(Call::Schedule {
            now,
            kv_cache_used: used,
            kv_cache_total: total,
            evicted_blocks: evicted,
        })
    }

    fn record_request_preempted(
        &mut self,
        request: RequestIndex,
        computed_tokens: Tokens,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        self.push(Call::Preempted { request, computed_tokens, blocks })
    }

    fn record_request_scheduled(
        &mut self,
        request: RequestIndex,
        cached_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        self.push(Call::Scheduled { request, cached_tokens })
    }

    fn record_request_resumed(
        &mut self,
        request: RequestIndex,
        cached_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        self.push(Call::Resumed { request, cached_tokens })
    }

    fn record_kv_cache_allocated(
        &mut self,
        request: RequestIndex,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        if blocks == Blocks::ZERO {
            return Ok(());
        }
        self.push(Call::Allocated { request, blocks })
    }

    fn record_running(&mut self, running: RunningRequest<RequestIndex>) -> Result<(), LoggerError> {
        let RunningRequest { request, kv_cache_blocks, scheduled_tokens, computed_tokens, prefill } =
            running;
        self.push(Call::Running {
            request,
            kv_cache_blocks,
            scheduled_tokens,
            computed_tokens,
            prefill,
        })
    }

    fn record_waiting(
        &mut self,
        request: RequestIndex,
        reason: WaitingReason,
    ) -> Result<(), LoggerError> {
        self.push(Call::Waiting { request, reason })
    }

    fn record_model_output(&mut self, now: Nanos) -> Result<(), LoggerError> {
        self.push(Call::Output { now })
    }

    fn record_tokens_generated(
        &mut self,
        request: RequestIndex,
        tokens: Tokens,
        rejected_drafts: Tokens,
    ) -> Result<(), LoggerError> {
        self.push(Call::Generated { request, tokens, rejected_drafts })
    }

    fn record_request_completed(
        &mut self,
        request: RequestIndex,
        finish_reason: FinishReason,
        blocks: Blocks,
        computed_tokens: Tokens,
    ) -> Result<(), LoggerError> {
        self.push(Call::Completed { request, finish_reason, blocks, computed_tokens })
    }

    fn record_request_dropped(
        &mut self,
        now: Nanos,
        request: RequestIndex,
        finish_reason: FinishReason,
        blocks: Blocks,
    ) -> Result<(), LoggerError> {
        self.push(Call::Dropped { now, request, finish_reason, blocks })
    }

    fn end_iteration(&mut self, now: Nanos) -> Result<(), LoggerError> {
        self.push(Call::End { now })
    }

    fn shutdown(self, now: Nanos) -> Result<(), LoggerError> {
        self.calls.push(Call::Shutdown { now });
        Ok(())
    }
}
