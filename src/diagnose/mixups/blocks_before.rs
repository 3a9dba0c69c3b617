//! Blocks that rows of steps hold before the step's decision, not with what it allocates.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::LATE_COUNT;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::Blocks;

/// Rows that differ by it which are no chance.
const SEVERAL: u64 = 3;
/// Requests that are followed.
const MOST: usize = 1 << 14;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let size = report.settings.block_size.filter(|size| *size > 0).map(u64::from);
    if let Some(size) = size.filter(|_| board.has(&["C002"])) {
        by_tokens(dir, size, board)?;
    }
    by_first_rows(dir, board)
}

/// Whether each row has the blocks of what was known of its request before.
fn by_tokens(dir: &LogDir, size: u64, board: &mut Board<'_, '_>) -> Option<()> {
    // What the tokens of each request need since its last row that ran.
    let mut needed: BTreeMap<String, u64> = BTreeMap::new();
    let (mut holds, mut shown) = (true, 0);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| match row.state {
            State::Running => {
                let (Some(computed), Some(scheduled)) = (row.computed_tokens, row.scheduled_tokens)
                else {
                    holds = false;
                    return;
                };
                let needs = (u64::from(computed.0) + u64::from(scheduled.0)).div_ceil(size);
                let before = needed.get(id).copied().unwrap_or(0);
                holds &= u64::from(row.kv_cache_blocks.0) == before;
                shown += u64::from(before != needs);
                if needed.len() < MOST || needed.contains_key(id) {
                    needed.insert(id.to_owned(), needs);
                }
            }
            State::Preempted => {
                holds &= row.kv_cache_blocks == Blocks::ZERO;
                needed.remove(id);
            }
            State::Completed => {
                needed.remove(id);
            }
            State::Waiting => {}
        },
    )?;
    if !holds || shown < SEVERAL {
        return Some(());
    }
    claim(
        board,
        "kv_cache_blocks of each running row is what the request held in the step before, none in its first: it is \
         read before the step allocates, or made of computed_tokens alone, without scheduled_tokens"
            .to_owned(),
    );
    Some(())
}

fn claim(board: &mut Board<'_, '_>, text: String) {
    let lead = &["C002", "C003", "C008"];
    let explains =
        |seen: &Seen<'_>| seen.is(&["C002", "C003", "C004", "C008", "C009", "C010", "C011"]);
    board.claim(Claim { cause: LATE_COUNT, text, lead, explains: Box::new(explains) });
}

/// Whether no request holds anything in the row in which it begins to run, be it for the first time or again.
fn by_first_rows(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["C003", "C008"]) {
        return Some(());
    }
    // Which run.
    let mut running: BTreeSet<String> = BTreeSet::new();
    let (mut first, mut later, mut empty) = (0_u64, 0_u64, true);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| match row.state {
            State::Running if running.contains(id) => {
                later += u64::from(row.kv_cache_blocks > Blocks::ZERO);
            }
            State::Running if running.len() < MOST => {
                running.insert(id.to_owned());
                first += 1;
                empty &= row.kv_cache_blocks == Blocks::ZERO;
            }
            State::Preempted => {
                running.remove(id);
            }
            _ => {}
        },
    )?;
    if !empty || first < SEVERAL || later < SEVERAL {
        return Some(());
    }
    let text = format!(
        "kv_cache_blocks is 0 in each of the {first} rows in which a request begins to run, and more behind them: it is \
         read before the step allocates"
    );
    claim(board, text);
    Some(())
}
