//! Q001: the counts of a step.

use crate::invariants::prelude::*;

declare_invariant! {
    /// running_count, waiting_count and completed_count are the numbers of the step's rows;
    /// preempted_count, admitted_count and resumed_count those of its events.
    ///
    /// Counts are read where the rows are: the queues at `D`, the completions at `E`. A count read at
    /// another moment differs by the requests that moved in between.
    ///
    /// Blind spot: completions in logs without `completed` rows.
    ///
    /// Example: running_count taken after the finished requests had left.
    pub static Q001 = {
        name: "counts-are-rows-and-events",
        reads: [PerIteration(running_count, waiting_count, preempted_count)],
        also: [
            PerIteration(admitted_count, resumed_count, completed_count),
            PerIterationRequests(state),
            Events(event_type),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else { return };
        let row = &step.row;
        let dialect = &cx.facts.dialect;
        let no_waiting = dialect.hides_waiting();
        let no_completed = dialect.has(Habit::NoCompletedRows);
        let no_resumed = dialect.has(Habit::ResumedAtFirst);
        // A step that has no rows at all is X004's business.
        if !view.rows.is_empty() {
            let mut by_state = [0usize; 4];
            for row in view.rows {
                by_state[row.state as usize] += 1;
            }
            let [waiting, running, preempted, completed] = by_state;
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
            }
        }
        // Events behind the end of a file that ends early are X005's business.
        let covered =
            view.moments.is_some_and(|moments| cx.facts.covers(Table::Events, moments.decided));
        if !covered || !cx.facts.whole(Table::Events) {
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
        let first = view.rows.first().map(|row| row.row.at());
        Finding::new(format!("{column} is {count}, but the step has {found} {what}"))
            .at(step.at(), column)
            .with_row(first, "the step's first row")
            .in_iteration(view.id)
            .values(found, count)
    });
}
