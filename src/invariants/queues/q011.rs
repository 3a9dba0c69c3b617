//! Q011: the order of the queues.

use crate::config::Policy;
use crate::invariants::prelude::*;
use crate::log::ids::Ids;
use crate::log::schema::IterationRequestRow;

declare_invariant! {
    /// Requests keep their order in a queue from step to step.
    ///
    /// The running queue is a list: admissions go to its end, ends and preemptions leave gaps that
    /// close. Under FCFS so is the waiting queue, with preempted requests put in front in the order in
    /// which they ran and new ones behind by arrival; under `priority` it is ordered by urgency, and
    /// equally urgent requests keep their order: it is that of the client's clock, which need not be
    /// the order in which they reached the server. In the log of a reference model, which is given
    /// arrival_time as that clock, it is the order of arrival_time, and of the ids among those of one
    /// moment.
    ///
    /// Blind spot: under FCFS the order among requests of one arrival; under `priority`, in logs of other
    /// engines, where a request that is new in the queue belongs among equally urgent ones.
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
struct Place<'a>(i64, u64, &'a str);

impl Place<'_> {
    /// Places by arrival are known as well as the clock.
    const fn later_by(self, slack: Nanos) -> Self {
        Self(self.0, self.1.saturating_add(slack.0), self.2)
    }
}

/// What the places in a queue are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    /// In the step before, or, of those that are new, by arrival.
    #[default]
    Listed,
    /// By urgency and, among equals, in the step before: all exact.
    Urgency,
    /// By urgency, arrival and id.
    Key,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if view.damaged {
            return;
        }
        cx.exercised(view.rows.len());
        let policy = cx.facts.settings.policy;
        let order = match policy {
            Some(Policy::Priority) if cx.facts.modelled => Order::Key,
            Some(Policy::Priority) => Order::Urgency,
            _ => Order::Listed,
        };
        let mut running = Queue::default();
        let mut waiting = Queue { order, ..Queue::default() };
        let mut equals = Queue { order, ..Queue::default() };
        for (ahead, row) in view.changed_behind().filter(|(_, row)| row.queued()) {
            // A steady row stands behind all others so far.
            let stands = ahead.and_then(|(_, row)| Some((Place(0, row.before?.offset, ""), row)));
            running.last = stands.or(running.last);
            if row.state == State::Running {
                running.follow(listed(row, true, view), row, view, cx);
            } else if policy == Some(Policy::Fcfs) {
                waiting.follow(listed(row, false, view), row, view, cx);
            } else if order == Order::Key {
                waiting.follow(by_key(row, view, cx), row, view, cx);
            } else if let (Some(Policy::Priority), Some(urgency)) = (policy, urgency(row, view)) {
                let in_order = waiting.follow(Some(Place(urgency, 0, "")), row, view, cx);
                let stood = row.earlier().filter(|before| waited(before, view));
                let stood = stood.filter(|_| in_order);
                let place = stood.map(|before| Place(urgency, before.offset, ""));
                equals.follow(place, row, view, cx);
            }
        }
    }
}

/// The row that stands last so far among those whose place is known.
#[derive(Default)]
struct Queue<'a> {
    last: Option<(Place<'a>, RowView)>,
    order: Order,
}

impl<'a> Queue<'a> {
    /// Whether the next row is in order, as far as its place is known.
    fn follow(
        &mut self,
        place: Option<Place<'a>>,
        row: &RowView,
        view: &IterationView<'_>,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Some(place) = place else { return true };
        let by_arrival = match self.order {
            // New in the queue.
            Order::Listed => place.0 == 1,
            Order::Urgency => false,
            Order::Key => true,
        };
        let slack = if by_arrival { cx.slack() } else { Nanos::ZERO };
        match &self.last {
            Some((before, ahead)) if *before > place.later_by(slack) => {
                report(row, ahead, view, cx);
                false
            }
            _ => {
                self.last = Some((place, *row));
                true
            }
        }
    }
}

/// Whether the request stood in the waiting queue of the step before.
fn waited(before: &Located<IterationRequestRow>, view: &IterationView<'_>) -> bool {
    matches!(before.row.state, State::Waiting | State::Preempted)
        && Some(before.row.iteration_id) == view.previous_group
}

/// By the place in the step before; then those that are new in the queue.
fn listed(row: &RowView, running: bool, view: &IterationView<'_>) -> Option<Place<'static>> {
    // A step decided before the end was known shows the request behind its completed row.
    if row.before.is_some_and(|before| before.row.state == State::Completed) {
        return None;
    }
    match row.earlier() {
        // Running rows stand before waiting ones, so victims come first by themselves.
        Some(before) if !running || before.row.state == State::Running => {
            let whole = Some(before.row.iteration_id) == view.previous_group;
            whole.then_some(Place(0, before.offset, ""))
        }
        _ if row.past_lost => None,
        // Admissions come from the front of the waiting queue; their order is Q006's business.
        _ if running => Some(Place(1, 0, "")),
        None => Some(Place(1, view.history(row.request_id)?.arrival()?.0, "")),
        Some(_) => None,
    }
}

/// By what a reference model orders its queue by.
fn by_key<'a>(row: &RowView, view: &IterationView<'_>, cx: &Cx<'a>) -> Option<Place<'a>> {
    let arrival = view.history(row.request_id)?.arrival()?;
    // What came within the clock's readings may have come at one moment, or in any order.
    let id = if cx.slack() == Nanos::ZERO { cx.ids.id(row.request_id) } else { "" };
    Some(Place(urgency(row, view)?, arrival.0, id))
}

fn urgency(row: &RowView, view: &IterationView<'_>) -> Option<i64> {
    let history = view.history(row.request_id)?;
    Some(history.event(EventType::RequestArrived)?.row.details.priority?.0)
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
