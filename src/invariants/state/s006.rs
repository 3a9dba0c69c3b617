//! S006: one place in one queue.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request is in one queue, once, per step.
    ///
    /// vLLM moves a request between its queues; it is never in two, nor twice in one. A second row
    /// comes from a queue that was copied before the move. The `completed` row at the end of the step
    /// is the one exception, and there is one at most.
    ///
    /// Blind spot: none.
    ///
    /// Example: the same id `running` and `waiting` in one step.
    pub static S006 = {
        name: "one-queue-per-request",
        reads: [PerIterationRequests(iteration_id, request_id, state)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        cx.exercised(view.rows.len());
        for row in view.changed() {
            // The row before is of this very step only for a completed row, or for a repetition.
            let Some(before) = row.before else { continue };
            let same_step = before.row.iteration_id == view.id
                && view.rows.at(0).is_some_and(|first| first.offset <= before.offset);
            let end_of_step = !row.queued() && before.row.state != State::Completed;
            if same_step && !end_of_step {
                cx.found(
                    Finding::new("the request has a second row in this step")
                        .at(row.row.at(), "request_id")
                        .with(before.at(), "request_id", "the first one")
                        .of(row.request_id, cx.ids)
                        .in_iteration(view.id),
                );
            }
        }
    }
}
