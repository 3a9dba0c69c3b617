//! Blocks that rows of steps hold before the step's decision, not with what it allocates.

use std::collections::BTreeMap;

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
    let Some(size) = size.filter(|_| board.has(&["C002"])) else { return Some(()) };
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
    let text = "kv_cache_blocks of each running row is what the request held in the step before, none in its \
                first: it is read before the step allocates, or made of computed_tokens alone, without \
                scheduled_tokens"
        .to_owned();
    let lead = &["C002"];
    let explains = |seen: &Seen<'_>| seen.is(&["C002", "C003", "C004", "C008", "C009", "C010"]);
    board.claim(Claim { cause: LATE_COUNT, text, lead, explains: Box::new(explains) });
    Some(())
}
