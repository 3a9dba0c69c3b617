//! Q011: the order of the queues.

use crate::config::Policy;
use crate::invariants::prelude::*;

declare_invariant! {
    /// Requests keep their order in a queue from step to step.
    ///
    /// The running queue is a list: admissions go to its end, ends and preemptions leave gaps that
    /// close. Under FCFS so is the waiting queue, with preempted requests put in front in the order in
    /// which they ran and new ones behind by arrival; under `priority` it is ordered by urgency, then
    /// arrival.
    ///
    /// Blind spot: the order among requests of one arrival.
    ///
    /// Example: a snapshot that lists the running queue from its end.
    pub static Q011 = {
        name: "queues-keep-their-order",
        reads: [PerIterationRequests(iteration_id, request_id, state)],
        also: [PerRequest(arrival_time), Events(timestamp, details)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

/// A place in a queue by what is known of the request; rows are in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(i64, u64);

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if view.damaged {
            return;
        }
        cx.exercised(view.rows.len());
        let policy = cx.facts.settings.policy;
        let mut last: [Option<(Place, &RowView)>; 2] = [None; 2];
        for row in view.rows.iter().filter(|row| row.queued()) {
            let running = row.state == State::Running;
            let place = match (running, policy) {
                (true, _) | (false, Some(Policy::Fcfs)) => listed(row, running, view),
                (false, Some(Policy::Priority)) => urgency(row, view),
                (false, None) => None,
            };
            let Some(place) = place else { continue };
            let slot = &mut last[usize::from(running)];
            match slot {
                Some((before, ahead)) if *before > place => report(row, ahead, view, cx),
                _ => *slot = Some((place, row)),
            }
        }
    }
}

/// By the place in the step before; then those that are new in the queue.
fn listed(row: &RowView, running: bool, view: &IterationView<'_>) -> Option<Place> {
    // A step decided before the end was known shows the request behind its completed row.
    if row.before.is_some_and(|before| before.row.state == State::Completed) {
        return None;
    }
    match row.earlier() {
        // Running rows stand before waiting ones, so victims come first by themselves.
        Some(before) if !running || before.row.state == State::Running => {
            let whole = Some(before.row.iteration_id) == view.previous_group;
            whole.then_some(Place(0, before.offset))
        }
        _ if row.past_lost => None,
        // Admissions come from the front of the waiting queue; their order is Q006's business.
        _ if running => Some(Place(1, 0)),
        None => Some(Place(1, view.history(row.request_id)?.arrival()?.0)),
        Some(_) => None,
    }
}

fn urgency(row: &RowView, view: &IterationView<'_>) -> Option<Place> {
    let history = view.history(row.request_id)?;
    let told = history.event(EventType::RequestArrived)?.row.details.priority?;
    Some(Place(told.0, history.arrival()?.0))
}

#[cold]
fn report(row: &RowView, ahead: &RowView, view: &IterationView<'_>, cx: &mut Cx<'_>) {
    cx.found(
        Finding::new(format!(
            "{} stands before the request, but comes after it",
            cx.id(ahead.request_id)
        ))
        .at(row.row.at(), "request_id")
        .with(ahead.row.at(), "request_id", "it comes after")
        .with_row(row.before.as_ref().map(Located::at), "the request in the step before")
        .of(row.request_id, cx.ids)
        .in_iteration(view.id),
    );
}
