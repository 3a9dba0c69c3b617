//! M002: waiting and running make up the latency.

use crate::invariants::prelude::*;

declare_invariant! {
    /// waiting_time + execution_time = e2e_latency.
    ///
    /// At any moment between its arrival and its end a request waits (first or preempted) or runs;
    /// there is no third place where time could go. The usual mistake is to forget the time spent
    /// preempted, or to restart a counter at a preemption.
    ///
    /// Blind spot: time moved from one side to the other; M003 adds up the changes.
    ///
    /// Example: waiting 40, execution 50, e2e_latency 100: ten are counted nowhere.
    pub static M002 = {
        name: "waiting-plus-execution-is-e2e",
        reads: [PerRequest(waiting_time, execution_time, e2e_latency)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let row = &record.row;
        let Some(latency) = row.e2e_latency else { return };
        let sum = row.waiting_time.saturating_add(row.execution_time);
        // Each of the three may be read apart.
        let holds = cx.agree_on(Compared::Sum, sum, latency, 3, record.at());
        cx.expect(holds, |ids| {
            Finding::new(format!(
                "waiting_time {} + execution_time {} is {sum}, but e2e_latency is {latency}",
                row.waiting_time, row.execution_time
            ))
            .at(record.at(), "e2e_latency")
            .of(request.key, ids)
            .values(sum, latency)
        });
    }
}
