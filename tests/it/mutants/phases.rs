//! Tokens in the wrong phase, in logs that do not tell the lengths of prompts or leave out rows.

use super::{Mutant, mutant, written_in};
use crate::sheets::Sheets;

const UNTOLD: &[&str] = &["no-details"];
const NEVER_AWAY: &[&str] = &["no-preempted-rows"];
const BOTH: &[&str] = &["no-details", "no-preempted-rows", "no-completed-rows"];
const BARE: &[&str] = &["fixed-columns-only", "no-details"];

/// Splits the tokens of each step by what `prefill` says of its running rows.
fn split(s: &mut Sheets, prefill: impl Fn(&Sheets, usize) -> bool) {
    for step in 0..s.i.len() {
        let id = s.i.text(step, "iteration_id").to_owned();
        let rows = s.r.where_is("iteration_id", &id).into_iter();
        let rows = rows.filter(|row| s.r.text(*row, "state") == "running" && prefill(s, *row));
        let tokens: i64 = rows.map(|row| s.r.n(row, "scheduled_tokens")).sum();
        s.i.set(step, "prefill_tokens", tokens);
        let others = s.i.n(step, "total_tokens") - tokens;
        s.i.set(step, "decode_tokens", others);
    }
}

/// The length of the prompt of a row's request.
fn input(s: &Sheets, row: usize) -> i64 {
    let request = s.request(s.r.text(row, "request_id")).unwrap();
    s.p.n(request, "input_tokens")
}

/// Recomputation counts as decode.
fn prompt_only(s: &mut Sheets) {
    split(s, |s, row| s.r.n(row, "computed_tokens") < input(s, row));
}

/// The chunk that brings the first token counts as decode.
fn last_chunk_decodes(s: &mut Sheets) {
    split(s, |s, row| {
        s.r.n(row, "computed_tokens") + s.r.n(row, "scheduled_tokens") < input(s, row)
    });
}

/// Only the step that takes a request into the running queue is prefill.
fn admission_only(s: &mut Sheets) {
    split(s, |s, row| {
        let before = s.row_before(row).map(|before| s.r.text(before, "state").to_owned());
        before.is_none_or(|before| before != "running")
    });
}

/// More than one token is prefill, drafts too.
fn several_are_prefill(s: &mut Sheets) {
    split(s, |s, row| s.r.n(row, "scheduled_tokens") > 1);
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("untold-recomputation-decodes", "by the prompt alone", &["K002"], |s| {
        written_in(s, UNTOLD, prompt_only);
    }),
    mutant("untold-last-chunk-decodes", "by what is computed behind it", &["K002"], |s| {
        written_in(s, UNTOLD, last_chunk_decodes);
    }),
    mutant("untold-chunks-decode", "by the state before", &["K002"], |s| {
        written_in(s, UNTOLD, admission_only);
    }),
    mutant("untold-several-are-prefill", "by the number of tokens", &["K002"], |s| {
        written_in(s, UNTOLD, several_are_prefill);
    }),
    mutant("untold-all-prefill", "one sum for both", &["K002"], |s| {
        written_in(s, UNTOLD, |s| split(s, |_, _| true));
    }),
    mutant("hidden-recomputation-decodes", "by the prompt alone", &["K002"], |s| {
        written_in(s, NEVER_AWAY, prompt_only);
    }),
    mutant("hidden-and-untold-recomputation-decodes", "by the prompt alone", &["K002"], |s| {
        written_in(s, BOTH, prompt_only);
    }),
    mutant("hidden-and-untold-chunks-decode", "by the state before", &["K002"], |s| {
        written_in(s, BOTH, admission_only);
    }),
    mutant("bare-all-prefill", "one sum for both", &["K002"], |s| {
        written_in(s, BARE, |s| split(s, |_, _| true));
    }),
    mutant("bare-all-decode", "one sum for both", &["K002"], |s| {
        written_in(s, BARE, |s| split(s, |_, _| false));
    }),
];
