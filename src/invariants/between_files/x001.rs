//! X001: the same requests everywhere.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The requests of per_request.csv are those of the arrivals, of the changes and of the steps.
    ///
    /// A request that one file does not know was lost by that file's writer, or carries another id
    /// there. A request that ended before any step could see it has no row in a step; neither has one
    /// that was first scheduled by a step still in flight at shutdown.
    ///
    /// Blind spot: requests that no file knows.
    ///
    /// Example: ids with a suffix in one file (`cmpl-1-0`) and without it in another.
    pub static X001 = {
        name: "same-requests",
        reads: [PerRequest(request_id)],
        also: [
            Events(event_type, request_id),
            StateTransitions(request_id),
            PerIterationRequests(request_id),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let row = &record.row;
        let arrival = row.arrival_time;
        let mut expect = |table: Table, moment: Nanos, known: bool, what: &str| {
            if !cx.facts.covers(table, moment) {
                return;
            }
            cx.expect(known, |ids| {
                Finding::new(format!("{table} has no {what} of the request"))
                    .at(record.at(), "request_id")
                    .of(request.key, ids)
            });
        };
        let arrived = request.event(EventType::RequestArrived).is_some();
        expect(Table::Events, arrival, arrived, "arrival");
        if let Some(moment) = row.completion_time.or(row.first_scheduled_time) {
            let changes = !request.transitions.is_empty();
            expect(Table::StateTransitions, moment, changes, "change");
        }
        let shown = request.totals.rows > 0;
        if let Some(moment) = row.first_scheduled_time {
            let rows = cx.facts.complete(Table::PerIterationRequests) && moment >= arrival;
            // A request scheduled in the steps behind a shorter file is X005's business.
            let in_flight =
                cx.facts.last_before_the_cut().is_some_and(|step| moment > step.decided);
            if rows && !in_flight && !behind_rows(moment, cx) {
                cx.expect(shown, |ids| {
                    Finding::new("per_iteration_requests.csv has no row of the request")
                        .at(record.at(), "request_id")
                        .of(request.key, ids)
                });
            }
        }
    }
}

/// Whether the rows of the steps end before a decision. One at the very end of their last step is the next
/// step's.
fn behind_rows(decided: Nanos, cx: &Cx<'_>) -> bool {
    let facts = cx.facts.table(Table::PerIterationRequests);
    facts.exhausted && facts.last_moment <= Some(decided)
}
