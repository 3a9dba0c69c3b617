//! Q003: the batch.

use crate::invariants::prelude::*;

declare_invariant! {
    /// batch_size is the number of rows with scheduled_tokens above 0, and at most running_count;
    /// only running requests are scheduled. Each gets a token at least. A `completed` row has 0, or repeats what the step gave.
    ///
    /// A log that writes the length of the running queue as batch_size is held to that.
    ///
    /// Blind spot: logs without scheduled_tokens; only the bounds are checked there: at most running_count, and 0 only in
    /// a step that schedules no token.
    ///
    /// Example: batch_size 3 with a request that got no token because the budget was spent.
    pub static Q003 = {
        name: "batch-size",
        reads: [PerIteration(batch_size, total_tokens, running_count)],
        also: [PerIterationRequests(scheduled_tokens)],
        severity: Error,
    } => Check
}

/// Steps with a batch_size of the running queue that are a habit, if no step has another.
const FEWEST: usize = 3;
/// Steps that are remembered until that is known.
const MOST_DOUBTFUL: usize = 1000;

#[derive(Default)]
struct Check {
    /// Whether batch_size is not the length of the running queue in some step.
    is_batch: bool,
    /// Steps whose batch_size is the length of the running queue and not that of the batch.
    doubtful: Vec<Finding>,
    /// The first step with a batch that has fewer tokens than requests.
    without_tokens: Option<Finding>,
    /// Whether `completed` rows repeat what the step gave, by the first of them.
    repeats: Option<bool>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        let (batch, running) = (step.row.batch_size, step.row.running_count);
        cx.expect(batch <= running, |_| {
            Finding::new("more requests are scheduled than run")
                .at(step.at(), "batch_size")
                .in_iteration(view.id)
                .values(format!("at most {running}"), batch)
        });
        let running_queue = cx.facts.dialect.has(Habit::BatchIsRunning);
        self.is_batch |= batch < running;
        let total = step.row.total_tokens;
        if !running_queue && batch.0 > total.0 {
            let finding = Finding::new("more requests are in the batch than tokens are scheduled")
                .at(step.at(), "batch_size")
                .in_iteration(view.id)
                .values(format!("at most {total}"), batch);
            self.without_tokens.get_or_insert(finding);
        }
        cx.expect(!running_queue || batch == running, |_| {
            Finding::new("batch_size is the length of the running queue elsewhere, and not here")
                .at(step.at(), "batch_size")
                .in_iteration(view.id)
                .values(running, batch)
        });
        let known = cx.facts.has_column(Table::PerIterationRequests, "scheduled_tokens");
        if !known || view.damaged || view.rows.is_empty() {
            cx.expect(batch > Requests::ZERO || total == Tokens::ZERO, |_| {
                Finding::new("tokens are scheduled, and no request is in the batch")
                    .at(step.at(), "batch_size")
                    .in_iteration(view.id)
                    .values("at least 1", batch)
            });
            return;
        }
        let scheduled = |row: &&RowView| {
            row.queued() && row.scheduled_tokens.is_some_and(|tokens| tokens > Tokens::ZERO)
        };
        let count = view.steady() + view.changed().filter(scheduled).count();
        cx.exercised(1);
        if !running_queue && count != batch.0 as usize {
            let finding =
                Finding::new(format!("batch_size is {batch}, but {count} rows have tokens"))
                    .at(step.at(), "batch_size")
                    .with_row(view.rows.at(0), "the step's first row")
                    .in_iteration(view.id)
                    .values(count, batch);
            // In a long log that may be found out late; of a step without all its rows nothing is.
            let runs = view.rows.count(|state| state == State::Running);
            let may_be = batch == running && runs == running.0 as usize && !self.is_batch;
            if may_be && self.doubtful.len() < MOST_DOUBTFUL {
                self.doubtful.push(finding);
            } else {
                cx.found(finding);
            }
        }
        for row in view.changed().filter(|row| !row.queued()) {
            self.completed(row, view, cx);
        }
        let idle = view.changed().find(|row| scheduled(row) && row.state != State::Running);
        if let Some(row) = idle {
            cx.found(
                Finding::new(format!("a {} request is scheduled", row.state))
                    .at(row.row.at(), "scheduled_tokens")
                    .of(row.request_id, cx.ids)
                    .in_iteration(view.id),
            );
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if self.is_batch || self.doubtful.len() < FEWEST {
            self.doubtful.drain(..).for_each(|finding| cx.found(finding));
        } else if !self.doubtful.is_empty() {
            cx.note("batch_size is the length of the running queue, not of the batch");
        }
        // Of a running queue some may get nothing.
        if let Some(finding) = self.without_tokens.take().filter(|_| self.is_batch) {
            cx.found(finding);
        }
    }
}

impl Check {
    /// A `completed` row stands for the end of the step, which gave it nothing; some logs repeat in all
    /// of them what the step had given.
    fn completed(&mut self, row: &RowView, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(tokens) = row.scheduled_tokens else { return };
        let same_step = row.before.filter(|before| before.row.iteration_id == view.id);
        let given = same_step.and_then(|before| before.row.scheduled_tokens).unwrap_or_default();
        let repeats = tokens > Tokens::ZERO;
        let alike = given == Tokens::ZERO || *self.repeats.get_or_insert(repeats) == repeats;
        cx.expect(alike && (!repeats || tokens == given), |ids| {
            let expected = if !alike && repeats { Tokens::ZERO } else { given };
            Finding::new("a completed row has other tokens than the step gave the request")
                .at(row.row.at(), "scheduled_tokens")
                .with_row(same_step.as_ref().map(Located::at), "the request in the same step")
                .of(row.request_id, ids)
                .in_iteration(view.id)
                .values(expected, tokens)
        });
    }
}
