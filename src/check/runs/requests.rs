//! The joints of the files that are written as requests end. They lag behind the others, so that a row
//! of the second run may stand where one of the first would: whose it is, the events tell.

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use crate::check::runs::events::Told;
use crate::check::runs::joint::{first_row, joint};
use crate::log::ids::Ids;
use crate::log::reader::{Location, LogDir, LogDirError};
use crate::log::schema::{RequestRow, Row, TransitionRow};
use crate::log::values::State;
use crate::units::Nanos;

type Names = HashSet<String, FxBuildHasher>;

/// The first row of per_request.csv whose request has one already, or did not end so in the first run.
pub(super) fn ends(dir: &LogDir, told: &Told) -> Result<Option<Location>, LogDirError> {
    let mut names = Names::default();
    let found = joint::<RequestRow>(dir, |request, place, ids| {
        let id = ids.id(request.row.request_id);
        let strange = told.fits(id, request.row.completion_time) == Some(false);
        (strange || !names.insert(id.to_owned())).then_some(place.at)
    })?;
    found.map_or_else(|| unless_told::<RequestRow>(dir, told), |found| Ok(Some(found)))
}

/// The joint of a file that does not begin again: of which run it is, only the events tell.
fn unless_told<R: Row>(dir: &LogDir, told: &Told) -> Result<Option<Location>, LogDirError> {
    if told.tells() { Ok(None) } else { first_row::<R>(dir) }
}

/// Whether the ends of requests begin again: a request has one already, earlier than that before. Where the
/// steps or the events tell that a run began again, it may be later, or be a copy.
pub(super) fn ends_begin_again(dir: &LogDir, others_do: bool) -> Result<bool, LogDirError> {
    let mut names = Names::default();
    let mut last: Option<Nanos> = None;
    let found = joint::<RequestRow>(dir, |request, place, ids| {
        let end = request.row.completion_time;
        let back = others_do || end.is_some() && end < last;
        last = last.max(end);
        let again = !names.insert(ids.id(request.row.request_id).to_owned());
        (again && back).then_some(place.at)
    })?;
    Ok(found.is_some())
}

/// Whether the first request that is over was alive at the end of the first run, by its events, and ran in that and
/// in no run of its own. Where events stand twice, it is over in the same run.
pub(super) fn ends_are_of_the_second(dir: &LogDir, told: &Told) -> Result<bool, LogDirError> {
    let mut is_of_the_second = false;
    joint::<RequestRow>(dir, |request, place, ids| {
        let id = ids.id(request.row.request_id);
        let end = request.row.completion_time;
        let ran = request.row.first_scheduled_time.is_some_and(|at| at > Nanos::ZERO);
        let is_alive = told.ran(id) && told.fits(id, None) == Some(true);
        is_of_the_second = end.is_some() && is_alive && !ran;
        Some(place.at)
    })?;
    Ok(is_of_the_second)
}

/// Whether the changes of requests begin again: one has some already, and ends earlier than that before, or
/// at any time where the steps or the events tell that a run began again.
pub(super) fn changes_begin_again(dir: &LogDir, others_do: bool) -> Result<bool, LogDirError> {
    let mut names = Names::default();
    let mut last: Option<Nanos> = None;
    let found = joint::<TransitionRow>(dir, |change, place, ids| {
        let end = Some(change.row.timestamp).filter(|_| change.row.state == State::Completed);
        let back = others_do || end.is_some() && end < last;
        last = last.max(end);
        let again = end.is_some() && !names.insert(ids.id(change.row.request_id).to_owned());
        (again && back).then_some(place.at)
    })?;
    Ok(found.is_some())
}

/// The changes of the request that was read last.
#[derive(Debug)]
struct Group {
    id: String,
    at: Location,
    state: State,
    last: Nanos,
}

/// The first request of state_transitions.csv that has changes already, or did not end so in the first
/// run.
pub(super) fn changes(dir: &LogDir, told: &Told) -> Result<Option<Location>, LogDirError> {
    let mut names = Names::default();
    let mut group: Option<Group> = None;
    let found = joint::<TransitionRow>(dir, |change, place, ids| {
        let id = ids.id(change.row.request_id);
        let (state, last) = (change.row.state, change.row.timestamp);
        let before = group.take().filter(|group| group.id == id);
        let starts = change.row.prev_state == Some(State::Waiting);
        let goes_on = before.filter(|group| {
            let legal = group.state != state && group.state != State::Completed;
            legal && !starts && last >= group.last
        });
        let again = goes_on.is_none() && !names.insert(id.to_owned());
        let at = goes_on.map_or(place.at, |group| group.at);
        let end = Some(last).filter(|_| state == State::Completed);
        // Two ids may have become one where a row was torn within its id.
        let stranger = told.knows(id) == Some(false);
        if again || stranger || end.is_some() && told.fits(id, end) == Some(false) {
            return Some(at);
        }
        group = Some(Group { id: id.to_owned(), at, state, last });
        None
    })?;
    found.map_or_else(|| unless_told::<TransitionRow>(dir, told), |found| Ok(Some(found)))
}
