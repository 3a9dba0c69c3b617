//! The counts of steps beside the rows that they count, in the same step and in its neighbours.

use crate::diagnose::pass::{Ahead, each};
use crate::log::dialect::{Dialect, Habit};
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::State;

/// What is counted.
pub(super) const COLUMNS: [&str; 3] = ["running_count", "waiting_count", "completed_count"];

type Counts = [Option<u64>; COLUMNS.len()];

/// One count over all steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Steps whose rows are others than they count.
    pub(super) wrong: u64,
    /// Whether the rows of each step are those that the step before counts.
    pub(super) before: bool,
    /// Whether they are those that the step behind counts.
    pub(super) behind: bool,
    /// Whether there are such rows, and each step counts them.
    pub(super) used: bool,
}

/// A step as one file counts it and the other shows it.
#[derive(Clone, Copy, Debug)]
struct Step {
    id: u64,
    counted: Counts,
    shown: Counts,
}

/// All counts; none unless both files are whole and in order.
pub(super) fn of(dir: &LogDir, dialect: &Dialect) -> Option<[Fit; COLUMNS.len()]> {
    let mut rows = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id))?;
    let mut fits = [Fit { wrong: 0, before: true, behind: true, used: false }; COLUMNS.len()];
    let mut counted_all = [true; COLUMNS.len()];
    let mut whole = true;
    let mut last: Option<Step> = None;
    let hides = dialect.hides_waiting();
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let id = row.iteration_id.0;
            let completed = row.completed_count.filter(|_| !dialect.has(Habit::NoCompletedRows));
            let counted = [
                Some(u64::from(row.running_count.0)),
                Some(u64::from(row.waiting_count.0)).filter(|_| !hides),
                completed.map(|count| u64::from(count.0)),
            ];
            // Rows of a step that per_iteration.csv does not have are those of the one before it.
            if let (None, Some(before)) = (&last, id.checked_sub(1)) {
                let shown = shown(&mut rows, before, &mut whole);
                let counted = [None; COLUMNS.len()];
                let some = shown.iter().any(|count| *count > Some(0));
                last = some.then_some(Step { id: before, counted, shown });
            }
            let step = Step { id, counted, shown: shown(&mut rows, id, &mut whole) };
            for (index, fit) in fits.iter_mut().enumerate() {
                fit.wrong += u64::from(step.counted[index] != step.shown[index]);
                fit.used |= step.shown[index] > Some(0);
                counted_all[index] &= step.counted[index].is_some();
                if let Some(last) = &last {
                    fit.before &=
                        last.counted[index].is_none() || step.shown[index] == last.counted[index];
                    fit.behind &= last.shown[index] == step.counted[index];
                }
            }
            whole &= last.is_none_or(|last| last.id.checked_add(1) == Some(id));
            last = Some(step);
        },
    )?;
    let last = last?;
    let left = shown(&mut rows, last.id.checked_add(1)?, &mut whole);
    for (index, fit) in fits.iter_mut().enumerate() {
        fit.used &= counted_all[index];
        // A file that ends with the other has nothing of the step behind the last.
        fit.before &=
            left.iter().all(|count| *count == Some(0)) || left[index] == last.counted[index];
    }
    whole.then_some(fits)
}

/// The rows of a step; those of a step before it are out of order.
fn shown(rows: &mut Ahead<IterationRequestRow>, id: u64, whole: &mut bool) -> Counts {
    let mut counts = [0; COLUMNS.len()];
    while let Some((row, _)) = rows.next_if(|row| row.iteration_id.0 <= id) {
        let index = match row.state {
            State::Running => 0,
            State::Waiting | State::Preempted => 1,
            State::Completed => 2,
        };
        counts[index] += 1;
        *whole &= row.iteration_id.0 == id;
    }
    counts.map(Some)
}
