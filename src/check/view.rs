//! What a rule sees of one iteration.

use crate::check::history::{Histories, RequestHistory};
use crate::log::ids::RequestKey;
use crate::log::reader::Located;
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow};
use crate::log::values::{EventType, State};
use crate::units::{IterationId, Nanos};

pub use crate::check::group::Rows;
pub use crate::log::moments::Moments;

/// One row of the step with what the same request's last row said.
#[derive(Clone, Copy, Debug)]
pub struct RowView {
    /// The row.
    pub row: Located<IterationRequestRow>,
    /// The request's row before it: of an earlier step, or, for a `completed` row, of this one.
    /// None if this is its first, or if rows of it were lost.
    pub before: Option<Located<IterationRequestRow>>,
    /// Whether rows of the request were lost, so that its past is not known.
    pub past_lost: bool,
    /// Whether no rule has anything to say about it, as it only goes on decoding: it stands behind
    /// rows of running requests alone, in their order of the step before, and has one token more, in
    /// the blocks that its tokens take.
    pub steady: bool,
}

impl RowView {
    /// Whether the row stands for a place in a queue at `D`.
    #[must_use]
    pub fn queued(&self) -> bool {
        self.row.row.state != State::Completed
    }

    /// Whether the row is the first of its queue, also where the log leaves out rows.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.row.row.queue_position.is_none_or(|position| position.0 <= 0)
    }

    /// The request's row of an earlier step.
    #[must_use]
    pub fn earlier(&self) -> Option<&Located<IterationRequestRow>> {
        self.before.as_ref().filter(|before| before.row.iteration_id != self.row.row.iteration_id)
    }

    /// Whether the request entered the running queue with this step.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.row.row.state == State::Running
            && !self.past_lost
            && self
                .before
                .is_none_or(|before| matches!(before.row.state, State::Waiting | State::Preempted))
    }
}

impl std::ops::Deref for RowView {
    type Target = IterationRequestRow;
    fn deref(&self) -> &IterationRequestRow {
        &self.row.row
    }
}

/// One step of the log.
#[derive(Debug)]
pub struct IterationView<'a> {
    /// Its id.
    pub id: IterationId,
    /// Its row in per_iteration.csv.
    pub iteration: Option<&'a Located<IterationRow>>,
    /// Its moments; unknown without that row.
    pub moments: Option<Moments>,
    /// The row of per_iteration.csv before it.
    pub previous: Option<&'a Located<IterationRow>>,
    /// The step of the last group of rows before this one.
    pub previous_group: Option<IterationId>,
    /// Its rows in per_iteration_requests.csv.
    pub rows: Rows<'a>,
    /// Its events: decisions at `D`, outputs at `E`, arrivals and aborts since the step before.
    pub events: &'a [Located<EventRow>],
    /// Whether rows of this step could not be read.
    pub damaged: bool,
    /// Whether its decisions may be noted with the step before or behind, or theirs with it: they name
    /// no step, and were taken within the skew of the log's clock.
    pub blurred: bool,
    pub(super) histories: &'a Histories,
    pub(super) recent: &'a [(IterationId, Moments)],
}

impl<'a> IterationView<'a> {
    /// The rows about which there may be something to say: all but the [steady](RowView::steady) ones.
    pub fn changed(&self) -> impl Iterator<Item = &'a RowView> + use<'a> {
        self.rows.changed().iter()
    }

    /// As [`changed`](Self::changed), each with the place right before it if the row there is a steady one.
    pub fn changed_behind(&self) -> impl Iterator<Item = (Option<usize>, &'a RowView)> + use<'a> {
        let (rows, mut behind) = (self.rows, 0);
        rows.places_of_changed().iter().zip(rows.changed()).map(move |(place, row)| {
            let place = *place as usize;
            let is_behind_steady = place > std::mem::replace(&mut behind, place + 1);
            (place.checked_sub(1).filter(|_| is_behind_steady), row)
        })
    }

    /// How many rows are steady, each of them that of a running request with one token.
    #[must_use]
    pub fn steady(&self) -> usize {
        self.rows.len() - self.rows.changed().len()
    }

    /// The blocks of the requests in the queues, by the rows.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.rows.blocks().0
    }

    /// How many blocks the [steady](RowView::steady) rows have more than those before them.
    #[must_use]
    pub const fn blocks_of_steady(&self) -> u64 {
        self.rows.blocks().1
    }

    /// What the log said so far of a request. What it says of rows is up to date if the step has an event
    /// of the request or a row that is not [steady](RowView::steady); else see
    /// [`last_queued`](Self::last_queued).
    #[must_use]
    pub fn history(&self, key: RequestKey) -> Option<&'a RequestHistory> {
        self.histories.get(key)
    }

    /// The request's last row that stood for a place in a queue.
    #[must_use]
    pub fn last_queued(&self, key: RequestKey) -> Option<Located<IterationRequestRow>> {
        self.rows.steady(key).or_else(|| self.history(key)?.queued)
    }

    /// The moments of this or one of the few steps before it.
    #[must_use]
    pub fn moments_of(&self, id: IterationId) -> Option<Moments> {
        if id == self.id {
            return self.moments;
        }
        self.recent.iter().rev().find(|(other, _)| *other == id).map(|(_, moments)| *moments)
    }

    /// When a step was over at the latest that is longer ago than those that are remembered.
    #[must_use]
    pub fn over_by(&self, id: IterationId) -> Option<Nanos> {
        let (oldest, moments) = self.recent.first()?;
        (id < *oldest).then_some(moments.end)
    }

    /// The end of a step that is nearest to a moment. None if that is longer ago than the few steps that
    /// are remembered.
    #[must_use]
    pub fn nearest_end(&self, moment: Nanos) -> Option<Nanos> {
        let (oldest, moments) = self.recent.first()?;
        let remembered = *oldest == IterationId::ZERO || moments.end <= moment;
        let ends = self.recent.iter().map(|(_, moments)| moments.end);
        ends.filter(|_| remembered).min_by_key(|end| end.0.abs_diff(moment.0))
    }

    /// The remembered steps, this one the last.
    pub fn recent_steps(&self) -> impl DoubleEndedIterator<Item = &'a Moments> {
        self.recent.iter().map(|(_, moments)| moments)
    }

    /// How many outputs were processed from one moment to another, both included. None if that is
    /// longer ago than the few steps that are remembered, or one of them has no row.
    #[must_use]
    pub fn outputs_between(&self, from: Nanos, to: Nanos) -> Option<u64> {
        let (oldest, moments) = self.recent.first()?;
        let all_there = moments.end < from || *oldest == IterationId::ZERO;
        let without_gap = oldest.0.checked_add(self.recent.len() as u64 - 1) == Some(self.id.0);
        let ends = || self.recent.iter().map(|(_, moments)| moments.end);
        (all_there && without_gap)
            .then(|| ends().filter(|end| (from..=to).contains(end)).count() as u64)
    }

    /// How many events of a type it has.
    #[must_use]
    pub fn count(&self, kind: EventType) -> usize {
        self.events.iter().filter(|event| event.row.event_type == kind).count()
    }

    /// The first event of a type of a request.
    #[must_use]
    pub fn event(&self, key: RequestKey, kind: EventType) -> Option<&'a Located<EventRow>> {
        let wanted = |event: &&Located<EventRow>| {
            event.row.event_type == kind && event.row.request_id == Some(key)
        };
        self.events.iter().find(wanted)
    }
}
