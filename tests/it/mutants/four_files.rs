//! Times of states that are wrong in logs without state_transitions.csv.

use super::{Mutant, mutant, written_in};
use crate::sheets::Sheets;

const FOUR: &[&str] = &["no-transitions"];
const FOUR_BARE: &[&str] = &["no-transitions", "fixed-columns-only", "no-details"];

/// The time that a request was preempted counts as execution.
fn preempted_time_runs(s: &mut Sheets) {
    for row in 0..s.p.len() {
        let changes = s.changes(s.p.text(row, "request_id")).into_iter();
        let away: i64 = changes
            .filter(|change| s.t.text(*change, "prev_state") == "preempted")
            .map(|change| s.t.n(change, "duration_in_prev_state"))
            .sum();
        s.p.add(row, "waiting_time", -away);
        s.p.add(row, "execution_time", away);
    }
}

/// time_in_state of the rows in a state, counted from a moment of the request.
fn counted_from(s: &mut Sheets, state: &str, moment: &str) {
    for row in s.r.where_is("state", state) {
        let step = s.step(s.r.n(row, "iteration_id"));
        let request = s.request(s.r.text(row, "request_id"));
        let from = request.and_then(|request| s.p.num(request, moment));
        if let Some(from) = from {
            s.r.set(row, "time_in_state", s.moments(step)[1] - from);
        }
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("four-files-preempted-time-runs", "one timer goes on", &["M003"], |s| {
        written_in(s, FOUR, preempted_time_runs);
    }),
    mutant("bare-preempted-time-runs", "one timer goes on", &["M003"], |s| {
        written_in(s, FOUR_BARE, preempted_time_runs);
    }),
    mutant("bare-running-since-arrival", "the timer is never set back", &["M013"], |s| {
        written_in(s, FOUR_BARE, |s| counted_from(s, "running", "arrival_time"));
    }),
    mutant("bare-preempted-since-arrival", "the timer is never set back", &["M013"], |s| {
        written_in(s, FOUR_BARE, |s| counted_from(s, "preempted", "arrival_time"));
    }),
    mutant("bare-running-since-first", "not set back at a resumption", &["M013"], |s| {
        written_in(s, FOUR_BARE, |s| counted_from(s, "running", "first_scheduled_time"));
    }),
    mutant("running-since-first-by-rows-alone", "no event came to the disk", &["M013"], |s| {
        let correct = s.clone();
        written_in(s, FOUR_BARE, |s| counted_from(s, "running", "first_scheduled_time"));
        if *s != correct {
            s.e.rows.clear();
        }
    }),
];
