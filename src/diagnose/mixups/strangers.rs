//! Requests that some rows of a file name otherwise: events of a kind, changes to a state.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::OTHER_SPELLING;
use crate::diagnose::mixups::spelling::{Spelling, TRIED, WITHIN_ROWS};
use crate::diagnose::pass::{each, of_requests};
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, Table, TransitionRow};

/// Requests that are kept.
const MOST: usize = 1 << 14;
/// Ids that are no chance.
const SEVERAL: usize = 2;
/// Kinds that are named.
const NAMED: usize = 4;

/// The ids of one file that per_request.csv does not have.
#[derive(Default)]
struct Named {
    strangers: BTreeSet<String>,
    /// By the kind of the row: how many rows name requests as per_request.csv does, and how many do not.
    kinds: BTreeMap<&'static str, [u64; 2]>,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X003"]) {
        return Some(());
    }
    let known = of_requests(dir, MOST, |_| Some(()))?;
    let own: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    if own.len() == MOST {
        return Some(());
    }
    for table in [Table::Events, Table::StateTransitions, Table::PerIterationRequests] {
        let named = of_file(dir, table, &own)?;
        let Some((spelling, example)) = spelled(&named.strangers, &own) else { continue };
        let Some(where_) = kinds(&named, table) else { continue };
        let told = spelling.told(&example);
        let text = format!("ids of {table} are those of per_request.csv {told} {where_}");
        let both: BTreeSet<String> = named
            .strangers
            .iter()
            .filter_map(|id| spelling.undo(id, &own))
            .chain(named.strangers.iter().cloned())
            .collect();
        let explains = |seen: &Seen<'_>| match seen.request() {
            Some(id) => both.contains(id) && !seen.is(WITHIN_ROWS),
            None => seen.is(&["X005", "C008", "C010"]),
        };
        let lead = &["X003"];
        board.claim(Claim { cause: OTHER_SPELLING, text, lead, explains: Box::new(explains) });
    }
    Some(())
}

fn of_file(dir: &LogDir, table: Table, own: &BTreeSet<&str>) -> Option<Named> {
    let mut named = Named::default();
    let mut see = |kind: &'static str, id: &str| {
        let stranger = !id.is_empty() && !own.contains(id);
        named.kinds.entry(kind).or_default()[usize::from(stranger)] += u64::from(!id.is_empty());
        if stranger && named.strangers.len() < MOST {
            named.strangers.insert(id.to_owned());
        }
    };
    match table {
        Table::Events => {
            each::<EventRow>(dir, |row| row.request_id, |row, id| see(row.event_type.as_str(), id))
        }
        Table::StateTransitions => each::<TransitionRow>(
            dir,
            |row| Some(row.request_id),
            |row, id| see(row.state.as_str(), id),
        ),
        _ => each::<IterationRequestRow>(
            dir,
            |row| Some(row.request_id),
            |row, id| see(row.state.as_str(), id),
        ),
    }?;
    Some(named)
}

/// How all strangers are spelled, each another request, and one of them with its own id first.
fn spelled(
    strangers: &BTreeSet<String>,
    own: &BTreeSet<&str>,
) -> Option<(Spelling, (String, String))> {
    let first = strangers.first().filter(|_| strangers.len() >= SEVERAL)?;
    let mut tried: Vec<Spelling> = Vec::new();
    for spelling in own.iter().flat_map(|id| Spelling::between(id, first)) {
        if tried.len() < TRIED && !tried.contains(&spelling) {
            tried.push(spelling);
        }
    }
    tried.extend([Spelling::Ending, Spelling::WithoutEnding]);
    tried.sort_by_key(Spelling::is_of_length);
    tried.into_iter().find_map(|spelling| {
        let mut owners = BTreeSet::new();
        let all =
            strangers.iter().all(|id| spelling.undo(id, own).is_some_and(|it| owners.insert(it)));
        let owner = spelling.undo(first, own).filter(|_| all)?;
        Some((spelling, (owner, first.clone())))
    })
}

/// In which rows they stand, if it is all of some kinds and none of the others.
fn kinds(named: &Named, table: Table) -> Option<String> {
    let of = |own: bool, other: bool| -> Vec<&'static str> {
        let is = |counts: &[u64; 2]| (counts[0] > 0) == own && (counts[1] > 0) == other;
        named.kinds.iter().filter(|(_, counts)| is(counts)).map(|(kind, _)| *kind).collect()
    };
    let rows = if table == Table::Events { "events" } else { "rows" };
    let (right, wrong, mixed) = (of(true, false), of(false, true), of(true, true));
    // All rows of a file are told of elsewhere.
    if wrong.is_empty() || right.is_empty() || !mixed.is_empty() {
        return None;
    }
    Some(match wrong.len() <= right.len() {
        true => format!("in {} {rows} only", listed(&wrong, NAMED)),
        false => format!("in all {rows} but {}", listed(&right, NAMED)),
    })
}
