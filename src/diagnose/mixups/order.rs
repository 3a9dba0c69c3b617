//! A waiting queue that is written from its end.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckReport;
use crate::config::Policy;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::REVERSED_QUEUE;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, RequestRow};
use crate::log::values::State;

/// Steps that are looked at.
const STEPS: usize = 8;
/// Rows of them.
const ROWS: usize = 1 << 12;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let steps = board.iterations(|seen| seen.is(&["Q011", "Q006"]));
    let steps: BTreeSet<u64> = steps.into_iter().take(STEPS).collect();
    if steps.is_empty() {
        return Some(());
    }
    let urgent_first = report.settings.policy == Some(Policy::Priority);
    // Under FCFS the preempted ones stand in front, whenever they arrived.
    let has_place = |state: State| match state {
        State::Waiting => true,
        State::Preempted => urgent_first,
        State::Running | State::Completed => false,
    };
    let mut queues: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut rows = 0;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if steps.contains(&row.iteration_id.0) && has_place(row.state) && rows < ROWS {
                rows += 1;
                queues.entry(row.iteration_id.0).or_default().push(id.to_owned());
            }
        },
    )?;
    let waiting: BTreeSet<&String> = queues.values().flatten().collect();
    let mut places = BTreeMap::new();
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if let Some(id) = waiting.get(&id.to_owned()) {
                let urgency = row.priority_score.filter(|_| urgent_first).map_or(0, |it| it.0);
                places.insert(id.as_str(), (urgency, row.arrival_time));
            }
        },
    )?;
    let (mut forward, mut backward) = (false, false);
    for queue in queues.values() {
        let known: Vec<_> = queue.iter().filter_map(|id| places.get(id.as_str())).collect();
        forward |= known.windows(2).any(|pair| pair[0] < pair[1]);
        backward |= known.windows(2).any(|pair| pair[0] > pair[1]);
    }
    if forward || !backward {
        return Some(());
    }
    let explains = |seen: &Seen<'_>| seen.is(&["Q005", "Q006", "Q008", "Q010", "Q011"]);
    let text =
        "the waiting queue is written from its end: those that come first stand last".to_owned();
    let lead = &["Q011", "Q006"];
    board.claim(Claim { cause: REVERSED_QUEUE, text, lead, explains: Box::new(explains) });
    Some(())
}
