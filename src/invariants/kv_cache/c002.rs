//! C002: the blocks of a running request.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A running request holds ceil((computed_tokens + scheduled_tokens) / block_size) blocks; with
    /// speculative decoding at least that many.
    ///
    /// Blocks are allocated when a step schedules the tokens that go into them (vLLM:
    /// `allocate_slots`). Rejected drafts and look-ahead leave blocks that are not needed yet.
    ///
    /// Blind spot: superfluous blocks under speculative decoding.
    ///
    /// Example: 33 tokens with blocks of 16 in two blocks: the count was read before the allocation.
    pub static C002 = {
        name: "blocks-hold-tokens",
        reads: [PerIterationRequests(state, kv_cache_blocks, scheduled_tokens, computed_tokens)],
        needs: [BlockSize],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let settings = &cx.facts.settings;
        let Some(block_size) = settings.block_size.filter(|size| *size > 0) else { return };
        let exact = settings.num_speculative_tokens == Some(0)
            && settings.num_lookahead_tokens.unwrap_or(0) == 0;
        let mut exercised = view.steady();
        for row in view.changed().filter(|row| row.state == State::Running) {
            let (Some(computed), Some(scheduled)) = (row.computed_tokens, row.scheduled_tokens)
            else {
                continue;
            };
            exercised += 1;
            let need = computed.saturating_add(scheduled).blocks_ceil(block_size);
            let held = row.kv_cache_blocks;
            if if exact { held == need } else { held >= need } {
                continue;
            }
            let least = if exact { "" } else { "at least " };
            cx.found(
                Finding::new(format!(
                    "{computed} computed + {scheduled} scheduled tokens do not make {held} blocks"
                ))
                .at(row.row.at(), "kv_cache_blocks")
                .of(row.request_id, cx.ids)
                .in_iteration(view.id)
                .values(format!("{least}{need}"), held),
            );
        }
        cx.exercised(exercised);
    }
}
