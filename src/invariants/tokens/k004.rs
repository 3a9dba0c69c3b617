//! K004: tokens come one step at a time.

use crate::check::Moments;
use crate::invariants::prelude::*;
use crate::units::IterationId;

declare_invariant! {
    /// tokens_generated never falls, and rises by one (and the accepted drafts) after a step that
    /// scheduled the request and brought it up to date, and not at all otherwise.
    ///
    /// A step samples for a request when all its known tokens are computed then. Where steps overlap
    /// the output comes later: a row shows the outputs of all steps that ended before its step began.
    ///
    /// Blind spot: in logs without scheduled_tokens and computed_tokens only the bound is checked, and
    /// not even that where steps overlap and nothing is said of drafts.
    ///
    /// Example: a counter that is set back at a preemption; tokens survive it.
    pub static K004 = {
        name: "tokens-rise-by-step",
        reads: [PerIterationRequests(request_id, tokens_generated)],
        also: [PerIterationRequests(scheduled_tokens, computed_tokens), Events(details),
            PerRequest(input_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Outputs in flight by key, where steps overlap.
    flights: Vec<Flight>,
}

/// Steps that sample for a request and have not ended.
#[derive(Clone, Debug, Default)]
struct Flight {
    /// The last row's tokens, if all its steps are known.
    tokens: Option<u32>,
    /// Steps by their ends.
    pending: Vec<(IterationId, Nanos)>,
    /// Until when an output may come of a step that is not known.
    doubt: Nanos,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let drafts = cx.facts.settings.drafts();
        let drafts_known = cx.facts.settings.num_speculative_tokens.is_some();
        cx.exercised(view.rows.len());
        // Which outputs had come back by a decision is known only where the steps' ends are.
        if cx.facts.overlapping && drafts_known && !cx.facts.dialect.hides_ends() {
            self.overlapping(view, drafts.saturating_add(1), cx);
            return;
        }
        for row in view.rows {
            let (low, high) = match &row.before {
                None => (0, u32::from(row.state == State::Completed) * drafts.saturating_add(1)),
                Some(before) if before.row.state == State::Completed => continue,
                Some(before) => {
                    let same_step = before.row.iteration_id == view.id;
                    if same_step && row.queued() {
                        // A repetition within a step is S006's business.
                        continue;
                    }
                    let base = before.row.tokens_generated.0;
                    let (low, high) = rise(row, view, drafts.saturating_add(1), cx);
                    (base.saturating_add(low), base.saturating_add(high))
                }
            };
            if row.past_lost {
                continue;
            }
            let tokens = row.tokens_generated.0;
            // Without a word on drafts, those of steps in flight have no bound.
            let bounded =
                drafts_known || !cx.facts.overlapping && !is_speculative(row, tokens, high);
            let too_many = tokens > high && bounded;
            if tokens < low || too_many {
                report(row, view, low, high, cx);
            }
        }
    }
}

impl Check {
    /// Rows show the outputs of all steps that ended before theirs began, a `completed` row those up
    /// to its step.
    fn overlapping(&mut self, view: &IterationView<'_>, most: u32, cx: &mut Cx<'_>) {
        let moments = view.moments;
        for row in view.rows {
            let after_end = row.before.is_some_and(|before| before.row.state == State::Completed);
            if after_end {
                continue;
            }
            let index = row.request_id.index();
            if self.flights.len() <= index {
                self.flights.resize(index + 1, Flight::default());
            }
            let flight = &mut self.flights[index];
            if row.before.is_none() {
                *flight = Flight { tokens: (!row.past_lost).then_some(0), ..Flight::default() };
            }
            let Some(moments) = moments else {
                flight.doubt = Nanos::MAX;
                continue;
            };
            let certain = |(id, end): &(IterationId, Nanos)| match row.state {
                State::Completed => *id <= view.id,
                _ => *end <= moments.start,
            };
            let possible = |step: &(IterationId, Nanos)| certain(step) || step.1 <= moments.decided;
            let least = flight.pending.iter().filter(|step| certain(step)).count() as u32;
            let steps = flight.pending.iter().filter(|step| possible(step)).count() as u32;
            let known = !row.past_lost && !view.damaged && flight.doubt <= moments.start;
            let base = flight.tokens.filter(|_| known);
            // Rows of steps decided before a request's end stand behind its `completed` row and show
            // what was known when they began.
            if row.state != State::Completed {
                flight.advance(row, view, &moments, possible);
                flight.tokens = known.then_some(row.tokens_generated.0);
            }
            let Some(base) = base else { continue };
            let low = base.saturating_add(least);
            let high = base.saturating_add(steps.saturating_mul(most));
            if row.tokens_generated.0 < low || row.tokens_generated.0 > high {
                report(row, view, low, high, cx);
            }
        }
    }
}

impl Flight {
    /// Takes out the steps that ended and takes in that of the row.
    fn advance(
        &mut self,
        row: &RowView,
        view: &IterationView<'_>,
        moments: &Moments,
        ended: impl Fn(&(IterationId, Nanos)) -> bool,
    ) {
        self.pending.retain(|step| !ended(step));
        if row.state != State::Running {
            return;
        }
        match view.history(row.request_id).and_then(|history| history.phase(&row.row)) {
            Some(phase) if phase.samples => self.pending.push((view.id, moments.end)),
            Some(_) => {}
            // What is in flight is not known from here on.
            None => self.doubt = self.doubt.max(moments.end),
        }
    }
}

/// Without a word on drafts, a rise in a step with several decode tokens may be drafts.
fn is_speculative(row: &RowView, tokens: u32, high: u32) -> bool {
    let Some(before) = &row.before else { return false };
    let scheduled = before.row.scheduled_tokens.map_or(u32::MAX, |tokens| tokens.0);
    tokens.saturating_sub(high) < scheduled
}

/// The least and the most tokens that the request may have got since its row before.
fn rise(row: &RowView, view: &IterationView<'_>, most: u32, cx: &Cx<'_>) -> (u32, u32) {
    let Some(before) = &row.before else { return (0, most) };
    if cx.facts.overlapping {
        // Without a word on drafts nothing bounds what the steps in flight bring.
        return (0, u32::MAX);
    }
    // The end may come with the output of a step that the row before is not of.
    if row.iteration_id.0 > before.row.iteration_id.0.saturating_add(1) {
        return (0, most);
    }
    let (Some(scheduled), Some(computed)) =
        (before.row.scheduled_tokens, before.row.computed_tokens)
    else {
        return (0, most);
    };
    if scheduled == Tokens::ZERO || before.row.state != State::Running {
        return (0, 0);
    }
    let input = view.history(row.request_id).and_then(|history| history.input_tokens());
    let Some(input) = input else { return (0, most) };
    let known = input.0.saturating_add(before.row.tokens_generated.0);
    if computed.0.saturating_add(scheduled.0) >= known { (1, most) } else { (0, 0) }
}

fn report(row: &RowView, view: &IterationView<'_>, low: u32, high: u32, cx: &mut Cx<'_>) {
    let before = row.before.as_ref();
    let base = before.map_or(0, |before| before.row.tokens_generated.0);
    let message = if row.tokens_generated.0 < base {
        "tokens_generated falls"
    } else if row.tokens_generated.0 < low {
        "the step before brought the request up to date, but no token came"
    } else if high == base {
        "tokens_generated rises although no step sampled for the request"
    } else {
        "tokens_generated rises by more than a step gives"
    };
    let expected = if low == high { low.to_string() } else { format!("{low} to {high}") };
    cx.found(
        Finding::new(message)
            .at(row.row.at(), "tokens_generated")
            .with_row(before.map(Located::at), "the row before")
            .of(row.request_id, cx.ids)
            .in_iteration(view.id)
            .values(expected, row.tokens_generated),
    );
}
