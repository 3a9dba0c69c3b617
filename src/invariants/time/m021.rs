//! M021: passes that schedule nothing.

use crate::invariants::prelude::*;
use crate::log::schema::IterationRow;
use crate::units::IterationId;

declare_invariant! {
    /// The pass that flushes the last finished ids has a row.
    ///
    /// An engine rests only when nothing is left: no request, and no id of one that ended and that no
    /// pass has handed out. So an output that was processed is followed at once, by more work or by a
    /// pass that schedules nothing. A rest behind an output with which the last request ended that is
    /// longer than every one between outputs and passes with work left says that the pass between them has
    /// no row; ids that go on say nothing of it.
    ///
    /// Where steps overlap, passes run before the output of the last one is processed: the first that
    /// begins behind the end of that output is the one that flushes. There, only requests that an output
    /// ended tell of ids to flush, not those that gave up: their ids may have gone with a pass that ran
    /// before.
    ///
    /// Only where run.json says that the engine is a reference model: a real one may stop for other
    /// reasons. A replay of a trace that ends behind such an output was cut there: damage.
    ///
    /// Blind spot: clocks that are read more than once; logs whose steps end at their decisions; where
    /// steps overlap, logs without completed_count; fewer than three rests with work left; a rest no longer
    /// than others.
    ///
    /// Example: the last request ends at 173, the next step begins at 200 and is numbered as the next.
    pub static M021 = {
        name: "flushing-passes-are-steps",
        reads: [PerIteration(iteration_id, start_time, end_time, batch_size, running_count,
            waiting_count)],
        also: [PerIteration(completed_count), Events(event_type), PerRequest(finish_reason)],
        severity: Error,
    } => Check
}

/// Rests with work left that show how long one is.
const FEWEST: usize = 3;

/// Suspects that are kept until all rests are known.
const KEPT: usize = 1_000;

/// Outputs in flight that are kept; no engine has as many.
const IN_FLIGHT: usize = 64;

/// What a step brings when its output is processed.
#[derive(Clone, Copy, Debug)]
struct Output {
    id: IterationId,
    at: Location,
    end: Nanos,
    had_requests: bool,
    ended: u64,
    /// Whether somebody ended with it whose id no pass before its end can have handed out.
    flushes: bool,
}

/// A rest behind an output that left no request.
#[derive(Clone, Copy, Debug)]
struct Rest {
    before: Output,
    next: Location,
    start: Nanos,
}

impl Rest {
    const fn length(&self) -> Nanos {
        self.start.saturating_sub(self.before.end)
    }
}

#[derive(Default)]
struct Check {
    /// The last step, and the requests in its queues.
    last: Option<(IterationId, u64)>,
    /// Outputs that were not processed when it began.
    in_flight: Vec<Output>,
    /// Rests with work left: how many, and the longest.
    rests: usize,
    longest: Nanos,
    suspects: Vec<Rest>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let last = self.last.take();
        if let Some(reason) = obstacle(cx) {
            cx.vacuous(reason);
            return;
        }
        let lost = cx.facts.table(Table::PerIteration).lost;
        let queued = last
            .filter(|(id, _)| !lost && id.0.checked_add(1) == Some(view.id.0))
            .map(|last| last.1);
        if queued.is_none() || self.in_flight.len() > IN_FLIGHT {
            self.in_flight.clear();
        }
        let (Some(step), Some(moments)) = (view.iteration, view.moments) else { return };
        let start = moments.start;
        let processed = self.in_flight.extract_if(.., |output| output.end <= start);
        let processed: Vec<_> = processed.collect();
        let newest = processed.iter().max_by_key(|output| output.end);
        if let (Some(&before), Some(queued)) = (newest, queued) {
            let ended = processed.iter().map(|output| output.ended).sum();
            let flushes = processed.iter().any(|output| output.flushes);
            let rest = Rest { before, next: step.at(), start };
            self.rest(rest, queued.saturating_sub(ended), flushes, cx);
        }
        self.in_flight.push(output(step, moments.end, view, cx));
        let row = &step.row;
        self.last =
            Some((view.id, u64::from(row.running_count.0) + u64::from(row.waiting_count.0)));
    }

    fn finish(&mut self, end: &LogEnd, cx: &mut Cx<'_>) {
        if self.rests >= FEWEST {
            for rest in self.suspects.iter().filter(|rest| rest.length() > self.longest) {
                let message = "the engine rests behind a step that had requests: the pass that \
                               flushes their ids is missing";
                cx.found(
                    Finding::new(message)
                        .at(rest.next, "start_time")
                        .with_row(Some(rest.before.at), "the step before")
                        .in_iteration(rest.before.id)
                        .values(rest.before.end, rest.start),
                );
            }
        }
        // A run that was stopped may have been stopped here, but a replay goes on to its end.
        let ended = cx.facts.replayed
            && end.unfinished == 0
            && end.cut_off == 0
            && cx.facts.whole(Table::PerIteration)
            && cx.facts.whole(Table::PerRequest);
        let unflushed = self.in_flight.iter().rfind(|output| output.flushes);
        if let Some(last) = unflushed.filter(|_| ended) {
            let message = "the log ends behind a step that had requests: the pass that flushes their \
                           ids is missing";
            cx.found(
                Finding::new(message)
                    .at_row(last.at)
                    .in_iteration(last.id)
                    .as_severity(Severity::Damage),
            );
        }
    }
}

impl Check {
    /// Takes in a rest, and how many requests were left when it began.
    fn rest(&mut self, rest: Rest, left: u64, flushes: bool, cx: &mut Cx<'_>) {
        if left > 0 {
            if rest.before.had_requests {
                self.rests += 1;
                self.longest = self.longest.max(rest.length());
            }
        } else if flushes {
            cx.exercised(1);
            if rest.length() > self.longest && self.suspects.len() < KEPT {
                self.suspects.push(rest);
            }
        }
    }
}

fn output(
    step: &Located<IterationRow>,
    end: Nanos,
    view: &IterationView<'_>,
    cx: &Cx<'_>,
) -> Output {
    let row = &step.row;
    let had_requests = row.batch_size > Requests::ZERO;
    let counted = row.completed_count.map(|ended| u64::from(ended.0));
    Output {
        id: view.id,
        at: step.at(),
        end,
        had_requests,
        ended: counted.unwrap_or_else(|| view.count(EventType::RequestCompleted) as u64),
        flushes: if cx.facts.overlapping { counted > Some(0) } else { had_requests },
    }
}

/// Why nothing can be said of this log.
fn obstacle(cx: &Cx<'_>) -> Option<&'static str> {
    if !cx.facts.modelled {
        Some("the log is not known to be of a reference model")
    } else if cx.facts.skew.is_some() {
        Some("the clock is read more than once")
    } else if cx.facts.dialect.has(Habit::EndsAtDecision) {
        Some("steps end at their decisions")
    } else {
        None
    }
}
