//! C006: evictions are counted alike.

use crate::invariants::prelude::*;

declare_invariant! {
    /// eviction_count is the number of the request's `request_evicted` events.
    ///
    /// Both are written at a resumption that finds fewer cached tokens than had been computed before;
    /// so there are never more of them than preemptions.
    ///
    /// Blind spot: evictions in logs without events; only the bound is checked there.
    ///
    /// Example: evicted blocks counted instead of resumptions.
    pub static C006 = {
        name: "evictions-agree",
        reads: [PerRequest(eviction_count, preemption_count)],
        also: [Events(event_type)],
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
