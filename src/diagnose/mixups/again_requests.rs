//! Rows of per_request.csv that stand twice, the same both times.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::WRITTEN_TWICE;
use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{Item, LogDir};
use crate::log::schema::RequestRow;

/// Rows of which the first ones are looked for.
const MOST: usize = 1 << 12;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let again = board.open().filter(|seen| seen.rule == "F007");
    let lines: BTreeSet<u64> =
        again.filter_map(|seen| Some(seen.finding.primary.as_ref()?.at.line)).take(MOST).collect();
    if lines.is_empty() {
        return Some(());
    }
    // A key is another request's once it is given back.
    let mut any = None;
    let plain = |row: &RequestRow, any: &mut Option<_>| {
        let mut plain = *row;
        plain.request_id = *any.get_or_insert(row.request_id);
        plain
    };
    let mut seconds: BTreeMap<String, (u64, RequestRow)> = BTreeMap::new();
    rows(dir, |row, line, id| {
        if lines.contains(&line) {
            seconds.insert(id.to_owned(), (line, plain(row, &mut any)));
        }
    })?;
    let mut same: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    rows(dir, |row, line, id| {
        if let Some((second, other)) = seconds.get(id)
            && line < *second
            && *other == plain(row, &mut any)
        {
            same.entry(id.to_owned()).or_insert((line, *second));
        }
    })?;
    // One that says something else the second time is another mistake.
    let Some((first, second)) = same.values().min().filter(|_| same.len() == lines.len()) else {
        return Some(());
    };
    let text = match same.len() {
        1 => format!(
            "line {second} of per_request.csv is line {first} once more: the row was written twice"
        ),
        count => format!(
            "{count} rows of per_request.csv stand twice, the same both times, as line {first} does in line \
             {second}: they were written twice"
        ),
    };
    let explains = |seen: &Seen<'_>| {
        seen.rule == "F007"
            || !seen.rule.starts_with('F') && seen.request().is_some_and(|id| same.contains_key(id))
    };
    let lead = &["F007"];
    board.claim(Claim { cause: WRITTEN_TWICE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Calls `see` for every row with its line and its id.
fn rows(dir: &LogDir, mut see: impl FnMut(&RequestRow, u64, &str)) -> Option<()> {
    let mut reader = dir.reader::<RequestRow>().ok()??;
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        see(&row.row, row.line, ids.id(row.row.request_id));
        ids.release(row.row.request_id);
    }
    Some(())
}
