//! A file with ids of its own: none of them is in any other file, and none can be told from those of the others.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{CHANGES, EVENTS_OF_REQUEST, ROWS_OF_REQUEST};
use crate::diagnose::mixups::OTHER_SPELLING;
use crate::diagnose::mixups::spelling::{WITHIN_ROWS, ids};
use crate::log::reader::LogDir;
use crate::log::schema::Table;

/// Requests that are compared.
const MOST: usize = 1 << 14;
/// Ids that are no chance.
const SEVERAL: usize = 3;

const FILES: [Table; 4] =
    [Table::PerRequest, Table::PerIterationRequests, Table::Events, Table::StateTransitions];

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X001"]) {
        return Some(());
    }
    let mut told: Vec<(Table, BTreeSet<String>)> = Vec::new();
    for table in FILES.into_iter().filter(|table| dir.file(*table).is_some()) {
        let mut named = BTreeSet::new();
        ids(dir, table, |id| {
            if named.len() < MOST && !id.is_empty() && !named.contains(id) {
                named.insert(id.to_owned());
            }
        })?;
        told.push((table, named));
    }
    let [_, _, _, ..] = told.as_slice() else { return Some(()) };
    let is_whole = |(_, named): &(Table, BTreeSet<String>)| named.len() < MOST;
    if !told.iter().all(is_whole) {
        return Some(());
    }
    let alone = |(table, named): &(Table, BTreeSet<String>)| {
        let mut others = told.iter().filter(|(other, _)| other != table);
        named.len() >= SEVERAL && others.all(|(_, other)| other.is_disjoint(named))
    };
    let mut odd = told.iter().filter(|it| alone(it));
    let Some((table, named)) = odd.next().filter(|_| odd.next().is_none()) else {
        return Some(());
    };
    let mut others = told.iter().filter(|(other, _)| other != table).map(|(_, named)| named);
    // The others are of the same requests, but for those that one of them tells nothing of.
    let first = others.next()?;
    let near = |other: &BTreeSet<String>| {
        let both = other.intersection(first).count();
        both * 2 > other.len() && both * 2 > first.len()
    };
    if !others.all(near) {
        return Some(());
    }
    let example = (named.first()?, first.first()?);
    let text = format!(
        "none of the {} ids of {table} is in any other file, and those share theirs: one and the same request \
         must have one id in all files ({} stands there, {} in the others)",
        named.len(),
        example.0,
        example.1
    );
    let explains = |seen: &Seen<'_>| match seen.request() {
        Some(_) if *table == Table::PerRequest => !seen.is(WITHIN_ROWS),
        Some(id) if named.contains(id) => !seen.is(WITHIN_ROWS),
        Some(_) => match table {
            Table::PerIterationRequests => seen.is(ROWS_OF_REQUEST) || seen.is(&["X003", "X005"]),
            Table::Events => seen.is(EVENTS_OF_REQUEST) || seen.is(&["X003"]),
            _ => seen.is(CHANGES) || seen.is(&["X003"]),
        },
        // What a request took and gave back is counted under its ids.
        None => seen.is(&["X005", "C008", "C010"]),
    };
    let lead = &["X001", "X003"];
    board.claim(Claim { cause: OTHER_SPELLING, text, lead, explains: Box::new(explains) });
    Some(())
}
