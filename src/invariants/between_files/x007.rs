//! X007: what events tell of a request.

use std::fmt::Display;

use crate::invariants::prelude::*;

declare_invariant! {
    /// What the events tell of a request is what its row says: input_tokens, priority, finish_reason.
    ///
    /// A request that is over has a finish_reason other than `unfinished`, one that is not has no
    /// other. The values are copied from one object; they differ where one copy was made before it
    /// was filled, or of another request.
    ///
    /// Blind spot: logs with empty details.
    ///
    /// Example: `request_arrived` with 512 input_tokens, and a row with 640: the answer is in it.
    pub static X007 = {
        name: "details-are-the-row",
        reads: [PerRequest(input_tokens)],
        also: [
            PerRequest(priority_score, finish_reason, completion_time),
            Events(event_type, details),
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
        let arrival = request.event(EventType::RequestArrived);
        let end = request.event(EventType::RequestCompleted);
        type Values<'a> = (&'a dyn Display, &'a dyn Display);
        let mut compare = |column, agree, event: &Located<EventRow>, (told, own): Values<'_>| {
            cx.expect(agree, |ids| {
                Finding::new(format!(
                    "{column} is not what the {} event says",
                    event.row.event_type
                ))
                .at(record.at(), column)
                .with(event.at(), "details", "the event")
                .of(request.key, ids)
                .values(told, own)
            });
        };
        if let Some(arrival) = arrival {
            let details = &arrival.row.details;
            if let Some(tokens) = details.input_tokens {
                let values: Values<'_> = (&tokens, &row.input_tokens);
                compare("input_tokens", tokens == row.input_tokens, arrival, values);
            }
            if let (Some(told), Some(own)) = (details.priority, row.priority_score) {
                compare("priority_score", told == own, arrival, (&told, &own));
            }
        }
        let own = row.finish_reason.map(|reason| reason.as_str());
        let told = end.and_then(|end| end.row.details.finish_reason.map(|told| (end, told)));
        if let (Some((end, told)), Some(own)) = (told, own) {
            compare("finish_reason", told.as_str() == own, end, (&told, &own));
        }
        if cx.facts.has_column(Table::PerRequest, "finish_reason") {
            let over = row.completion_time.is_some();
            let says_over = own.is_some_and(|own| own != FinishReason::Unfinished.as_str());
            cx.expect(over == says_over, |ids| {
                let expected = if over { "why it ended" } else { "unfinished" };
                Finding::new("finish_reason does not agree with completion_time")
                    .at(record.at(), "finish_reason")
                    .of(request.key, ids)
                    .values(expected, own.unwrap_or("empty"))
            });
        }
    }
}
