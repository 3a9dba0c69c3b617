//! K010: the tokens of a request, step by step.

use crate::invariants::prelude::*;

declare_invariant! {
    /// scheduled_tokens of a request is the sum of the scheduled_tokens of its rows.
    ///
    /// Both count every token that a step gave to the request, rejected drafts and steps in flight at
    /// its end included.
    ///
    /// Blind spot: a row that the log ought to have and does not (Q004).
    ///
    /// Example: a total that is set back at a preemption.
    pub static K010 = {
        name: "scheduled-tokens-add-up",
        reads: [PerRequest(scheduled_tokens), PerIterationRequests(request_id, scheduled_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let Some(total) = record.row.scheduled_tokens else { return };
        // A request without any row is X001's business, rows behind an early end X005's.
        let covered = match request.completion() {
            Some(end) => cx.facts.tells_all_until(end),
            None => cx.facts.complete(Table::PerIterationRequests) && !cx.facts.rows_end_early,
        };
        let Some(last) = request.last.filter(|_| covered) else { return };
        let sum = request.totals.scheduled;
        cx.expect(sum == u64::from(total.0), |ids| {
            Finding::new("scheduled_tokens is not the sum over the request's rows")
                .at(record.at(), "scheduled_tokens")
                .with(last.at(), "scheduled_tokens", "its last row")
                .of(request.key, ids)
                .values(sum, total)
        });
    }
}
