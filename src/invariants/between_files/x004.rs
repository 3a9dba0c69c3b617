//! X004: the same steps.

use crate::invariants::prelude::*;
use crate::units::IterationId;

declare_invariant! {
    /// per_iteration_requests.csv has rows of a step if and only if per_iteration.csv has a row of it
    /// with requests in its queues or ended by it.
    ///
    /// Rows that stand behind those of a later step are X009's business.
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
        also: [PerIteration(completed_count)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The last step that per_iteration.csv has so far.
    last: Option<IterationId>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        self.last = self.last.max(view.iteration.map(|step| step.row.iteration_id));
        if view.damaged {
            return;
        }
        match (view.iteration, view.rows.at(0)) {
            (Some(step), None) => {
                let facts = cx.facts.table(Table::PerIterationRequests);
                // A step behind the place where the file was cut is damaged, and X005 speaks of it.
                if facts.blind || facts.truncated {
                    return;
                }
                let waiting = !cx.facts.dialect.hides_waiting();
                let waiting = if waiting { step.row.waiting_count } else { Requests::ZERO };
                let queued = step.row.running_count.saturating_add(waiting).0;
                let told = !cx.facts.dialect.has(Habit::NoCompletedRows);
                let completed = step.row.completed_count.filter(|_| told).unwrap_or_default().0;
                if queued > 0 {
                    let message = format!("the step has {queued} requests but no row of them");
                    report(message, step.at(), "iteration_id", view, cx);
                } else if completed > 0 {
                    let message = format!("the step finished {completed} requests but has no row");
                    report(message, step.at(), "completed_count", view, cx);
                }
            }
            (None, Some(at)) => {
                let facts = cx.facts.table(Table::PerIteration);
                let late = self.last >= Some(view.id);
                if !facts.exhausted && !facts.blind && !late {
                    let message = "the rows are of a step that per_iteration.csv does not have";
                    report(message.to_owned(), at, "iteration_id", view, cx);
                }
            }
            (Some(_), Some(_)) => cx.exercised(1),
            (None, None) => {}
        }
    }
}

fn report(
    message: String,
    at: Location,
    column: &'static str,
    view: &IterationView<'_>,
    cx: &mut Cx<'_>,
) {
    cx.found(Finding::new(message).at(at, column).in_iteration(view.id));
}
