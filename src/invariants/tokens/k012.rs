//! K012: which tokens of a prompt are scheduled.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request has at least the prompt tokens that a step schedules for it before it has any output.
    ///
    /// A step computes tokens that are known. Before the first output these are the prompt's, and when
    /// a request enters the running queue again also those that it has generated: computed_tokens +
    /// scheduled_tokens exceed them by drafts only. This needs neither settings nor the details of
    /// events: where nothing is said of drafts, there are no more of them in a step than the longest
    /// step of a request that stays running could have.
    ///
    /// Without chunked prefill, and without a threshold for long prompts, a step that admits a request
    /// schedules all of its prompt that was not found in the prefix cache.
    ///
    /// Blind spot: a prompt that is shorter by no more than the drafts of a step, or longer than what
    /// was scheduled of it (K007 has the balance); logs without scheduled_tokens and computed_tokens.
    ///
    /// Example: input_tokens 0 of a request whose first step schedules 64 tokens.
    pub static K012 = {
        name: "known-tokens-are-scheduled",
        reads: [
            PerRequest(input_tokens),
            PerIterationRequests(state, tokens_generated, scheduled_tokens, computed_tokens),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// By key.
    needs: Vec<Option<Need>>,
    /// Drafts that a step may have had at most, by the rows so far.
    drafts: u32,
}

/// The prompt tokens that the rows of a request need so far.
#[derive(Clone, Copy, Debug)]
struct Need {
    tokens: u32,
    /// The row that needs most.
    at: Location,
    /// The fewest tokens that it had behind a step that admitted it.
    admitted: Option<(Tokens, Location)>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        for row in view.changed().filter(|row| row.state == State::Running) {
            let (Some(computed), Some(scheduled)) = (row.computed_tokens, row.scheduled_tokens)
            else {
                continue;
            };
            if scheduled == Tokens::ZERO {
                continue;
            }
            let enters = row.admitted();
            if !enters {
                self.drafts = self.drafts.max(scheduled.0 - 1);
            }
            // Where steps overlap, outputs in flight are known to the scheduler and not to the row.
            if !enters && (cx.facts.overlapping || row.tokens_generated > Tokens::ZERO) {
                continue;
            }
            let tokens = computed.saturating_add(scheduled).saturating_sub(row.tokens_generated).0;
            let index = row.request_id.index();
            if self.needs.len() <= index {
                self.needs.resize(index + 1, None);
            }
            let at = row.row.at();
            let need = self.needs[index].get_or_insert(Need { tokens, at, admitted: None });
            if need.tokens < tokens {
                (need.tokens, need.at) = (tokens, at);
            }
            let behind = computed.saturating_add(scheduled);
            let fewest = need.admitted.is_none_or(|(fewest, _)| behind < fewest);
            if enters && !row.past_lost && fewest {
                need.admitted = Some((behind, at));
            }
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let need = self.needs.get_mut(request.key.index()).and_then(Option::take);
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let Some(Need { tokens, at, admitted }) = need else { return };
        let drafts = match cx.facts.settings.num_speculative_tokens {
            Some(drafts) => drafts,
            // Of a request with one row nothing tells how many of its tokens were drafts.
            None if request.totals.scheduled_steps < 2 => tokens,
            None => self.drafts,
        };
        let least = tokens.saturating_sub(drafts).max(1);
        let input = record.row.input_tokens;
        let settings = &cx.facts.settings;
        let whole = settings.enable_chunked_prefill == Some(false)
            && settings.long_prefill_token_threshold == Some(0);
        if let Some((behind, at)) = admitted.filter(|_| whole && !request.rows_lost) {
            cx.expect(behind >= input, |ids| {
                let message = "the prompt is split, although chunked prefill is off";
                Finding::new(message)
                    .at(at, "scheduled_tokens")
                    .with_row(Some(record.at()), "the request's row")
                    .of(request.key, ids)
                    .values(format!("{input} computed and scheduled"), behind)
            });
        }
        cx.expect(input.0 >= least, |ids| {
            Finding::new(format!("a step needs {tokens} tokens of a prompt of {input}"))
                .at(record.at(), "input_tokens")
                .with(at, "scheduled_tokens", "computed + scheduled, less the generated")
                .of(request.key, ids)
                .values(format!("at least {least}"), input)
        });
    }
}
