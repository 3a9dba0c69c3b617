//! Q007: no admission after a preemption.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A step that preempts admits nothing and resumes nothing.
    ///
    /// vLLM looks at the waiting queues only if no request was preempted in the pass: memory was just
    /// found to be short.
    ///
    /// Blind spot: none.
    ///
    /// Example: the victim of a step is resumed in that same step.
    pub static Q007 = {
        name: "no-admission-after-preemption",
        reads: [PerIteration(preempted_count)],
        also: [
            PerIteration(admitted_count, resumed_count),
            PerIterationRequests(state),
            Events(event_type),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        if step.row.preempted_count == Requests::ZERO {
            return;
        }
        let told = |count: Option<Requests>| count.map_or(0, |count| count.0 as usize);
        let counted = told(step.row.admitted_count).saturating_add(told(step.row.resumed_count));
        let events = match view.blurred {
            true => 0,
            false => {
                view.count(EventType::RequestScheduled) + view.count(EventType::RequestResumed)
            }
        };
        let row = view.changed().find(|row| row.admitted() && row.before.is_some());
        let holds = counted == 0 && events == 0 && row.is_none();
        cx.expect(holds, |_| {
            Finding::new("the step preempts and admits")
                .at(step.at(), "preempted_count")
                .with_row(row.map(|row| row.row.at()), "admitted")
                .in_iteration(view.id)
                .values("nothing admitted", counted.max(events))
        });
    }
}
