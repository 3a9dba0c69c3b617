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
    /// Without drafts a step in flight at the end gave it one token, and has a row behind the `completed`
    /// one.
    ///
    /// Blind spot: with speculative decoding the right side is a lower bound, and where steps overlap in a
    /// log without `completed` rows.
    ///
    /// Example: recomputed_tokens that misses the second preemption.
    pub static K007 = {
        name: "token-balance",
        reads: [PerRequest(first_scheduled_time, input_tokens, output_tokens, finish_reason, cached_tokens,
            recomputed_tokens, scheduled_tokens)],
        also: [PerIterationRequests(iteration_id, state)],
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
        let exact = settings.num_speculative_tokens == Some(0);
        let more = match exact {
            true if cx.facts.overlapping => in_flight(request, cx),
            true => Some(0),
            false => None,
        };
        self.loosely |= !cx.facts.overlapping && settings.num_speculative_tokens.is_none();
        let scheduled = wide(scheduled);
        let holds = scheduled >= balance && more.is_none_or(|more| scheduled <= balance + more);
        cx.expect(holds, |ids| {
            let expected = match more {
                Some(0) => balance.to_string(),
                Some(more) => format!("{balance} to {}", balance + more),
                None => format!("at least {balance}"),
            };
            Finding::new("scheduled_tokens is not input + output - 1 - cached + recomputed")
                .at(record.at(), "scheduled_tokens")
                .of(request.key, ids)
                .values(expected, scheduled)
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

/// How many steps had the request in their batch when it ended; none where the rows do not tell.
fn in_flight(request: &RequestHistory, cx: &Cx<'_>) -> Option<i64> {
    let end = request.completion()?;
    let (completed, queued) = (request.completed?, request.queued?);
    let steps = queued.row.iteration_id.0.saturating_sub(completed.row.iteration_id.0);
    let told = cx.facts.tells_all_until(end) && !request.damaged;
    i64::try_from(steps).ok().filter(|_| told)
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
