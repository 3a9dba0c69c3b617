//! Ids that several requests have, because they are cut short or used again; and step numbers that begin anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::{OTHER_NUMBERING, OTHER_SPELLING};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRow, RequestRow, TransitionRow};

/// Requests of one id: fewer may be two runs in one file, or two requests of which one was sent again.
const SEVERAL: u64 = 3;
/// Requests that are kept.
const MOST: usize = 1 << 14;

/// Ids in per_request.csv.
pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["F007"]) {
        return Some(());
    }
    let mut requests: BTreeMap<String, u64> = BTreeMap::new();
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |_, id| {
            if requests.len() < MOST {
                *requests.entry(id.to_owned()).or_default() += 1;
            }
        },
    )?;
    let length = requests.keys().map(|id| id.chars().count()).max()?;
    let (id, most) = requests.iter().max_by_key(|(_, count)| **count)?;
    let repeated = requests.iter().filter(|(_, count)| **count > 1);
    let all_long = repeated.clone().all(|(id, _)| id.chars().count() == length);
    if *most < SEVERAL || !all_long {
        return Some(());
    }
    let text = format!(
        "{} ids of per_request.csv are those of several requests ({id} of {most}), and all of them have {length} \
         characters, as much as any: ids are cut short",
        repeated.count()
    );
    let lead = &["F007", "X002", "S003"];
    // What is told of one request is told of all that have its id.
    let explains = |_: &Seen<'_>| true;
    board.claim(Claim { cause: OTHER_SPELLING, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Ids of which only the first characters are in another file, where several are one.
pub(super) fn find_cut(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let named = |file: &str| -> BTreeSet<String> {
        let of_file =
            |seen: &Seen<'_>| seen.rule == "X001" && seen.finding.message.starts_with(file);
        let ids = board.open().filter(of_file).filter_map(|seen| seen.request());
        ids.map(str::to_owned).collect()
    };
    let files = ["events.csv", "state_transitions.csv"];
    for (file, missing) in files.map(|file| (file, named(file))) {
        let mut there = BTreeSet::new();
        let mut see = |id: &str| {
            if there.len() < MOST {
                there.insert(id.to_owned());
            }
        };
        if missing.is_empty() {
            continue;
        }
        match file {
            "events.csv" => each::<EventRow>(dir, |row| row.request_id, |_, id| see(id)),
            _ => each::<TransitionRow>(dir, |row| Some(row.request_id), |_, id| see(id)),
        }?;
        let length = there.iter().map(|id| id.chars().count()).max()?;
        let cut = |id: &String| id.chars().take(length).collect::<String>();
        let heads: BTreeSet<String> = missing.iter().map(cut).collect();
        let longer = missing.iter().all(|id| id.chars().count() > length);
        if !longer || heads.len() * 2 > missing.len() || !heads.iter().all(|id| there.contains(id))
        {
            continue;
        }
        let text = format!(
            "ids of {file} are those of per_request.csv cut to {length} characters, which several requests have in \
             common"
        );
        let explains = |seen: &Seen<'_>| match seen.request() {
            Some(id) => heads.contains(id) || missing.contains(id),
            None => seen.is(&["X005", "C008", "C010"]),
        };
        let lead = &["X001"];
        board.claim(Claim { cause: OTHER_SPELLING, text, lead, explains: Box::new(explains) });
    }
    Some(())
}

/// Numbers of steps that begin anew, while the times of the steps go on.
pub(super) fn find_steps(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M011"]) {
        return Some(());
    }
    let mut before: Option<(u64, u64)> = None;
    let (mut in_order, mut turns) = (true, Vec::new());
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let (id, start) = (row.iteration_id.0, row.start_time.0);
            if let Some((last, started)) = before {
                in_order &= started < start;
                if id == 0 && turns.len() < MOST {
                    turns.push(last);
                } else {
                    in_order &= last.checked_add(1) == Some(id);
                }
            }
            before = Some((id, start));
        },
    )?;
    let Some(last) = turns.first().filter(|_| in_order && turns.iter().all(|it| *it == turns[0]))
    else {
        return Some(());
    };
    // A run that was begun anew may have been as long as the one before, but hardly three times.
    if turns.len() < 2 {
        return Some(());
    }
    let text = format!(
        "iteration_id begins anew with 0 behind {last}, {} times, while the times of the steps go on: it is counted \
         only up to {last}, or starts anew with each part of the run",
        turns.len()
    );
    let elsewhere = &["M001", "M002", "M003", "M004", "M008", "M009", "C005", "K008", "S001"];
    let lead = &["M011", "X009"];
    let explains = |seen: &Seen<'_>| !seen.is(elsewhere);
    board.claim(Claim { cause: OTHER_NUMBERING, text, lead, explains: Box::new(explains) });
    Some(())
}
