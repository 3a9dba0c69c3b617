//! K007: the balance of a request's tokens.

use crate::invariants::prelude::*;
use crate::log::schema::RequestRow;

declare_invariant! {
    /// scheduled_tokens = input + output - 1 - cached + recomputed of a request that ran to its end;
    /// more only by rejected drafts and by steps in flight at its end.
    ///
    /// All three are 0 of a request that was never scheduled.
    ///
    /// Every token but the last one generated is computed once, unless it was found in the cache or
    /// was lost to a preemption.
    ///
    /// Blind spot: with speculative decoding or overlapping steps the right side is a lower bound.
    ///
    /// Example: recomputed_tokens that misses the second preemption.
    pub static K007 = {
        name: "token-balance",
        reads: [PerRequest(first_scheduled_time, input_tokens, output_tokens, finish_reason, cached_tokens,
            recomputed_tokens, scheduled_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Whether only a setting that is not known keeps the balance from being exact.
    loosely: bool,
}

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let row = &record.row;
        if row.first_scheduled_time.is_none() {
            never_scheduled(request, record, cx);
        }
        let ended = matches!(row.finish_reason, Some(FinishReason::Stop | FinishReason::Length));
        let (true, Some(cached), Some(recomputed), Some(scheduled)) =
            (ended, row.cached_tokens, row.recomputed_tokens, row.scheduled_tokens)
        else {
            return;
        };
        let wide = |tokens: Tokens| i64::from(tokens.0);
        let balance =
            wide(row.input_tokens) + wide(row.output_tokens) - 1 - wide(cached) + wide(recomputed);
        let settings = &cx.facts.settings;
        let exact = !cx.facts.overlapping && settings.num_speculative_tokens == Some(0);
        self.loosely |= !cx.facts.overlapping && settings.num_speculative_tokens.is_none();
        let scheduled = wide(scheduled);
        let holds = if exact { scheduled == balance } else { scheduled >= balance };
        cx.expect(holds, |ids| {
            let least = if exact { "" } else { "at least " };
            Finding::new("scheduled_tokens is not input + output - 1 - cached + recomputed")
                .at(record.at(), "scheduled_tokens")
                .of(request.key, ids)
                .values(format!("{least}{balance}"), scheduled)
        });
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if self.loosely {
            cx.note(
                "num_speculative_tokens is not known: whether requests were scheduled more tokens than \
                 K007 allows without drafts was not checked",
            );
        }
    }
}

/// A request that was never scheduled got no tokens.
fn never_scheduled(request: &RequestHistory, record: &Located<RequestRow>, cx: &mut Cx<'_>) {
    let row = &record.row;
    let columns = [
        ("scheduled_tokens", row.scheduled_tokens),
        ("cached_tokens", row.cached_tokens),
        ("recomputed_tokens", row.recomputed_tokens),
    ];
    for (column, tokens) in columns {
        let tokens = tokens.unwrap_or_default();
        cx.expect(tokens == Tokens::ZERO, |ids| {
            Finding::new(format!("a request that was never scheduled has {column}"))
                .at(record.at(), column)
                .of(request.key, ids)
                .values(0, tokens)
        });
    }
}
