//! C001: the cache is finite.

use crate::invariants::prelude::*;

declare_invariant! {
    /// kv_cache_used <= kv_cache_total, and the total never changes.
    ///
    /// The cache is allocated once; the null block is not counted. With num_gpu_blocks known the total
    /// is that minus one.
    ///
    /// Blind spot: blocks counted twice below the total; C003 adds them up by request.
    ///
    /// Example: a total that is really the number of free blocks.
    pub static C001 = {
        name: "cache-is-finite",
        reads: [PerIteration(kv_cache_used, kv_cache_total)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    total: Option<(Blocks, Location)>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        let (used, total) = (step.row.kv_cache_used, step.row.kv_cache_total);
        cx.expect(used <= total, |_| {
            Finding::new("more blocks are used than there are")
                .at(step.at(), "kv_cache_used")
                .in_iteration(view.id)
                .values(format!("at most {total}"), used)
        });
        match self.total {
            Some((first, at)) => cx.expect(total == first, |_| {
                Finding::new("the size of the cache changes")
                    .at(step.at(), "kv_cache_total")
                    .with(at, "kv_cache_total", "the first step")
                    .in_iteration(view.id)
                    .values(first, total)
            }),
            None => {
                self.total = Some((total, step.at()));
                if let Some(blocks) = cx.facts.settings.num_gpu_blocks {
                    let usable = blocks.saturating_sub(1);
                    cx.expect(total.0 == usable, |_| {
                        Finding::new(format!(
                            "{blocks} blocks, the null block among them, do not make {total} usable ones"
                        ))
                        .at(step.at(), "kv_cache_total")
                        .values(usable, total)
                    });
                }
            }
        }
    }
}
