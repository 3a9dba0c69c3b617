//! M007: the time to the first token.

use crate::invariants::prelude::*;

declare_invariant! {
    /// ttft is the time from the arrival to the `first_token_generated` event, and empty if and only
    /// if there is no output.
    ///
    /// The event carries the `E` of the step that produced the token. A ttft counted from the first
    /// scheduling, or ended at `D`, differs.
    ///
    /// Blind spot: an event that is wrong in the same way; M014 ties it to its step.
    ///
    /// Example: arrival 100, event at 400, ttft 250.
    pub static M007 = {
        name: "ttft-is-first-token",
        reads: [PerRequest(arrival_time, ttft, output_tokens), Events(timestamp, event_type)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let answered = record.row.output_tokens > Tokens::ZERO;
        cx.expect(record.row.ttft.is_some() == answered, |ids| {
            let message = match answered {
                true => "the request has output, but no ttft",
                false => "ttft of a request that never produced a token",
            };
            let expected = if answered { "a time" } else { "empty" };
            let actual = record.row.ttft.map_or("empty".to_owned(), |ttft| ttft.to_string());
            Finding::new(message)
                .at(record.at(), "ttft")
                .of(request.key, ids)
                .values(expected, actual)
        });
        if record.row.ttft.is_some() != answered {
            return;
        }
        let Some(event) = request.event(EventType::FirstTokenGenerated) else { return };
        let expected = event.row.timestamp.checked_sub(record.row.arrival_time);
        let holds = match (expected, record.row.ttft) {
            (Some(expected), Some(ttft)) => {
                cx.agree_on(Compared::FirstTokenAndEvent, expected, ttft, 1, record.at())
            }
            (expected, ttft) => expected == ttft,
        };
        cx.expect(holds, |ids| {
            let text = |value: Option<Nanos>| value.map_or("empty".to_owned(), |v| v.to_string());
            Finding::new("ttft is not the time from the arrival to the first token")
                .at(record.at(), "ttft")
                .with(event.at(), "timestamp", "the first token")
                .of(request.key, ids)
                .values(text(expected), text(record.row.ttft))
        });
    }
}
