//! A block of steps that stands twice in per_iteration.csv or per_iteration_requests.csv, the same both times.

use std::collections::{BTreeSet, VecDeque};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENTS_OF_STEP, ROWS_OF_REQUEST, ROWS_OF_STEP};
use crate::diagnose::mixups::WRITTEN_TWICE;
use crate::diagnose::pass::{each, of_requests};
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow, Table};

/// Rows before the place where steps go back that are remembered.
const MOST: usize = 1 << 14;
/// Requests that are compared.
const MOST_REQUESTS: usize = 1 << 14;

/// Rows of steps, and the block that stands a second time.
struct Again<T> {
    rows: VecDeque<(u64, T)>,
    /// What is still to come of the block, and its steps.
    open: VecDeque<(u64, T)>,
    block: Option<(u64, u64)>,
    /// Whether steps go back elsewhere, or a row of the block is another one the second time.
    other: bool,
}

impl<T: PartialEq> Again<T> {
    const fn new() -> Self {
        Self { rows: VecDeque::new(), open: VecDeque::new(), block: None, other: false }
    }

    fn see(&mut self, step: u64, row: T) {
        if self.block.is_none() {
            let last = self.rows.back().map(|(step, _)| *step);
            let begins =
                |it: &T| last == Some(step) && self.rows.back().is_some_and(|(_, at)| at == it);
            if last.is_some_and(|last| step < last) || begins(&row) {
                let place = self.rows.partition_point(|(at, _)| *at < step);
                self.open = self.rows.split_off(place);
                let ends = self.open.back().map(|(at, _)| *at);
                self.block = ends.map(|last| (step, last));
                self.other |= self.block.is_none();
            }
        }
        if self.block.is_some() {
            match self.open.pop_front() {
                Some(same) => self.other |= same != (step, row),
                None => {
                    self.other |= self.rows.back().is_some_and(|(last, _)| step < *last);
                    self.keep(step, row);
                }
            }
            return;
        }
        self.keep(step, row);
    }

    fn keep(&mut self, step: u64, row: T) {
        if self.rows.len() == MOST {
            self.rows.pop_front();
        }
        self.rows.push_back((step, row));
    }

    /// The first and the last step of the block.
    fn found(&self) -> Option<(u64, u64)> {
        self.block.filter(|_| !self.other && self.open.is_empty())
    }
}

fn told((first, last): (u64, u64), table: Table) -> String {
    let steps = match first == last {
        true => format!("step {first} stands"),
        false => format!("steps {first} to {last} stand"),
    };
    format!("{steps} twice in {table}, the same both times: a block was written twice")
}

/// Steps.
pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M011"]) {
        return Some(());
    }
    let mut again = Again::new();
    each::<IterationRow>(dir, |_| None, |row, _| again.see(row.iteration_id.0, *row))?;
    let Some(block) = again.found() else { return Some(()) };
    let text = told(block, Table::PerIteration);
    // The rows of a step that comes again were read with the first one.
    let near = |seen: &Seen<'_>| {
        seen.iteration().is_some_and(|step| (block.0..=block.1.saturating_add(1)).contains(&step))
    };
    let explains = |seen: &Seen<'_>| {
        let of_step = seen.is(ROWS_OF_STEP) || seen.is(EVENTS_OF_STEP) || seen.is(ROWS_OF_REQUEST);
        let of_moments = seen.is(&["M010", "M014", "M015", "M018", "M021", "C008"]);
        // What is counted from step to step is wrong from there on.
        let behind = seen.rule == "C010" && seen.iteration().is_some_and(|step| step >= block.0);
        seen.rule == "M011" || behind || near(seen) && (of_step || of_moments)
    };
    let lead = &["M011"];
    board.claim(Claim { cause: WRITTEN_TWICE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Rows of steps.
pub(super) fn find_rows(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X009"]) {
        return Some(());
    }
    let mut again = Again::new();
    let mut named: BTreeSet<String> = BTreeSet::new();
    let mut any = None;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            // A key is another request's once it is given back.
            let mut plain = *row;
            plain.request_id = *any.get_or_insert(row.request_id);
            again.see(row.iteration_id.0, (plain, id.to_owned()));
            if named.len() < MOST_REQUESTS && !named.contains(id) {
                named.insert(id.to_owned());
            }
        },
    )?;
    let Some(block) = again.found() else { return Some(()) };
    let text = told(block, Table::PerIterationRequests);
    let known = of_requests(dir, MOST_REQUESTS, |_| Some(()))?;
    // Then no request was alive at the end, as it seems to be where rows are not read.
    let all_known = named.len() < MOST_REQUESTS && named.iter().all(|id| known.contains_key(id));
    let explains = |seen: &Seen<'_>| match seen.rule {
        "X005" => all_known,
        "X009" => true,
        _ => {
            let behind = seen.iteration().is_none_or(|step| step >= block.0);
            let of_step = seen.is(ROWS_OF_STEP) || seen.is(EVENTS_OF_STEP);
            behind && (of_step || seen.is(ROWS_OF_REQUEST) || seen.is(&["C008", "M018"]))
        }
    };
    let lead = &["X009"];
    board.claim(Claim { cause: WRITTEN_TWICE, text, lead, explains: Box::new(explains) });
    Some(())
}
