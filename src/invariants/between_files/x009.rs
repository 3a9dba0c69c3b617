//! X009: the rows go from step to step.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The iteration_id of the rows of per_iteration_requests.csv never falls.
    ///
    /// A step's rows are written together, once it is over. Rows of an earlier step behind those of a
    /// later one come of two writers, or of a buffer that was written twice; whatever depends on what was
    /// before a row is wrong behind them.
    ///
    /// Blind spot: rows that stand among others of their own step, in the wrong place or twice (Q005, S006).
    ///
    /// Example: the last row of step 3 behind the first one of step 4.
    pub static X009 = {
        name: "rows-in-order-of-steps",
        reads: [PerIterationRequests(iteration_id)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The last row of the step before.
    last: Option<Location>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(last) = view.rows.len().checked_sub(1) else { return };
        let before = std::mem::replace(&mut self.last, view.rows.at(last));
        let Some(earlier) = view.previous_group else { return };
        let Some(first) = view.rows.at(0) else { return };
        cx.expect(earlier < view.id, |_| {
            Finding::new(format!(
                "iteration_id goes back: rows of step {} stand behind those of step {earlier}",
                view.id
            ))
            .at(first, "iteration_id")
            .with_row(before, "the row before")
            .values(format!("{earlier} or more"), view.id)
        });
    }
}
