//! S007: the rows alone tell a legal story.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The states of a request from step to step are legal, by the rows of the steps alone.
    ///
    /// From one step to the next a request stays where it is, is admitted (`waiting` or `preempted`
    /// to `running`) or preempted (`running` to `preempted`); it is `completed` only in a step that
    /// had it `running`. This holds also where state_transitions.csv is missing.
    ///
    /// Blind spot: what happens between two rows of a request that has gaps (Q004).
    ///
    /// Example: `running`, then `waiting`: a preempted request whose state was not set.
    pub static S007 = {
        name: "legal-rows",
        reads: [PerIterationRequests(iteration_id, request_id, state)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        cx.exercised(view.rows.len());
        for row in view.changed() {
            if row.queued() && row.before.is_some() && row.earlier().is_none() {
                // A repetition within a step is S006's business.
                continue;
            }
            let legal = match row.before {
                Some(before) => follows(before.row.state, row.state),
                None => first(row, view, cx),
            };
            if !legal {
                report(row, view, cx);
            }
        }
    }
}

fn follows(before: State, now: State) -> bool {
    use State as S;
    match (before, now) {
        // What follows the end is S002's business.
        (S::Completed, _) => true,
        (S::Running, S::Running | S::Preempted | S::Completed)
        | (S::Waiting, S::Waiting | S::Running)
        | (S::Preempted, S::Preempted | S::Running) => true,
        // An output that was in flight when the request was preempted may end it.
        (S::Preempted, S::Completed) => true,
        _ => false,
    }
}

fn first(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> bool {
    let lost = view.damaged || !cx.facts.complete(Table::PerIterationRequests) || row.past_lost;
    match row.state {
        State::Waiting | State::Running => true,
        State::Preempted => lost || cx.facts.dialect.has(Habit::FixedColumnsOnly),
        State::Completed => lost,
    }
}

fn report(row: &RowView, view: &IterationView<'_>, cx: &mut Cx<'_>) {
    let message = match row.before {
        Some(before) => format!("{} after {} is not legal", row.state, before.row.state),
        None => format!("the first row of the request is {}", row.state),
    };
    let mut finding = Finding::new(message)
        .at(row.row.at(), "state")
        .of(row.request_id, cx.ids)
        .in_iteration(view.id);
    finding.actual = Some(row.state.to_string());
    if let Some(before) = row.before {
        finding = finding.with(before.at(), "state", "the row before");
    }
    cx.found(finding);
}
