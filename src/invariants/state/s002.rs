//! S002: the end is the end.

use crate::invariants::prelude::*;

declare_invariant! {
    /// Nothing happens to a request after it is completed.
    ///
    /// No change of state, no event (but the freeing of its blocks) and no row in a step that was
    /// decided after the completion. With overlapping steps a step may be decided before the output
    /// that ends the request is known; its rows and events carry earlier times and are in order. Of a
    /// request without a `completed` row, as an aborted one, the end is that of its row or its event.
    ///
    /// Blind spot: a completion that comes too late; M001 and S003 compare its moment.
    ///
    /// Example: a `running` row behind the `completed` row of a request.
    pub static S002 = {
        name: "nothing-after-completion",
        reads: [],
        also: [
            StateTransitions(state),
            Events(event_type),
            PerIterationRequests(state),
            PerRequest(completion_time),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        for row in view.changed() {
            let Some(before) = row.before.filter(|before| before.row.state == State::Completed)
            else {
                continue;
            };
            let ended = view.moments_of(before.row.iteration_id).map(|moments| moments.end);
            let decided = view.moments.map(|moments| moments.decided);
            let overlaps = cx.facts.overlapping && decided <= ended;
            cx.expect(overlaps && row.queued(), |ids| {
                Finding::new(format!("a {} row behind the completed row", row.state))
                    .at(row.row.at(), "state")
                    .with(before.at(), "state", "completed here")
                    .of(row.request_id, ids)
                    .in_iteration(view.id)
            });
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let ended = request.transitions.iter().position(|c| c.row.state == State::Completed);
        if let Some(index) = ended {
            let end = &request.transitions[index];
            cx.exercised(1);
            for change in &request.transitions[index + 1..] {
                // A second completion is S003's business.
                if change.row.state != State::Completed {
                    cx.found(
                        Finding::new(format!("a change to {} after the end", change.row.state))
                            .at(change.at(), "state")
                            .with(end.at(), "state", "completed here")
                            .of(request.key, cx.ids),
                    );
                }
            }
        }
        // The changes are compared with the rows by S004.
        if !cx.facts.has(Table::StateTransitions) && !request.damaged {
            rows_after_end(request, cx);
        }
        let Some(end) = request.event(EventType::RequestCompleted) else { return };
        let over = end.row.timestamp.saturating_add(cx.slack());
        let later = |event: &&Located<EventRow>| {
            event.row.timestamp > over && event.row.event_type != EventType::RequestCompleted
        };
        cx.exercised(1);
        for event in request.events.iter().filter(later) {
            cx.found(
                Finding::new(format!("a {} event after the end", event.row.event_type))
                    .at(event.at(), "event_type")
                    .with(end.at(), "timestamp", "completed here")
                    .of(request.key, cx.ids),
            );
        }
    }
}

/// Rows of steps that were decided after the end of a request that has no `completed` row.
fn rows_after_end(request: &RequestHistory, cx: &mut Cx<'_>) {
    let (Some(end), Some(last)) = (request.completion(), request.spans.last()) else { return };
    let Some(decided) = last.last_moment.filter(|_| request.completed.is_none()) else { return };
    let event = request.event(EventType::RequestCompleted).map(Located::at);
    cx.expect(decided <= end.saturating_add(cx.slack()), |ids| {
        Finding::new(format!("a {} row of a step decided after the end", last.state))
            .at(last.last_at, "state")
            .with_row(request.record.as_ref().map(Located::at).or(event), "it ended here")
            .of(request.key, ids)
            .in_iteration(last.last)
            .values(format!("a decision by {end}"), decided)
    });
}
