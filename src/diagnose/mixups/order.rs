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
use crate::units::Nanos;

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
    // By step: who waits, and whether it was preempted.
    let mut queues: BTreeMap<u64, Vec<(String, bool)>> = BTreeMap::new();
    let mut rows = 0;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let waits = matches!(row.state, State::Waiting | State::Preempted);
            if waits && steps.contains(&row.iteration_id.0) && rows < ROWS {
                rows += 1;
                let preempted = row.state == State::Preempted;
                queues.entry(row.iteration_id.0).or_default().push((id.to_owned(), preempted));
            }
        },
    )?;
    let waiting: BTreeSet<&str> = queues.values().flatten().map(|(id, _)| id.as_str()).collect();
    let mut places = BTreeMap::new();
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if let Some(id) = waiting.get(id) {
                places.insert(*id, (row.priority_score.map_or(0, |it| it.0), row.arrival_time));
            }
        },
    )?;
    let (mut forward, mut backward) = (false, false);
    for queue in queues.values() {
        let place = |(id, preempted): &(String, bool)| {
            let (urgency, arrival) = *places.get(id.as_str())?;
            // Under FCFS the preempted ones stand in front, whenever they arrived.
            Some(match (urgent_first, preempted) {
                (true, _) => (urgency, arrival),
                (false, true) => (0, Nanos::ZERO),
                (false, false) => (1, arrival),
            })
        };
        let known: Vec<_> = queue.iter().filter_map(place).collect();
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
