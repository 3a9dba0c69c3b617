//! L001: the engine makes progress.

use crate::invariants::prelude::*;
use crate::units::IterationId;

declare_invariant! {
    /// While a request is alive and nothing of its own blocks it, steps schedule tokens.
    ///
    /// One step may schedule nothing, as it preempts the only request that ran; the next one serves
    /// somebody. Where steps overlap, the engine may have to wait for outputs in flight. More empty
    /// steps than that in a row, with requests in the queues, are an engine that spins: every request
    /// hangs, and the finding names the step where it began.
    ///
    /// Blind spot: a step that never returns; requests that wait for a grammar or for remote blocks.
    ///
    /// Example: a prompt larger than the cache at the head of the queue: the steps go on, empty.
    pub static L001 = {
        name: "engine-progresses",
        reads: [
            PerIteration(iteration_id, total_tokens, running_count, waiting_count),
            PerIterationRequests(state),
        ],
        also: [PerIterationRequests(waiting_reason)],
        severity: Error,
    } => Check
}

/// Empty steps in a row that a live engine may need.
const EMPTY: u64 = 2;
const EMPTY_OVERLAPPING: u64 = 16;

#[derive(Default)]
struct Check {
    empty: u64,
    /// The first of them, with its row and a request of it.
    since: Option<(IterationId, Location, Location)>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        cx.exercised(1);
        let idle = step.row.total_tokens == Tokens::ZERO && !view.damaged;
        let hangs = || view.rows.iter().find(|row| row.queued());
        let excused = || view.changed().any(blocked);
        let Some(row) = idle.then(hangs).flatten().filter(|_| !excused()) else {
            self.empty = 0;
            return;
        };
        if self.empty == 0 {
            self.since = Some((view.id, step.at(), row.row.at()));
        }
        self.empty += 1;
        let most = if cx.facts.overlapping { EMPTY_OVERLAPPING } else { EMPTY };
        // Once per hang.
        if let (true, Some((id, at, first))) = (self.empty == most + 1, self.since) {
            cx.found(
                Finding::new(format!(
                    "from iteration {id} on nothing is scheduled, although requests are in the queues"
                ))
                .at(at, "total_tokens")
                .with_row(Some(first), "a request that hangs")
                .with_row(Some(step.at()), "still nothing")
                .in_iteration(id)
                .values(format!("at most {most} empty steps"), self.empty),
            );
        }
    }
}

fn blocked(row: &RowView) -> bool {
    use WaitingReason as W;
    let unsaid = row.state == State::Waiting && row.waiting_reason.is_none();
    unsaid
        || matches!(
            row.waiting_reason,
            Some(W::WaitingForRemoteKvs | W::WaitingForFsm | W::LoraLimit | W::EncoderBudget)
        )
}
