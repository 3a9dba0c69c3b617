//! M010: the moments of a step.

use crate::check::Moments;
use crate::invariants::prelude::*;
use crate::log::schema::IterationRow;

declare_invariant! {
    /// The moments of a step are in order, its duration is the sum of its parts, and steps do not
    /// overlap unless the engine's do.
    ///
    /// duration = end_time - start_time = scheduling_overhead + forward_pass_duration +
    /// output_processing_duration, exactly; a step begins when the one before has ended. With
    /// overlapping steps only the beginnings and the ends are each in order. A log whose `duration`
    /// ends at the decision is held to that, and its steps end no earlier than their forward passes.
    ///
    /// Blind spot: time moved between the parts, such as an output_processing_duration of 0 beside a forward
    /// pass that lasts to the end of its step.
    ///
    /// Example: a row flushed before its forward pass ended: forward_pass_duration 0 and a sum that
    /// falls short.
    pub static M010 = {
        name: "step-moments",
        reads: [PerIteration(start_time, end_time, duration, scheduling_overhead,
            forward_pass_duration)],
        also: [PerIteration(output_processing_duration)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        span(step, cx);
        parts(step, cx);
        if let Some(previous) = view.previous {
            order(previous, step, cx);
        }
    }
}

fn span(step: &Located<IterationRow>, cx: &mut Cx<'_>) {
    let row = &step.row;
    let span = row.end_time.checked_sub(row.start_time);
    let holds =
        span.is_some_and(|span| cx.agree_on(Compared::Span, span, row.duration, 1, step.at()));
    cx.expect(holds, |_| {
        let (message, expected) = match span {
            Some(span) => ("duration is not end_time - start_time", span.to_string()),
            None => ("the step ends before it begins", "a negative time".to_owned()),
        };
        Finding::new(message)
            .at(step.at(), "duration")
            .in_iteration(row.iteration_id)
            .values(expected, row.duration)
    });
}

fn parts(step: &Located<IterationRow>, cx: &mut Cx<'_>) {
    let row = &step.row;
    let decided = row.scheduling_overhead;
    let early = cx.facts.dialect.has(Habit::EndsAtDecision);
    let sum = if early {
        decided
    } else {
        let processing = row.output_processing_duration.unwrap_or_default();
        decided.saturating_add(row.forward_pass_duration).saturating_add(processing)
    };
    // Without output_processing_duration the rest of the duration is that.
    let open = !early && cx.facts.dialect.has(Habit::NoOutputDuration);
    let holds = if open {
        cx.follows(sum, row.duration, step.at())
    } else {
        cx.agree_on(Compared::Parts, sum, row.duration, 3, step.at())
    };
    cx.expect(holds, |_| {
        Finding::new("the parts of the step do not add up to its duration")
            .at(step.at(), "duration")
            .in_iteration(row.iteration_id)
            .values(sum, row.duration)
    });
}

fn order(previous: &Located<IterationRow>, step: &Located<IterationRow>, cx: &mut Cx<'_>) {
    let (before, now) = (&previous.row, &step.row);
    let comparisons = if cx.facts.overlapping {
        vec![
            ("start_time", before.start_time, now.start_time, "begins before the one before"),
            ("end_time", before.end_time, now.end_time, "ends before the one before"),
        ]
    } else {
        // Where end_time is the decision, the step lasts as long as what is told of it.
        let ended = Moments::of(before, &cx.facts.dialect).end.max(before.end_time);
        let message = "begins before the one before has ended";
        vec![("start_time", ended, now.start_time, message)]
    };
    for (column, bound, value, message) in comparisons {
        let holds = cx.follows(bound, value, step.at());
        cx.expect(holds, |_| {
            Finding::new(format!("the step {message}"))
                .at(step.at(), column)
                .with_row(Some(previous.at()), "the step before")
                .in_iteration(now.iteration_id)
                .values(format!("at least {bound}"), value)
        });
    }
}
