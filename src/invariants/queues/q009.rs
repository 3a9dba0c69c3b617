//! Q009: the action of a step.

use crate::invariants::prelude::*;
use crate::log::values::ActionSet;

declare_invariant! {
    /// scheduler_action is the step's weightiest decision, by its counts: `preempt`, else
    /// `admit_new`, else `resume`, else `continue`, else `idle`.
    ///
    /// A log that joins several actions names every one that its counts show.
    ///
    /// Blind spot: admissions in logs that neither count nor note them, or note them without details where
    /// steps overlap and the clock is read more than once (T001).
    ///
    /// Example: `continue` in a step with admitted_count 2.
    pub static Q009 = {
        name: "action-agrees",
        reads: [PerIteration(scheduler_action, preempted_count, batch_size, total_tokens)],
        also: [PerIteration(admitted_count, resumed_count), Events(event_type)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        let row = &step.row;
        // Events that end before the decision tell of no step but one without a batch.
        let reached = row.total_tokens == Tokens::ZERO
            || view.moments.is_some_and(|it| cx.facts.covers(Table::Events, it.decided));
        let told = reached && !view.blurred && cx.facts.whole(Table::Events);
        let noted = |kind| told.then(|| view.count(kind) as u32);
        let admitted = row.admitted_count.map(|count| count.0);
        let resumed = row.resumed_count.map(|count| count.0);
        let (Some(admitted), Some(resumed)) = (
            admitted.or_else(|| noted(EventType::RequestScheduled)),
            resumed.or_else(|| noted(EventType::RequestResumed)),
        ) else {
            return;
        };
        // Where a resumption is noted at the first scheduling too, it is none.
        let both = row.resumed_count.is_none() && cx.facts.dialect.has(Habit::ResumedAtFirst);
        let resumed = if both { resumed.saturating_sub(admitted) } else { resumed };
        // Where the batch is the running queue, or may be, it may have got nothing.
        let untold = cx.facts.dialect.has(Habit::FixedColumnsOnly)
            && !cx.facts.has(Table::PerIterationRequests)
            && row.batch_size == row.running_count;
        let scheduled = match untold || cx.facts.dialect.has(Habit::BatchIsRunning) {
            true => row.total_tokens > Tokens::ZERO,
            false => row.batch_size > Requests::ZERO,
        };
        use SchedulerAction as A;
        let happened = [
            (A::Preempt, row.preempted_count.0 > 0),
            (A::AdmitNew, admitted > 0),
            (A::Resume, resumed > 0),
            (A::Continue, scheduled),
            (A::Idle, true),
        ];
        let mut decisions = happened.into_iter().filter(|(_, yes)| *yes).map(|(action, _)| action);
        let actual = row.scheduler_action;
        let holds = if cx.facts.dialect.has(Habit::JoinedActions) {
            happened[..3].iter().all(|(action, yes)| actual.contains(*action) == *yes)
        } else {
            decisions.clone().next().map(ActionSet::of) == Some(actual)
        };
        cx.expect(holds, |_| {
            let expected = decisions.next().unwrap_or(A::Idle);
            Finding::new("scheduler_action is not what the counts of the step show")
                .at(step.at(), "scheduler_action")
                .in_iteration(view.id)
                .values(expected, actual)
        });
    }
}
