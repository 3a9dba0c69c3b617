//! K002: the tokens of a step, request by request.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The scheduled_tokens of a step's rows add up to total_tokens, and by phase to prefill_tokens
    /// and decode_tokens.
    ///
    /// A request's tokens are prefill while it has not caught up: with `c` computed tokens before the
    /// step, `c < max(input_tokens, input_tokens + outputs - 1)`; recomputation after a preemption is
    /// prefill too.
    ///
    /// Once a request has caught up it decodes until it is preempted, also where steps overlap and
    /// outputs are in flight.
    ///
    /// Blind spot: the split by phase where a prompt's length is not known by then.
    ///
    /// Example: a chunk of a prompt counted as decode because the request was running already.
    pub static K002 = {
        name: "rows-make-total",
        reads: [
            PerIteration(total_tokens, prefill_tokens, decode_tokens),
            PerIterationRequests(scheduled_tokens),
        ],
        also: [PerIterationRequests(computed_tokens), Events(details), PerRequest(input_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        // A step without any row is X004's business.
        if view.rows.is_empty() {
            return;
        }
        let (mut total, mut prefill, mut split) = (view.steady() as u64, 0u64, true);
        for row in view.changed().filter(|row| row.queued()) {
            let tokens = u64::from(row.scheduled_tokens.unwrap_or_default().0);
            if tokens == 0 {
                continue;
            }
            total += tokens;
            let history = view.history(row.request_id).filter(|_| !row.past_lost);
            match history.and_then(|history| history.phase(row)).map(|phase| phase.prefill) {
                Some(true) => prefill += tokens,
                Some(false) => {}
                None => split = false,
            }
        }
        let mut compare = |column: &'static str, expected: u64, actual: Tokens| {
            cx.expect(expected == u64::from(actual.0), |_| {
                let first = view.rows.first().map(|row| row.row.at());
                Finding::new(format!("the rows of the step do not add up to {column}"))
                    .at(step.at(), column)
                    .with_row(first, "its first row")
                    .in_iteration(view.id)
                    .values(expected, actual)
            });
        };
        compare("total_tokens", total, step.row.total_tokens);
        if split && total == u64::from(step.row.total_tokens.0) {
            compare("prefill_tokens", prefill, step.row.prefill_tokens);
            compare("decode_tokens", total - prefill, step.row.decode_tokens);
        }
    }
}
