//! C003: the blocks of all requests.

use crate::invariants::prelude::*;

declare_invariant! {
    /// Without prefix caching the blocks of a step's rows add up to kv_cache_used; with it they add up
    /// to at least that, as shared blocks count once in the cache and once per holder in the rows.
    ///
    /// More blocks in use than the requests hold is a leak.
    ///
    /// Blind spot: with prefix caching, a leak smaller than what is shared.
    ///
    /// Example: kv_cache_used that does not fall when a request is aborted.
    pub static C003 = {
        name: "blocks-add-up",
        reads: [PerIteration(kv_cache_used), PerIterationRequests(state, kv_cache_blocks)],
        needs: [EnablePrefixCaching],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        // A step whose rows are all missing is X004's business.
        let queued = step.row.running_count.max(step.row.waiting_count);
        if view.rows.is_empty() && queued > Requests::ZERO {
            return;
        }
        let rows = view.rows.iter().filter(|row| row.queued());
        let sum: u64 = rows.map(|row| u64::from(row.kv_cache_blocks.0)).sum();
        let used = u64::from(step.row.kv_cache_used.0);
        let shared = cx.facts.settings.enable_prefix_caching == Some(true);
        cx.expect(if shared { used <= sum } else { used == sum }, |_| {
            let most = if shared { "at most " } else { "" };
            Finding::new(format!("{used} blocks are used, but the requests hold {sum}"))
                .at(step.at(), "kv_cache_used")
                .with_row(view.rows.first().map(|row| row.row.at()), "the step's first row")
                .in_iteration(view.id)
                .values(format!("{most}{sum}"), used)
        });
    }
}
