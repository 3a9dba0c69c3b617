//! Rows of steps that are all read when the step is over: those that it finishes run no more.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{ROWS_OF_REQUEST, ROWS_OF_STEP};
use crate::diagnose::mixups::READ_AFTER_OUTPUT;
use crate::diagnose::pass::{Ahead, each};
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::State;

/// Steps that finish requests which are no chance.
const SEVERAL: u64 = 2;

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let fewer = |seen: &Seen<'_>| {
        seen.rule == "Q001" && seen.column() == Some("running_count") && seen.lacks()
    };
    if !board.open().any(|seen| fewer(&seen)) {
        return Some(());
    }
    let mut rows = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id))?;
    let (mut steps, mut fits) = (0, true);
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            let (mut running, mut over) = (0, 0);
            while let Some((row, _)) = rows.next_if(|row| row.iteration_id <= step.iteration_id) {
                fits &= row.iteration_id == step.iteration_id;
                match row.state {
                    State::Running => running += 1,
                    State::Completed => over += 1,
                    State::Waiting | State::Preempted => {}
                }
            }
            fits &= running + over == step.running_count.0;
            steps += u64::from(over > 0);
        },
    )?;
    if !fits || steps < SEVERAL {
        return Some(());
    }
    // What the output brings is there in these rows, too.
    let early = |seen: &Seen<'_>| {
        seen.rule == "M018" && seen.finding.message.ends_with("is after a row that shows it")
    };
    let at_the_end = board.open().any(|seen| early(&seen));
    let why = if at_the_end {
        "its rows, and the tokens in them, are read when its output is there, not at its decision"
    } else {
        "its rows are read when its output is there, or only one row per request and step is kept"
    };
    let text = format!(
        "no request that a step finishes has a running row of that step, only a completed one: {why}"
    );
    let explains = |seen: &Seen<'_>| match seen.rule {
        "Q001" => fewer(seen),
        "M013" => at_the_end,
        "Q004" | "X001" => false,
        _ => seen.is(ROWS_OF_STEP) || seen.is(ROWS_OF_REQUEST) || seen.rule == "M018",
    };
    let lead = &["Q001"];
    board.claim(Claim { cause: READ_AFTER_OUTPUT, text, lead, explains: Box::new(explains) });
    Some(())
}
