//! K002: the tokens of a step, request by request.

use crate::check::Speculation;
use crate::invariants::prelude::*;
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::units::IterationId;

declare_invariant! {
    /// The scheduled_tokens of a step's rows add up to total_tokens, and by phase to prefill_tokens
    /// and decode_tokens.
    ///
    /// A request's tokens are prefill while it has not caught up: with `c` computed tokens before the
    /// step, `c < max(input_tokens, input_tokens + outputs - 1)`; recomputation after a preemption is
    /// prefill too.
    ///
    /// Once a request has caught up it decodes until it is preempted, also where steps overlap and
    /// outputs are in flight.
    ///
    /// Where no prompt lengths are told by then, the rows tell: a request without a token catches up; one
    /// that got a token from the step before has caught up, which also gives away the length of its
    /// prompt. What they leave open bounds the two columns. In logs without scheduled_tokens a step whose
    /// running requests are all in one phase has no tokens in the other, a request decodes no more than one
    /// token and its drafts, and one after the other steps bring no more tokens than they scheduled; and
    /// where the events tell what was found in the cache, one catches up with no more than the rest.
    ///
    /// Blind spot: steps with requests in both phases in logs without scheduled_tokens; single tokens
    /// behind the first step of a request, where steps overlap and no prompt lengths are told.
    ///
    /// Example: a chunk of a prompt counted as decode because the request was running already.
    pub static K002 = {
        name: "rows-make-total",
        reads: [
            PerIteration(total_tokens, prefill_tokens, decode_tokens),
            PerIterationRequests(state, tokens_generated),
        ],
        also: [
            PerIterationRequests(scheduled_tokens, computed_tokens),
            Events(details),
            PerRequest(input_tokens),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// By key, for requests whose prompts' lengths are not told.
    progress: Vec<Progress>,
    /// The step before, in logs without scheduled_tokens.
    gains: Option<Gains>,
    drafts: Speculation,
    /// Steps with more tokens of a phase than their requests can have without drafts, where no setting tells of
    /// these.
    too_many: Vec<Finding>,
    /// Whether a step that only decodes has more tokens than requests, as with drafts that are all rejected.
    may_draft: bool,
}

/// Findings that are put off.
const PUT_OFF: usize = 256;

/// What requests got from a step: its output shows in `completed` rows, and in the rows of the next.
#[derive(Clone, Copy, Debug)]
struct Gains {
    step: Located<IterationRow>,
    tokens: u64,
}

impl Gains {
    fn judge(self, cx: &mut Cx<'_>) {
        let Self { step, tokens } = self;
        let scheduled = step.row.total_tokens;
        cx.expect(tokens <= u64::from(scheduled.0), |_| {
            Finding::new(format!("{tokens} tokens came of a step that scheduled {scheduled}"))
                .at(step.at(), "total_tokens")
                .in_iteration(step.row.iteration_id)
                .values(format!("at least {tokens}"), scheduled)
        });
    }
}

/// What the rows tell of a request in the running queue.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Its first step there.
    since: IterationId,
    /// Whether it was never there before.
    first: bool,
    caught_up: bool,
    /// The length of its prompt.
    input: Option<Tokens>,
}

/// The tokens of a step by what its rows tell of them.
#[derive(Default)]
struct Split {
    prefill: u64,
    decode: u64,
    open: u64,
    /// Whether a running request may be in the phase; where the log has no scheduled_tokens it may have
    /// got some.
    may_prefill: bool,
    /// How many may decode.
    may_decode: u64,
    /// What those that may be in the phase can have to catch up with; none where that is not told.
    to_catch_up: Option<u64>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let by_tokens = cx.facts.has_column(Table::PerIterationRequests, "scheduled_tokens");
        if !by_tokens && !cx.facts.overlapping {
            self.note_gains(view, cx);
            self.drafts.see(view);
        }
        let Some(step) = view.iteration else { return };
        // A step without any row is X004's business.
        if view.rows.is_empty() {
            return;
        }
        let steady = view.steady() as u64;
        let mut split =
            Split { decode: steady, may_decode: steady, to_catch_up: Some(0), ..Split::default() };
        for row in view.changed().filter(|row| row.queued()) {
            let tokens = u64::from(row.scheduled_tokens.unwrap_or_default().0);
            let prefill = match row.state {
                State::Running => self.is_prefill(row, view, cx),
                _ if tokens > 0 => None,
                _ => continue,
            };
            split.may_prefill |= prefill != Some(false);
            split.may_decode += u64::from(prefill != Some(true));
            if !by_tokens && prefill != Some(false) {
                let rest = to_catch_up(row, view, cx);
                split.to_catch_up = split.to_catch_up.zip(rest).map(|(sum, rest)| sum + rest);
            }
            match prefill {
                Some(true) => split.prefill += tokens,
                Some(false) => split.decode += tokens,
                None => split.open += tokens,
            }
        }
        if view.damaged {
            return;
        }
        let Split { prefill, decode, open, .. } = split;
        let (total, row) = (prefill + decode + open, &step.row);
        let mut compare = Compare { view, at: step.at(), cx };
        if !by_tokens {
            if !split.may_prefill {
                compare.exactly("prefill_tokens", 0, row.prefill_tokens);
            } else if let Some(most) = split.to_catch_up {
                compare.no_more_than(
                    "prefill_tokens",
                    most,
                    row.prefill_tokens,
                    &mut self.too_many,
                );
            }
            // One token and the drafts for each.
            let drafts = compare.cx.facts.settings.num_speculative_tokens;
            let most = split.may_decode.saturating_mul(u64::from(drafts.unwrap_or(0)) + 1);
            if most == 0 {
                compare.at_most("decode_tokens", most, row.decode_tokens);
            } else if !split.may_prefill && drafts.is_none() {
                self.may_draft |= u64::from(row.decode_tokens.0) > most;
            } else {
                compare.no_more_than("decode_tokens", most, row.decode_tokens, &mut self.too_many);
            }
            return;
        }
        compare.exactly("total_tokens", total, row.total_tokens);
        if total != u64::from(row.total_tokens.0) {
            return;
        }
        if open == 0 {
            compare.exactly("prefill_tokens", prefill, row.prefill_tokens);
            compare.exactly("decode_tokens", decode, row.decode_tokens);
        } else {
            compare.at_least("prefill_tokens", prefill, row.prefill_tokens);
            compare.at_least("decode_tokens", decode, row.decode_tokens);
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if let Some(gains) = self.gains {
            gains.judge(cx);
        }
        if self.drafts.is_off(&cx.facts.settings) && !self.may_draft {
            self.too_many.drain(..).for_each(|finding| cx.found(finding));
        }
    }
}

/// The tokens that a running request can have to catch up with: what it knew when it entered the running
/// queue, less what was found in the cache, and its drafts.
fn to_catch_up(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Option<u64> {
    // Where steps overlap, events are read ahead of the rows.
    let history = view.history(row.request_id).filter(|_| !cx.facts.overlapping)?;
    let known = history.input_tokens()?.saturating_add(history.entered_with?);
    let rest = known.saturating_sub(history.totals.hit?);
    Some(u64::from(rest.0) + u64::from(cx.facts.settings.drafts()))
}

/// Compares the values of a step with those of its rows.
struct Compare<'a, 'b> {
    view: &'a IterationView<'a>,
    at: Location,
    cx: &'a mut Cx<'b>,
}

impl Compare<'_, '_> {
    fn exactly(&mut self, column: &'static str, expected: u64, actual: Tokens) {
        self.expect(expected == u64::from(actual.0), column, expected, actual);
    }

    fn at_least(&mut self, column: &'static str, least: u64, actual: Tokens) {
        self.expect(least <= u64::from(actual.0), column, format!("at least {least}"), actual);
    }

    fn at_most(&mut self, column: &'static str, most: u64, actual: Tokens) {
        self.expect(u64::from(actual.0) <= most, column, format!("at most {most}"), actual);
    }

    /// A request may have drafts behind its last token; where no setting tells of them, all rows of the log do.
    fn no_more_than(
        &mut self,
        column: &'static str,
        most: u64,
        actual: Tokens,
        put_off: &mut Vec<Finding>,
    ) {
        match self.cx.facts.settings.num_speculative_tokens {
            Some(_) => self.at_most(column, most, actual),
            None if u64::from(actual.0) <= most => self.cx.exercised(1),
            None if put_off.len() < PUT_OFF => {
                put_off.push(self.finding(column, format!("at most {most}"), actual));
            }
            None => {}
        }
    }

    fn expect(
        &mut self,
        holds: bool,
        column: &'static str,
        expected: impl std::fmt::Display,
        actual: Tokens,
    ) {
        if holds {
            self.cx.exercised(1);
        } else {
            self.cx.found(self.finding(column, expected, actual));
        }
    }

    fn finding(
        &self,
        column: &'static str,
        expected: impl std::fmt::Display,
        actual: Tokens,
    ) -> Finding {
        Finding::new(format!("the rows of the step do not add up to {column}"))
            .at(self.at, column)
            .with_row(self.view.rows.at(0), "its first row")
            .in_iteration(self.view.id)
            .values(expected, actual)
    }
}

impl Check {
    /// Judges the step before by the tokens that its requests have now.
    fn note_gains(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let (mut earlier, mut own) = (0, 0);
        let before = self.gains.take();
        for row in view.changed() {
            let Some(last) = row.before else { continue };
            let gain = row.tokens_generated.0.saturating_sub(last.row.tokens_generated.0);
            let of = last.row.iteration_id;
            if row.state == State::Completed && of == view.id {
                own += u64::from(gain);
            } else if before.is_some_and(|before| before.step.row.iteration_id == of) {
                earlier += u64::from(gain);
            }
        }
        if let Some(before) = before {
            Gains { tokens: before.tokens + earlier, ..before }.judge(cx);
        }
        self.gains = view.iteration.map(|step| Gains { step: *step, tokens: own });
    }

    /// Whether the tokens of a running request are prefill; none if nothing tells.
    fn is_prefill(&mut self, row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Option<bool> {
        // A gap in a log without rows of preempted requests is a preemption.
        let history = view.history(row.request_id).filter(|history| !history.rows_lost)?;
        if let Some(phase) = history.phase(row) {
            return Some(phase.prefill);
        }
        let index = row.request_id.index();
        if self.progress.len() <= index {
            self.progress.resize(index + 1, Progress::default());
        }
        let progress = &mut self.progress[index];
        progress.go_on(row, view, cx);
        progress.learn(row, view, cx);
        progress.is_prefill(row, history, cx)
    }
}

impl Progress {
    fn go_on(&mut self, row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) {
        let last_step = view.id.0.checked_sub(1).map(IterationId);
        let stays = |before: &&Located<IterationRequestRow>| {
            before.row.state == State::Running && Some(before.row.iteration_id) == last_step
        };
        let Some(before) = row.earlier().filter(stays) else {
            let waited = row.before.is_none_or(|before| before.row.state == State::Waiting);
            let first = waited && !row.past_lost;
            let input = self.input.filter(|_| !first);
            *self = Self { since: view.id, first, caught_up: false, input };
            return;
        };
        if row.tokens_generated > before.row.tokens_generated {
            self.caught_up |= self.is_own(before.row.iteration_id, view, cx);
        }
    }

    /// Whether a token that came since the step `last` is of a step of this stay in the running queue.
    fn is_own(&self, last: IterationId, view: &IterationView<'_>, cx: &Cx<'_>) -> bool {
        if !cx.facts.overlapping || self.first {
            return true;
        }
        // The output of the last step before may have been in flight.
        let before = self.since.0.checked_sub(1).map(IterationId);
        let ended = before.and_then(|id| view.moments_of(id)).map(|step| step.end);
        let seen = view.moments_of(last).map(|step| step.start);
        ended.is_some() && ended <= seen
    }

    /// A request that has caught up has all but its newest token computed, and a token more for each
    /// output in flight.
    fn learn(&mut self, row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) {
        let (Some(computed), Some(moments)) = (row.computed_tokens, view.moments) else { return };
        if !self.caught_up || self.input.is_some() {
            return;
        }
        let mut in_flight = 0;
        if cx.facts.overlapping {
            // Drafts in flight may be rejected; and at which moment of a step outputs are seen is open.
            let mut earlier = view.recent_steps();
            // Without the step itself.
            earlier.next_back();
            let mut open = earlier.map(|step| step.end).filter(|end| *end > moments.start);
            let one =
                row.before.is_some_and(|before| before.row.scheduled_tokens == Some(Tokens(1)));
            in_flight = match (open.next(), open.next()) {
                (None, _) => 0,
                (Some(end), None) if end > moments.decided && one => 1,
                _ => return,
            };
            if cx.facts.settings.num_speculative_tokens != Some(0) {
                return;
            }
        }
        let known = row.tokens_generated.0.saturating_add(in_flight);
        self.input = computed.0.saturating_add(1).checked_sub(known).map(Tokens);
    }

    fn is_prefill(&self, row: &RowView, history: &RequestHistory, cx: &Cx<'_>) -> Option<bool> {
        if self.caught_up {
            return Some(false);
        }
        if let (Some(input), Some(computed)) = (self.input, row.computed_tokens) {
            let known = input.saturating_add(history.entered_with?);
            return Some(computed < input.max(known.saturating_sub(Tokens(1))));
        }
        let enters = self.first && self.since == row.iteration_id;
        let several = row.scheduled_tokens > Some(Tokens(1));
        let alone = cx.facts.settings.num_speculative_tokens == Some(0);
        // Where steps overlap the first token may be in flight.
        let none_yet = row.tokens_generated == Tokens::ZERO && !cx.facts.overlapping;
        (none_yet || enters || several && alone).then_some(true)
    }
}
