//! X002: events are counted alike.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request has one `request_arrived` event; one `request_scheduled` if it was ever scheduled; one
    /// `first_token_generated` if it has output; one `request_completed` if it is over; and one
    /// `request_resumed` for each preemption that it came back from.
    ///
    /// Preemptions and evictions have rules of their own (S005, C006).
    ///
    /// A log that notes a resumption at the first scheduling too has one more.
    ///
    /// Blind spot: which of several resumptions is missing.
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
        // A request without events is X001's business.
        if request.events.is_empty() {
            return;
        }
        use EventType as T;
        let count = |kind| request.events_of(kind).count();
        let first_token = row.ttft.map(|ttft| row.arrival_time.saturating_add(ttft));
        let (first, end) = (row.first_scheduled_time, row.completion_time);
        let output = row.output_tokens > Tokens::ZERO;
        let mut expected = vec![
            // Without an arrival there is X001's finding; two are wrong here.
            (T::RequestArrived, "request_id", 1, count(T::RequestArrived).max(1), end),
            (
                T::RequestScheduled,
                "first_scheduled_time",
                usize::from(first.is_some()),
                count(T::RequestScheduled),
                first,
            ),
            (
                T::FirstTokenGenerated,
                "output_tokens",
                usize::from(output),
                count(T::FirstTokenGenerated),
                first_token.or(end),
            ),
            (
                T::RequestCompleted,
                "completion_time",
                usize::from(end.is_some()),
                count(T::RequestCompleted),
                end,
            ),
        ];
        {
            // Such a log notes a resumption with the first scheduling too.
            let both = cx.facts.dialect.has(Habit::ResumedAtFirst);
            let first = if both { count(T::RequestScheduled) } else { 0 };
            // The last preemption is not come back from if the request ended (or is) preempted.
            let noted = request.events.iter().rev().find(|event| {
                matches!(event.row.event_type, T::RequestPreempted | T::RequestResumed)
            });
            let away = noted.is_some_and(|event| event.row.event_type == T::RequestPreempted);
            let wanted = count(T::RequestPreempted).saturating_sub(usize::from(away)) + first;
            let found = count(T::RequestResumed);
            expected.push((T::RequestResumed, "preemption_count", wanted, found, end));
        }
        for (kind, column, wanted, found, moment) in expected {
            // Events behind the end of the file are X005's business.
            let told = cx.facts.complete(Table::Events)
                && moment.is_none_or(|moment| {
                    cx.facts.covers(Table::Events, moment) || request.events_reach(moment)
                });
            if found < wanted && !told {
                continue;
            }
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
