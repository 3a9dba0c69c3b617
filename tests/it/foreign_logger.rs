//! How a crate with a logger of its own uses `schedlog::testing`.

use std::convert::Infallible;
use std::path::Path;

use proptest::prelude::*;
use schedlog::assert_log_holds;
use schedlog::log::values::{FinishReason, WaitingReason};
use schedlog::logger::{RequestHandle, SchedulerLogger};
use schedlog::testing::{
    EventSequence, KvCacheUsage, LoggerHooks, RunningRequest, drive, event_sequences,
    hostile_sequences,
};
use schedlog::units::{Blocks, Nanos, Priority, Tokens};

/// A logger with hooks of its own: it never fails, and asks for the time by parameter. (Inside, it
/// is the one of this crate; that is beside the point.)
struct MyLogger(SchedulerLogger);

/// Such a logger ignores what it does not understand.
fn ignore<T>(_: T) -> Result<(), Infallible> {
    Ok(())
}

impl LoggerHooks for MyLogger {
    type Request = RequestHandle;
    type Error = Infallible;

    fn record_request_arrival(
        &mut self,
        now: Nanos,
        id: &str,
        input: Tokens,
        priority: Priority,
    ) -> Result<RequestHandle, Infallible> {
        Ok(self
            .0
            .record_request_arrival(now, id, input, priority)
            .unwrap_or(RequestHandle::DISABLED))
    }
    fn begin_iteration(&mut self, now: Nanos) -> Result<(), Infallible> {
        ignore(self.0.begin_iteration(now))
    }
    fn record_schedule(&mut self, now: Nanos, kv: KvCacheUsage) -> Result<(), Infallible> {
        ignore(self.0.record_schedule(now, kv))
    }
    fn record_request_preempted(
        &mut self,
        request: RequestHandle,
        computed: Tokens,
        blocks: Blocks,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_request_preempted(request, computed, blocks))
    }
    fn record_request_scheduled(
        &mut self,
        request: RequestHandle,
        cached: Tokens,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_request_scheduled(request, cached))
    }
    fn record_request_resumed(
        &mut self,
        request: RequestHandle,
        cached: Tokens,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_request_resumed(request, cached))
    }
    fn record_kv_cache_allocated(
        &mut self,
        request: RequestHandle,
        blocks: Blocks,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_kv_cache_allocated(request, blocks))
    }
    fn record_running(&mut self, running: RunningRequest) -> Result<(), Infallible> {
        ignore(self.0.record_running(running))
    }
    fn record_waiting(
        &mut self,
        request: RequestHandle,
        reason: WaitingReason,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_waiting(request, reason))
    }
    fn record_model_output(&mut self, now: Nanos) -> Result<(), Infallible> {
        ignore(self.0.record_model_output(now))
    }
    fn record_tokens_generated(
        &mut self,
        request: RequestHandle,
        tokens: Tokens,
        rejected: Tokens,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_tokens_generated(request, tokens, rejected))
    }
    fn record_request_completed(
        &mut self,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
        computed: Tokens,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_request_completed(request, reason, blocks, computed))
    }
    fn record_request_dropped(
        &mut self,
        now: Nanos,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
    ) -> Result<(), Infallible> {
        ignore(self.0.record_request_dropped(now, request, reason, blocks))
    }
    fn end_iteration(&mut self, now: Nanos) -> Result<(), Infallible> {
        ignore(self.0.end_iteration(now))
    }
    fn shutdown(self, now: Nanos) -> Result<(), Infallible> {
        ignore(self.0.shutdown(now))
    }
}

fn my_logger(directory: &Path, sequence: &EventSequence) -> MyLogger {
    MyLogger(SchedulerLogger::create(directory, &sequence.run, sequence.logger_options()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn my_logger_holds(sequence in event_sequences()) {
        let directory = tempfile::tempdir().unwrap();
        drive(&sequence, my_logger(directory.path(), &sequence));
        assert_log_holds!(directory, sequence);
    }

    #[test]
    fn my_logger_survives(sequence in hostile_sequences()) {
        let directory = tempfile::tempdir().unwrap();
        drive(&sequence, my_logger(directory.path(), &sequence));
    }
}

#[test]
#[should_panic(expected = "the log does not hold")]
fn a_wrong_log_is_told() {
    assert_log_holds!(crate::support::root().join("tests/fixtures/M001/fail"));
}
