//! K003: the token budget.

use crate::invariants::prelude::*;

declare_invariant! {
    /// total_tokens <= max_num_batched_tokens (and max_num_scheduled_tokens, where that is set).
    ///
    /// The budget is what the step's tensors are sized for; vLLM's `schedule` never exceeds it.
    ///
    /// Blind spot: slots charged to drafts.
    ///
    /// Example: a step of 2100 tokens under a budget of 2048.
    pub static K003 = {
        name: "token-budget",
        reads: [PerIteration(total_tokens)],
        needs: [MaxNumBatchedTokens],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let (Some(step), Some(budget)) = (view.iteration, cx.facts.settings.token_budget()) else {
            return;
        };
        cx.expect(step.row.total_tokens.0 <= budget, |_| {
            Finding::new("the step schedules more than its token budget")
                .at(step.at(), "total_tokens")
                .in_iteration(view.id)
                .values(format!("at most {budget}"), step.row.total_tokens)
        });
    }
}
