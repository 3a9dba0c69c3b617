//! C009: the blocks at the end.

use crate::invariants::prelude::*;
use crate::log::schema::RequestRow;

declare_invariant! {
    /// kv_cache_blocks of a request that is over, in its row and in its `completed` row, is what its
    /// last row in a queue holds.
    ///
    /// The count is taken before the blocks are freed; nothing is allocated between the last decision
    /// and the end. A request that ends while it waits or is preempted holds none.
    ///
    /// One that ran to its end holds all of its tokens but the last, in ceil((input + output - 1) /
    /// block_size) blocks; more only with drafts, and where steps overlap.
    ///
    /// Blind spot: the rows of logs that do not show all queues.
    ///
    /// Example: kv_cache_blocks 0 of every request: the blocks had been freed already.
    pub static C009 = {
        name: "blocks-at-the-end",
        reads: [PerRequest(kv_cache_blocks)],
        also: [
            PerIterationRequests(state, kv_cache_blocks),
            PerRequest(input_tokens, output_tokens, finish_reason),
        ],
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
        let hidden = cx.facts.dialect.hides_waiting() || !cx.facts.has(Table::PerIterationRequests);
        if hidden || !cx.facts.tells_all_until(end) {
            hold_tokens(request, record, own, cx);
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
        // One finding for one mistake.
        if own == held {
            hold_tokens(request, record, own, cx);
        }
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

/// The blocks of a request that ran to its end by its tokens.
fn hold_tokens(
    request: &RequestHistory,
    record: &Located<RequestRow>,
    own: Blocks,
    cx: &mut Cx<'_>,
) {
    let (row, settings) = (&record.row, &cx.facts.settings);
    let Some(block_size) = settings.block_size.filter(|size| *size > 0) else { return };
    // The last output may have been in flight when the request was preempted.
    let away = cx.facts.overlapping && own == Blocks::ZERO && row.preemption_count.0 > 0;
    if away || !request.ran_to_its_end() {
        return;
    }
    let known = row.input_tokens.saturating_add(row.output_tokens);
    let need = known.saturating_sub(Tokens(1)).blocks_ceil(block_size);
    let exact = !cx.facts.overlapping
        && settings.num_speculative_tokens == Some(0)
        && settings.num_lookahead_tokens.unwrap_or(0) == 0;
    cx.expect(if exact { own == need } else { own >= need }, |ids| {
        let least = if exact { "" } else { "at least " };
        Finding::new(format!(
            "{} prompt and {} output tokens do not make {own} blocks",
            row.input_tokens, row.output_tokens
        ))
        .at(record.at(), "kv_cache_blocks")
        .of(request.key, ids)
        .values(format!("{least}{need}"), own)
    });
}
