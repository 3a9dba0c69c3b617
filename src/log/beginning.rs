//! Whether a log goes on from a beginning that is missing, as of files that are rotated.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{Item, Located, LogDir, LogDirError};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, TransitionRow,
};
use crate::log::values::EventType;
use crate::units::{IterationId, Nanos};

/// What is left of a log.
pub(crate) struct Rest {
    /// The first step that is there.
    pub(crate) first: IterationId,
    /// The requests that arrived before it.
    pub(crate) old: HashSet<String, FxBuildHasher>,
    /// The last step that has rows of them, if any file has rows of requests and steps.
    pub(crate) last: Option<IterationId>,
}

/// Calls for each row of a file that can be read.
fn each<R: Row>(
    dir: &LogDir,
    mut see: impl FnMut(&Located<R>, &IdTable),
) -> Result<bool, LogDirError> {
    let Some(mut reader) = dir.reader::<R>()? else { return Ok(false) };
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        if let Item::Row(row) = item {
            see(&row, &ids);
        }
    }
    Ok(true)
}

/// The first step that is there, and when it begins.
fn first_step(dir: &LogDir) -> Result<Option<(IterationId, Nanos)>, LogDirError> {
    let Some(mut reader) = dir.reader::<IterationRow>()? else { return Ok(None) };
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        if let Item::Row(step) = item {
            return Ok(Some((step.row.iteration_id, step.row.start_time)));
        }
    }
    Ok(None)
}

/// What is left, if all files begin with the same later step.
pub(crate) fn rest(dir: &LogDir) -> Result<Option<Rest>, LogDirError> {
    let Some((first, start)) = first_step(dir)?.filter(|(id, _)| *id > IterationId::ZERO) else {
        return Ok(None);
    };
    let (mut earliest, mut arrived) =
        (Nanos(u64::MAX), HashSet::<String, FxBuildHasher>::default());
    let mut old = HashSet::<String, FxBuildHasher>::default();
    let has_events = each::<EventRow>(dir, |event, ids| {
        let arrives = event.row.event_type == EventType::RequestArrived;
        // One that the first step takes in comes before it.
        if !arrives {
            earliest = earliest.min(event.row.timestamp);
        }
        let Some(id) = event.row.request_id.map(|key| ids.id(key)) else { return };
        if arrives {
            arrived.insert(id.to_owned());
        } else if !arrived.contains(id) {
            old.insert(id.to_owned());
        }
    })?;
    let mut rows_from = first;
    let mut last_rows: HashMap<String, IterationId, FxBuildHasher> = HashMap::default();
    let has_rows = each::<IterationRequestRow>(dir, |row, ids| {
        let (id, step) = (ids.id(row.row.request_id), row.row.iteration_id);
        rows_from = rows_from.min(step);
        if !arrived.contains(id) {
            last_rows.insert(id.to_owned(), step);
        }
    })?;
    let mut are_older = true;
    each::<RequestRow>(dir, |row, ids| {
        let id = ids.id(row.row.request_id);
        if !arrived.contains(id) {
            are_older &= row.row.arrival_time < start;
            old.insert(id.to_owned());
        }
    })?;
    each::<TransitionRow>(dir, |row, ids| {
        let id = ids.id(row.row.request_id);
        if !arrived.contains(id) {
            old.insert(id.to_owned());
        }
    })?;
    old.extend(last_rows.keys().cloned());
    let begins_there = has_events && earliest >= start && rows_from >= first;
    // Steps that are counted from 1 are no steps that are missing; there is no mistake by which they are
    // counted from more.
    let is_missing = !old.is_empty() || first > IterationId(1);
    let last = has_rows.then(|| last_rows.into_values().max().unwrap_or(first));
    Ok((begins_there && are_older && is_missing).then_some(Rest { first, old, last }))
}
