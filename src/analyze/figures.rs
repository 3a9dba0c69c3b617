//! What the pass shows of a request and of a step: figures of one thing, complete.

use serde::Serialize;

use crate::analyze::spans::{Activity, Span};
use crate::log::moments::Moments;
use crate::log::schema::IterationRow;
use crate::log::values::{FinishReason, WaitingReason};
use crate::units::{Nanos, Priority};

/// How a request ended, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A stop token was generated.
    Stop,
    /// It reached `max_tokens` or `max_model_len`.
    Length,
    /// It has a completion time, and the log does not say why it ended.
    Untold,
    /// The client gave up.
    Abort,
    /// It was rejected or failed.
    Error,
    /// It was alive at shutdown.
    Unfinished,
    /// It was alive where the log stops: no row of per_request.csv tells of it.
    CutOff,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 7] = [
        Self::Stop,
        Self::Length,
        Self::Untold,
        Self::Abort,
        Self::Error,
        Self::Unfinished,
        Self::CutOff,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Untold => "untold",
            Self::Abort => "abort",
            Self::Error => "error",
            Self::Unfinished => "unfinished",
            Self::CutOff => "cut_off",
        }
    }

    /// Whether the client got all that it asked for.
    #[must_use]
    pub const fn finished(self) -> bool {
        matches!(self, Self::Stop | Self::Length | Self::Untold)
    }

    pub(super) const fn of(completed: bool, reason: Option<FinishReason>) -> Self {
        match reason {
            Some(FinishReason::Abort) => Self::Abort,
            Some(FinishReason::Error) => Self::Error,
            Some(FinishReason::Unfinished) => Self::Unfinished,
            _ if !completed => Self::Unfinished,
            Some(FinishReason::Stop) => Self::Stop,
            Some(FinishReason::Length) => Self::Length,
            None => Self::Untold,
        }
    }
}

/// Time that one constraint kept a request waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// The constraint; `None` is the time before any step looked at the request.
    pub reason: Option<WaitingReason>,
    /// How long.
    pub time_ns: Nanos,
}

/// Everything that the log says of one request. Undefined values are `None`, never 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestFigures {
    /// Its id.
    pub request_id: String,
    /// Its place in the order in which the pass shows requests: completion, then those alive.
    pub ordinal: u64,
    /// How it ended.
    pub ending: Ending,
    /// The arrival.
    pub arrival_ns: Nanos,
    /// The first decision to schedule it.
    pub first_scheduled_ns: Option<Nanos>,
    /// The first output token.
    pub first_token_ns: Option<Nanos>,
    /// The completion.
    pub completion_ns: Option<Nanos>,
    /// From the arrival to the first output token.
    pub ttft_ns: Option<Nanos>,
    /// Time per output token after the first.
    pub tpot_ns: Option<f64>,
    /// From the arrival to the completion.
    pub e2e_ns: Option<Nanos>,
    /// Time waiting or preempted.
    pub waiting_ns: Nanos,
    /// Time running.
    pub execution_ns: Nanos,
    /// Prompt tokens.
    pub input_tokens: Option<u64>,
    /// Generated tokens.
    pub output_tokens: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Resumptions that found cache blocks gone.
    pub evictions: u64,
    /// Tokens found in the prefix cache.
    pub cached_tokens: Option<u64>,
    /// Tokens computed a second time.
    pub recomputed_tokens: Option<u64>,
    /// Tokens scheduled in all.
    pub scheduled_tokens: Option<u64>,
    /// The scheduler's priority; lower is served first.
    pub priority: Option<Priority>,
    /// Its life, cut by activity; sums to exactly the time from arrival to completion (or to the
    /// end of the log). Empty if the log does not tell when its state changed.
    pub spans: Vec<Span>,
    /// What kept it waiting, in order of first appearance.
    pub waits: Vec<Wait>,
    /// Its place in the waiting queue over time, at most [`QUEUE_POINTS`] points.
    pub queue: Vec<QueuePoint>,
}

/// The most points of a queue position that are kept of one request.
pub const QUEUE_POINTS: usize = 32;

/// The place of a waiting request in its queue, from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QueuePoint {
    /// From when.
    pub at_ns: Nanos,
    /// The place; 0 is served next.
    pub position: i32,
}

impl RequestFigures {
    /// Time spent on one activity.
    #[must_use]
    pub fn time(&self, activity: Activity) -> Nanos {
        let same = self.spans.iter().filter(|span| span.activity == activity);
        same.fold(Nanos::ZERO, |sum, span| sum.saturating_add(span.duration()))
    }
}

/// One step with what follows from its neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its row.
    pub row: IterationRow,
    /// Its four moments.
    pub moments: Moments,
    /// How long its decision held: until the next step's decision, or its own end if it is the
    /// last, and not while the engine had no request at all.
    pub hold: Nanos,
    /// How long the engine had no request after it.
    pub empty: Nanos,
}
