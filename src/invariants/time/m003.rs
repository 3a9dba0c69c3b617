//! M003: the times of a request are those of its changes.

use crate::invariants::prelude::*;

declare_invariant! {
    /// waiting_time and execution_time are the sums of the durations of the request's changes:
    /// `waiting` and `preempted` to one side, `running` to the other.
    ///
    /// Of a request that is unfinished the time in its last state is not in the changes yet, so there
    /// the sums are lower bounds.
    ///
    /// Blind spot: durations that are wrong themselves; M004 recomputes them.
    ///
    /// Example: waiting_time without the time between `preempted` and the next `running`.
    pub static M003 = {
        name: "times-are-sums-of-changes",
        reads: [
            PerRequest(waiting_time, execution_time, completion_time),
            StateTransitions(state, duration_in_prev_state),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let row = &record.row;
        let finished = row.completion_time.is_some();
        let lost = !cx.facts.complete(Table::StateTransitions);
        let ends = request.transitions.last().is_some_and(|c| c.row.state == State::Completed);
        // A missing end is S003's business.
        if lost || finished != ends {
            return;
        }
        let (mut waited, mut ran, mut state) = (Nanos::ZERO, Nanos::ZERO, State::Waiting);
        for change in &request.transitions {
            let side = if state == State::Running { &mut ran } else { &mut waited };
            *side = side.saturating_add(change.row.duration_in_prev_state);
            state = change.row.state;
        }
        for (column, value, sum) in [
            ("waiting_time", row.waiting_time, waited),
            ("execution_time", row.execution_time, ran),
        ] {
            let readings = request.transitions.len() as u64;
            let holds = if finished {
                cx.agree(sum, value, readings, record.at())
            } else {
                cx.follows(sum, value, record.at())
            };
            cx.expect(holds, |ids| {
                let finding = Finding::new(format!("{column} is not the sum of the changes"))
                    .at(record.at(), column)
                    .of(request.key, ids)
                    .values(sum, value);
                request.transitions.iter().take(4).fold(finding, |finding, change| {
                    finding.with(change.at(), "duration_in_prev_state", "adds to the sums")
                })
            });
        }
    }
}
