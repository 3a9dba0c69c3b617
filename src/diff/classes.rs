//! Which columns are decisions, counts or times.

use crate::log::schema::Table;

/// What a column is about, weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Order, batches, preemptions, states, ends.
    Decision,
    /// Tokens, blocks, bytes.
    Count,
    /// Moments, durations, rates.
    Time,
}

impl Class {
    /// Every class, weightiest first.
    pub const ALL: [Self; 3] = [Self::Decision, Self::Count, Self::Time];

    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decisions",
            Self::Count => "counts",
            Self::Time => "times",
        }
    }

    /// The class of a column.
    #[must_use]
    pub(super) fn of(table: Table, column: &str) -> Self {
        if DECISIONS.contains(&(table, column)) {
            Self::Decision
        } else if TIMES.contains(&column) {
            Self::Time
        } else {
            Self::Count
        }
    }
}

/// Columns that say what was decided.
const DECISIONS: [(Table, &str); 25] = {
    use Table::{
        Events, PerIteration, PerIterationRequests, PerRequest, StateTransitions as Changes,
    };
    [
        (PerRequest, "request_id"),
        (PerRequest, "preemption_count"),
        (PerRequest, "finish_reason"),
        (PerIteration, "iteration_id"),
        (PerIteration, "batch_size"),
        (PerIteration, "running_count"),
        (PerIteration, "waiting_count"),
        (PerIteration, "preempted_count"),
        (PerIteration, "scheduler_action"),
        (PerIteration, "admitted_count"),
        (PerIteration, "resumed_count"),
        (PerIteration, "completed_count"),
        (PerIteration, "total_tokens"),
        (PerIterationRequests, "iteration_id"),
        (PerIterationRequests, "request_id"),
        (PerIterationRequests, "state"),
        (PerIterationRequests, "queue_position"),
        (PerIterationRequests, "waiting_reason"),
        (PerIterationRequests, "scheduled_tokens"),
        (Events, "event_type"),
        (Events, "request_id"),
        (Changes, "request_id"),
        (Changes, "state"),
        (Changes, "prev_state"),
        (PerRequest, "output_tokens"),
    ]
};

/// Columns that say when, or how fast.
const TIMES: [&str; 18] = [
    "arrival_time",
    "first_scheduled_time",
    "completion_time",
    "waiting_time",
    "execution_time",
    "e2e_latency",
    "ttft",
    "tpot",
    "throughput",
    "start_time",
    "end_time",
    "duration",
    "scheduling_overhead",
    "forward_pass_duration",
    "output_processing_duration",
    "time_in_state",
    "timestamp",
    "duration_in_prev_state",
];
