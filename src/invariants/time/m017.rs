//! M017: the wait before the first scheduling.

use crate::invariants::prelude::*;

declare_invariant! {
    /// waiting_time is at least the time from the arrival to the first scheduling, and exactly that of
    /// a request that was never preempted; one that was never scheduled has no execution_time.
    ///
    /// This needs no other file. It fails where the two times are swapped, or where one of them lacks
    /// a part that the other has.
    ///
    /// Blind spot: the time of later waits; M003 adds up the changes.
    ///
    /// Example: arrival 100, first_scheduled_time 300, waiting_time 40 and no preemption.
    pub static M017 = {
        name: "first-wait",
        reads: [PerRequest(arrival_time, first_scheduled_time, waiting_time, execution_time,
            preemption_count)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let row = &record.row;
        let (at, own) = (record.at(), row.waiting_time);
        let Some(first) = row.first_scheduled_time else {
            // Whether it was scheduled is M006's business.
            if request.event(EventType::RequestScheduled).is_none() {
                let holds = cx.agree(Nanos::ZERO, row.execution_time, 1, at);
                cx.expect(holds, |ids| {
                    Finding::new("a request that was never scheduled has execution_time")
                        .at(at, "execution_time")
                        .of(request.key, ids)
                        .values(0, row.execution_time)
                });
            }
            return;
        };
        let Some(wait) = first.checked_sub(row.arrival_time) else { return };
        let exact = row.preemption_count.0 == 0;
        let holds = if exact {
            cx.agree_on(Compared::FirstWait, wait, own, 1, at)
        } else {
            cx.follows(wait, own, at)
        };
        cx.expect(holds, |ids| {
            let least = if exact { "" } else { "at least " };
            Finding::new("waiting_time is not the time from the arrival to the first scheduling")
                .at(at, "waiting_time")
                .of(request.key, ids)
                .values(format!("{least}{wait}"), own)
        });
    }
}
