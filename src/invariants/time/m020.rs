//! M020: outputs come at the end of a step.

use std::collections::BTreeSet;

use crate::check::Moments;
use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::units::IterationId;

declare_invariant! {
    /// First tokens, and the ends of requests that a step's output finished, are at the `E` of a step.
    ///
    /// Tokens are appended and finished requests freed while the output is processed; both are stamped
    /// when that is done. An abort may come at any time. Which requests were aborted is told by
    /// finish_reason, by the details, or by `completed` rows, which no aborted request has. Where
    /// nothing tells, any single end may be an abort; but if no end at all is at the `E` of a step and
    /// most are exactly at an `S`, `D` or `O`, the wrong moment was taken.
    ///
    /// In logs without the reference columns an output may be stamped by a reading of its own: those that
    /// are exactly at another moment of a step are reported, and completions that are farther from the end
    /// of the step that has their `completed` row than two readings of one moment may be.
    ///
    /// Blind spot: which of the steps it is; M015 and M018 compare with the rows. Logs that do not tell
    /// when steps end.
    ///
    /// Example: `request_completed` when the output arrives, before it is processed.
    pub static M020 = {
        name: "outputs-at-ends",
        reads: [
            PerIteration(start_time, end_time, scheduling_overhead, forward_pass_duration),
            Events(timestamp, event_type),
        ],
        also: [PerRequest(finish_reason), Events(details), PerIterationRequests(state)],
        severity: Error,
    } => Check
}

/// Units of the clock that rounding cannot explain.
const FAR: u64 = 10;

/// Ends at moments of steps, all different, that are no chance.
const SEVERAL: usize = 3;

#[derive(Default)]
struct Check {
    /// Outputs that are at no `E`, of requests that are not over.
    open: Vec<Stray>,
    doubtful: Doubtful,
}

/// An output that is at no `E`.
#[derive(Clone, Copy, Debug)]
struct Stray {
    event: Located<EventRow>,
    key: RequestKey,
    /// The step in which it was read, and its row.
    step: (IterationId, Location),
    /// The `E` nearest to it.
    end: Nanos,
    /// Another moment of a step that it is exactly at.
    at: Option<&'static str>,
}

impl Stray {
    /// Notes whether it is at another moment of a step.
    fn meet(&mut self, step: &Moments) {
        let moments = [("S", step.start), ("D", step.decided), ("O", step.output)];
        let now = self.event.row.timestamp;
        let met = moments.into_iter().find(|(_, at)| *at == now);
        self.at = self.at.or(met.map(|(name, _)| name));
    }

    fn is_first_token(&self) -> bool {
        self.event.row.event_type == EventType::FirstTokenGenerated
    }

    fn is_far(&self, unit: Nanos) -> bool {
        self.end.0.abs_diff(self.event.row.timestamp.0) >= unit.0.saturating_mul(FAR)
    }

    fn report(&self, message: impl Into<String>, cx: &mut Cx<'_>) {
        cx.found(
            Finding::new(message)
                .at(self.event.at(), "timestamp")
                .with_row(Some(self.step.1), "the step")
                .of(self.key, cx.ids)
                .in_iteration(self.step.0)
                .values(self.end, self.event.row.timestamp),
        );
    }
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let (Some(step), Some(moments)) = (view.iteration, view.moments) else { return };
        let dialect = &cx.facts.dialect;
        if dialect.hides_ends() || !dialect.is_exact() && dialect.output_unit.is_none() {
            return;
        }
        // When a step that has no row ended is not known.
        let follows = match view.previous {
            Some(before) => before.row.iteration_id.0.checked_add(1) == Some(view.id.0),
            None => view.id == IterationId::ZERO,
        };
        if !follows || cx.facts.table(Table::PerIteration).lost {
            self.open.clear();
            return;
        }
        self.open.iter_mut().for_each(|stray| stray.meet(&moments));
        for event in view.events {
            self.see(event, (view.id, step.at()), view, cx);
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let own = |stray: &mut Stray| stray.key == request.key;
        let own: Vec<_> = self.open.extract_if(.., own).collect();
        if request.damaged {
            return;
        }
        let mut told = false;
        for stray in own {
            told |= self.judge(&stray, request, cx) && !stray.is_first_token();
        }
        if !told && !cx.facts.dialect.is_exact() {
            self.doubtful.some_right |= compare_with_row(request, cx);
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        self.doubtful.finish(cx);
    }
}

impl Check {
    fn see(
        &mut self,
        event: &Located<EventRow>,
        step: (IterationId, Location),
        view: &IterationView<'_>,
        cx: &mut Cx<'_>,
    ) {
        let first_token = match event.row.event_type {
            EventType::FirstTokenGenerated => true,
            EventType::RequestCompleted => false,
            _ => return,
        };
        let reason = event.row.details.finish_reason;
        // Those that name their step, or fall into the only one, are M015's business.
        let named = !cx.facts.overlapping || event.row.details.iteration_id.is_some();
        if reason.is_some_and(FinishReason::is_drop)
            || first_token && named && cx.facts.dialect.is_exact()
        {
            return;
        }
        let now = event.row.timestamp;
        let (Some(key), Some(end)) = (event.row.request_id, view.nearest_end(now)) else { return };
        cx.exercised(1);
        if cx.agree(end, now, 1, event.at()) {
            self.doubtful.some_right |= !first_token;
            return;
        }
        let mut stray = Stray { event: *event, key, step, end, at: None };
        view.recent_steps().for_each(|step| stray.meet(step));
        self.open.push(stray);
    }

    /// Judges an output of a request of which all is known; whether it is reported.
    fn judge(&mut self, stray: &Stray, request: &RequestHistory, cx: &mut Cx<'_>) -> bool {
        let by_output = match request.finish_reason() {
            _ if stray.is_first_token() => true,
            Some(FinishReason::Stop | FinishReason::Length) => true,
            Some(FinishReason::Abort | FinishReason::Error | FinishReason::Unfinished) => {
                return false;
            }
            None if is_abort(request, cx.facts.dialect.skew_bound) => return false,
            None => request.completed.is_some(),
        };
        let unit = cx.facts.dialect.output_unit;
        let met = stray.at.filter(|_| unit.is_some_and(|unit| stray.is_far(unit)));
        if !by_output {
            self.doubtful.take(stray, met.is_some());
            return false;
        }
        let is_wrong = met.is_some() || cx.facts.dialect.is_exact();
        if is_wrong {
            let what = if stray.is_first_token() { "the first token" } else { "the completion" };
            let instead = stray.at.map_or(String::new(), |at| format!(", but at the {at} of one"));
            stray.report(format!("{what} is not at the end of a step{instead}"), cx);
        }
        is_wrong
    }
}

/// Compares the completion with the step that has the `completed` row. Two readings of that moment may
/// differ in a log without the reference columns, a later moment may not be taken. Whether they agree.
fn compare_with_row(request: &RequestHistory, cx: &mut Cx<'_>) -> bool {
    let dialect = &cx.facts.dialect;
    let by_output =
        matches!(request.finish_reason(), None | Some(FinishReason::Stop | FinishReason::Length));
    let end = request.spans.iter().find(|span| span.state == State::Completed);
    let (Some(end), Some(event), Some(row), true) = (
        end.and_then(|span| span.first_moment),
        request.event(EventType::RequestCompleted),
        &request.completed,
        by_output && !dialect.hides_ends(),
    ) else {
        return false;
    };
    let now = event.row.timestamp;
    let bound = dialect.skew_bound.saturating_add(coarseness(end, now));
    let is_right = end.0.abs_diff(now.0) <= bound.0;
    cx.expect(is_right, |ids| {
        Finding::new("the completion is not at the end of the step that finished the request")
            .at(event.at(), "timestamp")
            .with_row(Some(row.at()), "the `completed` row")
            .of(request.key, ids)
            .in_iteration(row.row.iteration_id)
            .values(end, now)
    });
    is_right
}

/// Whether no output can have ended the request, as none gave it a token at its end: it has none, its
/// only one came before, or its last row has as many.
fn is_abort(request: &RequestHistory, bound: Nanos) -> bool {
    let (Some(record), None) = (&request.record, &request.completed) else { return false };
    // A row has the tokens of before the step, whose output would have brought at least one.
    if request.queued.is_some_and(|last| last.row.tokens_generated == record.row.output_tokens) {
        return true;
    }
    match record.row.output_tokens.0 {
        0 => true,
        1 => request.event(EventType::FirstTokenGenerated).is_some_and(|event| {
            Some(event.row.timestamp.saturating_add(bound)) < request.completion()
        }),
        _ => false,
    }
}

/// What rounding to the unit of a coarser clock may add to a difference.
fn coarseness(one: Nanos, other: Nanos) -> Nanos {
    let units = [1_000_000, 1_000].map(Nanos);
    let divides = |unit: &Nanos| one.0.is_multiple_of(unit.0) && other.0.is_multiple_of(unit.0);
    units.into_iter().find(divides).unwrap_or(Nanos::ZERO)
}

/// Ends that may be aborts.
#[derive(Default)]
struct Doubtful {
    /// Whether an end is at the `E` of a step.
    some_right: bool,
    /// Other moments of steps at which there are ends, until they are several.
    moments: BTreeSet<Nanos>,
    first: Option<Stray>,
    met: u64,
    free: u64,
}

impl Doubtful {
    fn take(&mut self, stray: &Stray, met: bool) {
        if !met {
            self.free += 1;
            return;
        }
        self.met += 1;
        self.first.get_or_insert(*stray);
        if self.moments.len() < SEVERAL {
            self.moments.insert(stray.event.row.timestamp);
        }
    }

    fn finish(&self, cx: &mut Cx<'_>) {
        let Some(first) = &self.first else { return };
        // Before a run was killed only clients may have ended requests, while a step was in flight.
        if cx.facts.killed || !cx.facts.complete(Table::PerRequest) {
            return;
        }
        if !self.some_right && self.moments.len() == SEVERAL && self.met > self.free {
            let message = format!(
                "no completion is at the end of a step, but {} are exactly at the S, D or O of one",
                self.met
            );
            first.report(message, cx);
        }
    }
}
