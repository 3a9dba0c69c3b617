//! Whether per_iteration_requests.csv was cut inside a step.
//!
//! A step that counts more requests than it has rows may have a wrong count, or may be where the file
//! was cut. A cut takes away the rows from some place on, and those rows were somebody's: a count that
//! nobody known stands behind is a wrong count.

use crate::check::facts::LogFacts;
use crate::check::history::{Histories, RequestHistory};
use crate::check::view::{Moments, RowView, Rows};
use crate::log::dialect::Habit;
use crate::log::schema::{IterationRow, Table};
use crate::log::values::State;
use crate::units::{Nanos, Requests, Tokens};

/// A step behind which the file of its rows has nothing.
pub(super) struct RowsCut<'a> {
    pub(super) step: &'a IterationRow,
    pub(super) moments: Moments,
    pub(super) rows: Rows<'a>,
    pub(super) facts: &'a LogFacts,
}

impl RowsCut<'_> {
    /// Whether the file was cut in this step, or before it.
    pub(super) fn is_here(&self, live: &Histories) -> bool {
        // Behind the step in which it was cut there are no rows to tell where.
        let behind = self.facts.rows_end_early;
        let queued = self.lacks_queued() && (behind || self.somebody_is_missing(live));
        let has_rows = !self.rows.is_empty();
        queued || has_rows && self.lacks_completed() && self.an_end_is_missing(live)
    }

    /// Whether rows of the queues are missing, and those that are there are the first of the step.
    fn lacks_queued(&self) -> bool {
        let dialect = &self.facts.dialect;
        let waiting =
            if dialect.hides_waiting() { Requests::ZERO } else { self.step.waiting_count };
        let expected = self.step.running_count;
        let running = self.rows.count(|state| state == State::Running);
        let queued = self.rows.count(|state| state != State::Completed);
        let lacks = queued < expected.saturating_add(waiting).0 as usize;
        let all_running = running >= expected.0 as usize;
        let none_waiting = running == queued;
        let none_completed = queued == self.rows.len();
        // The running queue stands first, the completed requests last, but in logs that order freely.
        let first = none_completed && (all_running || none_waiting);
        lacks && (first || dialect.has(Habit::FixedColumnsOnly))
    }

    fn lacks_completed(&self) -> bool {
        let completed = self.rows.count(|state| state == State::Completed);
        // Where nothing counts them, the ends that the other files tell of do.
        let lacks = self.step.completed_count.is_none_or(|count| completed < count.0 as usize);
        lacks && !self.facts.dialect.has(Habit::NoCompletedRows)
    }

    /// Whether a request was alive at the decision that has no row of its queue.
    fn somebody_is_missing(&self, live: &Histories) -> bool {
        let decided = self.moments.decided;
        let is_missing = |request: &RequestHistory| {
            let here =
                request.queued.is_some_and(|row| row.row.iteration_id == self.step.iteration_id);
            let alive = request.arrival() <= Some(decided)
                && request.completion().is_none_or(|end| end > decided);
            alive && !here && request.any_location().is_some()
        };
        if live.iter().any(is_missing) {
            return true;
        }
        // Where the events end before the step, its requests may be nowhere else; but a step that has
        // none in its batch shows none.
        !self.facts.covers(Table::Events, decided) && self.step.total_tokens > Tokens::ZERO
    }

    /// Whether the step has the request in its running queue.
    fn runs(&self, request: &RequestHistory) -> bool {
        request.queued.is_some_and(|row| {
            row.row.iteration_id == self.step.iteration_id && row.row.state == State::Running
        })
    }

    /// Whether a request was finished by this step that has no row of it.
    fn an_end_is_missing(&self, live: &Histories) -> bool {
        let end = self.moments.end;
        let counted = self.step.completed_count.is_some();
        // Where only the events tell the ends of steps, nothing does behind the last of them.
        if counted && self.facts.dialect.hides_ends() && !self.facts.covers(Table::Events, end) {
            return true;
        }
        let slack = self.facts.skew.unwrap_or(Nanos::ZERO).0;
        let is_missing = |request: &RequestHistory| {
            let now = request.completion().is_some_and(|at| at.0.abs_diff(end.0) <= slack);
            let has_row = match request.finish_reason() {
                Some(reason) => !reason.is_drop(),
                // An abort of a request that runs is not just then, where that moment is known.
                None => {
                    let known = slack == 0 && !self.facts.dialect.hides_ends();
                    counted || known && self.runs(request) && !got_nothing(request)
                }
            };
            now && has_row && request.completed.is_none()
        };
        let told = [Table::PerRequest, Table::Events, Table::StateTransitions];
        if live.iter().any(is_missing) {
            return true;
        }
        // At its last moment a file may have been cut between two ends.
        if !counted || told.into_iter().any(|table| self.facts.covers(table, end)) {
            return false;
        }
        // Where those end before the step, it may be any that nothing says the end of.
        let endless = |row: &RowView| {
            let told = |request: &RequestHistory| {
                request.record.is_some() || request.completion().is_some()
            };
            !live.get(row.request_id).is_some_and(told)
        };
        self.rows.iter().any(|row| endless(&row))
    }
}

/// Whether the last step of a request gave it no token, as one whose client gave up before the output was
/// there: on a coarse clock that moment is the end of the step.
fn got_nothing(request: &RequestHistory) -> bool {
    let (Some(record), Some(queued)) = (&request.record, &request.queued) else { return false };
    record.row.output_tokens <= queued.row.tokens_generated
}
