//! K001: the two phases of a step.

use crate::invariants::prelude::*;

declare_invariant! {
    /// prefill_tokens + decode_tokens = total_tokens.
    ///
    /// Every scheduled token belongs to a request that is catching up or to one that has caught up.
    ///
    /// Blind spot: tokens counted in the wrong phase; K002 adds them up by request.
    ///
    /// Example: recomputed tokens of a resumed request that are counted in neither phase.
    pub static K001 = {
        name: "phases-make-total",
        reads: [PerIteration(total_tokens, prefill_tokens, decode_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        let (prefill, decode) = (step.row.prefill_tokens, step.row.decode_tokens);
        let sum = prefill.saturating_add(decode);
        cx.expect(sum == step.row.total_tokens, |_| {
            Finding::new(format!("{prefill} prefill + {decode} decode tokens are not the total"))
                .at(step.at(), "total_tokens")
                .in_iteration(view.id)
                .values(sum, step.row.total_tokens)
        });
    }
}
