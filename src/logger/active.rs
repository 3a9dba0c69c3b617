//! The state behind an enabled logger.

mod closing;
mod live;

use std::collections::VecDeque;
use std::path::Path;

use crate::log::details::Details;
use crate::log::field::QueuePosition;
use crate::log::ids::{IdTable, RequestKey};
use crate::log::packed::{IdPlace, pack, pack_with_id};
use crate::log::run_info::RunInfo;
use crate::log::schema::{EventRow, IterationRequestRow, Row, Table};
use crate::log::values::{EventType, FinishReason, LogLevel, State, WaitingReason};
use crate::log::writer::{LogWriter, WriteError};
use crate::logger::active::live::Live;
use crate::logger::iteration_metrics::{Completion, IterationMetrics, KvCacheUsage};
use crate::logger::{
    HookError, LoggerError, LoggerOptions, RequestHandle, RequestMetrics, RunningRequest,
};
use crate::units::{Blocks, Bytes, IterationId, Nanos, Priority, Requests, Tokens};

#[derive(Debug)]
pub(super) struct Active {
    writer: LogWriter,
    options: LoggerOptions,
    live: Live,
    /// Steps without a processed output, oldest first.
    open: VecDeque<IterationMetrics>,
    /// Used buffers for the next steps.
    spare: Vec<IterationMetrics>,
    next_iteration: IterationId,
    arrivals: u64,
    /// The latest time that any hook was called with.
    clock: Nanos,
    last_flush: Nanos,
    unflushed_iterations: u64,
}

type Hook = &'static str;

/// Rows are flushed before their interval ends where so many bytes of them wait: it bounds memory
/// and how long a flush takes.
const FLUSH_BYTES: usize = 1 << 18;

/// Where so many wait because the flush before takes that long, the scheduler is kept waiting.
const MOST_WAITING_BYTES: usize = 16 << 20;

/// The newest step, which has been decided and has no output yet.
fn decided(
    open: &mut VecDeque<IterationMetrics>,
    hook: Hook,
) -> Result<&mut IterationMetrics, HookError> {
    let missing = "no step has been decided (record_schedule comes before)";
    match open.back_mut() {
        Some(step) if step.is_decided && !step.has_output => Ok(step),
        _ => Err(HookError::OutOfOrder { hook, missing }),
    }
}

/// The oldest step, whose output has arrived.
fn with_output(
    open: &mut VecDeque<IterationMetrics>,
    hook: Hook,
) -> Result<&mut IterationMetrics, HookError> {
    let missing = "no model output has arrived (record_model_output comes before)";
    match open.front_mut() {
        Some(step) if step.has_output => Ok(step),
        _ => Err(HookError::OutOfOrder { hook, missing }),
    }
}

/// Packs a row of the step that was decided last. If no other step is open, nothing can come between
/// its rows and the file; else they wait until it ends.
#[inline(always)]
fn keep_row(
    row: &IterationRequestRow,
    ids: &IdTable,
    place: &mut IdPlace,
    step: &mut IterationMetrics,
    writer: &mut LogWriter,
    alone: bool,
) {
    let buffer = writer.flushes();
    // A log level without these rows has no buffer for them.
    let Some(rows) = writer.buffer(Table::PerIterationRequests) else { return };
    if alone && step.rows.is_empty() {
        pack(row, ids, place, buffer, rows);
    } else {
        // No request has two rows in a step, so an id could not be found in an earlier one.
        pack_with_id(row, ids, &mut IdPlace::default(), 0, &mut step.rows);
    }
}

impl Active {
    pub(super) fn create(
        directory: &Path,
        run: &RunInfo,
        options: LoggerOptions,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            writer: LogWriter::create(directory, run, options.force, options.kill_safe)?,
            options,
            live: Live::default(),
            open: VecDeque::new(),
            spare: Vec::new(),
            next_iteration: IterationId::ZERO,
            arrivals: 0,
            clock: Nanos::ZERO,
            last_flush: Nanos::ZERO,
            unflushed_iterations: 0,
        })
    }

    pub(super) fn metrics(&self, request: RequestHandle) -> Option<&RequestMetrics> {
        self.live.get(request)
    }

    pub(super) fn open_iterations(&self) -> impl Iterator<Item = &IterationMetrics> {
        self.open.iter()
    }

    fn advance(&mut self, hook: Hook, now: Nanos) -> Result<(), HookError> {
        if now < self.clock {
            return Err(HookError::TimeBackwards { hook, now, last: self.clock });
        }
        self.clock = now;
        Ok(())
    }

    fn event(&mut self, at: Nanos, event: EventType, key: RequestKey, details: Details) {
        if let Some(buffer) = self.writer.buffer(Table::Events) {
            let row = EventRow { timestamp: at, event_type: event, request_id: Some(key), details };
            row.write(&self.live.ids, buffer);
        }
    }

    pub(super) fn arrival(
        &mut self,
        now: Nanos,
        id: &str,
        input_tokens: Tokens,
        priority: Priority,
    ) -> Result<RequestHandle, HookError> {
        if id.is_empty() {
            return Err(HookError::EmptyId);
        }
        if self.live.ids.get(id).is_some() {
            return Err(HookError::DuplicateRequest { id: id.to_owned() });
        }
        self.advance("record_request_arrival", now)?;
        let metrics = RequestMetrics::new(self.arrivals, now, input_tokens, priority);
        let handle = self.live.admit(id, metrics);
        self.arrivals += 1;
        let details = Details {
            input_tokens: Some(input_tokens),
            priority: Some(priority),
            ..Details::default()
        };
        self.event(now, EventType::RequestArrived, handle.key, details);
        Ok(handle)
    }

    pub(super) fn begin_iteration(&mut self, now: Nanos) -> Result<IterationId, HookError> {
        const HOOK: Hook = "begin_iteration";
        if self.open.back().is_some_and(|step| !step.is_decided) {
            let missing = "the step before has not been decided (record_schedule comes before)";
            return Err(HookError::OutOfOrder { hook: HOOK, missing });
        }
        if self.open.front().is_some_and(|step| step.has_output) {
            let missing = "an output is being processed (end_iteration comes before)";
            return Err(HookError::OutOfOrder { hook: HOOK, missing });
        }
        self.advance(HOOK, now)?;
        let id = self.next_iteration;
        self.next_iteration.0 += 1;
        let mut step = self.spare.pop().unwrap_or_default();
        step.reset(id, now);
        self.open.push_back(step);
        Ok(id)
    }

    pub(super) fn schedule(&mut self, now: Nanos, kv: KvCacheUsage) -> Result<(), HookError> {
        const HOOK: Hook = "record_schedule";
        if self.open.back().is_none_or(|step| step.is_decided) {
            let missing = "no step has begun (begin_iteration comes before)";
            return Err(HookError::OutOfOrder { hook: HOOK, missing });
        }
        self.advance(HOOK, now)?;
        if let Some(step) = self.open.back_mut() {
            step.decided = now;
            step.is_decided = true;
            step.kv = kv;
        }
        Ok(())
    }

    pub(super) fn preempted(
        &mut self,
        request: RequestHandle,
        computed: Tokens,
        blocks: Blocks,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_request_preempted";
        let (now, id) = decided(&mut self.open, HOOK).map(|step| (step.decided, step.id))?;
        let from = [State::Running];
        self.live.get_in(HOOK, request, &from, State::Preempted)?.preempted(now, computed);
        decided(&mut self.open, HOOK)?.preempted += Requests(1);
        let details = Details {
            iteration_id: Some(id),
            computed_tokens: Some(computed),
            ..Details::default()
        };
        self.event(now, EventType::RequestPreempted, request.key, details);
        self.blocks_freed(now, Some(id), request, blocks);
        Ok(())
    }

    pub(super) fn scheduled(
        &mut self,
        request: RequestHandle,
        cached: Tokens,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_request_scheduled";
        let (now, id) = decided(&mut self.open, HOOK).map(|step| (step.decided, step.id))?;
        let from = [State::Waiting];
        self.live.get_in(HOOK, request, &from, State::Running)?.scheduled(now, cached);
        decided(&mut self.open, HOOK)?.admitted += Requests(1);
        let details =
            Details { iteration_id: Some(id), cached_tokens: Some(cached), ..Details::default() };
        self.event(now, EventType::RequestScheduled, request.key, details);
        Ok(())
    }

    /// Resumes the request; the computed tokens that the cache has lost, if any.
    pub(super) fn resumed(
        &mut self,
        request: RequestHandle,
        cached: Tokens,
    ) -> Result<Option<Tokens>, HookError> {
        const HOOK: Hook = "record_request_resumed";
        let (now, id) = decided(&mut self.open, HOOK).map(|step| (step.decided, step.id))?;
        let from = [State::Preempted];
        let lost = self.live.get_in(HOOK, request, &from, State::Running)?.resumed(now, cached);
        decided(&mut self.open, HOOK)?.resumed += Requests(1);
        let details =
            Details { iteration_id: Some(id), cached_tokens: Some(cached), ..Details::default() };
        self.event(now, EventType::RequestResumed, request.key, details);
        Ok(lost)
    }

    pub(super) fn evicted(
        &mut self,
        request: RequestHandle,
        lost: Tokens,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_request_evicted";
        let (now, id) = decided(&mut self.open, HOOK).map(|step| (step.decided, step.id))?;
        self.live.get_mut(HOOK, request)?.evicted();
        let details =
            Details { iteration_id: Some(id), lost_tokens: Some(lost), ..Details::default() };
        self.event(now, EventType::RequestEvicted, request.key, details);
        Ok(())
    }

    pub(super) fn allocated(
        &mut self,
        request: RequestHandle,
        blocks: Blocks,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_kv_cache_allocated";
        let (now, id) = decided(&mut self.open, HOOK).map(|step| (step.decided, step.id))?;
        self.live.get_mut(HOOK, request)?;
        if self.options.log_level == LogLevel::Full && blocks > Blocks::ZERO {
            let details =
                Details { iteration_id: Some(id), blocks: Some(blocks), ..Details::default() };
            self.event(now, EventType::KvCacheAllocated, request.key, details);
        }
        Ok(())
    }

    fn blocks_freed(
        &mut self,
        now: Nanos,
        iteration_id: Option<IterationId>,
        request: RequestHandle,
        blocks: Blocks,
    ) {
        if self.options.log_level == LogLevel::Full && blocks > Blocks::ZERO {
            let details = Details { iteration_id, blocks: Some(blocks), ..Details::default() };
            self.event(now, EventType::KvCacheFreed, request.key, details);
        }
    }

    pub(super) fn running(&mut self, running: RunningRequest) -> Result<(), HookError> {
        const HOOK: Hook = "record_running";
        let alone = self.open.len() == 1;
        let step = decided(&mut self.open, HOOK)?;
        let from = [State::Running];
        let (metrics, ids) =
            self.live.get_in_with_ids(HOOK, running.request, &from, State::Running)?;
        metrics.computed(running.computed_tokens, running.scheduled_tokens);
        if running.scheduled_tokens > Tokens::ZERO {
            step.batch += Requests(1);
            let sum = if running.prefill { &mut step.prefill } else { &mut step.decode };
            *sum = sum.saturating_add(running.scheduled_tokens);
        }
        let row = IterationRequestRow {
            iteration_id: step.id,
            request_id: running.request.key,
            state: State::Running,
            queue_position: Some(QueuePosition(step.running.0 as i32)),
            waiting_reason: None,
            tokens_generated: metrics.output_tokens(),
            kv_cache_blocks: running.kv_cache_blocks,
            time_in_state: step.decided.saturating_sub(metrics.state_since()),
            scheduled_tokens: Some(running.scheduled_tokens),
            computed_tokens: Some(running.computed_tokens),
        };
        step.running += Requests(1);
        keep_row(&row, ids, &mut metrics.id_place, step, &mut self.writer, alone);
        Ok(())
    }

    pub(super) fn waiting(
        &mut self,
        request: RequestHandle,
        reason: WaitingReason,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_waiting";
        let alone = self.open.len() == 1;
        let step = decided(&mut self.open, HOOK)?;
        let from = [State::Waiting, State::Preempted];
        let (metrics, ids) = self.live.get_in_with_ids(HOOK, request, &from, State::Waiting)?;
        metrics.waiting_reason = reason;
        let row = IterationRequestRow {
            iteration_id: step.id,
            request_id: request.key,
            state: metrics.state(),
            queue_position: Some(QueuePosition(step.waiting.0 as i32)),
            waiting_reason: Some(reason),
            tokens_generated: metrics.output_tokens(),
            kv_cache_blocks: Blocks::ZERO,
            time_in_state: step.decided.saturating_sub(metrics.state_since()),
            scheduled_tokens: Some(Tokens::ZERO),
            computed_tokens: Some(Tokens::ZERO),
        };
        step.waiting += Requests(1);
        keep_row(&row, ids, &mut metrics.id_place, step, &mut self.writer, alone);
        Ok(())
    }

    pub(super) fn model_output(&mut self, now: Nanos) -> Result<(), HookError> {
        const HOOK: Hook = "record_model_output";
        let missing = "no decided step waits for its output";
        match self.open.front() {
            Some(step) if step.is_decided && !step.has_output => {}
            _ => return Err(HookError::OutOfOrder { hook: HOOK, missing }),
        }
        if self.open.back().is_some_and(|step| !step.is_decided) {
            let missing = "the newest step has not been decided (record_schedule comes before)";
            return Err(HookError::OutOfOrder { hook: HOOK, missing });
        }
        self.advance(HOOK, now)?;
        if let Some(step) = self.open.front_mut() {
            step.output = now;
            step.has_output = true;
        }
        Ok(())
    }

    pub(super) fn generated(
        &mut self,
        request: RequestHandle,
        tokens: Tokens,
        rejected: Tokens,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_tokens_generated";
        let step = with_output(&mut self.open, HOOK)?;
        let from = [State::Running, State::Preempted];
        let metrics = self.live.get_in(HOOK, request, &from, State::Running)?;
        if metrics.generated(step.id, tokens, rejected) {
            step.first_tokens.push(request);
        }
        Ok(())
    }

    pub(super) fn completed(
        &mut self,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
        computed: Tokens,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_request_completed";
        let twice = with_output(&mut self.open, HOOK)?
            .completions
            .iter()
            .any(|done| done.handle == request);
        if twice {
            return Err(HookError::UnknownRequest { hook: HOOK });
        }
        let from = [State::Running, State::Preempted];
        let step = with_output(&mut self.open, HOOK)?.id;
        let got_tokens =
            self.live.get_in(HOOK, request, &from, State::Completed)?.last_output == Some(step);
        match reason {
            FinishReason::Error => {}
            FinishReason::Stop | FinishReason::Length if got_tokens => {}
            FinishReason::Stop | FinishReason::Length => {
                let missing =
                    "it got no token in this output (record_tokens_generated comes before)";
                return Err(HookError::OutOfOrder { hook: HOOK, missing });
            }
            FinishReason::Abort | FinishReason::Unfinished => {
                return Err(HookError::FinishReason { hook: HOOK, reason });
            }
        }
        let done = Completion { handle: request, reason, blocks, computed };
        with_output(&mut self.open, HOOK)?.completions.push(done);
        Ok(())
    }

    pub(super) fn dropped(
        &mut self,
        now: Nanos,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
    ) -> Result<(), HookError> {
        const HOOK: Hook = "record_request_dropped";
        let last_output = self.live.get_mut(HOOK, request)?.last_output;
        if !reason.is_drop() {
            return Err(HookError::FinishReason { hook: HOOK, reason });
        }
        let finishing = self.open.front().is_some_and(|step| {
            step.has_output
                && (last_output == Some(step.id)
                    || step.completions.iter().any(|done| done.handle == request))
        });
        if finishing {
            let missing = "its output is being processed (end_iteration comes before)";
            return Err(HookError::OutOfOrder { hook: HOOK, missing });
        }
        self.advance(HOOK, now)?;
        self.finish(now, None, request, reason, blocks);
        Ok(())
    }

    /// Ends a live request: its event, its row, its transitions; then forgets it.
    fn finish(
        &mut self,
        now: Nanos,
        iteration: Option<IterationId>,
        request: RequestHandle,
        reason: FinishReason,
        blocks: Blocks,
    ) {
        let Some(mut metrics) = self.live.take(request) else { return };
        metrics.completed(now);
        let details = Details {
            finish_reason: Some(reason),
            output_tokens: Some(metrics.output_tokens()),
            ..Details::default()
        };
        self.event(now, EventType::RequestCompleted, request.key, details);
        self.blocks_freed(now, iteration, request, blocks);
        self.write_request(request.key, &metrics, reason, blocks);
        self.live.forget(request.key);
    }

    fn write_request(
        &mut self,
        key: RequestKey,
        metrics: &RequestMetrics,
        reason: FinishReason,
        blocks: Blocks,
    ) {
        if let Some(buffer) = self.writer.buffer(Table::PerRequest) {
            let row = metrics.row(key, reason, blocks, self.options.kv_bytes_per_block);
            row.write(&self.live.ids, buffer);
        }
        if let Some(buffer) = self.writer.buffer(Table::StateTransitions) {
            metrics.write_transitions(key, &self.live.ids, buffer);
        }
    }

    pub(super) fn end_iteration(&mut self, now: Nanos) -> Result<(), LoggerError> {
        const HOOK: Hook = "end_iteration";
        with_output(&mut self.open, HOOK)?;
        self.advance(HOOK, now)?;
        self.close_oldest(HOOK, now)?;
        self.flush_if_due(now)
    }

    /// The oldest step ends: what its output brought, and its rows.
    fn close_oldest(&mut self, hook: Hook, now: Nanos) -> Result<(), HookError> {
        let Some(step) = self.open.pop_front() else { return Ok(()) };
        for request in &step.first_tokens {
            self.live.get_mut(hook, *request)?.first_token(now);
            let details = Details { iteration_id: Some(step.id), ..Details::default() };
            self.event(now, EventType::FirstTokenGenerated, request.key, details);
        }
        if let Some(rows) = self.writer.buffer(Table::PerIterationRequests) {
            rows.extend_from_slice(&step.rows);
        }
        self.write_completed_rows(&step);
        for done in &step.completions {
            self.finish(now, Some(step.id), done.handle, done.reason, done.blocks);
        }
        let sizes = self.options.weight_bytes.zip(self.options.kv_bytes_per_block);
        let memory = sizes.map(|(weights, block)| {
            let kv = u64::from(step.kv.used.0).saturating_mul(block.0);
            Bytes(weights.0.saturating_add(kv))
        });
        if let Some(buffer) = self.writer.buffer(Table::PerIteration) {
            step.row(now, memory).write(&self.live.ids, buffer);
        }
        self.spare.push(step);
        Ok(())
    }

    fn write_completed_rows(&mut self, step: &IterationMetrics) {
        for done in &step.completions {
            let generated = self.live.get(done.handle).map_or(Tokens::ZERO, |m| m.output_tokens());
            let row = IterationRequestRow {
                iteration_id: step.id,
                request_id: done.handle.key,
                state: State::Completed,
                queue_position: None,
                waiting_reason: None,
                tokens_generated: generated,
                kv_cache_blocks: done.blocks,
                time_in_state: Nanos::ZERO,
                // Its tokens of this step stand in its `running` row.
                scheduled_tokens: Some(Tokens::ZERO),
                computed_tokens: Some(done.computed),
            };
            if let Some(rows) = self.writer.buffer(Table::PerIterationRequests) {
                pack_with_id(&row, &self.live.ids, &mut IdPlace::default(), 0, rows);
            }
        }
    }

    fn flush_if_due(&mut self, now: Nanos) -> Result<(), LoggerError> {
        self.unflushed_iterations += 1;
        let waited = now.saturating_sub(self.last_flush);
        let waiting = self.writer.waiting_bytes();
        let due = self.unflushed_iterations >= self.options.flush_interval_iterations
            || waited >= self.options.flush_interval
            || waiting >= FLUSH_BYTES;
        // While the flush before is still being written, the scheduler is not kept waiting for it.
        if waiting >= MOST_WAITING_BYTES || due && !self.writer.is_busy()? {
            self.writer.flush()?;
            self.unflushed_iterations = 0;
            self.last_flush = now;
        }
        Ok(())
    }
}
