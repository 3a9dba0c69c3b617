//! M016: a batch takes time.

use crate::invariants::prelude::*;
use crate::units::IterationId;

declare_invariant! {
    /// A step with a batch has a forward pass that takes time.
    ///
    /// A row that is flushed before its output came has none, and may add up all the same: it ends at
    /// `D`. In a log where no forward pass takes time (a model without one) nothing is reported.
    ///
    /// Blind spot: a forward pass that is too short.
    ///
    /// Example: every hundredth row has batch_size 8 and forward_pass_duration 0.
    pub static M016 = {
        name: "a-batch-takes-time",
        reads: [PerIteration(total_tokens, forward_pass_duration)],
        severity: Error,
    } => Check
}

/// Rows that are remembered until it is known that others take time.
const HELD: usize = 100;

#[derive(Default)]
struct Check {
    takes_time: bool,
    held: Vec<(Location, IterationId)>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|step| step.row.total_tokens > Tokens::ZERO) else {
            return;
        };
        cx.exercised(1);
        if step.row.forward_pass_duration > Nanos::ZERO {
            self.takes_time = true;
            self.held.drain(..).for_each(|(at, id)| report(at, id, cx));
        } else if self.takes_time {
            report(step.at(), view.id, cx);
        } else if self.held.len() < HELD {
            self.held.push((step.at(), view.id));
        }
    }
}

fn report(at: Location, id: IterationId, cx: &mut Cx<'_>) {
    cx.found(
        Finding::new("the step has a batch, but its forward pass takes no time")
            .at(at, "forward_pass_duration")
            .in_iteration(id)
            .values("more than 0", 0),
    );
}
