//! A column that is missing, and one in its place that has another name.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::OTHER_NOTATION;
use crate::log::schema::Table;

/// The words of a name.
fn words(name: &str) -> BTreeSet<String> {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(str::to_lowercase).collect()
}

/// Whether one name may stand for the other: they share most words of the shorter one, and at least two.
fn is_near(one: &str, other: &str) -> bool {
    let (one, other) = (words(one), words(other));
    let shared = one.intersection(&other).count();
    shared >= 2 && shared * 2 > one.len().min(other.len())
}

pub(super) fn find(board: &mut Board<'_, '_>, table: Table) {
    let of_header = |seen: &Seen<'_>| {
        seen.rule == "F001" && seen.finding.message.starts_with(&format!("{table}: "))
    };
    let columns = table.schema().columns;
    let all: Vec<Seen<'_>> = board.all().filter(of_header).collect();
    let missing = |seen: &Seen<'_>| {
        let rest = seen.finding.message.strip_prefix(&format!("{table}: "))?;
        let (name, what) = rest.split_once(": ")?;
        let column = columns.iter().find(|column| column.name == name)?;
        what.starts_with("a column is missing").then_some(column.name)
    };
    let unknown = |seen: &Seen<'_>| {
        let is = seen.finding.message.contains("the column is not one of the log's");
        seen.finding.actual.clone().filter(|_| is)
    };
    let gone: Vec<&str> = all.iter().filter_map(missing).collect();
    let other: Vec<String> = all.iter().filter_map(unknown).collect();
    let mut pairs = Vec::new();
    for name in &gone {
        let mut near = other.iter().filter(|it| is_near(name, it));
        if let (Some(one), None) = (near.next(), near.next()) {
            pairs.push((*name, one.clone()));
        }
    }
    let Some((name, found)) = pairs.first() else { return };
    let text = format!(
        "{table} has no column {name}, but one named {found}: if that is it, write its name as {name}"
    );
    let explains = |seen: &Seen<'_>| {
        of_header(seen) && (missing(seen) == Some(name) || unknown(seen).as_ref() == Some(found))
    };
    let lead = &["F001"];
    board.claim(Claim { cause: OTHER_NOTATION, text, lead, explains: Box::new(explains) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_share_most_words_are_near() {
        assert!(is_near("kv_cache_used", "kv_used_blocks"));
        assert!(is_near("first_scheduled_time", "scheduled_time"));
        assert!(!is_near("start_time", "end_time"));
        assert!(!is_near("ttft", "time_to_first_token"));
    }
}
