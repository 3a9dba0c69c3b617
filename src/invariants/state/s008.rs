//! S008: how a request ended.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request that ended by `stop` or `length` has a `completed` row, and one that was aborted has
    /// none.
    ///
    /// `completed` rows are of requests that a step's output finished; an abort comes from outside,
    /// whatever the step does. Where per_request.csv has no finish_reason the details of
    /// `request_completed` tell.
    ///
    /// Blind spot: `stop` told from `length`: a request's own max_tokens is not in the log; logs without
    /// `completed` rows.
    ///
    /// Example: finish_reason `abort` of a request with a `completed` row.
    pub static S008 = {
        name: "outputs-end-requests",
        reads: [PerRequest(completion_time), PerIterationRequests(state)],
        also: [PerRequest(finish_reason), Events(details)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Whether the log has a `completed` row.
    has_rows: bool,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, _: &mut Cx<'_>) {
        // They are the last of their step.
        self.has_rows = self.has_rows || view.rows.last().is_some_and(|row| !row.queued());
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let told = record.row.finish_reason.map(|reason| (record.at(), "finish_reason", reason));
        let event = || {
            let event = request.event(EventType::RequestCompleted)?;
            Some((event.at(), "details", event.row.details.finish_reason?))
        };
        let (Some(end), Some((at, column, reason))) =
            (record.row.completion_time, told.or_else(event))
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
        // A log that has neither such rows nor counts of them may be one that never writes them.
        let written = self.has_rows || column == "finish_reason";
        if by_output && !shown && !(all_there && written) {
            return;
        }
        cx.expect(shown == by_output, |ids| {
            let message = match shown {
                true => "a step's output finished the request, which is no abort",
                false => "no step's output finished the request",
            };
            let expected = if shown { "stop or length" } else { "abort" };
            Finding::new(message)
                .at(at, column)
                .with_row(request.completed.as_ref().map(Located::at), "finished here")
                .of(request.key, ids)
                .values(expected, reason)
        });
    }
}
