//! K010: the tokens of a request, step by step.

use crate::invariants::prelude::*;

declare_invariant! {
    /// scheduled_tokens of a request is the sum of the scheduled_tokens of its rows.
    ///
    /// Both count every token that a step gave to the request, rejected drafts and steps in flight at
    /// its end included. Where steps overlap, those that were in flight at shutdown have no rows: there
    /// the rows of a request that is still alive, or ended just before, may add up to less.
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
        let Some(last) = request.last().filter(|_| covered) else { return };
        let sum = request.totals.scheduled;
        // A step behind the last of the log began no earlier than that one.
        let cut_short = cx.facts.last_before_the_cut().is_some_and(|step| {
            request.completion().is_none_or(|completion| step.start < completion)
        });
        let total_tokens = u64::from(total.0);
        let holds = if cut_short { sum <= total_tokens } else { sum == total_tokens };
        cx.expect(holds, |ids| {
            Finding::new("scheduled_tokens is not the sum over the request's rows")
                .at(record.at(), "scheduled_tokens")
                .with(last.at(), "scheduled_tokens", "its last row")
                .of(request.key, ids)
                .values(sum, total)
        });
    }
}
