//! Arrival traces: what reaches the server, when, and how long it is.
//!
//! Every public format is read into [`TraceRequest`]; nothing downstream knows where a trace came
//! from. [`Trace::open`] checks a whole trace before anything runs, and [`Trace::requests`] then
//! streams it, so that a trace of any length costs constant memory.

mod date;
mod decimal;
mod detect;
mod error;
mod format;
pub mod generate;
mod ids;
mod input;
mod options;
mod parse;
mod pass;
mod rows;
mod source;
mod summary;
mod tally;
mod writer;

pub use decimal::{DecimalError, RateScale, parse_duration};
pub use error::{Column, Place, Problem, TraceError};
pub use format::{TimeUnit, TraceFormat};
pub use options::ReadOptions;
pub use source::{Requests, Trace};
pub use summary::{DropReason, Order, Ties, TraceSummary};
pub use writer::{TraceWriter, WriteError};

use crate::units::{Nanos, Priority, RequestId, TokenId, TokenRun, Tokens};

/// One request of a trace, in the native vocabulary that every format is read into.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRequest {
    /// The row of the trace that it came from, counted from 0. Names its private tokens (see
    /// [`private_token`]); unique in a trace, but not gapless where rows were dropped.
    pub ordinal: u32,
    /// The request's name: given, or `r0`, `r1`, … by row of the trace.
    pub id: RequestId,
    /// When it reaches the server.
    pub arrival: Arrival,
    /// The conversation that it belongs to, if any. The request that [`Arrival::AfterTurn`] waits
    /// for is the one before it with the same session.
    pub session: Option<String>,
    /// Prompt length; the sum of the runs of `prompt`. At least one unless `failed`.
    pub input_tokens: Tokens,
    /// Tokens that the model will produce unless the request is cut short. At least one unless
    /// `failed`.
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

/// The longest prompt or output that a trace may ask for.
pub const MAX_LENGTH: u32 = (1 << 31) - 1;

/// The bit that tells private tokens from those that a hash id names.
const PRIVATE: u64 = 1 << 63;

/// The token at `position` of the sequence of request `ordinal`, where no other request has it:
/// a prompt token without a hash id, or a generated one.
///
/// `position` counts from the start of the prompt and is at most 2³¹ − 1. Tokens that a hash id
/// names are below 2⁶³ (`hash_id * block + offset`), so the two never meet.
#[must_use]
pub const fn private_token(ordinal: u32, position: u32) -> TokenId {
    TokenId(PRIVATE | ((ordinal as u64) << 31) | position as u64)
}

/// A prompt of `len` tokens that shares nothing with any other request.
pub(crate) fn private_prompt(ordinal: u32, len: Tokens) -> Vec<TokenRun> {
    if len == Tokens::ZERO {
        return Vec::new();
    }
    vec![TokenRun { first: private_token(ordinal, 0), len }]
}

/// The token run that stands for the first `len` tokens of hash block `hash_id`, or `None` where
/// its tokens would leave their namespace.
pub(crate) fn hashed_run(hash_id: u64, block: u32, len: Tokens) -> Option<TokenRun> {
    let first = hash_id.checked_mul(u64::from(block))?;
    let end = first.checked_add(u64::from(block))?;
    (end <= PRIVATE).then_some(TokenRun { first: TokenId(first), len })
}
