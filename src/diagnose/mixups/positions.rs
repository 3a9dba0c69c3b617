//! Places in queues that are 0 in all rows, counted from 1, or on from one queue to the next.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::{NEVER_FILLED, OTHER_NUMBERING};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::IterationId;

/// Rows that are no chance.
const SEVERAL: usize = 3;

/// What all rows agree with.
struct Counted {
    zero: bool,
    from_one: bool,
    through: bool,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if board.open().filter(|seen| seen.rule == "Q005").count() < SEVERAL {
        return Some(());
    }
    let mut all = Counted { zero: true, from_one: true, through: true };
    let mut wrong = false;
    // The step, and how many rows of the running queue and of the waiting ones stood in it.
    let (mut step, mut before): (Option<IterationId>, [i32; 2]) = (None, [0; 2]);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, _| {
            if step.replace(row.iteration_id) != Some(row.iteration_id) {
                before = [0; 2];
            }
            let Some(position) = row.queue_position.map(|position| position.0) else { return };
            let queue = match row.state {
                State::Running => 0,
                State::Waiting | State::Preempted => 1,
                State::Completed => return,
            };
            let [running, waiting] = before;
            before[queue] += 1;
            // Some loggers do not tell the place of running requests.
            if queue == 0 && position == -1 {
                return;
            }
            wrong |= position != [running, waiting][queue];
            all.zero &= position == 0;
            all.from_one &= position == [running, waiting][queue] + 1;
            all.through &= position == running + waiting;
        },
    )?;
    if !wrong {
        // It is no place of a queue that is wrong.
        return Some(());
    }
    let (cause, how) = if all.zero {
        (NEVER_FILLED, "is 0 in all rows: it is never filled in")
    } else if all.from_one {
        (OTHER_NUMBERING, "counts each queue from 1: the first request of a queue has place 0")
    } else if all.through {
        (
            OTHER_NUMBERING,
            "goes on from the running queue to the waiting ones: these are counted from 0 again",
        )
    } else {
        return Some(());
    };
    let text = format!("queue_position of per_iteration_requests.csv {how}");
    let explains = |seen: &Seen<'_>| seen.rule == "Q005";
    board.claim(Claim { cause, text, lead: &["Q005"], explains: Box::new(explains) });
    Some(())
}
