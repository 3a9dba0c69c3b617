//! When things happen: the virtual clock of an engine, and the log of what it did.
//!
//! The engine's loop is one thread. It is inside `schedule()` from `S` to `D`, waits for the model
//! until `O`, and is inside `update_from_output()` until `E`. The device runs one batch after the
//! other, in the order of submission. All of it is integer arithmetic on the step's latencies, so a
//! run is the same on every machine.

use std::collections::VecDeque;

use crate::latency::{BatchShape, LatencyModel, StepLatency};
use crate::log::values::{FinishReason, WaitingReason};
use crate::logger::{KvCacheUsage, LoggerHooks, RunningRequest, SchedulerLogger};
use crate::scheduler::{Aborted, AdmissionStop, Kind, Pass, Scheduler, Slot, Update};
use crate::units::{Blocks, Nanos, Priority, Tokens};

/// A batch that the device has not finished, or whose output nobody has fetched yet.
#[derive(Clone, Copy, Debug)]
struct OnDevice {
    done: Nanos,
    latency: StepLatency,
}

/// The clock, the device and the logger of one engine.
#[derive(Debug)]
pub struct Timeline<L: LoggerHooks = SchedulerLogger> {
    now: Nanos,
    latency: LatencyModel,
    logger: L,
    /// By scheduler slot.
    handles: Vec<L::Request>,
    on_device: VecDeque<OnDevice>,
    device_free: Nanos,
    /// The end of the output processing under way.
    output_end: Nanos,
}

impl<L: LoggerHooks> Timeline<L> {
    /// A clock at zero, an idle device.
    #[must_use]
    pub fn new(latency: LatencyModel, logger: L) -> Self {
        Self {
            now: Nanos::ZERO,
            latency,
            logger,
            handles: Vec::new(),
            on_device: VecDeque::new(),
            device_free: Nanos::ZERO,
            output_end: Nanos::ZERO,
        }
    }

    /// The moment that the engine's thread has reached.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Lets an idle engine sleep until `then`.
    pub fn sleep_until(&mut self, then: Nanos) {
        self.now = self.now.max(then);
    }

    /// Logs an arrival. Call it in order of time, before the engine passes that moment.
    ///
    /// # Errors
    /// As [`LoggerHooks::record_request_arrival`].
    pub fn arrived(
        &mut self,
        at: Nanos,
        id: &str,
        input_tokens: Tokens,
        priority: Priority,
    ) -> Result<L::Request, L::Error> {
        self.logger.record_request_arrival(at, id, input_tokens, priority)
    }

    /// Logs that a request was rejected as it arrived.
    ///
    /// # Errors
    /// As [`LoggerHooks::record_request_dropped`].
    pub fn rejected(&mut self, at: Nanos, request: L::Request) -> Result<(), L::Error> {
        let blocks = Blocks::ZERO;
        self.logger.record_request_dropped(at, request, FinishReason::Error, blocks)
    }

    /// Ties the request that the scheduler has put in `slot` to its log.
    pub fn bind(&mut self, slot: Slot, request: L::Request) {
        if slot.index() >= self.handles.len() {
            self.handles.resize(slot.index() + 1, request);
        }
        self.handles[slot.index()] = request;
    }

    /// Logs an abort that the engine carried out now.
    ///
    /// # Errors
    /// As [`LoggerHooks::record_request_dropped`].
    pub fn aborted(&mut self, aborted: &Aborted) -> Result<(), L::Error> {
        let handle = self.handles[aborted.slot.index()];
        self.logger.record_request_dropped(self.now, handle, FinishReason::Abort, aborted.blocks)
    }

    /// `S`: a pass begins now.
    ///
    /// # Errors
    /// As [`LoggerHooks::begin_iteration`].
    pub fn begin(&mut self) -> Result<(), L::Error> {
        self.logger.begin_iteration(self.now)
    }

    /// `D` of a pass that has run: the clock moves there, and the device gets the batch.
    pub fn decide(&mut self, pass: &Pass) {
        let latency = self.latency.step(&shape(pass));
        self.now = self.now.saturating_add(latency.schedule);
        let done = if pass.is_empty() {
            self.now
        } else {
            self.device_free = self.now.max(self.device_free).saturating_add(latency.forward);
            self.device_free
        };
        self.on_device.push_back(OnDevice { done, latency });
    }

    /// Logs the pass whose `D` is now: its decisions and the queues.
    ///
    /// # Errors
    /// As the logger's decision hooks.
    pub fn log_pass(&mut self, scheduler: &Scheduler, pass: &Pass) -> Result<(), L::Error> {
        if !self.logger.is_enabled() {
            return Ok(());
        }
        let kv = KvCacheUsage {
            used: scheduler.used_blocks(),
            total: scheduler.config().usable_blocks(),
            evicted: pass.evicted_blocks,
        };
        self.logger.record_schedule(self.now, kv)?;
        self.log_decisions(pass)?;
        self.log_running(scheduler, pass)?;
        self.log_waiting(scheduler, pass)
    }

    fn log_decisions(&mut self, pass: &Pass) -> Result<(), L::Error> {
        for victim in &pass.preempted {
            let handle = self.handles[victim.slot.index()];
            self.logger.record_request_preempted(handle, victim.computed, victim.blocks)?;
        }
        for entry in &pass.entries {
            let handle = self.handles[entry.slot.index()];
            match entry.kind {
                Kind::New => self.logger.record_request_scheduled(handle, entry.hit)?,
                Kind::Resumed => self.logger.record_request_resumed(handle, entry.hit)?,
                Kind::Running => {}
            }
            if entry.allocated > Blocks::ZERO {
                self.logger.record_kv_cache_allocated(handle, entry.allocated)?;
            }
        }
        Ok(())
    }

    fn log_running(&mut self, scheduler: &Scheduler, pass: &Pass) -> Result<(), L::Error> {
        // The batch is in the order of the running queue, which may hold more than the batch.
        let mut batch = pass.entries.iter().peekable();
        for &slot in scheduler.running() {
            let request = scheduler.request(slot);
            let entry = batch.next_if(|entry| entry.slot == slot);
            let running = RunningRequest {
                request: self.handles[slot.index()],
                kv_cache_blocks: request.held_blocks(),
                scheduled_tokens: entry.map_or(Tokens::ZERO, |entry| entry.tokens),
                computed_tokens: entry.map_or(request.computed_tokens(), |entry| entry.computed),
                prefill: entry.is_some_and(|entry| entry.prefill),
            };
            self.logger.record_running(running)?;
        }
        Ok(())
    }

    fn log_waiting(&mut self, scheduler: &Scheduler, pass: &Pass) -> Result<(), L::Error> {
        let stop = pass.admission_stop.map_or(WaitingReason::Preempted, waiting_reason);
        for slot in scheduler.waiting() {
            let reason =
                if pass.set_aside.contains(&slot) { WaitingReason::WaitingForOutput } else { stop };
            self.logger.record_waiting(self.handles[slot.index()], reason)?;
        }
        Ok(())
    }

    /// `O` of the oldest batch in flight: the clock moves there. `log_output` is to follow.
    pub fn await_output(&mut self) {
        if let Some(batch) = self.on_device.pop_front() {
            self.now = self.now.max(batch.done);
            self.output_end = self.now.saturating_add(batch.latency.output);
        }
    }

    /// Logs that the output arrived now.
    ///
    /// # Errors
    /// As [`LoggerHooks::record_model_output`].
    pub fn log_output(&mut self) -> Result<(), L::Error> {
        self.logger.record_model_output(self.now)
    }

    /// `E` of the oldest batch: the clock moves there. `log_update` is to follow.
    pub fn finish_output(&mut self) {
        self.now = self.output_end;
    }

    /// Logs the update that ends now.
    ///
    /// # Errors
    /// As the logger's output hooks.
    pub fn log_update(&mut self, pass: &Pass, update: &Update) -> Result<(), L::Error> {
        if !self.logger.is_enabled() {
            return Ok(());
        }
        let zero = Tokens::ZERO;
        for entry in update.entries.iter().filter(|entry| !entry.gone) {
            if entry.appended > zero || entry.rejected > zero {
                let handle = self.handles[entry.slot.index()];
                self.logger.record_tokens_generated(handle, entry.appended, entry.rejected)?;
            }
        }
        let mut batch = pass.entries.iter();
        for done in &update.finished {
            // Requests finish in the order of the batch, so one walk finds them all.
            let computed =
                batch.find(|entry| entry.slot == done.slot).map_or(zero, |entry| entry.computed);
            let handle = self.handles[done.slot.index()];
            let reason = finish_reason(done.reason);
            self.logger.record_request_completed(handle, reason, done.blocks, computed)?;
        }
        self.logger.end_iteration(self.now)
    }

    /// Closes the log.
    ///
    /// # Errors
    /// As [`LoggerHooks::shutdown`].
    pub fn shutdown(self) -> Result<(), L::Error> {
        self.logger.shutdown(self.now)
    }
}

/// What a step costs depends on this much of its batch.
fn shape(pass: &Pass) -> BatchShape {
    let mut shape = BatchShape::default();
    for entry in &pass.entries {
        shape.add(entry.prefill, entry.tokens.0.into(), entry.computed.0.into());
    }
    shape
}

/// The log's name for the constraint that ended admission.
#[must_use]
pub fn waiting_reason(stop: AdmissionStop) -> WaitingReason {
    match stop {
        AdmissionStop::Preempted => WaitingReason::Preempted,
        AdmissionStop::MaxNumSeqs { .. } => WaitingReason::MaxNumSeqs,
        AdmissionStop::BudgetSpent { .. }
        | AdmissionStop::PromptNotChunked { .. }
        | AdmissionStop::DraftPadding { .. }
        | AdmissionStop::PrefillLookahead { .. } => WaitingReason::MaxNumBatchedTokens,
        AdmissionStop::Memory(_) => WaitingReason::MemoryInsufficient,
    }
}

fn finish_reason(reason: crate::scheduler::FinishReason) -> FinishReason {
    match reason {
        crate::scheduler::FinishReason::Stop => FinishReason::Stop,
        crate::scheduler::FinishReason::Length => FinishReason::Length,
        crate::scheduler::FinishReason::Abort => FinishReason::Abort,
    }
}
