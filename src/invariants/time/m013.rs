//! M013: the time in a state.

use crate::check::{Span, ToldChange};
use crate::invariants::prelude::*;
use crate::log::schema::IterationRequestRow;
use crate::state_graph::is_legal;

declare_invariant! {
    /// time_in_state is the moment of the row minus the entry into the state.
    ///
    /// The moment is `D` (`E` for a `completed` row, whose value is 0). From step to step the entry
    /// implied by the rows stays the same; it is the arrival, or the request's change into the state, by
    /// the events where there is no state_transitions.csv. Behind a step that had the request in another
    /// state, or not running, it has been in the new one no longer than since that step's `D`.
    ///
    /// Blind spot: when between two steps the state was entered, in logs whose changes and events do not
    /// tell, or tell readings of their own.
    ///
    /// Example: a timer that is not set back at a preemption.
    pub static M013 = {
        name: "time-in-state",
        reads: [
            PerIteration(start_time, scheduling_overhead),
            PerIterationRequests(request_id, state, time_in_state),
        ],
        also: [
            StateTransitions(timestamp, state),
            PerRequest(arrival_time),
            Events(timestamp, event_type),
        ],
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
            let Some(before) = row.earlier().filter(goes_on) else {
                exercised += usize::from(entered_before(row, view, cx));
                continue;
            };
            let Some(earlier) = view.moments_of(before.row.iteration_id) else { continue };
            exercised += 1;
            let passed = moments.decided.saturating_sub(earlier.decided);
            let expected = before.row.time_in_state.saturating_add(passed);
            if !cx.agree_on(Compared::Stay, expected, row.time_in_state, 2, row.row.at()) {
                report(row, view, expected, "time_in_state does not go on from the row before", cx);
            }
        }
        cx.exercised(exercised);
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let by_events = match cx.facts.has(Table::StateTransitions) {
            true => None,
            false => told_by_events(request, cx),
        };
        for span in request.spans.iter().filter(|span| span.state != State::Completed) {
            let (Some(moment), Some(entry)) =
                (span.first_moment, entry(request, span, by_events.as_deref(), cx))
            else {
                continue;
            };
            let Some(expected) = moment.checked_sub(entry) else { continue };
            let holds = cx.agree_on(Compared::Stay, expected, span.time_in_state, 2, span.first_at);
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

/// Whether the row says how long a request has been in a state that it was not in at the step before; no
/// longer than since that step's `D`.
fn entered_before(row: &RowView, view: &IterationView<'_>, cx: &mut Cx<'_>) -> bool {
    let previous = view.previous.map(|previous| previous.row.iteration_id);
    let adjoins = previous.is_some_and(|id| id.0.checked_add(1) == Some(view.id.0));
    let known = adjoins
        && view.previous_group == previous
        && !view.damaged
        && !row.past_lost
        && cx.facts.whole(Table::PerIterationRequests);
    let here = |before: &&Located<IterationRequestRow>| {
        Some(before.row.iteration_id) == previous && before.row.state != State::Completed
    };
    let before = row.earlier().filter(here);
    let elsewhere = match (before, row.before) {
        // Others are S007's business.
        (Some(before), _) => is_legal(before.row.state, row.state),
        // Running requests have rows in every log; those of steps decided before the end may stand behind it.
        (None, Some(last)) => {
            let there = Some(last.row.iteration_id) < previous;
            there && row.state == State::Running && last.row.state != State::Completed
        }
        (None, None) => row.state == State::Running,
    };
    let (Some(moments), Some(id)) = (view.moments, previous.filter(|_| known && elsewhere)) else {
        return false;
    };
    let Some(earlier) = view.moments_of(id) else { return false };
    let most = moments.decided.saturating_sub(earlier.decided);
    if !cx.follows(row.time_in_state, most, row.row.at()) {
        cx.found(
            Finding::new("time_in_state goes back to before the state was entered")
                .at(row.row.at(), "time_in_state")
                .with_row(before.map(Located::at), "in another state here")
                .of(row.request_id, cx.ids)
                .in_iteration(view.id)
                .values(format!("at most {most}"), row.time_in_state),
        );
    }
    true
}

/// The changes of a request by its events, if those are stamped with the `D` of their steps.
fn told_by_events(request: &RequestHistory, cx: &Cx<'_>) -> Option<Vec<ToldChange>> {
    let dialect = &cx.facts.dialect;
    let one_clock = dialect.decisions_at_d || dialect.has(Habit::ClockSkew);
    if !one_clock || request.damaged || !cx.facts.complete(Table::Events) {
        return None;
    }
    request.changes_by_events()
}

/// When the request entered the state of a span, from its changes.
fn entry(
    request: &RequestHistory,
    span: &Span,
    by_events: Option<&[ToldChange]>,
    cx: &Cx<'_>,
) -> Option<Nanos> {
    if span.state == State::Waiting {
        return request.arrival();
    }
    if request.changes_cut {
        return None;
    }
    let moment = span.first_moment?;
    let (state, at) = match by_events {
        Some(changes) => {
            let told = cx.facts.covers(Table::Events, moment);
            let last = changes.iter().rfind(|change| told && change.at <= moment)?;
            (last.state, last.at)
        }
        None => {
            let last = request.transitions.iter().rfind(|change| change.row.timestamp <= moment)?;
            (last.row.state, last.row.timestamp)
        }
    };
    // A change into another state is S004's business.
    (state == span.state).then_some(at)
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
