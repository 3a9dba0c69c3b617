//! Q004: a row in every step.

use crate::check::Moments;
use crate::invariants::prelude::*;

declare_invariant! {
    /// Every live request has a row in every step between its arrival and its completion.
    ///
    /// A request is in one of the queues from the first step that begins at or after its arrival to
    /// the last step decided before its end. A gap is a request that a queue lost, or a row that the
    /// logger did.
    ///
    /// Blind spot: an arrival at the very moment at which a step begins; it may be in that step or in
    /// the next. In logs without the reference columns an arrival may be noticed late.
    ///
    /// Example: a preempted request that has no row until it is resumed.
    pub static Q004 = {
        name: "row-in-every-step",
        reads: [
            PerIteration(iteration_id, start_time, end_time),
            PerIterationRequests(iteration_id, request_id, state),
        ],
        also: [PerRequest(arrival_time, completion_time), Events(timestamp)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The moments of the step before.
    before: Option<Moments>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let before = std::mem::replace(&mut self.before, view.moments);
        if excused(cx) {
            return;
        }
        cx.exercised(view.rows.len());
        for row in view.changed().filter(|row| row.queued()) {
            match row.earlier() {
                Some(last) if last.row.state == State::Completed => {}
                Some(last) => {
                    let gap = view.previous_group.is_some_and(|id| last.row.iteration_id < id);
                    if gap && !view.damaged {
                        missing(row, last, view, cx);
                    }
                }
                None if row.before.is_none() => self.first(row, view, before, cx),
                None => {}
            }
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let cut = cx.facts.rows_end_early || cx.facts.table(Table::PerIterationRequests).truncated;
        if request.damaged || excused(cx) || cut {
            return;
        }
        let Some(last) = request.last().filter(|last| last.row.state != State::Completed) else {
            return;
        };
        let Some((id, Some(moments))) = request.absent_from else { return };
        // The end of an aborted request may fall on the beginning of the step that misses it; so may,
        // where steps overlap, that of any other, by a reading of its own.
        let dialect = &cx.facts.dialect;
        let slack = if dialect.is_exact() { cx.slack() } else { dialect.skew_bound };
        let over =
            request.completion().is_some_and(|end| end <= moments.start.saturating_add(slack));
        // Events that end before the step may have ended before the request did.
        let unknown = request.completion().is_none()
            && !cx.facts.covers(Table::Events, moments.start)
            && request.record.is_none();
        cx.expect(over || unknown, |ids| {
            let end = request.completion().map_or("never".to_owned(), |end| end.to_string());
            Finding::new(format!("the request has no row in step {id}, but is not over by then"))
                .at(last.at(), "request_id")
                .with_row(request.record.as_ref().map(Located::at), "its end")
                .of(request.key, ids)
                .in_iteration(id)
                .values(format!("an end by {}", moments.start), end)
        });
    }
}

impl Check {
    /// The first row of a request: the step must be the first one that could have it.
    fn first(
        &self,
        row: &RowView,
        view: &IterationView<'_>,
        before: Option<Moments>,
        cx: &mut Cx<'_>,
    ) {
        let Some(history) = view.history(row.request_id).filter(|history| !history.damaged) else {
            return;
        };
        let (Some(arrival), Some(moments)) = (history.arrival(), view.moments) else { return };
        let strict = !cx.facts.dialect.has(Habit::FixedColumnsOnly);
        // A step takes in what has arrived when it begins.
        let latest = moments.start;
        let slack = cx.slack();
        let early = arrival > latest.saturating_add(slack);
        let late =
            strict && before.is_some_and(|before| arrival.saturating_add(slack) < before.start);
        if early || late && view.previous_group.is_some() && !view.damaged {
            let (message, expected) = if early {
                let bound = format!("an arrival by {latest}");
                ("the request has a row before it arrived", bound)
            } else {
                let start = before.map_or(Nanos::ZERO, |before| before.start);
                let bound = format!("an arrival from {start} on, or a row in an earlier step");
                ("the request has no row in the steps before, although it had arrived", bound)
            };
            cx.found(
                Finding::new(message)
                    .at(row.row.at(), "request_id")
                    .of(row.request_id, cx.ids)
                    .in_iteration(view.id)
                    .values(expected, arrival),
            );
        }
    }
}

/// Whether the log does not show every queue, or lost rows that may be anybody's.
fn excused(cx: &Cx<'_>) -> bool {
    let dialect = &cx.facts.dialect;
    dialect.hides_waiting() || cx.facts.table(Table::PerIterationRequests).blind
}

fn missing(
    row: &RowView,
    last: &Located<crate::log::schema::IterationRequestRow>,
    view: &IterationView<'_>,
    cx: &mut Cx<'_>,
) {
    cx.found(
        Finding::new(format!(
            "the request has no row between steps {} and {}",
            last.row.iteration_id, view.id
        ))
        .at(row.row.at(), "request_id")
        .with(last.at(), "request_id", "its row before")
        .of(row.request_id, cx.ids)
        .in_iteration(view.id),
    );
}
