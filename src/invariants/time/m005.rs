//! M005: the moments of a request in order.

use crate::invariants::prelude::*;

declare_invariant! {
    /// arrival <= first scheduling <= first token <= completion.
    ///
    /// A request cannot be scheduled before it arrived nor answer before it was scheduled. Where the
    /// order fails, moments of different clocks (or units) were mixed.
    ///
    /// Blind spot: all moments shifted alike; M006 and M014 tie them to the steps.
    ///
    /// Example: first_scheduled_time 90 of a request that arrived at 100.
    pub static M005 = {
        name: "moments-in-order",
        reads: [PerRequest(arrival_time, first_scheduled_time, completion_time, ttft)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let row = &record.row;
        let first_token = row.ttft.map(|ttft| row.arrival_time.saturating_add(ttft));
        let moments = [
            ("arrival_time", Some(row.arrival_time)),
            ("first_scheduled_time", row.first_scheduled_time),
            ("ttft", first_token),
            ("completion_time", row.completion_time),
        ];
        let known: Vec<_> =
            moments.into_iter().filter_map(|(name, at)| at.map(|at| (name, at))).collect();
        for pair in known.windows(2) {
            let [(earlier, from), (later, to)] = [pair[0], pair[1]];
            let holds = cx.follows(from, to, record.at());
            cx.expect(holds, |ids| {
                let name = |column| if column == "ttft" { "the first token" } else { column };
                Finding::new(format!("{} comes before {}", name(later), name(earlier)))
                    .at(record.at(), later)
                    .of(request.key, ids)
                    .values(format!("at least {from}"), to)
            });
        }
    }
}
