//! The files read once more, whatever can be read of them.

use std::collections::BTreeMap;

use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::reader::{Input, Item, LogDir, TableReader};
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow, Row};
use crate::log::values::{FinishReason, State};
use crate::units::Nanos;

/// Calls `see` for every row that can be read, with the id of its request.
pub(super) fn each<R: Row>(
    dir: &LogDir,
    key: fn(&R) -> Option<RequestKey>,
    mut see: impl FnMut(&R, &str),
) -> Option<()> {
    // A log of other files has fewer of them.
    let Some(mut reader) = dir.reader::<R>().ok()? else { return Some(()) };
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        let key = key(&row.row);
        see(&row.row, key.map_or("", |key| ids.id(key)));
        if let Some(key) = key {
            ids.release(key);
        }
    }
    Some(())
}

/// What `take` has of the rows of per_request.csv, by the ids of the requests, of the first `most` that it has
/// something of.
pub(super) fn of_requests<T>(
    dir: &LogDir,
    most: usize,
    take: impl Fn(&RequestRow) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if let Some(taken) = take(row).filter(|_| all.len() < most) {
                all.insert(id.to_owned(), taken);
            }
        },
    )?;
    Some(all)
}

/// Calls `see` for every step with its rows and the ids of their requests, where there is a file of rows. These
/// stand in the order of the steps.
pub(super) fn each_step(
    dir: &LogDir,
    mut see: impl FnMut(&IterationRow, &[(IterationRequestRow, String)]),
) -> Option<()> {
    let Some(mut rows) = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id)) else {
        return Some(());
    };
    let mut here = Vec::new();
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            here.clear();
            while let Some(row) = rows.next_if(|row| row.iteration_id <= step.iteration_id) {
                if row.0.iteration_id == step.iteration_id {
                    here.push(row);
                }
            }
            see(step, &here);
        },
    )
}

/// When requests were first scheduled, and when steps ended them, by per_request.csv.
pub(super) struct FirstsAndEnds(BTreeMap<String, (Option<Nanos>, Option<Nanos>)>);

impl FirstsAndEnds {
    /// Of the first `most` requests.
    pub(super) fn read(dir: &LogDir, most: usize) -> Option<Self> {
        let moments = of_requests(dir, most, |row| {
            let dropped = row.finish_reason.is_some_and(FinishReason::is_drop);
            Some((row.first_scheduled_time, row.completion_time.filter(|_| !dropped)))
        })?;
        Some(Self(moments))
    }

    /// What a row tells of: the first scheduling, if it is the request's first that runs, and the end, if it is
    /// `completed`.
    pub(super) fn told_by(
        &mut self,
        row: &IterationRequestRow,
        id: &str,
    ) -> (Option<Nanos>, Option<Nanos>) {
        let Some((first, end)) = self.0.get_mut(id) else { return (None, None) };
        match row.state {
            State::Running => (first.take(), None),
            State::Completed => (None, *end),
            State::Waiting | State::Preempted => (None, None),
        }
    }
}

/// A file of which one row is read ahead.
pub(super) struct Ahead<R> {
    reader: TableReader<R, Input>,
    key: fn(&R) -> Option<RequestKey>,
    ids: IdTable,
    head: Option<R>,
}

impl<R: Row> Ahead<R> {
    pub(super) fn open(dir: &LogDir, key: fn(&R) -> Option<RequestKey>) -> Option<Self> {
        let reader = dir.reader::<R>().ok()??;
        let mut ahead = Self { reader, key, ids: IdTable::default(), head: None };
        ahead.fill();
        Some(ahead)
    }

    fn fill(&mut self) {
        self.head = loop {
            match self.reader.next(&mut self.ids) {
                Some(Item::Row(row)) => break Some(row.row),
                Some(Item::Problem(_)) => {}
                None => break None,
            }
        };
    }

    /// The next row and the id of its request, if it is wanted.
    pub(super) fn next_if(&mut self, wanted: impl FnOnce(&R) -> bool) -> Option<(R, String)> {
        let row = self.head.take_if(|row| wanted(row))?;
        let key = (self.key)(&row);
        let id = key.map_or_else(String::new, |key| self.ids.id(key).to_owned());
        if let Some(key) = key {
            self.ids.release(key);
        }
        self.fill();
        Some((row, id))
    }
}
