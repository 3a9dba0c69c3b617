//! F005: undefined values.

use crate::invariants::form::finding;
use crate::invariants::prelude::*;

declare_invariant! {
    /// An undefined value is an empty field, never 0.
    ///
    /// A `ttft` of 0 of a request that never produced a token drags every percentile down. Where a
    /// log writes 0 for all undefined values (a known dialect) this is a warning; a log that leaves
    /// some empty and writes 0 for others is wrong.
    ///
    /// Blind spot: a moment 0 of a request that arrived at 0, which may be a true value.
    ///
    /// Example: `output_tokens` 0 and `ttft` 0.
    pub static F005 = {
        name: "undefined-is-empty",
        reads: [PerRequest(completion_time, e2e_latency, ttft, tpot, throughput, output_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        if problem.kind == FormKind::ZeroForUndefined {
            let mut found = finding(problem, cx);
            if cx.facts.dialect.has(Habit::ZeroForUndefined) {
                found = found.as_severity(Severity::Warning);
            }
            found.expected = Some("an empty field".to_owned());
            cx.found(found);
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if let Some(record) = &request.record {
            let undefined = [
                record.row.completion_time.is_none(),
                record.row.ttft.is_none(),
                record.row.tpot.is_none(),
            ];
            cx.exercised(undefined.iter().filter(|undefined| **undefined).count());
        }
    }
}
