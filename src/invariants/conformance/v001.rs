//! V001: the reference scheduler decides as logged.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The reference scheduler, given the log's own arrivals, lengths, outputs, aborts and moments,
    /// decides the same in every iteration: batch and its tokens, admissions, resumptions,
    /// preemptions, the order of both queues, waiting reasons, blocks, finishes.
    ///
    /// Every other rule asks whether a log agrees with itself; a scheduler that consistently does the
    /// wrong thing keeps them all. Replaying shows it, in the first iteration where it matters, with
    /// both sides' queues and reasons. Judged by `schedlog conform`, and by `schedlog check` with
    /// `--conform`; it needs the scheduler's settings, by run.json or by flag. After a divergence
    /// the reference goes on from the log's decision. A log in another dialect is read as such; what
    /// its dialect does not tell is named. Where nothing can be compared, or not all (a setting or a file
    /// is missing, a file is damaged, a second run was appended), that is a finding of severity damage. A log
    /// that has nothing to compare (log level summary, no step) is not damaged for that: the rule is not
    /// exercised, and a note says so.
    ///
    /// What is input and not compared: the tokens that an output brought, how many drafts were
    /// proposed, the moment of an abort, which output was processed before which pass.
    ///
    /// Blind spot: without the trace the content of prompts is unknown. Then the prefix hits of an
    /// admission are taken from the log, blocks in use are compared up to what sharing allows, and
    /// evicted blocks are held to at most as many as the step took (`schedlog conform --trace`
    /// compares them).
    ///
    /// Example: r3 is admitted in iteration 7 although the head of the queue is r2.
    pub static V001 = {
        name: "reference-decides-the-same",
        reads: [
            PerRequest(finish_reason, output_tokens),
            PerIteration(start_time, end_time, kv_cache_used, total_tokens),
            PerIterationRequests(scheduled_tokens, computed_tokens, kv_cache_blocks, waiting_reason),
            Events(timestamp, event_type, details),
        ],
        needs: [BlockSize, MaxNumSeqs, MaxNumBatchedTokens, MaxModelLen],
        severity: Error,
    } => Elsewhere
}

/// Looks at nothing: the comparison is not part of the streaming pass.
#[derive(Default)]
struct Elsewhere;

impl Invariant for Elsewhere {}
