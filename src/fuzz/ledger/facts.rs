//! The facts as plain records.

use crate::log::values::{EventType, FinishReason, State, WaitingReason};
use crate::units::{Blocks, Nanos, Priority, Requests, Tokens};

/// Everything that the log of a sequence must say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Places of the calls that cannot be made where they stand.
    pub left_out: Vec<usize>,
    /// Whether the scheduler was shut down.
    pub is_complete: bool,
    pub(super) arrivals: u64,
    /// In order of completion, then those alive at shutdown.
    pub(super) requests: Vec<RequestFact>,
    pub(super) steps: Vec<StepFact>,
    pub(super) queues: Vec<QueueFact>,
    pub(super) events: Vec<EventFact>,
}

/// A row of per_request.csv, and the request's changes of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestFact {
    pub(super) request_id: String,
    pub(super) arrival: Nanos,
    pub(super) first_scheduled: Option<Nanos>,
    pub(super) completion: Option<Nanos>,
    pub(super) waiting_time: Nanos,
    pub(super) execution_time: Nanos,
    pub(super) e2e: Option<Nanos>,
    pub(super) input_tokens: Tokens,
    pub(super) output_tokens: Tokens,
    pub(super) ttft: Option<Nanos>,
    pub(super) preemptions: u32,
    pub(super) evictions: u32,
    pub(super) blocks: Blocks,
    pub(super) priority: Priority,
    pub(super) finish_reason: FinishReason,
    pub(super) scheduled_tokens: Tokens,
    pub(super) changes: Vec<ChangeFact>,
}

/// A row of state_transitions.csv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangeFact {
    pub(super) request_id: String,
    pub(super) at: Nanos,
    pub(super) state: State,
    pub(super) spent: Nanos,
}

/// A row of per_iteration.csv.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StepFact {
    pub(super) iteration_id: u64,
    pub(super) start: Nanos,
    pub(super) decided: Nanos,
    pub(super) output: Nanos,
    pub(super) end: Nanos,
    pub(super) batch: Requests,
    pub(super) prefill: Tokens,
    pub(super) decode: Tokens,
    pub(super) kv_cache_used: Blocks,
    pub(super) kv_cache_total: Blocks,
    pub(super) evicted_blocks: Blocks,
    pub(super) running: Requests,
    pub(super) waiting: Requests,
    pub(super) preempted: Requests,
    pub(super) admitted: Requests,
    pub(super) resumed: Requests,
    pub(super) completed: Requests,
}

/// A row of per_iteration_requests.csv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueFact {
    pub(super) iteration_id: u64,
    pub(super) request_id: String,
    pub(super) state: State,
    pub(super) position: Option<i64>,
    pub(super) reason: Option<WaitingReason>,
    pub(super) generated: Tokens,
    pub(super) blocks: Blocks,
    pub(super) time_in_state: Nanos,
    pub(super) scheduled: Tokens,
    pub(super) computed: Tokens,
}

/// A row of events.csv, block events left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventFact {
    pub(super) at: Nanos,
    pub(super) event: EventType,
    pub(super) request_id: String,
}

/// A row as it should stand in a file: what names it, and the fields that are known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FactRow {
    pub(super) key: String,
    pub(super) fields: Vec<(&'static str, String)>,
}

fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

impl RequestFact {
    pub(super) fn row(&self) -> FactRow {
        FactRow {
            key: format!("{} {}", self.arrival, self.request_id),
            fields: vec![
                ("first_scheduled_time", optional(self.first_scheduled)),
                ("completion_time", optional(self.completion)),
                ("waiting_time", self.waiting_time.to_string()),
                ("execution_time", self.execution_time.to_string()),
                ("e2e_latency", optional(self.e2e)),
                ("input_tokens", self.input_tokens.to_string()),
                ("output_tokens", self.output_tokens.to_string()),
                ("ttft", optional(self.ttft)),
                ("preemption_count", self.preemptions.to_string()),
                ("eviction_count", self.evictions.to_string()),
                ("kv_cache_blocks", self.blocks.to_string()),
                ("priority_score", self.priority.to_string()),
                ("finish_reason", self.finish_reason.to_string()),
                ("scheduled_tokens", self.scheduled_tokens.to_string()),
            ],
        }
    }
}

impl ChangeFact {
    pub(super) fn row(&self) -> FactRow {
        FactRow {
            key: format!("{} {} {}", self.request_id, self.at, self.state),
            fields: vec![("duration_in_prev_state", self.spent.to_string())],
        }
    }
}

impl StepFact {
    pub(super) fn row(&self) -> FactRow {
        let total = self.prefill.saturating_add(self.decode);
        let span = |from: Nanos, to: Nanos| to.saturating_sub(from).to_string();
        FactRow {
            key: self.iteration_id.to_string(),
            fields: vec![
                ("start_time", self.start.to_string()),
                ("end_time", self.end.to_string()),
                ("duration", span(self.start, self.end)),
                ("scheduling_overhead", span(self.start, self.decided)),
                ("forward_pass_duration", span(self.decided, self.output)),
                ("output_processing_duration", span(self.output, self.end)),
                ("batch_size", self.batch.to_string()),
                ("total_tokens", total.to_string()),
                ("prefill_tokens", self.prefill.to_string()),
                ("decode_tokens", self.decode.to_string()),
                ("kv_cache_used", self.kv_cache_used.to_string()),
                ("kv_cache_total", self.kv_cache_total.to_string()),
                ("running_count", self.running.to_string()),
                ("waiting_count", self.waiting.to_string()),
                ("preempted_count", self.preempted.to_string()),
                ("admitted_count", self.admitted.to_string()),
                ("resumed_count", self.resumed.to_string()),
                ("completed_count", self.completed.to_string()),
                ("evicted_blocks", self.evicted_blocks.to_string()),
            ],
        }
    }
}

impl QueueFact {
    pub(super) fn row(&self) -> FactRow {
        FactRow {
            key: format!("{} {} {}", self.iteration_id, self.request_id, self.state),
            fields: vec![
                ("queue_position", optional(self.position)),
                ("waiting_reason", optional(self.reason)),
                ("tokens_generated", self.generated.to_string()),
                ("kv_cache_blocks", self.blocks.to_string()),
                ("time_in_state", self.time_in_state.to_string()),
                ("scheduled_tokens", self.scheduled.to_string()),
                ("computed_tokens", self.computed.to_string()),
            ],
        }
    }
}

impl EventFact {
    pub(super) fn row(&self) -> FactRow {
        let key = format!("{} {} {}", self.at, self.event, self.request_id);
        FactRow { key, fields: Vec::new() }
    }
}
