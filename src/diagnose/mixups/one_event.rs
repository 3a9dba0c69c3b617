//! Single events that are wrong, against which all that they are compared with agrees.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENT_COUNTS, listed};
use crate::diagnose::mixups::ONE_WRONG_VALUE;
use crate::diagnose::mixups::block::events;
use crate::diagnose::pass::each;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, Table};
use crate::log::values::{EventType as E, State};
use crate::units::Tokens;

/// Steps whose moments are kept.
const MOST: usize = 1 << 16;
/// Events that are named.
const NAMED: usize = 4;
/// Where it is more than one event in so many, the logger has another habit.
const ONE_IN: u64 = 4;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    found_tokens(dir, board)?;
    found_blocks(dir, report, board)?;
    blocks(dir, report, board)?;
    steps(dir, report, board)
}

fn of_lines(lines: &[u64]) -> String {
    match lines {
        [line] => format!("line {line} of events.csv"),
        lines => format!("lines {} of events.csv", listed(lines, NAMED)),
    }
}

fn tells_wrongly(lines: &[u64]) -> &'static str {
    if lines.len() == 1 {
        "it is the event that is wrong"
    } else {
        "it is the events that are wrong"
    }
}

/// cached_tokens of an event, where the row and the sums of the request contradict it by the same number.
fn found_tokens(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let entering =
        |seen: &Seen<'_>| seen.rule == "K006" && seen.finding.message.ends_with("the cache had");
    let off = |seen: &Seen<'_>| seen.values().map(|(expected, actual)| expected - actual);
    // By request and step: by how many tokens the event has more than the row.
    let more: BTreeMap<(&str, u64), i128> = board
        .open()
        .filter(entering)
        .filter_map(|seen| Some(((seen.request()?, seen.iteration()?), off(&seen)?)))
        .collect();
    let agree = |id: &str, more: i128| {
        board.open().any(|seen| {
            let by = off(&seen);
            let says = &seen.finding.message;
            let sums =
                says.starts_with("cached_tokens is not") || says.starts_with("lost_tokens is not");
            seen.rule == "K011"
                && sums
                && seen.request() == Some(id)
                && (by == Some(more) || by == Some(-more))
        })
    };
    // Where the rows of the request contradict one another, too, it may be they.
    let goes_on = |id: &str| {
        board
            .open()
            .any(|seen| seen.rule == "K006" && seen.request() == Some(id) && !entering(&seen))
    };
    let more: BTreeMap<_, _> =
        more.into_iter().filter(|((id, _), by)| agree(id, *by) && !goes_on(id)).collect();
    if more.is_empty() {
        return Some(());
    }
    let (mut lines, mut entries, mut first) = (Vec::new(), 0_u64, None);
    events(dir, |row, id| {
        if !matches!(row.row.event_type, E::RequestScheduled | E::RequestResumed) {
            return;
        }
        entries += 1;
        let Some(step) = row.row.details.iteration_id else { return };
        if let (Some(by), Some(told)) = (more.get(&(id, step.0)), row.row.details.cached_tokens) {
            lines.push(row.line);
            first.get_or_insert((id.to_owned(), row.row.event_type, told, i128::from(told.0) - by));
        }
    })?;
    let Some((id, kind, told, right)) =
        first.filter(|_| lines.len() as u64 * ONE_IN <= entries.max(4))
    else {
        return Some(());
    };
    let text = format!(
        "cached_tokens of the {kind} event of {id} is {told}, and {right} by the row of its step and by what the \
         request adds up to ({}): {}",
        of_lines(&lines),
        tells_wrongly(&lines)
    );
    let ids: BTreeSet<&str> = more.keys().map(|(id, _)| *id).collect();
    let rules =
        &["K006", "K007", "K009", "K010", "K011", "K012", "C006", "C008", "C009", "C010", "C011"];
    let explains = |seen: &Seen<'_>| {
        seen.is(rules) && seen.request().is_some_and(|request| ids.contains(request))
    };
    let lead = &["K009", "K011", "C008", "K006"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// cached_tokens of an event that are blocks too many for what its request holds, where rows do not tell of tokens and
/// those of the step, or the length of the prompt, leave no room for them.
fn found_blocks(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let Some(size) = report.settings.block_size.filter(|size| *size > 0).map(i128::from) else {
        return Some(());
    };
    let mut more: BTreeMap<&str, BTreeSet<i128>> = BTreeMap::new();
    for seen in board.open().filter(|seen| seen.rule == "C008") {
        let Some((id, (expected, actual))) = seen.request().zip(seen.values()) else { continue };
        more.entry(id).or_default().insert(expected - actual);
    }
    let [(id, by)] = more.iter().collect::<Vec<_>>()[..] else { return Some(()) };
    let Some(by) = by.first().copied().filter(|it| by.len() == 1 && *it > 0) else {
        return Some(());
    };
    let id = *id;
    let over = |seen: &Seen<'_>| {
        let most = seen.finding.expected.as_deref()?.strip_prefix("at most ")?;
        let most = most.parse::<i128>().ok()?;
        let told = seen.finding.actual.as_deref()?.parse::<i128>().ok()?;
        (seen.rule == "K002" && seen.column() == Some("prefill_tokens"))
            .then_some(told - most)
            .filter(|over: &i128| (1..=by * size).contains(over))
    };
    let steps: BTreeSet<u64> = board
        .open()
        .filter(|seen| over(seen).is_some())
        .filter_map(|seen| seen.iteration())
        .collect();
    let known = |line: u64| {
        board.open().any(|seen| {
            let at = seen.finding.primary.as_ref().map(|mark| (mark.at.table, mark.at.line));
            seen.rule == "K009" && at == Some((Table::Events, line))
        })
    };
    let (mut found, mut all) = (None, 0_u64);
    events(dir, |row, own| {
        let event = &row.row;
        if event.event_type != E::RequestScheduled {
            return;
        }
        all += 1;
        let details = &event.details;
        let (Some(step), Some(told)) = (details.iteration_id, details.cached_tokens) else {
            return;
        };
        let told = i128::from(told.0);
        if own == id && told >= by * size && (steps.contains(&step.0) || known(row.line)) {
            found = Some((row.line, step.0, told));
        }
    })?;
    let Some((line, step, told)) = found.filter(|_| all > 1) else { return Some(()) };
    let text = format!(
        "cached_tokens of the request_scheduled event of {id} is {told}, which is {} more than leaves what its rows hold, \
         and too much for the tokens of its step ({}): it is the event that is wrong",
        by * size,
        of_lines(&[line])
    );
    let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
        (Some(request), _) => {
            request == id && seen.is(&["C008", "C009", "C010", "C011", "K009", "K011"])
        }
        (None, Some(iteration)) => iteration == step && over(seen).is_some(),
        (None, None) => false,
    };
    let lead = &["C008"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// Blocks of an allocation, where the row of its step has others, which are those of its tokens.
fn blocks(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    // By request and step: by how many blocks the events have more than the row.
    let sums =
        |seen: &Seen<'_>| seen.rule == "C008" && seen.table() == Some(Table::PerIterationRequests);
    let more: BTreeMap<(&str, u64), i128> = board
        .open()
        .filter(sums)
        .filter_map(|seen| {
            let (expected, actual) = seen.values()?;
            Some(((seen.request()?, seen.iteration()?), expected - actual))
        })
        .collect();
    // Blocks of rows that are not those of their tokens may be wrong themselves, and what was found in the cache
    // may be what the events of a step have too much.
    let compared = |rule: &str| report.rule(rule).is_some_and(|rule| rule.exercised > 0);
    if !compared("K006") || !compared("K011") {
        return Some(());
    }
    // Events that stand elsewhere than in their steps are counted at the wrong moment.
    let elsewhere =
        board.has(&["M012", "M014", "M015", "M020", "X001", "X002", "X003", "M006", "S003"]);
    if more.is_empty() || elsewhere || board.has(&["C002", "C003", "C004"]) {
        return Some(());
    }
    let Some(size) = report.settings.block_size.filter(|size| *size > 0) else { return Some(()) };
    let mut fitting = 0;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let tokens = row.computed_tokens.zip(row.scheduled_tokens);
            let (Some((computed, scheduled)), State::Running) = (tokens, row.state) else { return };
            let known: Tokens = computed.saturating_add(scheduled);
            let fits = known.blocks_ceil(size) == row.kv_cache_blocks;
            fitting += usize::from(fits && more.contains_key(&(id, row.iteration_id.0)));
        },
    )?;
    if fitting < more.len() {
        return Some(());
    }
    let mut allocations: BTreeMap<(String, u64), Vec<(u64, i128)>> = BTreeMap::new();
    let mut all = 0_u64;
    events(dir, |row, id| {
        if row.row.event_type != E::KvCacheAllocated {
            return;
        }
        all += 1;
        let details = &row.row.details;
        let Some((step, blocks)) = details.iteration_id.zip(details.blocks) else { return };
        if more.contains_key(&(id, step.0)) {
            let key = (id.to_owned(), step.0);
            allocations.entry(key).or_default().push((row.line, i128::from(blocks.0)));
        }
    })?;
    let mut wrong = Vec::new();
    for ((id, step), more) in &more {
        let of_step = allocations.get(&((*id).to_owned(), *step));
        let Some([(line, told)]) = of_step.map(Vec::as_slice) else { return Some(()) };
        if told - more < 1 {
            return Some(());
        }
        wrong.push((*line, (*id, *step), *told, told - more));
    }
    wrong.sort_unstable();
    let Some((_, (id, step), told, right)) = wrong.first().copied() else { return Some(()) };
    if wrong.len() as u64 * ONE_IN > all.max(4) {
        return Some(());
    }
    let lines: Vec<u64> = wrong.iter().map(|it| it.0).collect();
    let text = format!(
        "the kv_cache_allocated event of {id} in iteration {step} has {told} blocks, and {right} are what the row of \
         its step has more, which fits its tokens ({}): {}",
        of_lines(&lines),
        tells_wrongly(&lines)
    );
    let ids: BTreeSet<&str> = more.keys().map(|(id, _)| *id).collect();
    let explains = |seen: &Seen<'_>| {
        seen.is(&["C008", "C009", "C010", "C011"])
            && seen.request().is_some_and(|request| ids.contains(request))
    };
    let lead = &["C008"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// iteration_id of an event that is stamped with the moment of another step.
fn steps(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let asks =
        |seen: &Seen<'_>| seen.is(&["M014", "M015", "M020"]) && seen.table() == Some(Table::Events);
    let lines: BTreeSet<u64> = board
        .open()
        .filter(asks)
        .filter_map(|seen| Some(seen.finding.primary.as_ref()?.at.line))
        .collect();
    if lines.is_empty() || report.overlapping || !report.dialect.is_exact() {
        return Some(());
    }
    let (mut decided, mut ended) = (BTreeMap::new(), BTreeMap::new());
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            if decided.len() < MOST {
                let at = Moments::of(row, &report.dialect);
                decided.insert(at.decided, row.iteration_id);
                ended.insert(at.end, row.iteration_id);
            }
        },
    )?;
    let step_of = |event: &EventRow| {
        let at = event.timestamp;
        match event.event_type {
            E::RequestScheduled
            | E::RequestPreempted
            | E::RequestResumed
            | E::RequestEvicted
            | E::KvCacheAllocated => decided.get(&at).copied(),
            E::FirstTokenGenerated => ended.get(&at).copied(),
            E::KvCacheFreed => ended.get(&at).or_else(|| decided.get(&at)).copied(),
            E::RequestArrived | E::RequestCompleted => None,
        }
    };
    let (mut wrong, mut all, mut unknown) = (Vec::new(), 0_u64, false);
    events(dir, |row, id| {
        let Some(named) = row.row.details.iteration_id else { return };
        all += 1;
        if !lines.contains(&row.line) {
            return;
        }
        match step_of(&row.row) {
            Some(step) if step != named => {
                wrong.push((row.line, id.to_owned(), row.row.event_type, named, step));
            }
            _ => unknown = true,
        }
    })?;
    let few = wrong.len() as u64 * ONE_IN <= all.max(4);
    let Some((_, id, kind, named, step)) = wrong.first().filter(|_| few && !unknown) else {
        return Some(());
    };
    let lines: Vec<u64> = wrong.iter().map(|it| it.0).collect();
    let text = format!(
        "details of the {kind} event of {id} name iteration {named}, and its timestamp is the moment of iteration \
         {step} ({}): it is iteration_id that is wrong",
        of_lines(&lines)
    );
    let ids: BTreeSet<&str> = wrong.iter().map(|it| it.1.as_str()).collect();
    let near: BTreeSet<u64> = wrong.iter().flat_map(|it| [it.3.0, it.4.0]).collect();
    let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
        (Some(request), _) => {
            ids.contains(request)
                && seen.is(&[
                    "M014", "M015", "M018", "M020", "C006", "C008", "C009", "C011", "K006", "K011",
                ])
        }
        (None, Some(step)) => {
            let counts = seen.column().is_some_and(|it| EVENT_COUNTS.contains(&it));
            near.contains(&step)
                && (seen.rule == "Q001" && counts || seen.is(&["Q007", "Q009", "C010"]))
        }
        (None, None) => false,
    };
    let lead = &["M015", "M014", "M020"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}
