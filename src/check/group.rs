//! The rows of a step, and which of them are steady.
//!
//! Nearly all rows of a log are those of running requests that go on decoding: one token more than in
//! the step before, in the same blocks, behind the same neighbour. Such a row is recognised once, here,
//! and rules look at the [others](crate::check::IterationView::changed) only. What a row must be for
//! that is written down here and nowhere else; it is stricter than any rule. Tests hold the reports with
//! and without this short cut ([`CheckOptions::every_row`](crate::check::CheckOptions::every_row)) to
//! each other, on right logs and on wrong ones.

use crate::check::facts::LogFacts;
use crate::check::history::{Histories, RequestHistory};
use crate::check::view::{Moments, RowView};
use crate::log::dialect::Habit;
use crate::log::ids::RequestKey;
use crate::log::reader::Located;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::{IterationId, Nanos, Tokens};

/// The rows of a step.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) rows: Vec<RowView>,
    /// The places of those that are not steady.
    pub(super) changed: Vec<u32>,
    /// The blocks of the requests in the queues.
    pub(super) blocks: u64,
    /// How many of the rows stand for a place in a queue.
    queued: usize,
    /// The step's `D`.
    decided: Option<Nanos>,
}

impl Group {
    #[inline]
    fn row(&self, place: usize, key: RequestKey) -> Option<&RowView> {
        self.rows.get(place).filter(|row| row.row.row.request_id == key)
    }

    /// Brings the history of a request up to its row at this place.
    fn settle(&self, place: usize, key: RequestKey, history: &mut RequestHistory) {
        if let Some(view) = self.row(place, key).filter(|view| view.steady) {
            history.catch_up(&view.row, self.decided);
        }
    }

    fn doubt(&mut self, place: usize, key: RequestKey) {
        let row = self.rows.get_mut(place).filter(|row| row.row.row.request_id == key);
        if let Some(row) = row {
            row.sure = false;
        }
    }
}

/// The rows of the present step and of the one before it.
///
/// The [history](RequestHistory) of a request with a steady row is left as it was before that, and
/// brought up to date once anything else is told of the request: an event, its end, another row. So
/// what a history says of rows is not to be asked for requests that a step tells nothing else of.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) now: Group,
    before: Group,
    /// By key: where the request's row stands in the present step, or, while that is read, in the one
    /// before.
    pub(super) places: Vec<u32>,
    /// Whether the log is one in which the row before tells what comes next: steps do not overlap, and
    /// the clock is read once.
    possible: bool,
    /// The tokens of a block; 0 if it is not known, as no rule asks then.
    block_size: u64,
    /// The time since the `D` of the step before; none if no row of the step can be steady (any more).
    passed: Option<Nanos>,
    /// Where the row that comes next stood in the step before, if all goes on.
    expected: usize,
}

impl Groups {
    /// For a log of which this is known.
    pub(super) fn of(facts: &LogFacts, every_row: bool) -> Self {
        let habits = [Habit::NoRunningPosition, Habit::MixedRunningPosition];
        let odd = habits.into_iter().any(|habit| facts.dialect.has(habit));
        Self {
            now: Group::default(),
            before: Group::default(),
            places: Vec::new(),
            possible: !every_row && !odd && !facts.overlapping && facts.skew.is_none(),
            block_size: u64::from(facts.settings.block_size.unwrap_or(0)),
            passed: None,
            expected: 0,
        }
    }

    /// Begins a step: its moments, those of the step right before it, and the step of the last rows.
    pub(super) fn begin(
        &mut self,
        id: IterationId,
        now: Option<Moments>,
        before: Option<(IterationId, Moments)>,
        last: Option<IterationId>,
    ) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.rows.clear();
        self.now.changed.clear();
        (self.now.blocks, self.now.queued) = (0, 0);
        self.now.decided = now.map(|moments| moments.decided);
        self.expected = 0;
        self.passed = before
            .filter(|(other, _)| self.possible && last == Some(*other))
            .filter(|(other, _)| other.0.checked_add(1) == Some(id.0))
            .zip(now)
            .and_then(|((_, before), now)| now.decided.checked_sub(before.decided));
    }

    /// Takes in the next row of the step, if it is a steady one.
    #[inline(always)]
    pub(super) fn take_steady(&mut self, row: &Located<IterationRequestRow>) -> bool {
        let before = self.steady(&row.row);
        if before.is_some() {
            self.push(RowView { row: *row, before, past_lost: false, steady: true, sure: true });
        }
        before.is_some()
    }

    /// The request's row in the step before if this row is a steady one.
    #[inline(always)]
    fn steady(&mut self, row: &IterationRequestRow) -> Option<Located<IterationRequestRow>> {
        let passed = self.passed?;
        let key = row.request_id;
        let mut place = self.expected;
        if self.before.row(place, key).is_none() {
            place = self.places.get(key.index()).map_or(0, |place| *place as usize);
            if place < self.expected || self.before.row(place, key).is_none() {
                return self.nothing_is_sure();
            }
        }
        let here = self.now.rows.len();
        let in_place = row.queue_position.is_some_and(|at| at.0 as usize == here);
        if row.state != State::Running || !in_place {
            return self.nothing_is_sure();
        }
        let view = self.before.rows.get(place)?;
        if view.row.row.state != State::Running {
            return self.nothing_is_sure();
        }
        self.expected = place + 1;
        (view.sure && self.goes_on(row, &view.row.row, passed)).then_some(view.row)
    }

    /// Behind a row that is not of a running request, or out of order, nothing is sure of the others.
    #[cold]
    fn nothing_is_sure(&mut self) -> Option<Located<IterationRequestRow>> {
        self.passed = None;
        None
    }

    /// Whether a row is what the one before leads to, if that one is [sure](Self::is_sure).
    #[inline]
    fn goes_on(
        &self,
        now: &IterationRequestRow,
        then: &IterationRequestRow,
        passed: Nanos,
    ) -> bool {
        let next = |tokens: Option<Tokens>| tokens.and_then(|tokens| tokens.0.checked_add(1));
        let computes = u64::from(now.computed_tokens.unwrap_or_default().0) + 1;
        let room = u64::from(now.kv_cache_blocks.0) * self.block_size;
        let fits = computes <= room && room < computes + self.block_size;
        now.scheduled_tokens == Some(Tokens(1))
            && now.waiting_reason.is_none()
            && Some(now.tokens_generated.0) == next(Some(then.tokens_generated))
            && now.computed_tokens.map(|tokens| tokens.0) == next(then.computed_tokens)
            && now.kv_cache_blocks == then.kv_cache_blocks
            && (fits || self.block_size == 0)
            && Some(now.time_in_state.0) == then.time_in_state.0.checked_add(passed.0)
    }

    /// Takes in the next row of the step.
    #[inline(always)]
    pub(super) fn push(&mut self, row: RowView) {
        let (key, place) = (row.row.row.request_id.index(), self.now.rows.len());
        if self.places.len() <= key {
            self.places.resize(key + 1, 0);
        }
        // A step with four billion rows would not fit in memory.
        self.places[key] = place as u32;
        if !row.steady {
            self.now.changed.push(place as u32);
        }
        if row.queued() {
            self.now.queued += 1;
            self.now.blocks += u64::from(row.kv_cache_blocks.0);
        }
        self.now.rows.push(row);
    }

    /// Whether the next row of the request may be a steady one, by the history with this row in it,
    /// which is the next of the step and not steady, and by the row before it.
    pub(super) fn is_sure(
        &mut self,
        row: &IterationRequestRow,
        before: Option<&Located<IterationRequestRow>>,
        history: &RequestHistory,
    ) -> bool {
        let place = self.places.get(row.request_id.index());
        let again = place.is_some_and(|at| self.now.row(*at as usize, row.request_id).is_some());
        let stood = self.expected.checked_sub(1).and_then(|at| self.before.rows.get(at));
        let stood = stood.map(|stood| stood.row.offset);
        if again || self.passed.is_some() && before.map(|before| before.offset) != stood {
            // Of two rows in one step it is not known which the next one follows.
            self.nothing_is_sure();
        }
        if again {
            return false;
        }
        self.possible && row.state == State::Running && history.is_decoding(row)
    }

    /// The history of a request of which something is to be told, up to date.
    pub(super) fn touch<'a>(
        &mut self,
        key: RequestKey,
        histories: &'a mut Histories,
    ) -> &'a mut RequestHistory {
        let history = histories.open(key);
        if let Some(place) = self.places.get(key.index()) {
            let place = *place as usize;
            for group in [&mut self.before, &mut self.now] {
                group.settle(place, key, history);
                group.doubt(place, key);
            }
        }
        history
    }

    /// Brings all histories up to date.
    pub(super) fn settle(&self, histories: &mut Histories) {
        for (place, view) in self.now.rows.iter().enumerate().filter(|(_, view)| view.steady) {
            let key = view.row.row.request_id;
            if let Some(history) = histories.get_mut(key) {
                self.now.settle(place, key, history);
            }
        }
    }

    /// The requests that stood in a queue in the step before and have no row in this one.
    pub(super) fn absent(&self) -> impl Iterator<Item = RequestKey> {
        self.before.rows.iter().filter(|row| row.queued()).filter_map(|row| {
            let key = row.row.row.request_id;
            let place = self.places.get(key.index()).map(|place| *place as usize)?;
            self.now.row(place, key).is_none().then_some(key)
        })
    }

    /// How many requests stood in a queue in the step before.
    pub(super) const fn stood(&self) -> usize {
        self.before.queued
    }

    /// Shows the request's row of this step to the rules after all.
    #[cold]
    pub(super) fn unsettle(&mut self, key: RequestKey) {
        // A `completed` row may stand behind it.
        let mut rows = self.now.rows.iter_mut().enumerate();
        let row = rows.find(|(_, row)| row.steady && row.row.row.request_id == key);
        if let Some((place, row)) = row {
            row.steady = false;
            let at = self.now.changed.partition_point(|other| (*other as usize) < place);
            self.now.changed.insert(at, place as u32);
        }
    }
}
