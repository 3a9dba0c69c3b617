//! K005: the final number of tokens.

use crate::invariants::prelude::*;

declare_invariant! {
    /// output_tokens is the same in per_request.csv, in the completion event and in the `completed`
    /// row.
    ///
    /// Of an aborted request, whose last row is of the decision before its end, the last row is a
    /// lower bound.
    ///
    /// Blind spot: a count that is wrong in all three.
    ///
    /// Example: output_tokens taken before the last token was appended.
    pub static K005 = {
        name: "final-tokens-agree",
        reads: [PerRequest(output_tokens)],
        also: [PerIterationRequests(tokens_generated, state), Events(details)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let output = record.row.output_tokens;
        let event = request.event(EventType::RequestCompleted);
        if let Some((event, told)) =
            event.and_then(|event| event.row.details.output_tokens.map(|told| (event, told)))
        {
            cx.expect(told == output, |ids| {
                Finding::new("output_tokens is not what the completion event says")
                    .at(record.at(), "output_tokens")
                    .with(event.at(), "details", "the completion")
                    .of(request.key, ids)
                    .values(told, output)
            });
        }
        let Some(last) = request.completed.or(request.last().copied()) else { return };
        let seen = last.row.tokens_generated;
        let exact = last.row.state == State::Completed;
        cx.expect(if exact { seen == output } else { seen <= output }, |ids| {
            let expected = if exact { seen.to_string() } else { format!("at least {seen}") };
            Finding::new("output_tokens is not what the last row of the steps says")
                .at(record.at(), "output_tokens")
                .with(last.at(), "tokens_generated", "the last row")
                .of(request.key, ids)
                .values(expected, output)
        });
    }
}
