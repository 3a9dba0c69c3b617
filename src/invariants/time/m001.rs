//! M001: the latency of a request.

use crate::invariants::prelude::*;

declare_invariant! {
    /// e2e_latency = completion_time - arrival_time.
    ///
    /// All three are of one clock, in whole nanoseconds, so the equation is exact. It fails where the
    /// latency is taken from another arrival (the moment a step noticed the request) or another end.
    /// A request without completion_time has no latency either.
    ///
    /// Blind spot: a wrong arrival or completion that the latency shares; M005 and S003 compare them.
    ///
    /// Example: arrival 100, completion 900, e2e_latency 790.
    pub static M001 = {
        name: "e2e-is-completion-minus-arrival",
        reads: [PerRequest(arrival_time, completion_time, e2e_latency)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let row = &record.row;
        let expected = match row.completion_time {
            None => None,
            // M005 reports a completion before the arrival.
            Some(end) => match end.checked_sub(row.arrival_time) {
                Some(latency) => Some(latency),
                None => return,
            },
        };
        let holds = match (expected, row.e2e_latency) {
            (Some(expected), Some(actual)) => {
                cx.agree_on(Compared::Latency, expected, actual, 1, record.at())
            }
            (expected, actual) => expected == actual,
        };
        cx.expect(holds, |ids| {
            let text = |value: Option<Nanos>| value.map_or("empty".to_owned(), |v| v.to_string());
            Finding::new("e2e_latency is not completion_time - arrival_time")
                .at(record.at(), "e2e_latency")
                .of(request.key, ids)
                .values(text(expected), text(row.e2e_latency))
        });
    }
}
