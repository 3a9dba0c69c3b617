//! The joint of per_iteration.csv.

use crate::check::runs::events;
use crate::check::runs::joint::{is_header, is_joined, joint};
use crate::log::dialect::StepCounts;
use crate::log::ids::IdTable;
use crate::log::reader::{Item, Location, LogDir, LogDirError};
use crate::log::schema::IterationRow;
use crate::units::{IterationId, Nanos, Requests, Tokens};

/// What tells a second run from a wrong id, at the row with which ids start again.
#[derive(Clone, Copy, Debug)]
struct Restart {
    at: Location,
    id: IterationId,
    /// The end of the row before, if the clock went on.
    end: Option<Nanos>,
    /// Whether that row is enough: a header stands before it, or its clock starts again.
    is_certain: bool,
    /// Whether the step has nobody of the steps before, so that the engine may be another one.
    begins_empty: bool,
}

impl Restart {
    /// Whether the ids are those of a second run: they go on from where they started again. The first
    /// step alone, as of a run that was killed at once, must be one for certain.
    fn is_run(&self, next: Option<IterationId>) -> bool {
        match next {
            Some(next) => {
                let goes_on = next.0 == self.id.0.saturating_add(1);
                goes_on && (self.is_certain || self.begins_empty)
            }
            None => self.is_certain,
        }
    }
}

/// A row and whether it does not follow the one before, as one whose id has the digits of a torn one
/// before it.
#[derive(Clone, Copy, Debug)]
struct Before {
    row: IterationRow,
    id: IterationId,
    start: Nanos,
    end: Nanos,
    odd: Option<Location>,
}

impl Before {
    /// Whether the first step of a run stands behind that of a run which was killed after it: it is another
    /// one, no later unless requests arrive again, and has nobody of a step before. One that is a copy was
    /// written twice.
    fn is_followed_by_another_first(&self, now: &IterationRow, arrive_again: bool) -> bool {
        self.id == now.iteration_id
            && (now.start_time <= self.start || arrive_again && now.start_time >= self.end)
            && begins_empty(now)
            && self.row != *now
    }
}

/// What cannot be read between two rows.
#[derive(Clone, Copy, Debug)]
struct Between {
    at: Location,
    /// Whether a header is among it.
    header: bool,
    /// Whether a row is among it that goes on in another one.
    joined: bool,
}

/// Where a second run begins, and, if the clock went on, the end of the first run.
///
/// An id that is wrong in one row starts nothing: the ids behind it go on as before. A counter that is
/// set back while the engine runs on starts nothing either: the clock goes on, and so do the requests.
/// The first row of the second run may be lost in one that was torn.
///
/// `counts` takes in the steps on the way, up to there.
pub(super) fn restart(
    dir: &LogDir,
    counts: &mut StepCounts,
) -> Result<Option<(Location, Option<Nanos>)>, LogDirError> {
    let Some(mut reader) = dir.reader::<IterationRow>()? else { return Ok(None) };
    let mut ids = IdTable::default();
    let mut first: Option<IterationRow> = None;
    let (mut last, mut before_last): (Option<Before>, Option<Before>) = (None, None);
    let mut between: Option<Between> = None;
    let mut restart: Option<Restart> = None;
    let twice = begin_twice(dir)?;
    let arrive_again = twice && events::arrive_again(dir)?;
    while let Some(item) = reader.next(&mut ids) {
        let row = match item {
            Item::Row(row) => row,
            Item::Problem(problem) => {
                let Some(at) = between.map(|before| before.at).or(problem.at) else { continue };
                let before = between.get_or_insert(Between { at, header: false, joined: false });
                before.header |= is_header::<IterationRow>(&problem);
                before.joined |= is_joined(&problem);
                continue;
            }
        };
        counts.note(&row);
        let between = between.take();
        let torn = between.map(|between| between.at);
        let header = between.is_some_and(|between| between.header);
        let id = row.row.iteration_id;
        if let Some(found) = restart.take().filter(|found| found.is_run(Some(id))) {
            return Ok(Some((found.at, found.end)));
        }
        let first = *first.get_or_insert(row.row);
        let starts = first.iteration_id;
        let (start, end) = (row.row.start_time, row.row.end_time);
        let now = Before { row: row.row, id, start, end, odd: None };
        let Some(before) = last else {
            if let Some(at) = torn.filter(|_| header) {
                return Ok(Some((at, None)));
            }
            last = Some(now);
            continue;
        };
        let follows = id.0 == before.id.0.saturating_add(1) && now.start >= before.start;
        let odd = (!follows).then_some(torn.unwrap_or(row.at()));
        last = Some(Before { odd, ..now });
        let second = id.0 == starts.0.saturating_add(1);
        let joined = before.odd.filter(|_| second && torn.is_none());
        let whole = if joined.is_some() { before_last } else { Some(before) };
        before_last = Some(before);
        let Some(before) = whole else { continue };
        let another_first = twice && before.is_followed_by_another_first(&now.row, arrive_again);
        let clock_goes_on = now.start >= before.start && !another_first;
        // A step that stands twice or late is no run.
        let pauses = now.start > before.start && now.start >= before.end;
        let is_new = first != row.row && begins_empty(&row.row);
        // The second step behind the first one, and between them what is no second step.
        let hides_the_first =
            second && before.id == starts && between.is_some_and(|between| between.joined);
        let far = before.id.0 > starts.0 + 1
            || header
            || another_first
            || hides_the_first
            || before.id > id && (!clock_goes_on || pauses || is_new);
        let lost_first = second && (torn.is_some() || joined.is_some() && !clock_goes_on);
        if (id == starts || lost_first) && far {
            restart = Some(Restart {
                at: joined.or(torn).unwrap_or(row.at()),
                id,
                end: Some(before.end).filter(|end| clock_goes_on || now.start > *end),
                is_certain: header || !clock_goes_on || lost_first,
                begins_empty: begins_empty(&row.row),
            });
        }
    }
    Ok(restart.filter(|found| found.is_run(None)).map(|found| (found.at, found.end)))
}

/// Where ids start again, be it only one, or an unreadable row holds another; for a log of which other
/// files tell that it has a second run.
pub(super) fn again(dir: &LogDir) -> Result<Option<Location>, LogDirError> {
    let mut last: Option<IterationId> = None;
    let mut odd: Option<Location> = None;
    joint::<IterationRow>(dir, |step, place, _| {
        let id = step.row.iteration_id;
        let before = last.replace(id);
        if before >= Some(id) {
            return Some(odd.unwrap_or(place.at));
        }
        let follows = before.is_none_or(|before| id.0 == before.0.saturating_add(1));
        odd = (!follows).then_some(place.at);
        None
    })
}

/// Whether the first row goes on in another one, as where a run was killed in its first row.
pub(super) fn begin_in_a_torn_row(dir: &LogDir) -> Result<bool, LogDirError> {
    let mut whole = false;
    let found = joint::<IterationRow>(dir, |_, place, _| {
        whole = true;
        Some(place.at)
    })?;
    Ok(found.is_some() && !whole)
}

/// Whether the first id stands twice and the ids go on from there, as where a run was killed in its
/// second step. So does one row that was written twice, of which no other file tells.
pub(super) fn begin_twice(dir: &LogDir) -> Result<bool, LogDirError> {
    let Some(mut reader) = dir.reader::<IterationRow>()? else { return Ok(false) };
    let mut table = IdTable::default();
    let mut ids = Vec::new();
    while let (Some(item), true) = (reader.next(&mut table), ids.len() < 4) {
        if let Item::Row(row) = item {
            ids.push(row.row.iteration_id.0);
        }
    }
    let goes_on = |ids: &[u64]| ids.windows(2).all(|pair| pair[1] == pair[0].saturating_add(1));
    Ok(matches!(ids[..], [first, again, _, ..] if first == again && goes_on(&ids[1..])))
}

/// Whether ids do not rise again and again, as where two engines write into one file at a time: none of their runs
/// stands behind the other.
pub(super) fn are_mixed(dir: &LogDir) -> Result<bool, LogDirError> {
    const SEVERAL: u64 = 4;
    const ONE_IN: u64 = 8;
    let Some(mut reader) = dir.reader::<IterationRow>()? else { return Ok(false) };
    let mut ids = IdTable::default();
    let (mut rows, mut falls, mut last) = (0, 0, None);
    while let Some(item) = reader.next(&mut ids) {
        if let Item::Row(row) = item {
            rows += 1;
            falls += u64::from(last >= Some(row.row.iteration_id));
            last = Some(row.row.iteration_id);
        }
    }
    Ok(falls >= SEVERAL && falls * ONE_IN >= rows)
}

/// Whether the first decisions are among those of the steps before `until`.
pub(super) fn fit(
    dir: &LogDir,
    until: Location,
    decided: &[Nanos],
    slack: Nanos,
) -> Result<bool, LogDirError> {
    let Some(mut reader) = dir.reader::<IterationRow>()? else { return Ok(decided.is_empty()) };
    let mut ids = IdTable::default();
    let mut left = decided;
    while let (Some((next, rest)), Some(item)) = (left.split_first(), reader.next(&mut ids)) {
        let Item::Row(step) = item else { continue };
        if step.at() >= until {
            break;
        }
        let at = step.row.start_time.saturating_add(step.row.scheduling_overhead);
        let is_it = |other: &Nanos| other.0.abs_diff(at.0) <= slack.0;
        if is_it(next) {
            let same = rest.iter().take_while(|other| is_it(other)).count();
            left = &rest[same..];
        }
    }
    Ok(!decided.is_empty() && left.is_empty())
}

/// Whether a step has requests, and none that it has not just admitted.
fn begins_empty(row: &IterationRow) -> bool {
    let admitted = match row.admitted_count {
        Some(admitted) => admitted == row.running_count,
        // Nobody has caught up.
        None => row.decode_tokens == Tokens::ZERO,
    };
    admitted && row.running_count > Requests::ZERO && row.preempted_count == Requests::ZERO
}
