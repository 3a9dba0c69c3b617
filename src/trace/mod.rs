//! Arrival traces: what reaches the server, when, and how long it is.

use crate::units::{Nanos, Priority, RequestId, TokenRun, Tokens};

/// One request of a trace, in the native vocabulary that every format is read into.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRequest {
    /// The request's name: given, or `r0`, `r1`, … by position in the trace.
    pub id: RequestId,
    /// When it reaches the server.
    pub arrival: Arrival,
    /// Prompt length; the sum of the runs of `prompt`.
    pub input_tokens: Tokens,
    /// Tokens that the model will produce unless the request is cut short.
    pub output_tokens: Tokens,
    /// The client's limit on output tokens; `output_tokens` where the trace has none.
    pub max_tokens: Tokens,
    /// Lower is served first.
    pub priority: Priority,
    /// When the client gives up, counted from its arrival.
    pub abort_after: Option<Nanos>,
    /// The content of the prompt. Two requests share a prefix where their leading tokens are equal.
    pub prompt: Vec<TokenRun>,
    /// A failed request that was kept: it ends in `error` at its arrival.
    pub failed: bool,
}

/// When a request of a trace arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// At a moment counted from the start of the trace.
    At(Nanos),
    /// `delay` after the previous turn of the same session has completed.
    AfterTurn {
        /// The conversation.
        session: String,
        /// The client's pause between the answer and the next turn.
        delay: Nanos,
    },
}
