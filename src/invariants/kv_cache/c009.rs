//! C009: the blocks at the end.

use crate::invariants::prelude::*;

declare_invariant! {
    /// kv_cache_blocks of a request that is over, in its row and in its `completed` row, is what its
    /// last row in a queue holds.
    ///
    /// The count is taken before the blocks are freed; nothing is allocated between the last decision
    /// and the end. A request that ends while it waits or is preempted holds none.
    ///
    /// Blind spot: logs that do not show all queues.
    ///
    /// Example: kv_cache_blocks 0 of every request: the blocks had been freed already.
    pub static C009 = {
        name: "blocks-at-the-end",
        reads: [PerRequest(kv_cache_blocks), PerIterationRequests(state, kv_cache_blocks)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let (Some(own), Some(end)) = (record.row.kv_cache_blocks, record.row.completion_time)
        else {
            return;
        };
        let dialect = &cx.facts.dialect;
        let hidden = dialect.hides_waiting();
        if hidden || !cx.facts.tells_all_until(end) {
            return;
        }
        let held = request.queued.map_or(Blocks::ZERO, |last| last.row.kv_cache_blocks);
        let last = request.queued.as_ref().map(Located::at);
        cx.expect(own == held, |ids| {
            Finding::new("kv_cache_blocks is not what the request held at its end")
                .at(record.at(), "kv_cache_blocks")
                .with_row(last, "its last row in a queue")
                .of(request.key, ids)
                .values(held, own)
        });
        let Some(completed) = &request.completed else { return };
        cx.expect(completed.row.kv_cache_blocks == held, |ids| {
            Finding::new("the completed row has other blocks than the request held")
                .at(completed.at(), "kv_cache_blocks")
                .with_row(last, "its last row in a queue")
                .of(request.key, ids)
                .values(held, completed.row.kv_cache_blocks)
        });
    }
}
