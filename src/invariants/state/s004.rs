//! S004: rows and changes agree.

use crate::check::Span;
use crate::invariants::prelude::*;

declare_invariant! {
    /// A row of a step shows a request in the state that its changes give it at that moment.
    ///
    /// The rows are read at `D`; changes to `running` and `preempted` carry that same `D`, a
    /// completion its own moment. A row in another state comes from a stale queue or from a change
    /// that was written for another moment.
    ///
    /// Blind spot: moments at which several changes meet; any of their states is accepted there.
    ///
    /// Example: a `waiting` row in the step whose `D` is the request's first `running` change.
    pub static S004 = {
        name: "rows-agree-with-changes",
        reads: [
            PerIteration(start_time, scheduling_overhead),
            PerIterationRequests(request_id, state),
            StateTransitions(request_id, timestamp, state),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let lost =
            request.damaged || request.changes_cut || !cx.facts.complete(Table::StateTransitions);
        if lost || request.transitions.is_empty() {
            return;
        }
        for span in request.spans.iter().filter(|span| span.state != State::Completed) {
            let (Some(first), Some(last)) = (span.first_moment, span.last_moment) else { continue };
            let contradiction = [(first, span.first_at), (last, span.last_at)]
                .into_iter()
                .find(|(moment, _)| !may_be(request, span.state, *moment, cx));
            cx.exercised(1);
            if let Some((moment, at)) = contradiction {
                report(request, span, moment, at, cx);
            } else if let Some(change) = change_within(request, span, first, last, cx.slack()) {
                report(request, span, change.row.timestamp, span.last_at, cx);
            }
        }
    }
}

/// Whether the changes allow the state at a moment.
fn may_be(request: &RequestHistory, state: State, moment: Nanos, cx: &Cx<'_>) -> bool {
    let slack = cx.slack();
    let (mut before, mut at): (State, Vec<State>) = (State::Waiting, Vec::new());
    for change in &request.transitions {
        if change.row.timestamp.saturating_add(slack) < moment {
            before = change.row.state;
        } else if change.row.timestamp <= moment.saturating_add(slack) {
            at.push(change.row.state);
        }
    }
    // A change that a cut file cannot tell of any more.
    if before != state && !cx.facts.covers(Table::StateTransitions, moment) {
        return true;
    }
    match at.as_slice() {
        [] => before == state,
        // An end at D comes after the queues were read; any other change at D is the decision.
        [State::Completed] => before == state,
        // Which of two readings is the earlier one is not known.
        [only] => {
            let still = before == state;
            *only == state || still && (slack > Nanos::ZERO || goes_on(request, *only, moment, cx))
        }
        several => several.contains(&state) || before == state,
    }
}

/// Whether a later step of the same moment has the request in this state, or would have it in a file that
/// is cut there: a step that does nothing may end as it begins.
fn goes_on(request: &RequestHistory, state: State, moment: Nanos, cx: &Cx<'_>) -> bool {
    let rows = cx.facts.table(Table::PerIterationRequests);
    let later = |span: &Span| span.state == state && span.first_moment == Some(moment);
    request.spans.iter().any(later) || rows.exhausted && rows.last_moment <= Some(moment)
}

/// A change to another state inside a span.
fn change_within<'a>(
    request: &'a RequestHistory,
    span: &Span,
    first: Nanos,
    last: Nanos,
    slack: Nanos,
) -> Option<&'a Located<crate::log::schema::TransitionRow>> {
    request.transitions.iter().find(|change| {
        let at = change.row.timestamp;
        first.saturating_add(slack) < at
            && at.saturating_add(slack) < last
            && change.row.state != span.state
    })
}

fn report(request: &RequestHistory, span: &Span, moment: Nanos, at: Location, cx: &mut Cx<'_>) {
    let change =
        request.transitions.iter().take_while(|change| change.row.timestamp <= moment).last();
    let state = change.map_or(State::Waiting, |change| change.row.state);
    let mut finding =
        Finding::new(format!("a {} row, although the request was {state} at {moment}", span.state))
            .at(at, "state")
            .of(request.key, cx.ids)
            .in_iteration(if at == span.first_at { span.first } else { span.last })
            .values(state, span.state);
    if let Some(change) = change {
        finding = finding.with(change.at(), "state", "the last change by then");
    }
    cx.found(finding);
}
