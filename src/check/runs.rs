//! Finds where a second run was appended to the files of a first one, so that the first is checked.
//!
//! per_iteration.csv is looked through once; only if its ids start again are the other files, too.

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use crate::check::doubled::second_half;
use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{Item, Located, Location, LogDir, LogDirError};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};
use crate::log::values::EventType;
use crate::units::{IterationId, Nanos, Requests, Tokens};

/// Per table: where the rows of the first run end.
pub(crate) type Cuts = [Option<Location>; 5];

/// Where a second run begins in each file; none if there is one run. Where per_iteration.csv has one,
/// where a file that was appended to itself begins again.
pub(crate) fn find(dir: &LogDir) -> Result<Cuts, LogDirError> {
    let mut cuts = Cuts::default();
    let Some((at, end)) = iterations(dir)? else {
        for file in Table::ALL.iter().filter_map(|table| dir.file(*table)) {
            // The steps would start again.
            if file.table != Table::PerIteration && !dir.is_growing() {
                cuts[file.table as usize] = second_half(file);
            }
        }
        return Ok(cuts);
    };
    cuts[Table::PerIteration as usize] = Some(at);
    cuts[Table::PerIterationRequests as usize] = rows(dir)?;
    let (at, ended) = events(dir, end)?;
    cuts[Table::Events as usize] = at;
    if let Some((at, id, nth)) = requests(dir, end, at.map(|_| ended))? {
        cuts[Table::PerRequest as usize] = Some(at);
        cuts[Table::StateTransitions as usize] = changes(dir, &id, nth)?;
    }
    Ok(cuts)
}

/// The first row that `begins` says begins a run, or what stands unreadable right before it: a
/// second header.
fn first<R: Row>(
    dir: &LogDir,
    mut begins: impl FnMut(&Located<R>, &IdTable) -> bool,
) -> Result<Option<(Location, Located<R>, IdTable)>, LogDirError> {
    let Some(mut reader) = dir.reader::<R>()? else { return Ok(None) };
    let mut ids = IdTable::default();
    let mut before: Option<Location> = None;
    while let Some(item) = reader.next(&mut ids) {
        match item {
            Item::Row(row) => {
                if begins(&row, &ids) {
                    return Ok(Some((before.unwrap_or(row.at()), row, ids)));
                }
                before = None;
            }
            Item::Problem(problem) => before = before.or(problem.at),
        }
    }
    Ok(None)
}

/// What a header of per_iteration.csv begins with.
const FIRST_COLUMN: &str = "iteration_id";

/// What tells a second run from a wrong id, at the row with which ids start again.
#[derive(Clone, Copy, Debug)]
struct Restart {
    at: Location,
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
    fn is_run(&self, goes_on: Option<bool>) -> bool {
        match goes_on {
            Some(goes_on) => goes_on && (self.is_certain || self.begins_empty),
            None => self.is_certain,
        }
    }
}

/// Where a second run begins, and, if the clock went on, the end of the first run.
///
/// An id that is wrong in one row starts nothing: the ids behind it go on as before. A counter that is
/// set back while the engine runs on starts nothing either: the clock goes on, and so do the requests.
fn iterations(dir: &LogDir) -> Result<Option<(Location, Option<Nanos>)>, LogDirError> {
    let Some(mut reader) = dir.reader::<IterationRow>()? else { return Ok(None) };
    let mut ids = IdTable::default();
    let mut first: Option<IterationId> = None;
    let mut last: Option<Located<IterationRow>> = None;
    let mut between: Option<(Location, bool)> = None;
    let mut restart: Option<Restart> = None;
    while let Some(item) = reader.next(&mut ids) {
        let row = match item {
            Item::Row(row) => row,
            Item::Problem(problem) => {
                let is_header = problem.text.is_some_and(|text| text.starts_with(FIRST_COLUMN));
                let (at, before) = between.unzip();
                between = at.or(problem.at).map(|at| (at, is_header || before == Some(true)));
                continue;
            }
        };
        let (torn, header) = between.take().unzip();
        let id = row.row.iteration_id;
        let first = *first.get_or_insert(id);
        let goes_on = id.0 == first.0.saturating_add(1);
        if let Some(found) = restart.take().filter(|found| found.is_run(Some(goes_on))) {
            return Ok(Some((found.at, found.end)));
        }
        let Some(before) = last.replace(row) else { continue };
        // A step that stands twice or late is no run.
        if id == first && before.row.iteration_id.0 > first.0 + 1 {
            let clock_goes_on = row.row.start_time >= before.row.start_time;
            restart = Some(Restart {
                at: torn.unwrap_or(row.at()),
                end: clock_goes_on.then_some(before.row.end_time),
                is_certain: header == Some(true) || !clock_goes_on,
                begins_empty: begins_empty(&row.row),
            });
        }
    }
    Ok(restart.filter(|found| found.is_run(None)).map(|found| (found.at, found.end)))
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

fn rows(dir: &LogDir) -> Result<Option<Location>, LogDirError> {
    let mut seen: Option<(IterationId, IterationId)> = None;
    let found = first::<IterationRequestRow>(dir, |row, _| {
        let id = row.row.iteration_id;
        let (first, last) = seen.unwrap_or((id, id));
        seen = Some((first, id));
        id == first && last > first
    })?;
    Ok(found.map(|(at, ..)| at))
}

/// A run begins with an arrival. How many requests the run before ended is told too.
fn events(dir: &LogDir, end: Option<Nanos>) -> Result<(Option<Location>, u64), LogDirError> {
    let (mut last, mut ended) = (None, 0);
    let found = first::<EventRow>(dir, |event, _| {
        let before = last.replace(event.row.timestamp);
        let now = event.row.timestamp;
        ended += u64::from(event.row.event_type == EventType::RequestCompleted);
        event.row.event_type == EventType::RequestArrived
            && (Some(now) < before || end.is_some_and(|end| now > end))
    })?;
    Ok((found.map(|(at, ..)| at), ended))
}

/// The first row of the second run, its request, and how many rows that request has before.
fn requests(
    dir: &LogDir,
    last_end: Option<Nanos>,
    ended: Option<u64>,
) -> Result<Option<(Location, String, usize)>, LogDirError> {
    let (mut last, mut ends) = (None, 0);
    let mut names: HashSet<String, FxBuildHasher> = HashSet::default();
    let found = first::<RequestRow>(dir, |request, ids| {
        let end = request.row.completion_time;
        ends += u64::from(end.is_some());
        let begins = match (last.replace(end), ended) {
            (_, Some(ended)) => end.is_some() && ends > ended,
            (Some(before), None) => {
                let later = last_end.is_some() && end > last_end;
                end.is_some() && (before.is_none() || end < before || later)
            }
            (None, None) => false,
        };
        if !begins {
            names.insert(ids.id(request.row.request_id).to_owned());
        }
        begins
    })?;
    Ok(found.map(|(at, request, ids)| {
        let id = ids.id(request.row.request_id).to_owned();
        let nth = usize::from(names.contains(&id));
        (at, id, nth)
    }))
}

/// The rows of a request behind `skip` groups of its rows.
fn changes(dir: &LogDir, id: &str, skip: usize) -> Result<Option<Location>, LogDirError> {
    let (mut inside, mut groups) = (false, 0);
    let found = first::<TransitionRow>(dir, |change, ids| {
        let same = ids.id(change.row.request_id) == id;
        // A request that starts again without another between starts from `waiting`.
        let again = change.row.prev_state == Some(crate::log::values::State::Waiting);
        if same && (!inside || again) {
            groups += 1;
        }
        inside = same;
        groups > skip
    })?;
    Ok(found.map(|(at, ..)| at))
}
