//! M013: the time in a state.

use crate::check::Span;
use crate::invariants::prelude::*;
use crate::log::schema::IterationRequestRow;

declare_invariant! {
    /// time_in_state is the moment of the row minus the entry into the state.
    ///
    /// The moment is `D` (`E` for a `completed` row, whose value is 0). From step to step the entry
    /// implied by the rows stays the same; it is the arrival, or the request's change into the state.
    ///
    /// Blind spot: the entry of a state in logs without changes and events.
    ///
    /// Example: a timer that is not set back at a preemption.
    pub static M013 = {
        name: "time-in-state",
        reads: [
            PerIteration(start_time, scheduling_overhead),
            PerIterationRequests(request_id, state, time_in_state),
        ],
        also: [StateTransitions(timestamp, state), PerRequest(arrival_time)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(moments) = view.moments else { return };
        let mut exercised = view.steady();
        cx.agreed(view.steady());
        for row in view.changed() {
            if !row.queued() {
                exercised += 1;
                if !cx.agree(Nanos::ZERO, row.time_in_state, 1, row.row.at()) {
                    report(row, view, Nanos::ZERO, "a completed row has no time in its state", cx);
                }
                continue;
            }
            // Behind a gap the state may have been left and entered again.
            let goes_on = |before: &&Located<IterationRequestRow>| {
                before.row.state == row.state
                    && Some(before.row.iteration_id) >= view.previous_group
            };
            let Some(before) = row.earlier().filter(goes_on) else { continue };
            let Some(earlier) = view.moments_of(before.row.iteration_id) else { continue };
            exercised += 1;
            let passed = moments.decided.saturating_sub(earlier.decided);
            let expected = before.row.time_in_state.saturating_add(passed);
            if !cx.agree(expected, row.time_in_state, 2, row.row.at()) {
                report(row, view, expected, "time_in_state does not go on from the row before", cx);
            }
        }
        cx.exercised(exercised);
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        for span in request.spans.iter().filter(|span| span.state != State::Completed) {
            let (Some(moment), Some(entry)) = (span.first_moment, entry(request, span)) else {
                continue;
            };
            let Some(expected) = moment.checked_sub(entry) else { continue };
            let holds = cx.agree(expected, span.time_in_state, 2, span.first_at);
            cx.expect(holds, |ids| {
                Finding::new(format!("time_in_state is not {moment} - {entry}"))
                    .at(span.first_at, "time_in_state")
                    .of(request.key, ids)
                    .in_iteration(span.first)
                    .values(expected, span.time_in_state)
            });
        }
    }
}

/// When the request entered the state of a span, from its changes.
fn entry(request: &RequestHistory, span: &Span) -> Option<Nanos> {
    if span.state == State::Waiting {
        return request.arrival();
    }
    if request.changes_cut {
        return None;
    }
    let moment = span.first_moment?;
    let last = request.transitions.iter().rfind(|change| change.row.timestamp <= moment)?;
    // A change into another state is S004's business.
    (last.row.state == span.state).then_some(last.row.timestamp)
}

fn report(
    row: &RowView,
    view: &IterationView<'_>,
    expected: Nanos,
    message: &str,
    cx: &mut Cx<'_>,
) {
    cx.found(
        Finding::new(message)
            .at(row.row.at(), "time_in_state")
            .with_row(row.before.as_ref().map(Located::at), "the row before")
            .of(row.request_id, cx.ids)
            .in_iteration(view.id)
            .values(expected, row.time_in_state),
    );
}
