//! Counts of tokens and blocks that are of something else in every row: of twice as many, of the other unit, of
//! the holders of each.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::OTHER_UNIT;
use crate::diagnose::pass::{Ahead, each};
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow};
use crate::log::values::State;
use crate::units::Tokens;

/// Rows that are no chance.
const SEVERAL: usize = 3;
/// Requests that are kept.
const MOST: usize = 1 << 14;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let size = report.settings.block_size.filter(|size| *size > 1).map(i128::from);
    cached(dir, size, board)?;
    input(dir, board)?;
    used(dir, size, board)
}

/// Cached tokens of requests.
fn cached(dir: &LogDir, size: Option<i128>, board: &mut Board<'_, '_>) -> Option<()> {
    let of_cached = |seen: &Seen<'_>| seen.rule == "K011" && seen.column() == Some("cached_tokens");
    let all: Vec<Seen<'_>> = board.open().filter(of_cached).collect();
    let pairs: Option<Vec<(i128, i128)>> = all.iter().map(Seen::values).collect();
    let Some(pairs) = pairs.filter(|pairs| pairs.len() >= SEVERAL) else { return Some(()) };
    let each_is =
        |times: i128, of: i128| pairs.iter().all(|(right, told)| right * times == told * of);
    let how = if each_is(2, 1) {
        "twice what events and rows add up to: it is counted where the request is scheduled and once more elsewhere"
    } else if size.is_some_and(|size| each_is(1, size)) {
        "the number of blocks that were found in the cache, not of the tokens in them"
    } else {
        return Some(());
    };
    let named: BTreeSet<&str> = all.iter().filter_map(Seen::request).collect();
    // Those of which nothing was cached are right either way.
    let mut others = 0_u64;
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let some = row.cached_tokens.is_some_and(|tokens| tokens > Tokens::ZERO);
            others += u64::from(some && !named.contains(id) && named.len() < MOST);
        },
    )?;
    if others > 0 {
        return Some(());
    }
    let text = format!("cached_tokens is {how}, in each request that has some");
    let explains = |seen: &Seen<'_>| {
        of_cached(seen)
            || seen.rule == "K007" && seen.request().is_some_and(|id| named.contains(id))
    };
    let lead = &["K011"];
    board.claim(Claim { cause: OTHER_UNIT, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Prompts with what was found of them in the cache once more, in all files.
fn input(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    // What was scheduled may be wrong itself where nothing else contradicts the length.
    if !board.has(&["K007"]) || !board.has(&["C009", "K004"]) {
        return Some(());
    }
    let lacking: BTreeMap<&str, i128> = board
        .open()
        .filter(|seen| seen.rule == "K007")
        .filter_map(|seen| Some((seen.request()?, seen.values()?)))
        .map(|(id, (expected, actual))| (id, expected - actual))
        .collect();
    let (mut all, mut more) = (true, 0_usize);
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let found = row.cached_tokens.map_or(0, |tokens| i128::from(tokens.0));
            let lacks = lacking.get(id).copied().unwrap_or(0);
            all &= found == lacks;
            more += usize::from(lacks > 0);
        },
    )?;
    if !all || more < SEVERAL || more < lacking.len() {
        return Some(());
    }
    let text = format!(
        "input_tokens is too large by cached_tokens in each of {more} requests that have some: tokens that are found in \
         the cache are part of the prompt, and are counted once more"
    );
    let explains = |seen: &Seen<'_>| {
        seen.is(&["K004", "K006", "K007", "K008", "K009", "K012", "C009", "C010", "M018", "Q008"])
            || seen.rule == "K002" && seen.column() != Some("total_tokens")
    };
    let lead = &["C009", "K007", "K004"];
    board.claim(Claim { cause: OTHER_UNIT, text, lead, explains: Box::new(explains) });
    Some(())
}

/// What follows from a wrong number of blocks in use.
const OF_USE: &[&str] = &["C001", "C003", "C007", "C011", "Q008", "Q010"];

/// Blocks in use of steps.
fn used(dir: &LogDir, size: Option<i128>, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["C001", "C003", "C011"]) {
        return Some(());
    }
    let Some(mut rows) = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id)) else {
        return Some(());
    };
    // Steps of which the use is the sum of what running rows hold, and whether all are; whether all are whole
    // blocks of tokens, and the total is one and the same.
    let (mut steps, mut sums, mut whole) = (0, true, true);
    let (mut total, mut constant) = (None, true);
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            let mut held = 0_u64;
            while let Some((row, _)) = rows.next_if(|row| row.iteration_id <= step.iteration_id) {
                if row.iteration_id == step.iteration_id && row.state == State::Running {
                    held += u64::from(row.kv_cache_blocks.0);
                }
            }
            let used = u64::from(step.kv_cache_used.0);
            steps += usize::from(used > 0);
            sums &= held == used;
            constant &= *total.get_or_insert(step.kv_cache_total) == step.kv_cache_total;
            whole &= size.is_none_or(|size| i128::from(used) % size == 0);
        },
    )?;
    if steps < SEVERAL {
        return Some(());
    }
    let in_tokens = size.filter(|_| whole).is_some_and(|size| is_in_tokens(board, size));
    // Where no block is shared the sum is right; it is not where there are fewer blocks than that.
    let over =
        |seen: &Seen<'_>| seen.column() == Some("kv_cache_used") && seen.iteration().is_some();
    let too_many = board.has(&["C001"])
        && board.open().filter(|seen| seen.rule == "C001").all(|seen| over(&seen));
    let text = if sums && constant && too_many {
        "kv_cache_used is the sum of kv_cache_blocks of the running rows of each step: a block that several \
         requests share is counted once for each of them, not once"
    } else if in_tokens {
        "kv_cache_used and kv_cache_total are numbers of tokens, not of blocks: each is block_size times too large"
    } else {
        return Some(());
    };
    let explains = |seen: &Seen<'_>| seen.is(OF_USE);
    let lead: &[&str] = if in_tokens { &["C003", "C001"] } else { &["C001"] };
    board.claim(Claim {
        cause: OTHER_UNIT,
        text: text.to_owned(),
        lead,
        explains: Box::new(explains),
    });
    Some(())
}

/// Whether all that is found is what it should be times the size of a block.
fn is_in_tokens(board: &Board<'_, '_>, size: i128) -> bool {
    let within = |seen: &Seen<'_>| {
        let (expected, actual) =
            (seen.finding.expected.as_deref()?, seen.finding.actual.as_deref()?);
        let told = actual.parse::<i128>().ok()?;
        let (least, most) = expected.split_once(" to ").unwrap_or((expected, expected));
        let (least, most) = (least.parse::<i128>().ok()?, most.parse::<i128>().ok()?);
        Some(told % size == 0 && (least..=most).contains(&(told / size)))
    };
    let all: Vec<Seen<'_>> = board.open().filter(|seen| seen.is(&["C001", "C003"])).collect();
    let of = |rule: &str| all.iter().any(|seen| seen.rule == rule);
    of("C003")
        && of("C001")
        && all.len() >= SEVERAL
        && all.iter().all(|seen| within(seen) == Some(true))
}
