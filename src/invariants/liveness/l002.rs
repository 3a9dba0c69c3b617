//! L002: a request makes progress.

use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::units::IterationId;

declare_invariant! {
    /// A request that runs alone and is preempted has made progress since the last time.
    ///
    /// A preemption makes room for somebody. A request that is preempted while nobody runs beside it
    /// made room for itself; if then nobody has computed a token for the first time before it happens
    /// again, it will happen forever: the request is resumed, recomputed and preempted in a circle.
    ///
    /// Blind spot: circles of several requests; vLLM's order of victims has none.
    ///
    /// Example: a cache of 15 blocks and a request that needs 16 with its look-ahead.
    pub static L002 = {
        name: "no-circle-of-preemptions",
        reads: [
            PerIteration(running_count, preempted_count),
            PerIterationRequests(request_id, state, scheduled_tokens, computed_tokens),
            Events(details),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The last preemption of a request that ran alone, and whether anything was new since.
    last: Option<(RequestKey, IterationId, Location)>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        if self.last.is_some() && view.rows.iter().any(|row| is_new(&row, view)) {
            self.last = None;
        }
        if step.row.preempted_count == Requests::ZERO {
            return;
        }
        cx.exercised(1);
        if step.row.running_count > Requests::ZERO {
            return;
        }
        let victim = view.changed().find(|row| {
            row.state == State::Preempted
                && row.earlier().is_some_and(|before| before.row.state == State::Running)
        });
        let Some(victim) = victim else { return };
        let now = (victim.request_id, view.id, victim.row.at());
        if let Some((key, id, at)) = self.last.replace(now)
            && key == victim.request_id
        {
            cx.found(
                Finding::new(format!(
                    "the request is preempted in a circle since iteration {id}: nothing new was \
                     computed since"
                ))
                .at(victim.row.at(), "state")
                .with(at, "state", "it began here")
                .of(key, cx.ids)
                .in_iteration(id),
            );
        }
    }
}

/// Whether tokens are computed for the first time.
fn is_new(row: &RowView, view: &IterationView<'_>) -> bool {
    let (Some(scheduled), Some(computed)) = (row.scheduled_tokens, row.computed_tokens) else {
        return true;
    };
    let before = view.history(row.request_id).map_or(0, |history| history.totals.computed_before);
    scheduled > Tokens::ZERO && computed.0.saturating_add(scheduled.0) > before
}
