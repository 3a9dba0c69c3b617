//! C010: evicted blocks.

use crate::config::Policy;
use crate::invariants::prelude::*;
use crate::log::schema::IterationRow;

declare_invariant! {
    /// evicted_blocks is at most the number of blocks that the step took, and 0 without prefix caching;
    /// as long as there are blocks that were never used, none is evicted.
    ///
    /// A cached block loses its content only when a step takes it for something else (vLLM:
    /// `get_new_blocks`, `_maybe_evict_cached_block`).
    ///
    /// Blind spot: steps that preempt (a victim may have taken blocks in the same step); fewer evicted
    /// blocks than there were.
    ///
    /// Example: a counter of the whole run, which is 40 in a step that takes one block.
    pub static C010 = {
        name: "evictions-take-blocks",
        reads: [
            PerIteration(evicted_blocks, preempted_count),
            PerIterationRequests(state, kv_cache_blocks),
        ],
        also: [Events(event_type, details), PerIteration(kv_cache_total)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Blocks taken and evicted so far.
    taken: u64,
    evicted: u64,
    /// Whether not all taken blocks are told of.
    untold: bool,
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        use EventType as T;
        for event in events {
            match event.row.event_type {
                T::KvCacheAllocated => match event.row.details.blocks {
                    Some(blocks) => self.taken += u64::from(blocks.0),
                    None => self.untold = true,
                },
                // A victim under the priority policy may have taken blocks that nothing tells of.
                T::RequestPreempted => {
                    self.untold |= cx.facts.settings.policy != Some(Policy::Fcfs);
                }
                _ => {}
            }
        }
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        let Some(evicted) = step.row.evicted_blocks else { return };
        self.evicted += u64::from(evicted.0);
        if view.moments.is_some_and(|moments| cx.facts.covers(Table::Events, moments.decided)) {
            self.unused_first(step, cx);
        }
        let caching = cx.facts.settings.enable_prefix_caching != Some(false);
        let taken = if caching { taken(view, cx) } else { Some(0) };
        let Some(taken) = taken else { return };
        cx.expect(u64::from(evicted.0) <= taken, |_| {
            let why = if caching { "" } else { " without prefix caching" };
            Finding::new(format!("{evicted} blocks are evicted by a step that takes {taken}{why}"))
                .at(step.at(), "evicted_blocks")
                .in_iteration(view.id)
                .values(format!("at most {taken}"), evicted)
        });
    }
}

impl Check {
    /// Blocks that were never used are taken before cached ones, so that all that is taken beyond the
    /// cache's size may have been evicted, and no more.
    fn unused_first(&self, step: &Located<IterationRow>, cx: &mut Cx<'_>) {
        if self.untold || self.taken == 0 || !cx.facts.whole(Table::Events) {
            return;
        }
        let most = self.taken.saturating_sub(u64::from(step.row.kv_cache_total.0));
        cx.expect(self.evicted <= most, |_| {
            Finding::new(format!(
                "{} blocks were evicted so far, but only {} were taken in all",
                self.evicted, self.taken
            ))
            .at(step.at(), "evicted_blocks")
            .in_iteration(step.row.iteration_id)
            .values(format!("at most {most} up to here"), self.evicted)
        });
    }
}

/// Blocks that the step took from the free ones, at most; none if the rows do not tell.
fn taken(view: &IterationView<'_>, cx: &Cx<'_>) -> Option<u64> {
    let step = &view.iteration?.row;
    if step.preempted_count > Requests::ZERO || view.rows.is_empty() && step.running_count.0 > 0 {
        return None;
    }
    let block_size = cx.facts.settings.block_size.filter(|size| *size > 0);
    let mut taken = 0;
    // A steady row has the blocks of the row before.
    for row in view.changed().filter(|row| row.state == State::Running) {
        if row.past_lost {
            return None;
        }
        let before = match row.earlier() {
            Some(before) if before.row.state == State::Running => before.row.kv_cache_blocks.0,
            _ => {
                let hit = view.history(row.request_id).and_then(|history| history.totals.hit);
                hit.zip(block_size).map_or(0, |(hit, size)| hit.0 / size)
            }
        };
        taken += u64::from(row.kv_cache_blocks.0.saturating_sub(before));
    }
    Some(taken)
}
