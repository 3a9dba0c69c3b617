//! Tokens found in the prefix cache although run.json says that there is none.

use serde_json::Value;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::UNDECLARED_CACHE;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::EventRow;

/// Hits that are no chance; a single one is none where blocks are shared or evicted, too.
const SEVERAL: u64 = 2;

/// Whether a finding is one that prefix caching makes right: what was found, shared or evicted.
fn is_of_a_cache(seen: &Seen<'_>) -> bool {
    match seen.rule {
        "K009" => seen.finding.expected.as_deref() == Some("0"),
        "C003" => seen.adds(),
        "C010" => seen.finding.expected.as_deref() == Some("at most 0"),
        _ => false,
    }
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let declared = dir.run_info.as_ref().and_then(|run| run.config.get("enable_prefix_caching"));
    let off = declared == Some(&Value::Bool(false))
        && report.settings.enable_prefix_caching == Some(false);
    if !off || !board.open().any(|seen| is_of_a_cache(&seen)) {
        return Some(());
    }
    let Some(size) = report.settings.block_size.filter(|size| *size > 0) else { return Some(()) };
    let (mut hits, mut blocks, mut whole) = (0, 0, true);
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, _| {
            let found = row.details.cached_tokens.unwrap_or_default().0;
            if found > 0 {
                hits += 1;
                blocks += u64::from(found / size);
                whole &= found.is_multiple_of(size);
            }
        },
    )?;
    let shared = board.open().any(|seen| seen.rule != "K009" && is_of_a_cache(&seen));
    if hits == 0 || hits < SEVERAL && !shared || !whole {
        return Some(());
    }
    let text = format!(
        "enable_prefix_caching is false in run.json, but the events tell of {blocks} blocks of tokens that were \
         found in the cache: run.json does not tell of this run"
    );
    let lead = &["K009", "C010", "C003"];
    let explains = |seen: &Seen<'_>| is_of_a_cache(seen);
    board.claim(Claim { cause: UNDECLARED_CACHE, text, lead, explains: Box::new(explains) });
    Some(())
}
