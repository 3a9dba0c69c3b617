//! C006: evictions are counted alike.

use crate::invariants::prelude::*;

declare_invariant! {
    /// eviction_count is the number of the request's `request_evicted` events, and that of its
    /// resumptions that found fewer cached tokens than had been computed when it was preempted.
    ///
    /// The last is told by the details of `request_preempted` and `request_resumed`. There are never
    /// more evictions than preemptions. What was lost is seen by a resumption, and the event is at its
    /// moment, not at that of the preemption.
    ///
    /// Blind spot: evictions in logs without events; only the bound is checked there.
    ///
    /// Example: evicted blocks counted instead of resumptions.
    pub static C006 = {
        name: "evictions-agree",
        reads: [PerRequest(eviction_count, preemption_count)],
        also: [Events(event_type, details)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let counted = record.row.eviction_count.0;
        if cx.facts.complete(Table::Events) && !request.events.is_empty() {
            let end = record.row.completion_time.unwrap_or_default();
            if !cx.facts.reaches(Table::Events, end) {
                return;
            }
            let events = request.events_of(EventType::RequestEvicted).count();
            cx.expect(counted as usize == events, |ids| {
                let event = request.event(EventType::RequestEvicted).map(Located::at);
                Finding::new(format!(
                    "eviction_count is {counted}, but there are {events} request_evicted events"
                ))
                .at(record.at(), "eviction_count")
                .with_row(event, "an eviction")
                .of(request.key, ids)
                .values(events, counted)
            });
            moments(request, cx);
            if counted as usize == events {
                losses(request, counted, record.at(), cx);
            }
        } else {
            let most = record.row.preemption_count.0;
            cx.expect(counted <= most, |ids| {
                Finding::new("the request is evicted more often than preempted")
                    .at(record.at(), "eviction_count")
                    .of(request.key, ids)
                    .values(format!("at most {most}"), counted)
            });
        }
    }
}

/// Compares the count with what the details of preemptions and resumptions tell.
fn losses(request: &RequestHistory, counted: u32, at: Location, cx: &mut Cx<'_>) {
    let (mut computed, mut evicted, mut last) = (None, 0, None);
    for event in &request.events {
        match event.row.event_type {
            EventType::RequestPreempted => match event.row.details.computed_tokens {
                Some(tokens) => computed = Some(tokens),
                None => return,
            },
            EventType::RequestResumed => {
                // Some loggers note a resumption at the first scheduling too.
                let Some(computed) = computed.take() else { continue };
                let Some(cached) = event.row.details.cached_tokens else { return };
                if cached < computed {
                    evicted += 1;
                    last = Some(event.at());
                }
            }
            _ => {}
        }
    }
    cx.expect(counted == evicted, |ids| {
        Finding::new(format!(
            "eviction_count is {counted}, but {evicted} resumptions found less than had been computed"
        ))
        .at(at, "eviction_count")
        .with_row(last, "such a resumption")
        .of(request.key, ids)
        .values(evicted, counted)
    });
}

/// Evictions at the moment of a preemption and of no resumption.
fn moments(request: &RequestHistory, cx: &mut Cx<'_>) {
    let at = |kind, moment| request.events_of(kind).find(|event| event.row.timestamp == moment);
    for event in request.events_of(EventType::RequestEvicted) {
        let moment = event.row.timestamp;
        let preempted = at(EventType::RequestPreempted, moment);
        let resumed = at(EventType::RequestResumed, moment);
        let wrong = preempted.filter(|_| resumed.is_none());
        cx.expect(wrong.is_none(), |ids| {
            Finding::new("the request is evicted as it is preempted, not as it is resumed")
                .at(event.at(), "timestamp")
                .with_row(wrong.map(Located::at), "the preemption")
                .of(request.key, ids)
        });
    }
}
