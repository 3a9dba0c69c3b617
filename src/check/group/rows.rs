//! The rows of a step, the steady ones among them told by those that they follow.

use crate::check::group::Groups;
use crate::check::view::RowView;
use crate::log::ids::RequestKey;
use crate::log::reader::{Located, Location, echo};
use crate::log::schema::{IterationRequestRow, Table};
use crate::log::values::State;
use crate::units::{IterationId, Nanos};

/// The key of a request that is over; no log has so many live ones.
const GONE: RequestKey = RequestKey(u32::MAX);

/// A row that was told in full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) row: Located<IterationRequestRow>,
    /// The [`Group::clock`] of its step.
    pub(super) clock: u64,
}

/// Steady rows, one behind the other, as they stood in the step before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// The first one's place.
    pub(super) place: usize,
    /// And in the step before.
    pub(super) from: usize,
    pub(super) len: usize,
    /// The first one's line, and its byte in the file.
    pub(super) line: u64,
    pub(super) offset: u64,
}

impl Stretch {
    /// The line of the row at a place in it.
    const fn line_of(&self, place: usize) -> u64 {
        self.line + (place - self.place) as u64
    }
}

/// The rows of a step.
#[derive(Debug, Default)]
pub(super) struct Group {
    id: IterationId,
    /// The step's `D`.
    pub(super) decided: Option<Nanos>,
    /// Nanoseconds since some moment, round and round; only the difference of two groups means anything,
    /// if all between them may have steady rows.
    pub(super) clock: u64,
    /// By place: the request, the last row of it that was told in full, the bytes of a steady row that another
    /// one follows, and 1 if the next row of the request cannot be a steady one.
    keys: Vec<RequestKey>,
    bases: Vec<u32>,
    lens: Vec<u8>,
    doubts: Vec<u8>,
    stretches: Vec<Stretch>,
    /// The rows that are not steady, and their places.
    views: Vec<RowView>,
    changed: Vec<u32>,
    /// The blocks of the requests in the queues, and how many of them the steady rows have more than
    /// those before.
    pub(super) blocks: u64,
    pub(super) begun: u64,
    /// How many of the rows stand for a place in a queue.
    pub(super) queued: usize,
    /// Requests that are over, by place, and their names.
    gone: Vec<(usize, Box<str>)>,
}

impl Group {
    pub(super) fn begin(&mut self, id: IterationId, decided: Option<Nanos>, clock: u64) {
        (self.id, self.decided, self.clock) = (id, decided, clock);
        self.keys.clear();
        self.bases.clear();
        self.lens.clear();
        self.doubts.clear();
        self.stretches.clear();
        self.views.clear();
        self.changed.clear();
        self.gone.clear();
        (self.blocks, self.begun, self.queued) = (0, 0, 0);
    }

    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The requests from a place on.
    pub(super) fn keys(&self, place: usize) -> &[RequestKey] {
        self.keys.get(place..).unwrap_or_default()
    }

    pub(super) fn is_at(&self, place: usize, key: RequestKey) -> bool {
        self.keys.get(place) == Some(&key)
    }

    /// The line of the row at a place.
    pub(super) fn line(&self, place: usize) -> Option<u64> {
        match self.changed_at(place) {
            Ok(at) => Some(self.views.get(at)?.row.line),
            Err(_) => self.stretch(place).map(|stretch| stretch.line_of(place)),
        }
    }

    /// Where the steady row at a place begins.
    fn steady_at(&self, place: usize) -> Option<Location> {
        let stretch = self.stretch(place)?;
        let before = self.lens.get(stretch.place..place)?;
        // Of so many bytes the sum fits, and is made of many at a time.
        let some =
            before.chunks(256).map(|lens| lens.iter().fold(0, |sum, len| sum + u16::from(*len)));
        let bytes: u64 = some.map(u64::from).sum();
        Some(Location {
            table: Table::PerIterationRequests,
            line: stretch.line_of(place),
            offset: stretch.offset + bytes,
        })
    }

    /// Takes in a row that was told in full.
    pub(super) fn push(&mut self, row: RowView, sure: bool, base: u32) {
        // A step with four billion rows would not fit in memory.
        self.changed.push(self.keys.len() as u32);
        if row.queued() {
            self.queued += 1;
            self.blocks += u64::from(row.kv_cache_blocks.0);
        }
        self.keys.push(row.row.row.request_id);
        self.bases.push(base);
        self.lens.push(0);
        self.doubts.push(u8::from(!sure));
        self.views.push(row);
    }

    /// Takes in steady rows; their blocks are not counted.
    pub(super) fn take(&mut self, stretch: Stretch, lens: &[u8], before: &Self) {
        let Stretch { from, len, .. } = stretch;
        self.keys.extend_from_slice(&before.keys[from..from + len]);
        self.bases.extend_from_slice(&before.bases[from..from + len]);
        self.lens.extend_from_slice(lens);
        self.doubts.resize(self.keys.len(), 0);
        self.stretches.push(stretch);
        self.queued += len;
    }

    /// How many rows from a place on, at most so many, may be followed by steady ones.
    pub(super) fn sure_from(&self, place: usize, most: usize) -> usize {
        let doubts = self.doubts.get(place..).unwrap_or_default();
        let doubts = &doubts[..doubts.len().min(most)];
        memchr::memchr(1, doubts).unwrap_or(doubts.len())
    }

    pub(super) fn doubt(&mut self, place: usize) {
        if let Some(doubt) = self.doubts.get_mut(place) {
            *doubt = 1;
        }
    }

    fn changed_at(&self, place: usize) -> Result<usize, usize> {
        self.changed.binary_search_by(|other| (*other as usize).cmp(&place))
    }

    pub(super) fn is_steady(&self, place: usize) -> bool {
        place < self.len() && self.changed_at(place).is_err()
    }

    /// Makes a steady row one that is not.
    pub(super) fn change(&mut self, place: usize, view: RowView) {
        if let Err(at) = self.changed_at(place) {
            self.changed.insert(at, place as u32);
            self.views.insert(at, view);
        }
    }

    fn stretch(&self, place: usize) -> Option<&Stretch> {
        let behind = self.stretches.partition_point(|stretch| stretch.place <= place);
        let stretch = self.stretches.get(behind.checked_sub(1)?)?;
        (place < stretch.place + stretch.len).then_some(stretch)
    }

    /// The place of a steady row in the step before.
    pub(super) fn from(&self, place: usize) -> Option<usize> {
        self.stretch(place).map(|stretch| stretch.from + (place - stretch.place))
    }

    /// The places of the step before that no steady row of this one stood at.
    pub(super) fn left_behind(&self, before: &Self) -> impl Iterator<Item = usize> {
        // Stretches stand in the order of both steps.
        let ends = self.stretches.iter().map(|stretch| stretch.from + stretch.len);
        let starts = self.stretches.iter().map(|stretch| stretch.from);
        let gaps = std::iter::once(0).chain(ends).zip(starts.chain([before.len()]));
        gaps.flat_map(|(start, end)| start..end)
    }

    /// The last row of the request at a place that was told in full.
    pub(super) fn base<'a>(
        &self,
        place: usize,
        bases: &'a [Base],
    ) -> Option<&'a Located<IterationRequestRow>> {
        bases.get(*self.bases.get(place)? as usize).map(|base| &base.row)
    }

    /// The row at a place.
    pub(super) fn row(
        &self,
        place: usize,
        bases: &[Base],
        block_size: u64,
    ) -> Option<Located<IterationRequestRow>> {
        let Some(at) = self.steady_at(place) else { return self.base(place, bases).copied() };
        let row = self.values(place, bases, block_size)?;
        Some(Located { row, line: at.line, offset: at.offset })
    }

    /// What the row at a place says.
    pub(super) fn values(
        &self,
        place: usize,
        bases: &[Base],
        block_size: u64,
    ) -> Option<IterationRequestRow> {
        let base = bases.get(*self.bases.get(place)? as usize)?;
        if self.stretch(place).is_none() {
            return Some(base.row.row);
        }
        // Of steps that follow one another in time, without a gap; a request has fewer tokens than that.
        let steps = self.id.0.saturating_sub(base.row.row.iteration_id.0) as u32;
        let passed = Nanos(self.clock.wrapping_sub(base.clock));
        Some(echo(&base.row.row, steps, passed, place, block_size))
    }

    /// Throws out the rows told in full that no row of this group follows.
    pub(super) fn move_bases(&mut self, bases: &[Base]) -> Vec<Base> {
        let moved = self.bases.iter().map(|base| bases[*base as usize]).collect();
        self.bases.iter_mut().zip(0..).for_each(|(base, at)| *base = at);
        moved
    }

    /// The key of a request is going to be that of another.
    pub(super) fn release(&mut self, place: usize, key: RequestKey, name: &str) {
        if self.is_at(place, key) {
            self.keys[place] = GONE;
            self.gone.push((place, name.into()));
        }
    }

    /// The name of the request at a place, if that is over.
    pub(super) fn gone(&self, place: usize) -> Option<&str> {
        self.gone.iter().find(|(other, _)| *other == place).map(|(_, name)| &**name)
    }
}

impl Groups {
    /// The row at a place of the present step.
    pub(super) fn row(&self, place: usize) -> Option<Located<IterationRequestRow>> {
        self.now.row(place, &self.bases, self.block_size)
    }

    /// What the row at a place of the step before says.
    pub(super) fn values_before(&self, place: usize) -> Option<IterationRequestRow> {
        self.before.values(place, &self.bases, self.block_size)
    }

    /// The row at a place of the step before.
    pub(super) fn row_before(&self, place: usize) -> Option<Located<IterationRequestRow>> {
        self.before.row(place, &self.bases, self.block_size)
    }

    pub(super) fn view(&self, place: usize) -> Option<RowView> {
        if let Ok(at) = self.now.changed_at(place) {
            return self.now.views.get(at).copied();
        }
        let before = self.now.from(place).and_then(|from| self.row_before(from));
        Some(RowView { row: self.row(place)?, before, past_lost: false, steady: true })
    }
}

/// The rows of a step, as rules see them.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    groups: &'a Groups,
}

impl<'a> Rows<'a> {
    pub(in crate::check) const fn of(groups: &'a Groups) -> Self {
        Self { groups }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.groups.now.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.groups.now.is_empty()
    }

    /// The row at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<RowView> {
        self.groups.view(place)
    }

    /// The first one.
    #[must_use]
    pub fn first(&self) -> Option<RowView> {
        self.get(0)
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Option<RowView> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Where the row at a place stands.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<Location> {
        let now = &self.groups.now;
        if let Ok(at) = now.changed_at(place) {
            return now.views.get(at).map(|view| view.row.at());
        }
        now.steady_at(place)
    }

    /// All of them. Steady ones are put together on the way.
    pub fn iter(&self) -> impl Iterator<Item = RowView> + use<'a> {
        let groups = self.groups;
        (0..self.len()).filter_map(|place| groups.view(place))
    }

    /// The request's row that stands for a place in a queue.
    #[must_use]
    pub fn queued(&self, key: RequestKey) -> Option<RowView> {
        let here = |place: usize| self.get(place).filter(|row| row.queued());
        let place = self.place(key).and_then(here);
        // A `completed` row may stand behind it.
        place.or_else(|| self.iter().find(|row| row.request_id == key && row.queued()))
    }

    /// Where a row of the request stands, the last of them.
    pub(in crate::check) fn place(&self, key: RequestKey) -> Option<usize> {
        let place = self.groups.places.get(key.index()).map(|place| *place as usize)?;
        self.groups.now.is_at(place, key).then_some(place)
    }

    /// The steady row of the request.
    pub(in crate::check) fn steady(&self, key: RequestKey) -> Option<Located<IterationRequestRow>> {
        let place = self.place(key).filter(|place| self.groups.now.is_steady(*place))?;
        self.groups.row(place)
    }

    pub(in crate::check) fn changed(&self) -> &'a [RowView] {
        &self.groups.now.views
    }

    pub(in crate::check) fn places_of_changed(&self) -> &'a [u32] {
        &self.groups.now.changed
    }

    /// The blocks of the requests in the queues, and how many of them the steady rows have more than
    /// those before.
    pub(in crate::check) const fn blocks(&self) -> (u64, u64) {
        (self.groups.now.blocks, self.groups.now.begun)
    }

    /// How many rows are in a state.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(State) -> bool) -> usize {
        let steady = self.len() - self.changed().len();
        let changed = self.changed().iter().filter(|row| wanted(row.state)).count();
        changed + if wanted(State::Running) { steady } else { 0 }
    }
}
