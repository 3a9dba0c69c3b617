//! Q001: the counts of a step.

use crate::check::{Alive, Living};
use crate::invariants::prelude::*;

declare_invariant! {
    /// running_count, waiting_count and completed_count are the numbers of the step's rows;
    /// preempted_count, admitted_count and resumed_count those of its events.
    ///
    /// Counts are read where the rows are: the queues at `D`, the completions at `E`. A count read at
    /// another moment differs by the requests that moved in between. completed_count is also that of
    /// the `request_completed` events at the end of the step, those of aborts excepted, and at most
    /// batch_size: only the batch has an output.
    ///
    /// Where the log does not show every waiting request, the events tell how many there are: whoever has
    /// arrived and is not over waits if it does not run, preempted or not.
    ///
    /// Blind spot: in logs without `completed` rows, an abort on the end of a step where nothing says
    /// why the request ended, steps whose ends per_iteration.csv does not tell if they overlap or the
    /// events give no reasons, and clocks that are read more than once.
    ///
    /// Example: running_count taken after the finished requests had left.
    pub static Q001 = {
        name: "counts-are-rows-and-events",
        reads: [PerIteration(batch_size, running_count, waiting_count, preempted_count)],
        also: [
            PerIteration(admitted_count, resumed_count, completed_count),
            PerIterationRequests(state),
            Events(event_type, timestamp, details),
            PerRequest(finish_reason),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    living: Living,
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        if hides_waiting(cx) {
            self.living.see(events);
        }
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        // An end may be stamped late, but in logs that read their clock once.
        let late = cx.facts.dialect.skew_bound;
        let slack = if cx.facts.dialect.ends_vary { cx.slack().max(late) } else { cx.slack() };
        let alive = hides_waiting(cx).then(|| self.living.at(view, slack)).flatten();
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        let row = &step.row;
        let dialect = &cx.facts.dialect;
        let no_waiting = dialect.hides_waiting();
        let no_completed = dialect.has(Habit::NoCompletedRows);
        let no_resumed = dialect.has(Habit::ResumedAtFirst);
        let mut by_state = [0usize; 4];
        by_state[State::Running as usize] = view.steady();
        for row in view.changed() {
            by_state[row.state as usize] += 1;
        }
        let [waiting, running, preempted, completed] = by_state;
        // A step that has no rows at all is X004's business.
        let mut told = false;
        if !view.rows.is_empty() {
            compare(view, "running_count", row.running_count, running, "running rows", cx);
            let rows = waiting + preempted;
            if no_waiting {
                cx.expect(rows <= row.waiting_count.0 as usize, |_| {
                    Finding::new("the step has more rows of waiting requests than it counts")
                        .at(step.at(), "waiting_count")
                        .in_iteration(view.id)
                        .values(rows, row.waiting_count)
                });
            } else {
                compare(view, "waiting_count", row.waiting_count, rows, "waiting rows", cx);
            }
            if let Some(count) = row.completed_count.filter(|_| !no_completed) {
                compare(view, "completed_count", count, completed, "completed rows", cx);
                told = count.0 as usize != completed;
            }
        }
        // Only one finding for one count.
        if let Some(count) = row.completed_count.filter(|_| !told) {
            completions(view, count, cx);
        }
        // Events behind the end of a file that ends early are X005's business.
        let covered =
            view.moments.is_some_and(|moments| cx.facts.covers(Table::Events, moments.decided));
        if !covered || !cx.facts.whole(Table::Events) {
            return;
        }
        if let Some(alive) = alive {
            by_the_living(view, alive, (waiting, preempted), cx);
        }
        if view.blurred {
            return;
        }
        use EventType as T;
        let counts = [
            ("preempted_count", Some(row.preempted_count), T::RequestPreempted),
            ("admitted_count", row.admitted_count, T::RequestScheduled),
            ("resumed_count", row.resumed_count.filter(|_| !no_resumed), T::RequestResumed),
        ];
        for (column, count, kind) in counts {
            if let Some(count) = count {
                compare(view, column, count, view.count(kind), kind.as_str(), cx);
            }
        }
    }
}

/// Whether the rows do not tell how many requests wait.
fn hides_waiting(cx: &Cx<'_>) -> bool {
    cx.facts.dialect.hides_waiting() || !cx.facts.has(Table::PerIterationRequests)
}

/// The waiting requests by who is alive and does not run, and by the rows of waiting and preempted ones
/// that there are.
fn by_the_living(
    view: &IterationView<'_>,
    alive: Alive,
    (waiting, preempted): (usize, usize),
    cx: &mut Cx<'_>,
) {
    let Some(step) = view.iteration else { return };
    let running = u64::from(step.row.running_count.0);
    // Logs without the reference columns may notice an arrival late.
    let noticed = if cx.facts.dialect.has(Habit::FixedColumnsOnly) { 0 } else { alive.least };
    // A preemption may be of the step behind, which is decided at the same moment.
    let away = if view.blurred { 0 } else { alive.away };
    let shown = waiting as u64 + away.max(preempted as u64);
    let least = noticed.saturating_sub(running).max(shown);
    let most = alive.most.saturating_sub(running);
    let waiting = step.row.waiting_count;
    cx.expect((least..=most).contains(&u64::from(waiting.0)), |_| {
        let expected = match least {
            least if least < most => format!("{least} to {most}"),
            least => least.to_string(),
        };
        Finding::new(format!(
            "waiting_count is {waiting}, but {expected} requests have arrived, are not over and do \
             not run"
        ))
        .at(step.at(), "waiting_count")
        .in_iteration(view.id)
        .values(expected, waiting)
    });
}

/// The completions of a step by its batch and its events: those at its end that are no aborts.
fn completions(view: &IterationView<'_>, count: Requests, cx: &mut Cx<'_>) {
    let (Some(step), Some(moments)) = (view.iteration, view.moments) else { return };
    let batch = step.row.batch_size;
    cx.expect(count <= batch, |_| {
        Finding::new("more requests are completed than the step has in its batch")
            .at(step.at(), "completed_count")
            .in_iteration(view.id)
            .values(format!("at most {batch}"), count)
    });
    // An end that per_iteration.csv does not tell is taken from the events: where steps overlap it is
    // that of several steps, and where nothing says why a request ended it may be an abort before it.
    // Where the clock is read more than once, an end may lie behind its step.
    let untold = |event: &Located<EventRow>| {
        event.row.event_type == EventType::RequestCompleted
            && event.row.details.finish_reason.is_none()
    };
    // Of a file that is cut, the first outputs behind the last step may be those of the next one.
    let last = cx.facts.table(Table::PerIteration).exhausted;
    let hidden = cx.facts.dialect.hides_ends()
        && (cx.facts.overlapping || last || view.events.iter().any(untold));
    let known = !hidden && !cx.facts.dialect.ends_vary && cx.slack() == Nanos::ZERO;
    if count > batch
        || !known
        || !cx.facts.whole(Table::Events)
        || !cx.facts.reaches(Table::Events, moments.end)
    {
        return;
    }
    let covered = cx.facts.covers(Table::Events, moments.end);
    let (mut least, mut most) = (0, 0);
    let ends = view.events.iter().filter(|event| {
        event.row.event_type == EventType::RequestCompleted && event.row.timestamp >= moments.output
    });
    for end in ends {
        let history = end.row.request_id.and_then(|key| view.history(key));
        let told = end.row.details.finish_reason;
        let record = || history?.record.as_ref()?.row.finish_reason;
        match told.or_else(record) {
            Some(FinishReason::Stop | FinishReason::Length) => {
                (least, most) = (least + 1, most + 1)
            }
            Some(FinishReason::Abort | FinishReason::Unfinished) => {}
            // Rejected, or ended by an output that could not be used.
            Some(FinishReason::Error) | None => most += 1,
        }
    }
    cx.expect((least..=most).contains(&count.0), |_| {
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let finding = Finding::new(format!(
            "completed_count is {count}, but {expected} requests are completed at the end of the step"
        ))
        .at(step.at(), "completed_count")
        .in_iteration(view.id)
        .values(expected, count);
        // At its last moment the file may have been cut between two rows.
        let cut = count.0 > most && !covered;
        if cut { finding.as_severity(Severity::Damage) } else { finding }
    });
}

fn compare(
    view: &IterationView<'_>,
    column: &'static str,
    count: Requests,
    found: usize,
    what: &str,
    cx: &mut Cx<'_>,
) {
    let Some(step) = view.iteration else { return };
    cx.expect(count.0 as usize == found, |_| {
        let first = view.rows.at(0);
        Finding::new(format!("{column} is {count}, but the step has {found} {what}"))
            .at(step.at(), column)
            .with_row(first, "the step's first row")
            .in_iteration(view.id)
            .values(found, count)
    });
}
