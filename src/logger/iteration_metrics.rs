//! What the logger knows of one step whose output has not been processed yet.

use crate::log::schema::IterationRow;
use crate::log::values::{ActionSet, FinishReason, SchedulerAction};
use crate::logger::RequestHandle;
use crate::units::{Blocks, Bytes, IterationId, Nanos, Requests, Tokens};

/// The KV cache at the moment a step was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvCacheUsage {
    /// Blocks referenced by a request.
    pub used: Blocks,
    /// Blocks usable at all.
    pub total: Blocks,
    /// Cached blocks whose content this step dropped to reuse the block.
    pub evicted: Blocks,
}

/// A request that this step's output finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) handle: RequestHandle,
    pub(super) reason: FinishReason,
    pub(super) blocks: Blocks,
    pub(super) computed: Tokens,
}

/// One step, from the entry of `schedule()` to the return of `update_from_output()`.
#[derive(Clone, Debug, Default)]
pub struct IterationMetrics {
    pub(super) id: IterationId,
    pub(super) start: Nanos,
    pub(super) decided: Nanos,
    pub(super) output: Nanos,
    pub(super) kv: KvCacheUsage,
    pub(super) batch: Requests,
    pub(super) prefill: Tokens,
    pub(super) decode: Tokens,
    pub(super) running: Requests,
    pub(super) waiting: Requests,
    pub(super) preempted: Requests,
    pub(super) admitted: Requests,
    pub(super) resumed: Requests,
    /// Whether `schedule()` has returned.
    pub(super) is_decided: bool,
    /// Whether the model's output has arrived.
    pub(super) has_output: bool,
    /// Packed rows of per_iteration_requests.csv, kept until the step ends: steps may overlap.
    pub(super) rows: Vec<u8>,
    pub(super) first_tokens: Vec<RequestHandle>,
    pub(super) completions: Vec<Completion>,
}

impl IterationMetrics {
    /// Makes a used one ready for the next step, keeping its buffers.
    pub(super) fn reset(&mut self, id: IterationId, start: Nanos) {
        let Self { mut rows, mut first_tokens, mut completions, .. } = std::mem::take(self);
        rows.clear();
        first_tokens.clear();
        completions.clear();
        *self = Self { id, start, rows, first_tokens, completions, ..Self::default() };
    }

    /// The step's number.
    #[must_use]
    pub fn id(&self) -> IterationId {
        self.id
    }

    /// The weightiest decision of the step.
    #[must_use]
    pub fn action(&self) -> SchedulerAction {
        if self.preempted > Requests::ZERO {
            SchedulerAction::Preempt
        } else if self.admitted > Requests::ZERO {
            SchedulerAction::AdmitNew
        } else if self.resumed > Requests::ZERO {
            SchedulerAction::Resume
        } else if self.batch > Requests::ZERO {
            SchedulerAction::Continue
        } else {
            SchedulerAction::Idle
        }
    }

    /// The row of per_iteration.csv for a step that ends at `end`.
    pub(super) fn row(&self, end: Nanos, gpu_memory: Option<Bytes>) -> IterationRow {
        IterationRow {
            iteration_id: self.id,
            start_time: self.start,
            end_time: end,
            duration: end - self.start,
            scheduling_overhead: self.decided - self.start,
            forward_pass_duration: self.output - self.decided,
            output_processing_duration: Some(end - self.output),
            batch_size: self.batch,
            total_tokens: self.prefill.saturating_add(self.decode),
            prefill_tokens: self.prefill,
            decode_tokens: self.decode,
            kv_cache_used: self.kv.used,
            kv_cache_total: self.kv.total,
            running_count: self.running,
            waiting_count: self.waiting,
            preempted_count: self.preempted,
            scheduler_action: ActionSet::of(self.action()),
            admitted_count: Some(self.admitted),
            resumed_count: Some(self.resumed),
            completed_count: Some(Requests(
                u32::try_from(self.completions.len()).unwrap_or(u32::MAX),
            )),
            evicted_blocks: Some(self.kv.evicted),
            gpu_memory_bytes: gpu_memory,
        }
    }
}
