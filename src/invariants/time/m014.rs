//! M014: decisions fall inside steps.

use crate::invariants::prelude::*;
use crate::units::IterationId;

declare_invariant! {
    /// Every decision's moment falls inside a step: scheduling, preemption, resumption and the
    /// first token between its start_time and its end_time.
    ///
    /// Decisions are taken at `D` and outputs are noted at `E`; nothing is decided between steps.
    /// Where details name the step, it is that very step.
    ///
    /// Blind spot: which moment of the step it is; M006 and M007 compare with the request's row.
    ///
    /// Example: `request_preempted` at 450 between a step that ended at 440 and one that began at 460.
    pub static M014 = {
        name: "decisions-inside-steps",
        reads: [
            PerIteration(iteration_id, start_time, end_time),
            Events(timestamp, event_type),
        ],
        severity: Error,
    } => Check
}

/// Steps by which a decision may be ahead of the last row where steps overlap.
const STEPS_IN_FLIGHT: u64 = 16;

#[derive(Default)]
struct Check {
    /// The latest step that an event names.
    latest: Option<(IterationId, Located<EventRow>)>,
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], _: &mut Cx<'_>) {
        for event in events {
            let Some(id) = event.row.details.iteration_id else { continue };
            if self.latest.is_none_or(|(latest, _)| id > latest) {
                self.latest = Some((id, *event));
            }
        }
    }

    /// An event of a step that the log does not have.
    fn finish(&mut self, end: &LogEnd, cx: &mut Cx<'_>) {
        let (Some((id, event)), Some(last)) = (self.latest, end.last_iteration) else { return };
        let ahead = if cx.facts.overlapping { STEPS_IN_FLIGHT } else { 0 };
        // The next step may be decided at the very moment at which the last one of a cut file ends.
        let decides_next = event.row.event_type.is_decision() && id.0 == last.0.saturating_add(1);
        let at = Some(event.row.timestamp);
        let within = match cx.facts.dialect.hides_ends() {
            // The end of the last step may have been taken from an output of one that was lost.
            true => at <= cx.facts.last_decided,
            false => at < end.last_end_time || at == end.last_end_time && !decides_next,
        };
        // Behind the end of a file that ends early X005 speaks.
        if id.0 > last.0.saturating_add(ahead) && within && cx.facts.complete(Table::PerIteration) {
            cx.found(
                Finding::new("the event names a step that the log does not have")
                    .at(event.at(), "details")
                    .in_iteration(id)
                    .values(format!("at most {last}"), id),
            );
        }
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(moments) = view.moments else { return };
        for event in view.events.iter().filter(|event| is_decision(event.row.event_type)) {
            let at = event.row.timestamp;
            let other = event.row.details.iteration_id.filter(|id| *id != view.id);
            // A stamp within the clock's skew of both is of the step that is named.
            let fits = other.and_then(|id| view.moments_of(id)).is_some_and(|it| {
                let slack = cx.slack();
                let reaches = it.start <= at.saturating_add(slack);
                slack > Nanos::ZERO && reaches && at <= it.end.saturating_add(slack)
            });
            if fits {
                continue;
            }
            let inside = cx.follows(moments.start, at, event.at())
                && cx.follows(at, moments.end, event.at());
            cx.expect(inside && other.is_none(), |ids| {
                let (message, expected) = if inside {
                    let expected = format!("a moment of iteration {}", other.unwrap_or(view.id));
                    ("the event names another step than that of its moment", expected)
                } else {
                    let bounds = format!("{} to {}", moments.start, moments.end);
                    ("the decision falls in no step", bounds)
                };
                let mut finding = Finding::new(message)
                    .at(event.at(), "timestamp")
                    .with_row(view.iteration.map(Located::at), "the step")
                    .in_iteration(view.id)
                    .values(expected, at);
                if let Some(key) = event.row.request_id {
                    finding = finding.of(key, ids);
                }
                finding
            });
        }
    }
}

fn is_decision(kind: EventType) -> bool {
    use EventType as T;
    matches!(
        kind,
        T::RequestScheduled
            | T::RequestPreempted
            | T::RequestResumed
            | T::RequestEvicted
            | T::FirstTokenGenerated
    )
}
