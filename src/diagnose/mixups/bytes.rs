//! Blocks of another number of bytes than run.json has, in all files.

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::OTHER_BLOCK_SIZE;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRow, RequestRow};

/// Rows that are no chance.
const SEVERAL: u64 = 2;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let Some(declared) = report.settings.kv_bytes_per_block.map(i128::from) else {
        return Some(());
    };
    if !board.has(&["C005"]) || !board.has(&["C011"]) {
        return Some(());
    }
    // What a block has by the rows of requests, and whether all of them say so.
    let (mut size, mut rows, mut same) = (None, 0_u64, true);
    each::<RequestRow>(
        dir,
        |_| None,
        |row, _| {
            let told = row.kv_cache_blocks.zip(row.kv_cache_memory_bytes);
            let Some((blocks, bytes)) = told.filter(|(blocks, _)| blocks.0 > 0) else { return };
            let (blocks, bytes) = (i128::from(blocks.0), i128::from(bytes.0));
            rows += 1;
            let size = *size.get_or_insert(bytes / blocks);
            same &= blocks * size == bytes;
        },
    )?;
    let Some(size) = size.filter(|size| same && rows >= SEVERAL && *size != declared) else {
        return Some(());
    };
    // What is left of the memory of each step.
    let mut rest = None;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let Some(bytes) = row.gpu_memory_bytes else { return };
            let own = i128::from(bytes.0) - i128::from(row.kv_cache_used.0) * size;
            same &= *rest.get_or_insert(own) == own;
        },
    )?;
    if !same || rest.is_none() {
        return Some(());
    }
    let text = format!(
        "kv_bytes_per_block is {declared} in run.json, but a block has {size} bytes in each of {rows} requests, and so \
         it has in gpu_memory_bytes of all steps: run.json does not tell of this run"
    );
    let explains = |seen: &Seen<'_>| seen.is(&["C005", "C011"]);
    let lead = &["C005"];
    board.claim(Claim { cause: OTHER_BLOCK_SIZE, text, lead, explains: Box::new(explains) });
    Some(())
}
