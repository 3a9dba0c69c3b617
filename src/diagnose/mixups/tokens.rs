//! Tokens and blocks of rows that are counted otherwise in every one of them.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::{LATE_COUNT, OTHER_UNIT};
use crate::diagnose::pass::{each, of_requests};
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, Table};
use crate::log::values::State;
use crate::units::{IterationId, Tokens};

/// Rows that are no chance.
const SEVERAL: usize = 3;
/// Requests that are kept.
const MOST: usize = 1 << 14;

/// Rules that follow the tokens of rows.
const OF_TOKENS: &[&str] = &[
    "K004", "K005", "K006", "K007", "K009", "K010", "K011", "K012", "M018", "M020", "C002", "C010",
    "Q008", "Q010",
];

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    blocks(report, board);
    with_prompts(dir, board)?;
    behind_the_step(dir, board)?;
    without_found(board);
    of_waiting(dir, board)
}

fn is_split(seen: &Seen<'_>) -> bool {
    seen.rule == "K002" && seen.column() != Some("total_tokens")
}

/// Blocks of rows in tokens.
fn blocks(report: &CheckReport, board: &mut Board<'_, '_>) {
    let size = report.settings.block_size.filter(|size| *size > 1).map(i128::from);
    let Some(size) = size.filter(|_| board.has(&["C002", "C009"])) else { return };
    // What a row has, and what it should.
    let told = |seen: &Seen<'_>| match (seen.rule, seen.values()?) {
        ("C002", (right, told)) => Some((told, right)),
        // Here it is the row of the request that is right.
        ("C009", (told, right)) if seen.table() == Some(Table::PerRequest) => Some((told, right)),
        _ => None,
    };
    let all: Vec<_> = board.open().filter_map(|seen| told(&seen)).collect();
    if all.len() < SEVERAL || !all.iter().all(|(told, right)| *told == right * size) {
        return;
    }
    let text = format!(
        "kv_cache_blocks of per_iteration_requests.csv is block_size ({size}) times too large in each row: it is a number \
         of tokens, not of blocks"
    );
    let explains = |seen: &Seen<'_>| {
        seen.is(&["C002", "C003", "C004", "C008", "C009", "C010", "C011", "Q008", "Q010"])
    };
    let lead = &["C002", "C003", "C009"];
    board.claim(Claim { cause: OTHER_UNIT, text, lead, explains: Box::new(explains) });
}

/// Generated tokens with the prompt.
fn with_prompts(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["K004", "K005"]) {
        return Some(());
    }
    let prompts = of_requests(dir, MOST, |row| Some(row.input_tokens))?;
    let (mut rows, mut all, mut first) = (0_usize, true, 0_usize);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let Some(input) = prompts.get(id).copied() else { return };
            rows += 1;
            all &= row.tokens_generated >= input;
            first += usize::from(row.tokens_generated == input);
        },
    )?;
    if !all || rows < SEVERAL || first < SEVERAL {
        return Some(());
    }
    let text = "tokens_generated of per_iteration_requests.csv is never less than input_tokens, and begins with it: \
                the prompt is counted as well"
        .to_owned();
    let explains = |seen: &Seen<'_>| seen.is(OF_TOKENS) || is_split(seen);
    let lead = &["K004", "K005"];
    board.claim(Claim { cause: OTHER_UNIT, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Computed tokens with those of the step.
fn behind_the_step(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["K006"]) {
        return Some(());
    }
    let mut before: BTreeMap<String, (IterationId, Tokens, Tokens)> = BTreeMap::new();
    let (mut all, mut shown) = (true, 0_usize);
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let tokens = row.computed_tokens.zip(row.scheduled_tokens);
            let Some((computed, scheduled)) = tokens.filter(|_| row.state == State::Running) else {
                before.remove(id);
                return;
            };
            all &= computed >= scheduled;
            if let Some((step, last, given)) = before.get(id)
                && step.0.saturating_add(1) == row.iteration_id.0
            {
                let gain = computed.saturating_sub(*last);
                all &= gain == scheduled && computed >= *last;
                shown += usize::from(*given != scheduled);
            }
            if before.len() < MOST || before.contains_key(id) {
                before.insert(id.to_owned(), (row.iteration_id, computed, scheduled));
            }
        },
    )?;
    if !all || shown < SEVERAL {
        return Some(());
    }
    let text = "computed_tokens of each running row has what the step schedules as well: it is read when the step is \
                over, not before it"
        .to_owned();
    let explains = |seen: &Seen<'_>| seen.is(OF_TOKENS) || is_split(seen);
    board.claim(Claim { cause: LATE_COUNT, text, lead: &["K006"], explains: Box::new(explains) });
    Some(())
}

/// Computed tokens without those that were found in the cache.
fn without_found(board: &mut Board<'_, '_>) {
    let entering =
        |seen: &Seen<'_>| seen.rule == "K006" && seen.finding.message.ends_with("the cache had");
    let all: Vec<_> = board.open().filter(entering).map(|seen| seen.values()).collect();
    let none =
        |values: &Option<(i128, i128)>| values.is_some_and(|(found, told)| found > 0 && told == 0);
    if all.len() < SEVERAL || !all.iter().all(none) {
        return;
    }
    let text = format!(
        "computed_tokens is 0 in the first row of each of {} requests of which tokens were found in the cache: these are \
         computed, too",
        all.len()
    );
    let explains = |seen: &Seen<'_>| seen.is(OF_TOKENS) || is_split(seen) || seen.rule == "C009";
    board.claim(Claim { cause: OTHER_UNIT, text, lead: &["K006"], explains: Box::new(explains) });
}

/// Scheduled tokens of requests that wait.
fn of_waiting(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let more: BTreeMap<u64, i128> = board
        .open()
        .filter(|seen| seen.rule == "K002" && seen.column() == Some("total_tokens"))
        .filter_map(|seen| Some((seen.iteration()?, seen.values()?)))
        .map(|(step, (rows, total))| (step, rows - total))
        .collect();
    if more.len() < SEVERAL {
        return Some(());
    }
    let mut waiting: BTreeMap<u64, i128> = BTreeMap::new();
    each::<IterationRequestRow>(
        dir,
        |_| None,
        |row, _| {
            let waits = matches!(row.state, State::Waiting | State::Preempted);
            let tokens = row.scheduled_tokens.filter(|tokens| waits && *tokens > Tokens::ZERO);
            if let Some(tokens) = tokens.filter(|_| more.contains_key(&row.iteration_id.0)) {
                *waiting.entry(row.iteration_id.0).or_default() += i128::from(tokens.0);
            }
        },
    )?;
    if waiting != more {
        return Some(());
    }
    let text = format!(
        "rows of requests that wait have scheduled_tokens, which make up what the rows of {} steps have more than \
         total_tokens: a request that waits is given none",
        more.len()
    );
    let explains = |seen: &Seen<'_>| seen.is(&["K002", "K010", "Q003", "Q009", "K006", "Q008"]);
    board.claim(Claim { cause: OTHER_UNIT, text, lead: &["K002"], explains: Box::new(explains) });
    Some(())
}
