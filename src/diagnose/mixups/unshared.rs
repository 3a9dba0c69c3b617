//! A file with ids of its own: none of them is in any other file, and none can be told from those of the others.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{CHANGES, EVENTS_OF_REQUEST, ROWS_OF_REQUEST};
use crate::diagnose::mixups::spelling::{WITHIN_ROWS, ids};
use crate::diagnose::mixups::{ANOTHER_RUN, OTHER_SPELLING};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRow, RequestRow, Table, TransitionRow};
use crate::log::values::{EventType, State};
use crate::units::Nanos;

/// Requests that are compared.
const MOST: usize = 1 << 14;
/// How far two readings of one moment may be apart.
const NEAR: Nanos = Nanos(100_000);
/// Ids that are no chance.
const SEVERAL: usize = 3;

const FILES: [Table; 4] =
    [Table::PerRequest, Table::PerIterationRequests, Table::Events, Table::StateTransitions];

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X001"]) {
        return Some(());
    }
    let mut told: Vec<Named> = Vec::new();
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
    let is_whole = |(_, named): &Named| named.len() < MOST;
    if !told.iter().all(is_whole) {
        return Some(());
    }
    if let Some(others) = two_runs(&told) {
        claim_two_runs(board, &told, &others);
        return Some(());
    }
    let alone = |(table, named): &Named| {
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
    if is_of_other_moments(dir, *table)? {
        let other = match table {
            Table::PerIterationRequests => {
                "no step of per_iteration.csv ends as the requests of per_request.csv do: both are of another run"
            }
            _ => "what happens there is at other moments: the file is of another run",
        };
        let text =
            format!("none of the {} ids of {table} is in any other file, and {other}", named.len());
        claim_other_run(board, text);
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

type Named = (Table, BTreeSet<String>);

/// The two files that share their ids with one another, and none with the other two.
fn two_runs(told: &[Named]) -> Option<[Table; 2]> {
    let [(_, first), rest @ ..] = told else { return None };
    let (own, others): (Vec<_>, Vec<_>) =
        rest.iter().partition(|(_, named)| !named.is_disjoint(first));
    let ([own], [one, other]) = (own.as_slice(), others.as_slice()) else { return None };
    let apart = |(_, named): &Named| named.is_disjoint(&own.1) && named.len() >= SEVERAL;
    (!one.1.is_disjoint(&other.1) && apart(one) && apart(other) && first.len() >= SEVERAL)
        .then_some([one.0, other.0])
}

fn claim_two_runs(board: &mut Board<'_, '_>, told: &[Named], others: &[Table; 2]) {
    let names = |of: bool| {
        let files = told.iter().filter(|(table, _)| others.contains(table) == of);
        files.map(|(table, _)| table.file_name()).collect::<Vec<_>>().join(" and ")
    };
    let text = format!(
        "{} share the ids of their requests, and so do {}, but none is in both: they are of two runs, or of two engines",
        names(false),
        names(true)
    );
    claim_other_run(board, text);
}

fn claim_other_run(board: &mut Board<'_, '_>, text: String) {
    let explains = |seen: &Seen<'_>| {
        !seen.rule.starts_with('F') && !seen.is(WITHIN_ROWS) && !seen.is(&["K001", "K003", "M010"])
    };
    let lead = &["X001", "X003"];
    board.claim(Claim { cause: ANOTHER_RUN, text, lead, explains: Box::new(explains) });
}

/// Whether most requests arrive, or end, at other moments in this file than in the others.
fn is_of_other_moments(dir: &LogDir, table: Table) -> Option<bool> {
    let (mut arrivals, mut ends) = (BTreeSet::new(), BTreeSet::new());
    each::<RequestRow>(
        dir,
        |_| None,
        |row, _| {
            if arrivals.len() < MOST {
                arrivals.insert(row.arrival_time);
                ends.extend(row.completion_time);
            }
        },
    )?;
    let (mut all, mut same) = (0_usize, 0_usize);
    let mut see = |moments: &BTreeSet<Nanos>, at: Nanos| {
        all += 1;
        let near = Nanos(at.0.saturating_sub(NEAR.0))..=at.saturating_add(NEAR);
        same += usize::from(moments.range(near).next().is_some());
    };
    if table == Table::StateTransitions {
        let ended = |row: &TransitionRow| row.state == State::Completed;
        each::<TransitionRow>(
            dir,
            |_| None,
            |row, _| {
                if ended(row) {
                    see(&ends, row.timestamp)
                }
            },
        )?;
    } else if table == Table::PerIterationRequests {
        let mut steps = BTreeSet::new();
        each::<IterationRow>(
            dir,
            |_| None,
            |step, _| {
                if steps.len() < MOST {
                    steps.insert(step.end_time);
                }
            },
        )?;
        // As far as the steps are known.
        let last = steps.last().copied().unwrap_or_default();
        ends.range(..=last).for_each(|end| see(&steps, *end));
    } else {
        let arrived = |row: &EventRow| row.event_type == EventType::RequestArrived;
        each::<EventRow>(
            dir,
            |_| None,
            |row, _| {
                if arrived(row) {
                    see(&arrivals, row.timestamp)
                }
            },
        )?;
    }
    Some(all >= SEVERAL && same * 2 < all)
}
