//! Mistakes that what is left of a log still shows: without details, settings, changes or rows.

use super::{Mutant, mutant, rates, written};
use crate::sheets::Sheets;

/// With run.json.
fn with_settings(s: &mut Sheets, habits: &[&str], mistake: impl Fn(&mut Sheets)) {
    written(s, habits, |_| {}, mistake);
}

/// One output more than there was of the first request that reached its limit.
fn one_output_more(s: &mut Sheets) {
    let Some(row) = s.p.where_is("finish_reason", "length").into_iter().next() else { return };
    let id = s.p.text(row, "request_id").to_owned();
    s.p.add(row, "output_tokens", 1);
    rates(s, row);
    for event in s.e.where_is("request_id", &id) {
        if let Some(tokens) = s.detail(event, "output_tokens") {
            s.set_detail(event, "output_tokens", tokens + 1);
        }
    }
    for row in s.r.where_is("request_id", &id) {
        if s.r.text(row, "state") == "completed" {
            s.r.add(row, "tokens_generated", 1);
        }
    }
}

pub(super) const MUTANTS: &[Mutant] =
    &[mutant("bare-one-output-more", "the stop token counts twice", &["K004"], |s| {
        // Of several drafts any number may have been accepted.
        if s.setting("num_speculative_tokens") == 0 {
            with_settings(s, &["fixed-columns-only"], one_output_more);
        }
    })];
