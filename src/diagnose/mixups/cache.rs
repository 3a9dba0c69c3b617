//! What is said of the cache and its blocks as a whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::{NULL_BLOCK, READ_AFTER_FREE};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, Table};
use crate::log::values::State;
use crate::units::Blocks;

/// Requests of which the last row has no blocks that are no chance.
const SEVERAL: u64 = 2;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    null_block(board);
    freed(board);
    freed_while_running(dir, board)
}

/// The block that vLLM keeps for itself.
fn null_block(board: &mut Board<'_, '_>) {
    let of_setting = |seen: &Seen<'_>| {
        let one_more = seen.values().is_some_and(|(usable, total)| total == usable + 1);
        seen.rule == "C001" && seen.column() == Some("kv_cache_total") && one_more
    };
    let counted = board.open().any(|seen| of_setting(&seen) && seen.iteration().is_none());
    if counted {
        let explains = |seen: &Seen<'_>| of_setting(seen) || seen.is(&["Q008", "Q010", "C010"]);
        let text = "kv_cache_total counts the null block, which no request can hold: it is num_gpu_blocks, \
                    not num_gpu_blocks - 1"
            .to_owned();
        let lead = &["C001"];
        board.claim(Claim { cause: NULL_BLOCK, text, lead, explains: Box::new(explains) });
    }
}

/// Blocks of ended requests that are read after they were given back.
fn freed(board: &mut Board<'_, '_>) {
    let of_end =
        |seen: &Seen<'_>| seen.rule == "C009" && seen.table() == Some(Table::PerIterationRequests);
    let place = |seen: &Seen<'_>| seen.finding.primary.as_ref().map(|mark| mark.at);
    let ends: Vec<Seen<'_>> = board.open().filter(of_end).collect();
    let rows: BTreeSet<_> = ends.iter().filter_map(place).collect();
    let none = ends.iter().all(|seen| seen.finding.actual.as_deref() == Some("0"));
    if rows.is_empty() || !none {
        return;
    }
    let explains = |seen: &Seen<'_>| {
        let same_row = seen.rule == "C004" && place(seen).is_some_and(|at| rows.contains(&at));
        of_end(seen) || same_row
    };
    let text =
        "kv_cache_blocks of completed rows is 0: it is read after the blocks were given back, not \
                before"
            .to_owned();
    let lead = &["C009"];
    board.claim(Claim { cause: READ_AFTER_FREE, text, lead, explains: Box::new(explains) });
}

/// Blocks of running requests that are read when the step has ended them.
fn freed_while_running(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board
        .open()
        .any(|seen| seen.is(&["C002", "C004"]) && seen.finding.actual.as_deref() == Some("0"))
    {
        return Some(());
    }
    let mut running: BTreeMap<String, Blocks> = BTreeMap::new();
    let (mut ends, mut only_there) = (0, true);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let before = running.remove(id);
            match row.state {
                State::Running => {
                    only_there &= before != Some(Blocks::ZERO);
                    running.insert(id.to_owned(), row.kv_cache_blocks);
                }
                State::Completed => {
                    only_there &= before.is_none_or(|before| before == Blocks::ZERO);
                    ends += u64::from(before.is_some());
                }
                State::Waiting | State::Preempted => only_there &= before != Some(Blocks::ZERO),
            }
        },
    )?;
    if !only_there || ends < SEVERAL {
        return Some(());
    }
    let text = "kv_cache_blocks is 0 in the last running row of each request that ends: it is read after the \
                blocks were given back, not at the decision"
        .to_owned();
    let lead = &["C002", "C004", "C009", "C003"];
    let explains = |seen: &Seen<'_>| seen.is(&["C002", "C003", "C004", "C008", "C009", "C010"]);
    board.claim(Claim { cause: READ_AFTER_FREE, text, lead, explains: Box::new(explains) });
    Some(())
}
