//! First tokens that are noted with the first part of a prompt.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::FIRST_CHUNK;
use crate::diagnose::pass::each;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow, RequestRow};
use crate::log::values::State;
use crate::units::{Nanos, Tokens};

/// Requests that are no chance.
const SEVERAL: usize = 2;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let early = |seen: &Seen<'_>| {
        let stamped = seen.column() != Some("details");
        seen.rule == "M018"
            && stamped
            && seen.finding.message.ends_with("is before a row that shows none")
    };
    // By request: when its first token is said to have come, and its first step.
    let told = |seen: &Seen<'_>| {
        let token = seen.finding.actual.as_ref()?.parse().ok().map(Nanos)?;
        Some((seen.request()?.to_owned(), token))
    };
    let tokens: Vec<_> = board.open().filter(early).map(|seen| told(&seen)).collect();
    let Some(tokens) = tokens.into_iter().collect::<Option<BTreeMap<String, Nanos>>>() else {
        return Some(());
    };
    if tokens.len() < SEVERAL {
        return Some(());
    }
    // Its first step, and how far that brings it.
    let mut firsts: BTreeMap<String, (u64, Tokens)> = BTreeMap::new();
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let first = tokens.contains_key(id) && !firsts.contains_key(id);
            if row.state == State::Running
                && first
                && let Some(computed) = row.computed_tokens.zip(row.scheduled_tokens)
            {
                let computed = computed.0.saturating_add(computed.1);
                firsts.insert(id.to_owned(), (row.iteration_id.0, computed));
            }
        },
    )?;
    // One that computes the whole prompt brings a token.
    let mut parts = true;
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| parts &= firsts.get(id).is_none_or(|(_, computed)| *computed < row.input_tokens),
    )?;
    if !parts || firsts.len() < tokens.len() {
        return Some(());
    }
    let mut wanted: BTreeMap<u64, Vec<Nanos>> = BTreeMap::new();
    for (id, token) in &tokens {
        wanted.entry(firsts.get(id)?.0).or_default().push(*token);
    }
    let mut all = true;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let tokens = wanted.remove(&row.iteration_id.0).unwrap_or_default();
            let end = Moments::of(row, &report.dialect).end;
            all &= tokens.iter().all(|token| *token == end);
        },
    )?;
    if !all || !wanted.is_empty() {
        return Some(());
    }
    let text =
        "the first token is noted at the end of the first step of each request, also where that \
                computes a part of the prompt only and brings no token"
            .to_owned();
    let lead = &["M018"];
    board.claim(Claim { cause: FIRST_CHUNK, text, lead, explains: Box::new(early) });
    Some(())
}
