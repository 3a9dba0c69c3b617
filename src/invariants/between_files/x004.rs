//! X004: the same steps.

use crate::invariants::prelude::*;

declare_invariant! {
    /// per_iteration_requests.csv has rows of a step if and only if per_iteration.csv has a row of it
    /// with requests in its queues.
    ///
    /// Blind spot: steps at the end of a file that ends before the other (X005).
    ///
    /// Example: a step whose row was cleared before it was written.
    pub static X004 = {
        name: "same-steps",
        reads: [
            PerIteration(iteration_id, running_count, waiting_count),
            PerIterationRequests(iteration_id),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if view.damaged {
            return;
        }
        match (view.iteration, view.rows.first()) {
            (Some(step), None) => {
                let waiting = !cx.facts.dialect.hides_waiting();
                let queued = step
                    .row
                    .running_count
                    .saturating_add(if waiting { step.row.waiting_count } else { Requests::ZERO })
                    .0;
                let facts = cx.facts.table(Table::PerIterationRequests);
                // Behind the last row of the other file X005 speaks.
                if queued > 0 && !facts.exhausted && !facts.blind {
                    cx.found(
                        Finding::new(format!("the step has {queued} requests but no row of them"))
                            .at(step.at(), "iteration_id")
                            .in_iteration(view.id),
                    );
                }
            }
            (None, Some(row)) => {
                let facts = cx.facts.table(Table::PerIteration);
                if !facts.exhausted && !facts.blind {
                    cx.found(
                        Finding::new("the rows are of a step that per_iteration.csv does not have")
                            .at(row.row.at(), "iteration_id")
                            .in_iteration(view.id),
                    );
                }
            }
            (Some(_), Some(_)) => cx.exercised(1),
            (None, None) => {}
        }
    }
}
