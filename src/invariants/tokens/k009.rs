//! K009: prefix hits are whole blocks.

use crate::invariants::prelude::*;

declare_invariant! {
    /// cached_tokens is a multiple of block_size and less than the tokens known when it was looked
    /// up; in a reference model without prefix caching it is 0.
    ///
    /// The prefix cache holds whole blocks, and the last token is always computed, or there would be
    /// nothing to sample from (vLLM: `get_computed_blocks`).
    ///
    /// Blind spot: whether the blocks were really in the cache. Where a real engine has none, a connector may
    /// bring tokens.
    ///
    /// Example: 37 cached tokens with blocks of 16.
    pub static K009 = {
        name: "cached-tokens-are-blocks",
        reads: [Events(event_type, details)],
        also: [PerRequest(input_tokens), PerIterationRequests(tokens_generated)],
        needs: [BlockSize],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(block_size) = cx.facts.settings.block_size.filter(|size| *size > 0) else {
            return;
        };
        for event in view.events {
            let kind = event.row.event_type;
            if !matches!(kind, EventType::RequestScheduled | EventType::RequestResumed) {
                continue;
            }
            let (Some(cached), Some(key)) = (event.row.details.cached_tokens, event.row.request_id)
            else {
                continue;
            };
            let input = view.history(key).and_then(|history| history.input_tokens());
            let row = view.rows.queued(key);
            // A resumed request is looked up with what it has generated too.
            let generated = match (kind, row) {
                (EventType::RequestScheduled, _) => Some(0),
                (_, row) => row.map(|row| row.tokens_generated.0),
            };
            let known = input.zip(generated).map(|(input, more)| input.0.saturating_add(more));
            let whole = cached.0.is_multiple_of(block_size);
            let below = known.is_none_or(|known| cached.0 < known);
            let caching = cx.facts.settings.enable_prefix_caching != Some(false);
            if whole && cx.facts.modelled && !caching && cached > Tokens::ZERO {
                cx.found(
                    Finding::new("tokens are found in the cache without prefix caching")
                        .at(event.at(), "details")
                        .of(key, cx.ids)
                        .in_iteration(view.id)
                        .values(0, cached),
                );
                continue;
            }
            cx.expect(whole && below, |ids| {
                let (message, expected) = if whole {
                    let known = known.unwrap_or_default();
                    ("the cache gave all tokens that were known", format!("less than {known}"))
                } else {
                    let expected = format!("a multiple of {block_size}");
                    ("cached_tokens is not a number of whole blocks", expected)
                };
                Finding::new(message)
                    .at(event.at(), "details")
                    .of(key, ids)
                    .in_iteration(view.id)
                    .values(expected, cached)
            });
        }
    }
}
