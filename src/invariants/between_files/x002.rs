//! X002: events are counted alike.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request has one `request_arrived` event; one `request_scheduled` if it was ever scheduled; one
    /// `first_token_generated` if it has output; one `request_completed` if it is over; and one
    /// `request_resumed` for each preemption that it came back from.
    ///
    /// Preemptions and evictions have rules of their own (S005, C006).
    ///
    /// Blind spot: in logs that note a resumption at the first scheduling too, resumptions are not
    /// counted.
    ///
    /// Example: a second `request_scheduled` where a resumption was meant.
    pub static X002 = {
        name: "events-match-requests",
        reads: [
            PerRequest(first_scheduled_time, completion_time, output_tokens, preemption_count),
            Events(event_type, request_id),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let row = &record.row;
        // A request without events is X001's business, events behind the end of the file X005's.
        let end = row.completion_time.unwrap_or(row.arrival_time);
        if request.events.is_empty() || !cx.facts.covers(Table::Events, end) {
            return;
        }
        use EventType as T;
        let count = |kind| request.events_of(kind).count();
        // Without an arrival there is X001's finding; two are wrong here.
        let arrivals = count(T::RequestArrived).max(1);
        let mut expected = vec![
            (T::RequestArrived, "request_id", 1, arrivals),
            (
                T::RequestScheduled,
                "first_scheduled_time",
                usize::from(row.first_scheduled_time.is_some()),
                count(T::RequestScheduled),
            ),
            (
                T::FirstTokenGenerated,
                "output_tokens",
                usize::from(row.output_tokens > Tokens::ZERO),
                count(T::FirstTokenGenerated),
            ),
            (
                T::RequestCompleted,
                "completion_time",
                usize::from(row.completion_time.is_some()),
                count(T::RequestCompleted),
            ),
        ];
        if !cx.facts.dialect.has(Habit::ResumedAtFirst) {
            // The last preemption is not come back from if the request ended (or is) preempted.
            let noted = request.events.iter().rev().find(|event| {
                matches!(event.row.event_type, T::RequestPreempted | T::RequestResumed)
            });
            let away = noted.is_some_and(|event| event.row.event_type == T::RequestPreempted);
            let preempted = count(T::RequestPreempted);
            let resumed = preempted.saturating_sub(usize::from(away));
            expected.push((
                T::RequestResumed,
                "preemption_count",
                resumed,
                count(T::RequestResumed),
            ));
        }
        for (kind, column, wanted, found) in expected {
            cx.expect(wanted == found, |ids| {
                let event = request.events_of(kind).last().map(Located::at);
                Finding::new(format!("the request has {found} {kind} events instead of {wanted}"))
                    .at(record.at(), column)
                    .with_row(event, "the last of them")
                    .of(request.key, ids)
                    .values(wanted, found)
            });
        }
    }
}
