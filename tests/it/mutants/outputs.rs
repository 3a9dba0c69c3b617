//! First tokens and ends at the wrong moment in every file alike, in logs that leave something out.

use std::collections::BTreeSet;

use super::{Mutant, mutant, rates, sort_events, written_in};
use crate::sheets::Sheets;

const BARE: &[&str] = &["fixed-columns-only"];
const SILENT: &[&str] = &["fixed-columns-only", "no-details"];

/// Moves every first token from the end of its step to what `to` says of that step.
fn first_tokens(s: &mut Sheets, to: usize) {
    for row in 0..s.p.len() {
        let Some(ttft) = s.p.num(row, "ttft") else { continue };
        let arrival = s.p.n(row, "arrival_time");
        if let Some(step) = s.step_at(arrival + ttft, 3) {
            s.p.set(row, "ttft", s.moments(step)[to] - arrival);
            rates(s, row);
        }
    }
    for event in s.e.where_is("event_type", "first_token_generated") {
        if let Some(step) = s.step_at(s.e.n(event, "timestamp"), 3) {
            s.e.set(event, "timestamp", s.moments(step)[to]);
        }
    }
    sort_events(s);
}

/// A while behind the end of the step, never the same.
fn text_is_made(s: &Sheets, step: usize) -> Option<i64> {
    Some(s.moments(step)[3] + 300_000 + step as i64 * 7_919 % 600_000)
}

/// Moves the end of every request that an output finished to what `to` says of its step.
fn ends(s: &mut Sheets, to: impl Fn(&Sheets, usize) -> Option<i64>) {
    for row in 0..s.p.len() {
        let Some(end) = s.p.num(row, "completion_time") else { continue };
        let by_output = matches!(s.p.text(row, "finish_reason"), "stop" | "length");
        let step = s.step_at(end, 3).filter(|_| by_output);
        let Some(moved) = step.and_then(|step| to(s, step)) else { continue };
        for column in ["completion_time", "e2e_latency", "execution_time"] {
            s.p.add(row, column, moved - end);
        }
        rates(s, row);
        let id = s.p.text(row, "request_id").to_owned();
        for event in s.e.where_is("request_id", &id) {
            let kind = s.e.text(event, "event_type");
            if matches!(kind, "request_completed" | "kv_cache_freed")
                && s.e.n(event, "timestamp") == end
            {
                s.e.set(event, "timestamp", moved);
            }
        }
        for change in s.changes(&id) {
            if s.t.text(change, "state") == "completed" {
                s.t.add(change, "timestamp", moved - end);
                s.t.add(change, "duration_in_prev_state", moved - end);
            }
        }
    }
    sort_events(s);
}

fn at_output(s: &Sheets, step: usize) -> Option<i64> {
    Some(s.moments(step)[2])
}

fn at_next_decision(s: &Sheets, step: usize) -> Option<i64> {
    (step + 1 < s.i.len()).then(|| s.moments(step + 1)[1])
}

/// The `completed` rows by so many steps later.
fn completed_rows(s: &mut Sheets, by: i64) {
    let last = s.i.n(s.i.len() - 1, "iteration_id");
    for row in s.r.where_is("state", "completed") {
        let step = s.r.n(row, "iteration_id") + by;
        let id = s.r.text(row, "request_id").to_owned();
        let shown = s.row_of(step, &id, "running").is_some();
        if step <= last && (by > 0 || shown) {
            s.r.set(row, "iteration_id", step);
        }
    }
    s.r.rows.sort_by_key(|row| (row[0].parse::<i64>().unwrap(), row[2] == "completed"));
}

/// Aborts have `completed` rows too, in the step that ended behind them.
fn aborts_have_rows(s: &mut Sheets) {
    for request in s.p.where_is("finish_reason", "abort") {
        let (end, id) =
            (s.p.n(request, "completion_time"), s.p.text(request, "request_id").to_owned());
        let seen = s.r.where_is("request_id", &id).last().copied();
        let step = (0..s.i.len()).find(|row| s.i.n(*row, "end_time") >= end);
        let (Some(seen), Some(step)) = (seen, step) else { continue };
        let step = s.i.n(step, "iteration_id");
        let mut row = s.r.rows[seen].clone();
        for (column, text) in
            [("state", "completed"), ("queue_position", ""), ("waiting_reason", "")]
        {
            row[s.r.column(column)] = text.to_owned();
        }
        row[s.r.column("iteration_id")] = step.to_string();
        row[s.r.column("tokens_generated")] = s.p.text(request, "output_tokens").to_owned();
        row[s.r.column("time_in_state")] = "0".to_owned();
        let behind = s.r.rows.iter().position(|row| row[0].parse::<i64>().unwrap() > step);
        s.r.rows.insert(behind.unwrap_or(s.r.len()), row);
    }
}

fn summary(s: &mut Sheets) {
    s.r = crate::sheets::Sheet::default();
    s.e.rows.retain(|row| !row[1].starts_with("kv_cache"));
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("bare-first-token-at-d", "stamped with the decision", &["M020", "M018"], |s| {
        written_in(s, BARE, |s| first_tokens(s, 1));
    }),
    mutant("bare-first-token-at-o", "stamped as the output comes", &["M020"], |s| {
        written_in(s, BARE, |s| first_tokens(s, 2));
    }),
    mutant("silent-first-token-at-o", "stamped as the output comes", &["M020"], |s| {
        written_in(s, SILENT, |s| first_tokens(s, 2));
    }),
    mutant("unnamed-first-token-at-o", "the details were left out", &["M020", "M015"], |s| {
        written_in(s, &["no-details"], |s| first_tokens(s, 2));
    }),
    mutant("bare-end-at-o", "stamped as the output comes", &["M020"], |s| {
        written_in(s, BARE, |s| ends(s, at_output));
    }),
    mutant("silent-end-at-o", "stamped as the output comes", &["M020"], |s| {
        written_in(s, SILENT, |s| ends(s, at_output));
    }),
    mutant("unmarked-ends-at-o", "nothing else tells of ends", &["M020"], |s| {
        let by_output = |row: &usize| matches!(s.p.text(*row, "finish_reason"), "stop" | "length");
        let moments =
            (0..s.p.len()).filter(by_output).filter_map(|row| s.p.num(row, "completion_time"));
        if moments.collect::<BTreeSet<_>>().len() > 2 {
            written_in(s, &["fixed-columns-only", "no-details", "no-completed-rows"], |s| {
                ends(s, at_output)
            });
        }
    }),
    mutant("bare-end-at-next-d", "noticed by the next decision", &["M020", "M015"], |s| {
        written_in(s, BARE, |s| ends(s, at_next_decision));
    }),
    mutant("end-at-o-without-steps", "stamped as the output comes", &["M020"], |s| {
        let correct = s.clone();
        ends(s, at_output);
        if *s != correct {
            summary(s);
        }
    }),
    mutant("one-end-at-o-among-right-ones", "one of two code paths", &["M020"], |s| {
        written_in(s, BARE, |s| {
            let first = s.i.n(s.i.len() / 2, "end_time");
            ends(s, |s, step| at_output(s, step).filter(|at| *at <= first));
        });
    }),
    mutant("bare-ends-late", "stamped when the text is made of the tokens", &["M020"], |s| {
        written_in(s, BARE, |s| ends(s, text_is_made));
    }),
    mutant("silent-ends-late", "stamped when the text is made of the tokens", &["M020"], |s| {
        written_in(s, SILENT, |s| ends(s, text_is_made));
    }),
    mutant("bare-completed-rows-late", "written by the next step", &["M015"], |s| {
        written_in(s, BARE, |s| completed_rows(s, 1));
    }),
    mutant("bare-completed-rows-early", "written by the step before", &["M015"], |s| {
        written_in(s, BARE, |s| completed_rows(s, -1));
    }),
    mutant("bare-aborts-have-rows", "every end is an output", &["S008"], |s| {
        written_in(s, BARE, aborts_have_rows);
    }),
];
