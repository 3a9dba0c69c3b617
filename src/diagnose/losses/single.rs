//! One row that per_iteration_requests.csv lacks, between two others of its request.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::LOST_ROWS;
use crate::diagnose::losses::count::Counts;
use crate::diagnose::losses::explain::{ROWS_OF_REQUEST, ROWS_OF_STEP};

pub(super) fn find(board: &mut Board<'_, '_>, counts: &Counts) {
    let rows = &counts.rows;
    if rows.missing != 1 || rows.over > 0 || board.has(&["M011", "X001", "X004"]) {
        return;
    }
    let gap = |seen: &Seen<'_>| {
        seen.rule == "Q004" && seen.finding.message.contains(" no row between steps ")
    };
    let gaps: Vec<_> = board.open().filter(gap).collect();
    let [only] = gaps.as_slice() else { return };
    let (Some(id), Some(behind)) = (only.request(), only.iteration()) else { return };
    let Some(step) = behind.checked_sub(1) else { return };
    let short = |seen: &Seen<'_>| {
        seen.rule == "Q001" && seen.iteration() == Some(step) && seen.lacks() && !seen.adds()
    };
    if !board.open().any(|seen| short(&seen)) {
        return;
    }
    let text = format!(
        "per_iteration_requests.csv lacks one row, that of {id} in step {step}: it has one in the step before and \
         in the one behind"
    );
    let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
        (Some(it), Some(at)) => {
            let near = at == step || at == behind;
            near && (it == id && seen.is(ROWS_OF_REQUEST) || at == step && seen.is(ROWS_OF_STEP))
        }
        (None, Some(at)) => at == step && seen.is(ROWS_OF_STEP) && seen.lacks(),
        _ => false,
    };
    board.claim(Claim { cause: LOST_ROWS, text, lead: &["Q004"], explains: Box::new(explains) });
}
