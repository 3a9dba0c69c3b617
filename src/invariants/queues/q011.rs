//! Q011: the order of the queues.

use std::collections::BTreeMap;

use crate::config::Policy;
use crate::invariants::prelude::*;
use crate::log::ids::{Ids, RequestKey};
use crate::log::schema::IterationRequestRow;
use crate::units::{IterationId, Priority};

declare_invariant! {
    /// Requests keep their order in a queue from step to step.
    ///
    /// The running queue is a list: admissions go to its end, ends and preemptions leave gaps that
    /// close. Under FCFS so is the waiting queue, with preempted requests put in front in the order in
    /// which they ran and new ones behind by arrival; under `priority` it is ordered by urgency, and
    /// equally urgent requests keep their order: it is that of the client's clock, which need not be
    /// the order in which they reached the server. In the log of a reference model, which is given
    /// arrival_time as that clock, it is the order of arrival_time, and of the ids among those of one
    /// moment. Where details do not tell priorities, those of neighbours in the queue are compared once both
    /// are over.
    ///
    /// Blind spot: under FCFS the order among requests of one arrival; under `priority`, in logs of other
    /// engines, where a request that is new in the queue belongs among equally urgent ones, and the ids
    /// where another logger wrote whole microseconds or coarser moments.
    ///
    /// Example: a snapshot that lists the running queue from its end.
    pub static Q011 = {
        name: "queues-keep-their-order",
        reads: [PerIterationRequests(iteration_id, request_id, state)],
        also: [PerRequest(arrival_time, priority_score), Events(timestamp, details)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// By key, for requests whose priorities only their rows tell.
    neighbours: BTreeMap<RequestKey, Neighbours>,
}

/// The requests that stood next to one in the waiting queue.
#[derive(Debug, Default)]
struct Neighbours {
    /// Those that are alive, and how they stood.
    alive: Vec<(RequestKey, Pair)>,
    /// The least urgent of those that stood ahead and are over.
    ahead: Option<Over>,
    /// The most urgent of those that stood behind and are over.
    behind: Option<Over>,
}

/// Two rows of one step, one right behind the other.
#[derive(Clone, Copy, Debug)]
struct Pair {
    step: IterationId,
    ahead: Location,
    behind: Location,
    /// Whether the neighbour is the one ahead.
    other_is_ahead: bool,
}

/// A neighbour that is over.
#[derive(Debug)]
struct Over {
    priority: i64,
    id: String,
    pair: Pair,
}

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
        if policy == Some(Policy::Priority)
            && cx.facts.has_column(Table::PerRequest, "priority_score")
        {
            self.note_neighbours(view);
        }
        let mut steady = None;
        for (ahead, row) in view.changed_behind().filter(|(_, row)| row.queued()) {
            // A steady row stands behind all others so far.
            steady = ahead.or(steady);
            if row.state == State::Running {
                let steady = steady.take().and_then(|place| view.rows.get(place));
                let stands = steady.and_then(|row| Some((Place(0, row.before?.offset, ""), row)));
                running.last = stands.or(running.last);
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

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(own) = self.neighbours.remove(&request.key) else { return };
        let record = request.record.as_ref().filter(|_| !request.damaged);
        let priority = record.and_then(|record| record.row.priority_score);
        for (other, pair) in own.alive {
            let Some(theirs) = self.neighbours.get_mut(&other) else { continue };
            theirs.alive.retain(|(key, _)| *key != request.key);
            let Some(Priority(priority)) = priority else { continue };
            let over = Over { priority, id: cx.id(request.key).to_owned(), pair };
            // To the neighbour it is the other one.
            if pair.other_is_ahead {
                let known = theirs.behind.as_ref().map_or(i64::MAX, |known| known.priority);
                theirs.behind = theirs.behind.take().filter(|_| known <= priority).or(Some(over));
            } else {
                let known = theirs.ahead.as_ref().map_or(i64::MIN, |known| known.priority);
                theirs.ahead = theirs.ahead.take().filter(|_| known >= priority).or(Some(over));
            }
        }
        let Some(Priority(priority)) = priority else { return };
        cx.exercised(1);
        if let Some(ahead) = own.ahead.filter(|ahead| ahead.priority > priority) {
            let own = cx.id(request.key).to_owned();
            less_urgent(&ahead.id, ahead.priority, own, priority, ahead.pair, cx);
        }
        if let Some(behind) = own.behind.filter(|behind| behind.priority < priority) {
            let own = cx.id(request.key).to_owned();
            less_urgent(&own, priority, behind.id, behind.priority, behind.pair, cx);
        }
    }
}

impl Check {
    /// Notes who stands next to whom where nothing tells yet how urgent they are.
    fn note_neighbours(&mut self, view: &IterationView<'_>) {
        let mut last: Option<&RowView> = None;
        for row in view.changed().filter(|row| row.queued() && row.state != State::Running) {
            let Some(ahead) = last.replace(row) else { continue };
            let (one, other) = (ahead.request_id, row.request_id);
            let told = urgency(ahead, view).is_some() && urgency(row, view).is_some();
            let known = self.neighbours.get(&other).is_some_and(|theirs| {
                theirs.alive.iter().any(|(key, pair)| *key == one && pair.other_is_ahead)
            });
            if told || known || one == other {
                continue;
            }
            let (step, ahead, behind) = (view.id, ahead.row.at(), row.row.at());
            let mut note = |key: RequestKey, neighbour, other_is_ahead| {
                let pair = Pair { step, ahead, behind, other_is_ahead };
                self.neighbours.entry(key).or_default().alive.push((neighbour, pair));
            };
            note(one, other, false);
            note(other, one, true);
        }
    }
}

/// A request stood right ahead of a more urgent one.
#[cold]
fn less_urgent(ahead: &str, its: i64, behind: String, own: i64, pair: Pair, cx: &mut Cx<'_>) {
    let mut finding = Finding::new(format!(
        "{ahead}, of priority {its}, stands before the request, of priority {own}"
    ))
    .at(pair.behind, "request_id")
    .with(pair.ahead, "request_id", "it is less urgent")
    .naming(ahead)
    .in_iteration(pair.step);
    finding.request = Some(behind);
    cx.found(finding);
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
    let id = if cx.knows_order() { cx.ids.id(row.request_id) } else { "" };
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
        .naming(cx.id(ahead.request_id))
        .in_iteration(view.id),
    );
}
