//! The rows of a step, and which of them are steady.
//!
//! Nearly all rows of a log are those of running requests that go on decoding: one token more than in
//! the step before, in the blocks that its tokens take, behind the same neighbour. Such a row is
//! recognised once, here or, in whole runs, by the [reader](crate::log::reader::Run), and rules look at
//! the [others](crate::check::IterationView::changed) only. What a row must be for that is written down
//! here and nowhere else; it is stricter than any rule. Tests hold the reports with and without this short
//! cut ([`CheckOptions::every_row`](crate::check::CheckOptions::every_row)) to each other, on right logs
//! and on wrong ones.

mod rows;

pub use rows::Rows;

use crate::check::facts::LogFacts;
use crate::check::history::{Histories, RequestHistory};
use crate::check::view::{Moments, RowView};
use crate::log::dialect::Habit;
use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{Located, Run, echo};
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::{IterationId, Nanos};

use rows::{Base, Group, Stretch};

/// Rows that were told in full and are not remembered any more, before they are thrown out.
const MOST_UNUSED: usize = 256;

/// The rows of the present step and of the one before it.
///
/// The [history](RequestHistory) of a request with a steady row is left as it was before that, and
/// brought up to date once anything else is told of the request: an event, its end, another row. So
/// what a history says of rows is not to be asked for requests that a step tells nothing else of.
#[derive(Debug)]
pub(super) struct Groups {
    now: Group,
    /// The last group of rows before.
    before: Group,
    /// Whether that is not of the step before, as that has no rows.
    gap: bool,
    /// The rows that were told in full, by which the steady ones behind them are told too.
    bases: Vec<Base>,
    /// By key: where the request's row stands in the present step, or, while that is read, in the one
    /// before.
    places: Vec<u32>,
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
            gap: true,
            bases: Vec::new(),
            places: Vec::new(),
            possible: !every_row && !odd && !facts.overlapping && facts.skew.is_none(),
            block_size: u64::from(facts.settings.block_size.unwrap_or(0)),
            passed: None,
            expected: 0,
        }
    }

    /// The tokens of a block, 0 if that is not known, if runs of echoes are welcome.
    pub(super) fn wants_runs(&self) -> Option<u64> {
        self.possible.then_some(self.block_size)
    }

    /// Begins a step: its moments, those of the step right before it, and the step of the last rows.
    pub(super) fn begin(
        &mut self,
        id: IterationId,
        now: Option<Moments>,
        before: Option<(IterationId, Moments)>,
        last: Option<IterationId>,
    ) {
        self.gap = self.now.is_empty();
        if !self.gap {
            std::mem::swap(&mut self.now, &mut self.before);
        }
        if self.bases.len() > MOST_UNUSED + 4 * self.before.len() {
            let bases = std::mem::take(&mut self.bases);
            self.bases = self.before.move_bases(&bases);
        }
        self.expected = 0;
        self.passed = before
            .filter(|(other, _)| self.possible && !self.gap && last == Some(*other))
            .filter(|(other, _)| other.0.checked_add(1) == Some(id.0))
            .zip(now)
            .and_then(|((_, before), now)| now.decided.checked_sub(before.decided));
        let clock = self.before.clock.wrapping_add(self.passed.unwrap_or_default().0);
        self.now.begin(id, now.map(|moments| moments.decided), clock);
    }

    /// Takes in rows of a run from this one on as steady ones, as many as are. Returns how many.
    pub(super) fn take_run(&mut self, run: &Run, first: usize, lens: &[u8]) -> usize {
        let (place, from) = (run.place + first, run.from + first);
        let follows = self.passed == Some(run.passed) && place == self.now.len();
        if !follows || from < self.expected {
            return 0;
        }
        let len = self.before.sure_from(from, run.len - first);
        if len == 0 {
            return 0;
        }
        let (line, offset) = run.row(first, lens);
        self.take_stretch(Stretch { place, from, len, line, offset }, &lens[first..first + len]);
        if len == run.len {
            self.now.blocks += run.blocks;
            self.now.begun += run.begun;
        } else {
            (place..place + len).for_each(|place| self.count_blocks(place));
        }
        len
    }

    /// The row of a run that stands there.
    pub(super) fn row_of_run(
        &self,
        run: &Run,
        index: usize,
        lens: &[u8],
        ids: &mut IdTable,
    ) -> Option<Located<IterationRequestRow>> {
        let from = run.from + index;
        let before = self.values_before(from)?;
        let place = run.place + index;
        let mut row = echo(&before, 1, run.passed, place, self.block_size);
        if let Some(name) = self.before.gone(from) {
            row.request_id = ids.intern(name);
        }
        let (line, offset) = run.row(index, lens);
        Some(Located { row, line, offset })
    }

    /// Takes in the next row of the step, if it is a steady one.
    pub(super) fn take_steady(&mut self, row: &Located<IterationRequestRow>) -> bool {
        let Some(from) = self.steady(&row.row) else { return false };
        let place = self.now.len();
        let Located { line, offset, .. } = *row;
        // Nothing follows in the stretch.
        self.take_stretch(Stretch { place, from, len: 1, line, offset }, &[0]);
        self.count_blocks(place);
        true
    }

    fn take_stretch(&mut self, stretch: Stretch, lens: &[u8]) {
        let Stretch { place, from, len, .. } = stretch;
        self.now.take(stretch, lens, &self.before);
        self.expected = from + len;
        if place != from {
            for (place, key) in (place..).zip(self.now.keys(place)) {
                if let Some(at) = self.places.get_mut(key.index()) {
                    // A step with four billion rows would not fit in memory.
                    *at = place as u32;
                }
            }
        }
    }

    /// Counts the blocks of a steady row.
    fn count_blocks(&mut self, place: usize) {
        if let Some(row) = self.now.values(place, &self.bases, self.block_size) {
            let before = self.now.from(place).and_then(|from| self.values_before(from));
            self.now.blocks += u64::from(row.kv_cache_blocks.0);
            self.now.begun += begun(&row, before.as_ref());
        }
    }

    /// The place of the request's row in the step before if this row is a steady one.
    fn steady(&mut self, row: &IterationRequestRow) -> Option<usize> {
        let passed = self.passed?;
        let key = row.request_id;
        let mut place = self.expected;
        if !self.before.is_at(place, key) {
            place = self.places.get(key.index()).map_or(0, |place| *place as usize);
            if place < self.expected || !self.before.is_at(place, key) {
                return self.nothing_is_sure();
            }
        }
        let here = self.now.len();
        let in_place = row.queue_position.is_some_and(|at| at.0 as usize == here);
        if row.state != State::Running || !in_place {
            return self.nothing_is_sure();
        }
        let then = self.values_before(place)?;
        if then.state != State::Running {
            return self.nothing_is_sure();
        }
        self.expected = place + 1;
        let sure = self.before.sure_from(place, 1) == 1;
        (sure && self.goes_on(row, &then, passed, here)).then_some(place)
    }

    /// Behind a row that is not of a running request, or out of order, nothing is sure of the others.
    #[cold]
    fn nothing_is_sure(&mut self) -> Option<usize> {
        self.passed = None;
        None
    }

    /// Whether a row is what the one before leads to, if that one is [sure](Self::is_sure).
    fn goes_on(
        &self,
        now: &IterationRequestRow,
        then: &IterationRequestRow,
        passed: Nanos,
        here: usize,
    ) -> bool {
        let next = echo(then, 1, passed, here, self.block_size);
        let more = now.kv_cache_blocks.checked_sub(then.kv_cache_blocks);
        then.computed_tokens.is_some()
            && then.time_in_state.0.checked_add(passed.0).is_some()
            && more.is_some_and(|more| more.0 <= 1)
            && *now == next
    }

    /// Takes in the next row of the step, and whether the request's next one may be a steady one.
    pub(super) fn push(&mut self, row: RowView, sure: bool) {
        let (key, place) = (row.row.row.request_id.index(), self.now.len());
        if self.places.len() <= key {
            self.places.resize(key + 1, 0);
        }
        // A step with four billion rows would not fit in memory.
        self.places[key] = place as u32;
        self.now.push(row, sure, self.bases.len() as u32);
        self.bases.push(Base { row: row.row, clock: self.now.clock });
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
        let again = place.is_some_and(|at| self.now.is_at(*at as usize, row.request_id));
        let stood = self.expected.checked_sub(1).and_then(|at| self.before.line(at));
        if again || self.passed.is_some() && before.map(|before| before.line) != stood {
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
            if self.before.is_at(place, key) {
                self.catch_up(&self.before, place, history);
                self.before.doubt(place);
            }
            if self.now.is_at(place, key) {
                self.catch_up(&self.now, place, history);
                self.now.doubt(place);
            }
        }
        history
    }

    /// Brings the history of a request up to its row at this place of a group, if that is a steady one.
    fn catch_up(&self, group: &Group, place: usize, history: &mut RequestHistory) {
        if group.is_steady(place)
            && let Some(row) = group.row(place, &self.bases, self.block_size)
        {
            history.catch_up(&row, group.decided);
        }
    }

    /// Brings all histories up to date.
    pub(super) fn settle(&self, histories: &mut Histories) {
        for (place, key) in self.now.keys(0).iter().enumerate() {
            if let Some(history) = histories.get_mut(*key) {
                self.catch_up(&self.now, place, history);
            }
        }
    }

    /// The requests that stood in a queue in the step before and have no row in this one.
    pub(super) fn absent(&self) -> impl Iterator<Item = RequestKey> {
        let queued = |place: &usize| {
            self.before.base(*place, &self.bases).is_some_and(|base| base.state != State::Completed)
        };
        let left = self.now.left_behind(&self.before).filter(|_| !self.gap).filter(queued);
        left.filter_map(|place| {
            let key = *self.before.keys(place).first()?;
            let place = self.places.get(key.index()).map(|place| *place as usize)?;
            (!self.now.is_at(place, key)).then_some(key)
        })
    }

    /// How many requests stood in a queue in the step before.
    pub(super) const fn stood(&self) -> usize {
        if self.gap { 0 } else { self.before.queued }
    }

    /// Shows the request's row of this step to the rules after all.
    #[cold]
    pub(super) fn unsettle(&mut self, key: RequestKey) {
        // A `completed` row may stand behind it.
        let keys = self.now.keys(0).iter().enumerate();
        let place = keys.filter(|(_, other)| **other == key).map(|(place, _)| place);
        let place = place.into_iter().find(|place| self.now.is_steady(*place));
        if let Some((place, view)) = place.and_then(|place| Some((place, self.view(place)?))) {
            self.now.begun -= begun(&view, view.before.as_ref().map(|before| &before.row));
            self.now.change(place, RowView { steady: false, ..view });
        }
    }

    /// The request is over, and its key may become that of another.
    pub(super) fn release(&mut self, key: RequestKey, name: &str) {
        if let Some(place) = self.places.get(key.index()) {
            self.now.release(*place as usize, key, name);
        }
    }
}

/// The blocks that a steady row has more than the one before it.
fn begun(row: &IterationRequestRow, before: Option<&IterationRequestRow>) -> u64 {
    let before = before.map_or(row.kv_cache_blocks, |before| before.kv_cache_blocks);
    u64::from(row.kv_cache_blocks.saturating_sub(before).0)
}
