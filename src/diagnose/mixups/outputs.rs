//! Rows of steps that are read when the step's output is there.

use std::collections::BTreeMap;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::READ_AFTER_OUTPUT;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::Tokens;

/// Requests that are no chance.
const SEVERAL: usize = 2;
/// Requests that are followed at once.
const MOST: usize = 1 << 12;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let first = |seen: &Seen<'_>| {
        seen.rule == "M018" && seen.finding.message.ends_with("is after a row that shows it")
    };
    // Where the event contradicts the latency, too, it is the event that is late.
    if board.open().filter(first).count() < SEVERAL || board.has(&["M007", "M020"]) {
        return Some(());
    }
    // The last row of a request that ends has the tokens that the end has.
    let mut running: BTreeMap<String, Tokens> = BTreeMap::new();
    let (mut same, mut fewer) = (0, 0);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| match row.state {
            State::Running if running.len() < MOST || running.contains_key(id) => {
                running.insert(id.to_owned(), row.tokens_generated);
            }
            State::Completed => match running.remove(id) {
                Some(tokens) if tokens == row.tokens_generated => same += 1,
                Some(_) => fewer += 1,
                None => {}
            },
            _ => {
                running.remove(id);
            }
        },
    )?;
    if fewer > 0 || same < SEVERAL {
        return Some(());
    }
    let text =
        "tokens_generated of each running row is that of the next row: it is read when the step's \
                output is there, not at its decision"
            .to_owned();
    let lead = &["M018"];
    let explains = |seen: &Seen<'_>| {
        // What a step's rows are, prompt or output, is told by it.
        seen.is(&["M018", "K002", "K004", "K006", "K007", "K010", "K011", "K012", "C002", "C004"])
    };
    board.claim(Claim { cause: READ_AFTER_OUTPUT, text, lead, explains: Box::new(explains) });
    Some(())
}
