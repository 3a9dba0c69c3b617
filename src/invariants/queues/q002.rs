//! Q002: the limit of the running queue.

use crate::invariants::prelude::*;

declare_invariant! {
    /// running_count <= max_num_seqs (and max_num_active_seqs, where that is set).
    ///
    /// The limit is what the engine's tensors are sized for; admission stops at it.
    ///
    /// Blind spot: none.
    ///
    /// Example: 257 running requests under a limit of 256.
    pub static Q002 = {
        name: "running-limit",
        reads: [PerIteration(running_count)],
        needs: [MaxNumSeqs],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let (Some(step), Some(limit)) = (view.iteration, cx.facts.settings.running_limit()) else {
            return;
        };
        cx.expect(step.row.running_count.0 <= limit, |_| {
            Finding::new("more requests run than the engine is built for")
                .at(step.at(), "running_count")
                .in_iteration(view.id)
                .values(format!("at most {limit}"), step.row.running_count)
        });
    }
}
