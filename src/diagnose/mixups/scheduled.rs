//! scheduled_tokens of rows that are wrong, where all that they are compared with agrees: total_tokens of the
//! step, and what the request has computed in its next row.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::ONE_WRONG_VALUE;
use crate::diagnose::pass::{Ahead, each};
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::State;

/// Steps and requests that are kept.
const MOST: usize = 1 << 14;

/// Rules that go by the tokens of rows.
const BY_TOKENS: &[&str] =
    &["K002", "K003", "K004", "K006", "K007", "K010", "K012", "C002", "Q003"];

/// A running row: its step, what was computed before it and what it says that the step adds.
#[derive(Clone, Copy)]
struct Last {
    step: u64,
    computed: i128,
    scheduled: i128,
}

/// A step: by how much its rows make more than its total, and how much of that the next rows of their requests
/// do not know of.
#[derive(Default)]
struct Step {
    more: i128,
    unknown_to_next: i128,
    /// Rows with tokens, and those of them that no row follows.
    rows: i128,
    last_rows: i128,
}

/// The rows that are wrong.
#[derive(Default)]
struct Wrong {
    /// By how much each is.
    by: BTreeSet<i128>,
    requests: BTreeSet<String>,
    steps: BTreeSet<u64>,
    rows: u64,
    first: Option<(String, u64)>,
    /// Whether it is every row with tokens.
    all: bool,
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    // With drafts, and where steps overlap, the next row may have less.
    let exact = !report.overlapping && report.settings.num_speculative_tokens == Some(0);
    if !exact || !board.has(&["K002"]) || !board.has(&["K006"]) {
        return Some(());
    }
    let Some(wrong) = look(dir)? else { return Some(()) };
    let Some((request, step)) = &wrong.first else { return Some(()) };
    let agrees = "total_tokens of the step and computed_tokens of the next row agree against";
    let text = match wrong.by.first().filter(|_| wrong.by.len() == 1) {
        Some(by) if wrong.all && wrong.rows > 1 => format!(
            "scheduled_tokens of per_iteration_requests.csv is {} too {} in every row that has tokens: {agrees} it",
            by.abs(),
            if *by > 0 { "large" } else { "small" }
        ),
        Some(by) if wrong.rows == 1 => format!(
            "scheduled_tokens of {request} in iteration {step} is {} too {}: {agrees} it",
            by.abs(),
            if *by > 0 { "large" } else { "small" }
        ),
        _ => format!(
            "scheduled_tokens is wrong in {} rows of per_iteration_requests.csv, first in that of {request} in \
             iteration {step}: {agrees} each",
            wrong.rows
        ),
    };
    let explains = |seen: &Seen<'_>| {
        // What a preemption loses is what the row before had, with what its step added.
        let lost = seen.rule == "K011" && seen.finding.message.starts_with("the preemption loses");
        (seen.is(BY_TOKENS) || lost)
            && match (seen.request(), seen.iteration()) {
                (Some(id), _) => wrong.all || wrong.requests.contains(id),
                (None, Some(step)) => wrong.all || wrong.steps.contains(&step),
                (None, None) => wrong.all,
            }
    };
    let lead = &["K002"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// The wrong rows, if they explain all steps of which the rows make another total.
fn look(dir: &LogDir) -> Option<Option<Wrong>> {
    let mut rows = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id))?;
    let mut last: BTreeMap<String, Last> = BTreeMap::new();
    let mut steps: BTreeMap<u64, Step> = BTreeMap::new();
    let mut wrong = Wrong { all: true, ..Wrong::default() };
    let mut fits = true;
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            let id = step.iteration_id.0;
            let mut sum = 0;
            let mut here = BTreeMap::new();
            while let Some((row, request)) = rows.next_if(|row| row.iteration_id.0 <= id) {
                let told = row.computed_tokens.zip(row.scheduled_tokens);
                let (Some((computed, scheduled)), true) = (told, row.iteration_id.0 == id) else {
                    fits = false;
                    continue;
                };
                if row.state != State::Running {
                    continue;
                }
                let (computed, scheduled) = (i128::from(computed.0), i128::from(scheduled.0));
                sum += scheduled;
                if let Some(before) = last.get(&request).filter(|last| last.step + 1 == id) {
                    let more = before.computed + before.scheduled - computed;
                    let of_step = steps.entry(before.step).or_default();
                    of_step.last_rows -= i128::from(before.scheduled > 0);
                    if more == 0 {
                        wrong.all &= before.scheduled == 0;
                    } else {
                        of_step.unknown_to_next += more;
                        wrong.note(&request, before.step, more);
                    }
                }
                here.insert(request, Last { step: id, computed, scheduled });
            }
            let with_tokens = here.values().filter(|row| row.scheduled > 0).count() as i128;
            let of_step = steps.entry(id).or_default();
            of_step.more = sum - i128::from(step.total_tokens.0);
            (of_step.rows, of_step.last_rows) = (with_tokens, with_tokens);
            last = here;
            fits &= steps.len() < MOST;
        },
    )?;
    let only = wrong.by.first().copied().filter(|_| wrong.by.len() == 1);
    let explained = |step: &Step| {
        let left = step.more - step.unknown_to_next;
        // Last rows have none behind them that contradicts them.
        left == 0 || only.is_some_and(|by| step.last_rows > 0 && left == by * step.last_rows)
    };
    if let Some(by) = only {
        let left: i128 = steps.values().map(|step| step.more - step.unknown_to_next).sum();
        wrong.rows += u64::try_from(left / by).unwrap_or(0);
    }
    wrong.all &= only.is_some_and(|by| steps.values().all(|step| step.more == by * step.rows));
    let some = wrong.rows > 0 && steps.values().any(|step| step.more != 0);
    wrong.steps.extend(steps.iter().filter(|(_, step)| step.more != 0).map(|(id, _)| *id));
    Some((fits && some && steps.values().all(explained)).then_some(wrong))
}

impl Wrong {
    fn note(&mut self, request: &str, step: u64, by: i128) {
        self.rows += 1;
        self.by.insert(by);
        self.requests.insert(request.to_owned());
        self.first.get_or_insert_with(|| (request.to_owned(), step));
    }
}
