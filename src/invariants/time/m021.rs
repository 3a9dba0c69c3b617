//! M021: passes that schedule nothing.

use crate::invariants::prelude::*;
use crate::units::IterationId;

declare_invariant! {
    /// The pass that flushes the last finished ids has a row.
    ///
    /// An engine rests only when nothing is left: no request, and no id of one that ended and that no
    /// pass has handed out. So a step that had requests is followed at once, by more work or by a pass
    /// that schedules nothing. A rest behind such a step that is longer than every one between steps
    /// with work left says that the pass between them has no row; ids that go on say nothing of it.
    ///
    /// Only where run.json says that the engine is a reference model: a real one may stop for other
    /// reasons. A replay of a trace that ends behind such a step was cut there: damage.
    ///
    /// Blind spot: overlapping steps; clocks that are read more than once; logs whose steps end at
    /// their decisions; fewer than three steps with work left; a rest no longer than others.
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

/// The step before.
#[derive(Clone, Copy, Debug)]
struct Before {
    id: IterationId,
    at: Location,
    end: Nanos,
    had_requests: bool,
    left: u64,
}

/// A rest behind a step that left no request.
#[derive(Clone, Copy, Debug)]
struct Rest {
    before: Before,
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
    before: Option<Before>,
    /// Rests with work left: how many, and the longest.
    rests: usize,
    longest: Nanos,
    suspects: Vec<Rest>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let before = self.before.take();
        if let Some(reason) = obstacle(cx) {
            cx.vacuous(reason);
            return;
        }
        let (Some(step), Some(moments)) = (view.iteration, view.moments) else { return };
        let row = &step.row;
        let follows = |before: &Before| before.id.0.checked_add(1) == Some(view.id.0);
        let lost = cx.facts.table(Table::PerIteration).lost;
        if let Some(before) = before.filter(|it| it.had_requests && follows(it) && !lost) {
            let rest = Rest { before, next: step.at(), start: moments.start };
            if before.left > 0 {
                self.rests += 1;
                self.longest = self.longest.max(rest.length());
            } else {
                cx.exercised(1);
                if rest.length() > self.longest && self.suspects.len() < KEPT {
                    self.suspects.push(rest);
                }
            }
        }
        let noted =
            || view.events.iter().filter(|it| it.row.event_type == EventType::RequestCompleted);
        let ended =
            row.completed_count.map_or_else(|| noted().count() as u64, |ended| ended.0.into());
        self.before = Some(Before {
            id: view.id,
            at: step.at(),
            end: moments.end,
            had_requests: row.batch_size > Requests::ZERO,
            left: (u64::from(row.running_count.0) + u64::from(row.waiting_count.0))
                .saturating_sub(ended),
        });
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
        if let Some(last) = self.before.filter(|last| ended && last.had_requests) {
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

/// Why nothing can be said of this log.
fn obstacle(cx: &Cx<'_>) -> Option<&'static str> {
    if !cx.facts.modelled {
        Some("the log is not known to be of a reference model")
    } else if cx.facts.overlapping {
        Some("steps overlap")
    } else if cx.facts.skew.is_some() {
        Some("the clock is read more than once")
    } else if cx.facts.dialect.has(Habit::EndsAtDecision) {
        Some("steps end at their decisions")
    } else {
        None
    }
}
