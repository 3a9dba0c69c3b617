//! Q006: who is served first.

use crate::config::Policy;
use crate::invariants::prelude::*;
use crate::log::ids::Ids;

declare_invariant! {
    /// Under FCFS no request is admitted while one that came before it still waits; under `priority`
    /// none while a more urgent one does.
    ///
    /// Admission takes the head of the queue or stops (vLLM: the waiting loop of `schedule`); only
    /// requests that are blocked by themselves (grammar, remote KV, adapters, output in flight) are
    /// passed over. Under FCFS a request that stood in the queue before stands ahead of one that is
    /// new in it. Under `priority` equally urgent requests keep their order in the queue: it is that of
    /// the client's clock, which need not be the order in which they reached the server. In the log of a
    /// reference model, which is given arrival_time as that clock, it is the order of arrival_time, and of
    /// the ids among those of one moment (vLLM: `Request.__lt__`).
    ///
    /// Blind spot: under FCFS the order of arrivals of one moment; under `priority`, in logs of other
    /// engines, where equally urgent requests belong that are new in the queue, and the ids where another
    /// logger wrote whole microseconds or coarser moments; requests preempted with output in flight.
    ///
    /// Example: a short prompt admitted past a long one that did not fit.
    pub static Q006 = {
        name: "order-of-service",
        reads: [PerIterationRequests(request_id, state, queue_position)],
        also: [PerRequest(arrival_time), Events(timestamp, details)],
        needs: [Policy],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

/// Where a request stood when the step began; the least is served first. The id counts only where it is
/// known to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a>(i64, i64, &'a str);

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if view.damaged || cx.facts.dialect.hides_waiting() {
            return;
        }
        let policy = cx.facts.settings.policy.unwrap_or_default();
        // Where nothing is known of the order, neither side is in the wrong.
        let rank = |row: &RowView, unknown: i64| match policy {
            Policy::Fcfs => fcfs(row, view),
            Policy::Priority if cx.facts.modelled => by_key(row, view, cx),
            Policy::Priority => {
                urgency(row, view).map(|urgency| Rank(urgency, place(row).unwrap_or(unknown), ""))
            }
        };
        let admitted = view
            .changed()
            .filter(|row| row.admitted())
            .filter_map(|row| Some((rank(row, i64::MIN)?, row)));
        let Some((served, lucky)) = admitted.max_by_key(|(rank, _)| *rank) else { return };
        let passed = view
            .changed()
            .filter(|row| passed_over(row, cx))
            .filter_map(|row| Some((rank(row, i64::MAX)?, row)));
        let first = passed.min_by_key(|(rank, _)| *rank);
        cx.exercised(1);
        let Some((waits, unlucky)) = first else { return };
        let slack = i64::try_from(cx.slack().0).unwrap_or(i64::MAX);
        let by_arrival = waits.0 == served.0 && (waits.0 != 0 || policy == Policy::Priority);
        let waits_from =
            if by_arrival { Rank(waits.0, waits.1.saturating_add(slack), waits.2) } else { waits };
        if waits_from < served {
            cx.found(
                Finding::new(format!(
                    "the request is admitted while {}, which comes before it, waits",
                    cx.id(unlucky.request_id)
                ))
                .at(lucky.row.at(), "state")
                .with(unlucky.row.at(), "state", "it comes first")
                .of(lucky.request_id, cx.ids)
                .naming(cx.id(unlucky.request_id))
                .in_iteration(view.id),
            );
        }
    }
}

/// Whether the request still waits although nothing of its own blocks it.
fn passed_over(row: &RowView, cx: &Cx<'_>) -> bool {
    use WaitingReason as W;
    let waits = match row.state {
        State::Waiting => true,
        State::Preempted => !cx.facts.overlapping,
        _ => false,
    };
    let blocked = matches!(
        row.waiting_reason,
        Some(
            W::WaitingForRemoteKvs
                | W::WaitingForFsm
                | W::WaitingForOutput
                | W::LoraLimit
                | W::InitialWaiting
        )
    );
    waits && !blocked
}

/// FCFS: the place in the queue of the step before, then those that are new by arrival.
fn fcfs(row: &RowView, view: &IterationView<'_>) -> Option<Rank<'static>> {
    match row.earlier() {
        Some(before) if before.row.state == State::Running => None,
        Some(_) => place(row).map(|place| Rank(0, place, "")),
        None => {
            let arrival = view.history(row.request_id)?.arrival()?;
            i64::try_from(arrival.0).ok().map(|arrival| Rank(1, arrival, ""))
        }
    }
}

/// The place in the waiting queue of the step before.
fn place(row: &RowView) -> Option<i64> {
    let before = row.earlier().filter(|before| before.row.state != State::Running)?;
    before.row.queue_position.map(|place| i64::from(place.0))
}

/// Priority, where arrival_time is the client's clock.
fn by_key<'a>(row: &RowView, view: &IterationView<'_>, cx: &Cx<'a>) -> Option<Rank<'a>> {
    let arrival = view.history(row.request_id)?.arrival()?;
    let id = if cx.knows_order() { cx.ids.id(row.request_id) } else { "" };
    Some(Rank(urgency(row, view)?, i64::try_from(arrival.0).ok()?, id))
}

/// Priority: the less, the more urgent.
fn urgency(row: &RowView, view: &IterationView<'_>) -> Option<i64> {
    let history = view.history(row.request_id)?;
    Some(history.event(EventType::RequestArrived)?.row.details.priority?.0)
}
