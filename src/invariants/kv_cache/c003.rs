//! C003: the blocks of all requests.

use crate::invariants::prelude::*;

declare_invariant! {
    /// Without prefix caching the blocks of a step's rows add up to kv_cache_used; with it they add up
    /// to at least that, as shared blocks count once in the cache and once per holder in the rows, and
    /// to no more than that and the blocks which the holders found in the cache. The blocks of one request
    /// are never shared among themselves.
    ///
    /// More blocks in use than the requests hold is a leak; fewer were counted after some had been
    /// given back.
    ///
    /// What they found is told by the events, or else by computed_tokens as they enter the running queue.
    ///
    /// Blind spot: with prefix caching, a difference smaller than what may be shared; that is all of
    /// them where neither is told, or something was found and block_size is not known.
    ///
    /// Example: kv_cache_used that does not fall when a request is aborted.
    pub static C003 = {
        name: "blocks-add-up",
        reads: [PerIteration(kv_cache_used), PerIterationRequests(state, kv_cache_blocks)],
        also: [Events(details), PerIterationRequests(computed_tokens)],
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
        let sum = view.blocks();
        let used = u64::from(step.row.kv_cache_used.0);
        let shared = cx.facts.settings.enable_prefix_caching != Some(false);
        // Only blocks that are held twice make the sum differ.
        let least = if shared && used != sum {
            shared_at_most(view, cx).map(|hits| sum.saturating_sub(hits))
        } else {
            Some(sum)
        };
        let least = least.unwrap_or(0).max(most_of_one(view, cx));
        cx.expect(least <= used && used <= sum, |_| {
            let expected = match least {
                least if least == sum => sum.to_string(),
                0 => format!("at most {sum}"),
                least => format!("{least} to {sum}"),
            };
            Finding::new(format!("{used} blocks are used, but the requests hold {sum}"))
                .at(step.at(), "kv_cache_used")
                .with_row(view.rows.at(0), "the step's first row")
                .in_iteration(view.id)
                .values(expected, used)
        });
    }
}

/// The blocks of the request that holds the most, in logs in which no row is steady, so that all of them
/// are looked at anyway.
fn most_of_one(view: &IterationView<'_>, cx: &Cx<'_>) -> u64 {
    let steady = cx.facts.has_column(Table::PerIterationRequests, "computed_tokens");
    if steady && !cx.facts.overlapping {
        return 0;
    }
    let held = view.changed().filter(|row| row.queued()).map(|row| row.kv_cache_blocks.0);
    held.max().map_or(0, u64::from)
}

/// Blocks that the running requests found in the cache, which others may hold too.
fn shared_at_most(view: &IterationView<'_>, cx: &Cx<'_>) -> Option<u64> {
    let block_size = cx.facts.settings.block_size.filter(|size| *size > 0);
    let mut hits = 0;
    for row in view.rows.iter().filter(|row| row.state == State::Running) {
        let totals = &view.history(row.request_id)?.totals;
        let hit = totals.hit.or(totals.found)?;
        if hit > Tokens::ZERO {
            hits += u64::from(hit.0.div_ceil(block_size?));
        }
    }
    Some(hits)
}
