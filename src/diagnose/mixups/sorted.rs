//! Rows that are right, and stand in the order of a column by which they were sorted afterwards.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENTS_OF_REQUEST, EVENTS_OF_STEP};
use crate::diagnose::mixups::SORTED;
use crate::diagnose::pass::{Ahead, each};
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow};
use crate::log::values::{EventType, State};
use crate::units::Nanos;

/// Steps of which the rows of both queues are mixed that are no chance.
const SEVERAL: u64 = 2;

/// Rules that go by one file other than per_iteration.csv, or by one row.
const ELSEWHERE: &[&str] =
    &["M001", "M002", "M003", "M004", "M008", "M009", "C005", "K008", "S001", "X003"];

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    steps(dir, board)?;
    events(dir, board)?;
    rows(dir, board)
}

/// Events that stand together by their kind, each kind in order of time.
fn events(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M012"]) {
        return Some(());
    }
    let mut kinds = BTreeSet::new();
    let mut before: Option<(EventType, Nanos)> = None;
    let (mut grouped, mut back) = (true, 0);
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, _| match before.replace((row.event_type, row.timestamp)) {
            Some((kind, at)) if kind == row.event_type => grouped &= at <= row.timestamp,
            before => {
                grouped &= kinds.insert(row.event_type);
                back += u64::from(before.is_some_and(|(_, at)| row.timestamp < at));
            }
        },
    )?;
    if !grouped || back < SEVERAL {
        return Some(());
    }
    let text = format!(
        "events.csv is sorted by event_type, and by time within each of the {} types only",
        kinds.len()
    );
    let lead = &["M012"];
    let explains = |seen: &Seen<'_>| {
        seen.is(&["M012", "M014", "M015"])
            || seen.is(EVENTS_OF_REQUEST)
            || seen.is(EVENTS_OF_STEP)
            || seen.is(&["X003", "S002"])
    };
    board.claim(Claim { cause: SORTED, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Steps in the order of their ids as text.
fn steps(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M011"]) {
        return Some(());
    }
    let mut before: Option<u64> = None;
    let (mut as_text, mut as_numbers, mut backward, mut count) = (true, true, true, 0);
    let (mut least, mut most) = (u64::MAX, 0);
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let id = row.iteration_id.0;
            if let Some(before) = before.replace(id) {
                as_text &= before.to_string() < id.to_string();
                as_numbers &= before < id;
                backward &= before > id;
            }
            count += 1;
            (least, most) = (least.min(id), most.max(id));
        },
    )?;
    if !as_text && !backward || as_numbers || most.checked_sub(least)?.checked_add(1) != Some(count)
    {
        return Some(());
    }
    let text = if backward {
        "per_iteration.csv is written from its end: the last step stands first, and no step is missing"
    } else {
        "per_iteration.csv is sorted by iteration_id as text, in which 10 stands before 2: no step is missing"
    }
    .to_owned();
    let lead = &["M011"];
    let explains = |seen: &Seen<'_>| !seen.is(ELSEWHERE);
    board.claim(Claim { cause: SORTED, text, lead, explains: Box::new(explains) });
    Some(())
}

/// A step of per_iteration_requests.csv.
#[derive(Default)]
struct Step {
    /// The positions in each queue.
    queues: [Vec<i64>; 2],
    last: Option<String>,
    /// Whether the ids come in the order of their text.
    in_order: bool,
    /// Whether one that runs stands behind one that does not.
    mixed: bool,
}

/// The rows of each step in the order of their ids.
fn rows(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["Q005"]) {
        return Some(());
    }
    let Some(mut rows) = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id)) else {
        return Some(());
    };
    let mut mixed = 0;
    while let Some((first, id)) = rows.next_if(|_| true) {
        let mut step = Step { in_order: true, ..Step::default() };
        step.see(&first, id);
        while let Some((row, id)) = rows.next_if(|row| row.iteration_id == first.iteration_id) {
            step.see(&row, id);
        }
        if !step.in_order || !step.queues.iter_mut().all(|it| is_queue(it)) {
            return Some(());
        }
        mixed += u64::from(step.mixed);
    }
    if mixed < SEVERAL {
        return Some(());
    }
    let text =
        "the rows of each step in per_iteration_requests.csv are sorted by request_id: each \
                queue_position is right for the queue that the step had"
            .to_owned();
    let lead = &["Q005"];
    let explains =
        |seen: &Seen<'_>| seen.is(&["Q005", "Q006", "Q008", "Q009", "Q010", "Q011", "L003"]);
    board.claim(Claim { cause: SORTED, text, lead, explains: Box::new(explains) });
    Some(())
}

impl Step {
    fn see(&mut self, row: &IterationRequestRow, id: String) {
        let queue = match row.state {
            State::Running => 0,
            State::Waiting | State::Preempted => 1,
            State::Completed => 2,
        };
        let others = self.queues.get(1).is_some_and(|waiting| !waiting.is_empty());
        self.mixed |= queue == 0 && others;
        if let Some(positions) = self.queues.get_mut(queue) {
            positions.extend(row.queue_position.map(|position| i64::from(position.0)));
        }
        // One that ends has two rows.
        self.in_order &= self.last.as_ref().is_none_or(|last| *last <= id);
        self.last = Some(id);
    }
}

/// Whether the positions are those of a whole queue, in whatever order.
fn is_queue(positions: &mut [i64]) -> bool {
    positions.sort_unstable();
    positions.windows(2).all(|pair| pair[0] + 1 == pair[1])
}
