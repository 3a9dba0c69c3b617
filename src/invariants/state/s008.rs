//! S008: how a request ended.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request that ended by `stop` or `length` has a `completed` row, and one that was aborted has
    /// none.
    ///
    /// `completed` rows are of requests that a step's output finished; an abort comes from outside,
    /// whatever the step does.
    ///
    /// Blind spot: `stop` told from `length`: a request's own max_tokens is not in the log; logs without
    /// `completed` rows.
    ///
    /// Example: finish_reason `abort` of a request with a `completed` row.
    pub static S008 = {
        name: "outputs-end-requests",
        reads: [PerRequest(completion_time, finish_reason), PerIterationRequests(state)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let (Some(end), Some(reason)) = (record.row.completion_time, record.row.finish_reason)
        else {
            return;
        };
        let by_output = match reason {
            FinishReason::Stop | FinishReason::Length => true,
            FinishReason::Abort => false,
            // Rejected, or an output that could not be used.
            FinishReason::Error | FinishReason::Unfinished => return,
        };
        let shown = request.completed.is_some();
        // A missing row is Q001's business too, and X005's behind an early end.
        let all_there = cx.facts.tells_all_until(end)
            && cx.facts.whole(Table::PerIterationRequests)
            && !cx.facts.rows_end_early
            && !cx.facts.dialect.has(Habit::NoCompletedRows);
        if by_output && !shown && !all_there {
            return;
        }
        cx.expect(shown == by_output, |ids| {
            let message = match shown {
                true => "a step's output finished the request, which is no abort",
                false => "no step's output finished the request",
            };
            let expected = if shown { "stop or length" } else { "abort" };
            Finding::new(message)
                .at(record.at(), "finish_reason")
                .with_row(request.completed.as_ref().map(Located::at), "finished here")
                .of(request.key, ids)
                .values(expected, reason)
        });
    }
}
