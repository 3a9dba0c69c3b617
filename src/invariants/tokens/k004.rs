//! K004: tokens come one step at a time.

use crate::check::Moments;
use crate::invariants::prelude::*;
use crate::log::schema::IterationRequestRow;
use crate::units::IterationId;

declare_invariant! {
    /// tokens_generated never falls, and rises by one (and the accepted drafts) after a step that
    /// scheduled the request and brought it up to date, and not at all otherwise.
    ///
    /// A step samples for a request when all its known tokens are computed then. Where steps overlap
    /// the output comes later: a row shows the outputs of all steps that ended before its step began.
    ///
    /// A step accepts no more drafts than it computes beyond what was known. The rows behind a
    /// `completed` row, of steps decided before the end was known, are held to the same.
    ///
    /// Blind spot: in logs without scheduled_tokens and computed_tokens only the bounds are checked: no token
    /// is lost, and none comes without a step that ended; how many of several drafts were accepted.
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

/// Steps that may sample for a request and have not ended.
#[derive(Clone, Debug, Default)]
struct Flight {
    /// The last row's tokens, if all its steps are known.
    tokens: Option<u32>,
    pending: Vec<Sampling>,
    /// Whether it ran in a step of which nothing is known.
    untold: bool,
}

/// A step that may sample for a request.
#[derive(Clone, Copy, Debug)]
struct Sampling {
    step: IterationId,
    end: Nanos,
    /// The fewest tokens that it brings.
    least: u32,
    /// The most tokens that it brings.
    most: u32,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        // Without a word on drafts, any token of a step but the first may have been one.
        let drafts = cx.facts.settings.num_speculative_tokens;
        let most = drafts.map_or(u32::MAX, |drafts| drafts.saturating_add(1));
        cx.exercised(view.rows.len());
        if cx.facts.overlapping {
            self.overlapping(view, most, cx);
            return;
        }
        for row in view.changed() {
            let (low, high) = match &row.before {
                None => (0, u32::from(row.state == State::Completed) * most),
                Some(before) if before.row.state == State::Completed => continue,
                Some(before) => {
                    let same_step = before.row.iteration_id == view.id;
                    if same_step && row.queued() {
                        // A repetition within a step is S006's business.
                        continue;
                    }
                    let base = before.row.tokens_generated.0;
                    let (low, high) = rise(row, before, view, most);
                    (base.saturating_add(low), base.saturating_add(high))
                }
            };
            let tokens = row.tokens_generated.0;
            if !row.past_lost && !(low..=high).contains(&tokens) {
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
        for row in view.changed() {
            let index = row.request_id.index();
            if self.flights.len() <= index {
                self.flights.resize(index + 1, Flight::default());
            }
            let flight = &mut self.flights[index];
            if row.before.is_none() {
                *flight = Flight { tokens: (!row.past_lost).then_some(0), ..Flight::default() };
            }
            let Some(moments) = moments else {
                flight.untold = true;
                continue;
            };
            let certain = |sampling: &Sampling| match row.state {
                State::Completed => sampling.step <= view.id,
                _ => sampling.end <= moments.start,
            };
            let possible = |step: &Sampling| certain(step) || step.end <= moments.decided;
            let ended = flight.pending.iter().filter(|step| certain(step));
            let least: u32 = ended.map(|step| step.least).sum();
            let steps = flight.pending.iter().filter(|step| possible(step));
            let gain = steps.fold(0u32, |sum, step| sum.saturating_add(step.most));
            // Which outputs had come back by a decision is known only where the steps' ends are.
            let known =
                !row.past_lost && !view.damaged && !cx.facts.dialect.hides_ends() && !flight.untold;
            let base = flight.tokens.filter(|_| known);
            // Rows of steps decided before a request's end stand behind its `completed` row and show
            // what was known when they began.
            if row.state != State::Completed {
                flight.advance(row, view, &moments, most, possible);
                flight.tokens = known.then_some(row.tokens_generated.0);
            }
            let (low, high) = match (base, &row.before) {
                (Some(base), _) => (base.saturating_add(least), base.saturating_add(gain)),
                // What is in flight is not known; tokens are never lost.
                (None, Some(before)) if before.row.state != State::Completed => {
                    (before.row.tokens_generated.0, u32::MAX)
                }
                _ => continue,
            };
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
        most: u32,
        ended: impl Fn(&Sampling) -> bool,
    ) {
        self.pending.retain(|step| !ended(step));
        if row.state != State::Running {
            return;
        }
        let scheduled = row.scheduled_tokens.map_or(most, |tokens| tokens.0);
        let phase = view.history(row.request_id).and_then(|history| history.phase(&row.row));
        let (least, drafted) = match phase {
            Some(phase) if !phase.samples => return,
            Some(phase) if phase.prefill => (1, phase.beyond.saturating_add(1)),
            Some(_) => (1, scheduled),
            None => (0, scheduled),
        };
        let most = most.min(drafted);
        self.pending.push(Sampling { step: view.id, end: moments.end, least, most });
    }
}

/// The least and the most tokens that the request may have got since its row before.
fn rise(
    row: &RowView,
    before: &Located<IterationRequestRow>,
    view: &IterationView<'_>,
    most: u32,
) -> (u32, u32) {
    let Some(scheduled) = before.row.scheduled_tokens else { return (0, most) };
    let bounded = (0, most.min(scheduled.0.max(1)));
    // The end may come with the output of a step that the row before is not of.
    if row.iteration_id.0 > before.row.iteration_id.0.saturating_add(1) {
        return bounded;
    }
    let Some(computed) = before.row.computed_tokens else { return bounded };
    if scheduled == Tokens::ZERO || before.row.state != State::Running {
        return (0, 0);
    }
    let input = view.history(row.request_id).and_then(|history| history.input_tokens());
    let Some(input) = input else { return bounded };
    let known = input.0.saturating_add(before.row.tokens_generated.0);
    // Whatever the step computes beyond what was known are drafts.
    match computed.0.saturating_add(scheduled.0).checked_sub(known) {
        Some(drafts) => (1, most.min(drafts.saturating_add(1))),
        None => (0, 0),
    }
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
    let expected = match high {
        u32::MAX => format!("at least {low}"),
        high if low == high => low.to_string(),
        high => format!("{low} to {high}"),
    };
    cx.found(
        Finding::new(message)
            .at(row.row.at(), "tokens_generated")
            .with_row(before.map(Located::at), "the row before")
            .of(row.request_id, cx.ids)
            .in_iteration(view.id)
            .values(expected, row.tokens_generated),
    );
}
