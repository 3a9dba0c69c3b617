//! Rows lost, written twice, or in the wrong place.

use super::{Mutant, mutant};
use crate::sheets::{Sheet, Sheets};

fn middle(rows: &[usize]) -> Option<usize> {
    rows.get(rows.len() / 2).copied()
}

fn lose(sheet: &mut Sheet, rows: &[usize]) {
    if let Some(row) = middle(rows) {
        sheet.rows.remove(row);
    }
}

fn repeat(sheet: &mut Sheet, rows: &[usize]) {
    if let Some(row) = middle(rows) {
        let copy = sheet.rows[row].clone();
        sheet.rows.insert(row + 1, copy);
    }
}

fn lose_event(s: &mut Sheets, kind: &str) {
    let rows = s.e.where_is("event_type", kind);
    lose(&mut s.e, &rows);
}

fn repeat_event(s: &mut Sheets, kind: &str) {
    let rows = s.e.where_is("event_type", kind);
    repeat(&mut s.e, &rows);
}

/// One of several: a log that has none at all is of a known dialect.
fn lose_row(s: &mut Sheets, state: &str) {
    let rows = s.r.where_is("state", state);
    if rows.len() > 1 {
        lose(&mut s.r, &rows);
    }
}

fn lose_change(s: &mut Sheets, state: &str) {
    let rows = s.t.where_is("state", state);
    lose(&mut s.t, &rows);
}

/// Requests by how they ended.
fn ended(s: &Sheets, reason: &str) -> Vec<String> {
    let rows = s.p.where_is("finish_reason", reason);
    rows.into_iter().map(|row| s.p.text(row, "request_id").to_owned()).collect()
}

fn drop_rows(sheet: &mut Sheet, lost: impl Fn(&Sheet, usize) -> bool) {
    let keep: Vec<bool> = (0..sheet.len()).map(|row| !lost(sheet, row)).collect();
    let mut keep = keep.into_iter();
    sheet.rows.retain(|_| keep.next().unwrap_or(true));
}

/// Steps of a file in the order of the file.
fn steps(sheet: &Sheet) -> Vec<i64> {
    let mut steps: Vec<_> = (0..sheet.len()).map(|row| sheet.n(row, "iteration_id")).collect();
    steps.dedup();
    steps
}

/// Swaps the first two neighbours of different times.
fn swap_events(s: &mut Sheets) {
    let at = |row: usize| s.e.n(row, "timestamp");
    if let Some(row) = (1..s.e.len()).find(|row| at(*row) > at(row - 1)) {
        s.e.rows.swap(row - 1, row);
    }
}

fn swap_completions(s: &mut Sheets) {
    let at = |row: usize| s.p.num(row, "completion_time");
    let apart = |row: &usize| at(*row).is_some() && at(row - 1) < at(*row);
    if let Some(row) = (1..s.p.len()).find(apart) {
        s.p.rows.swap(row - 1, row);
    }
}

fn last_change_first(s: &mut Sheets) {
    let id = |row: usize| s.t.text(row, "request_id");
    if let Some(row) = (1..s.t.len()).find(|row| id(*row) == id(row - 1)) {
        s.t.rows.swap(row - 1, row);
    }
}

fn swap_rows_of_a_step(s: &mut Sheets) {
    let same = |row: &usize| {
        s.r.n(*row, "iteration_id") == s.r.n(row - 1, "iteration_id")
            && s.r.text(*row, "state") == "running"
            && s.r.text(row - 1, "state") == "running"
    };
    if let Some(row) = (1..s.r.len()).find(same) {
        s.r.rows.swap(row - 1, row);
    }
}

fn lose_step_rows(s: &mut Sheets) {
    let steps = steps(&s.r);
    let step = steps[steps.len() / 2];
    drop_rows(&mut s.r, |r, row| r.n(row, "iteration_id") == step);
}

fn rows_a_step_late(s: &mut Sheets) {
    s.r.map("iteration_id", |id| id + 1);
}

fn lose_aborted(s: &mut Sheets, sheet: fn(&mut Sheets) -> &mut Sheet) {
    let ids = ended(s, "abort");
    drop_rows(sheet(s), |sheet, row| ids.iter().any(|id| sheet.text(row, "request_id") == id));
}

fn lose_aborted_end(s: &mut Sheets) {
    let ids = ended(s, "abort");
    drop_rows(&mut s.t, |t, row| {
        t.text(row, "state") == "completed" && ids.iter().any(|id| t.text(row, "request_id") == id)
    });
}

fn lose_one(s: &mut Sheets, sheets: fn(&mut Sheets) -> Vec<&mut Sheet>) {
    let id = s.p.text(s.p.len() / 2, "request_id").to_owned();
    for sheet in sheets(s) {
        drop_rows(sheet, |sheet, row| sheet.text(row, "request_id") == id);
    }
}

/// At the end of a step everything of the step but its `completed` rows had been flushed.
fn lose_completed_at_flush(s: &mut Sheets) {
    drop_rows(&mut s.r, |r, row| {
        r.text(row, "state") == "completed" && r.n(row, "iteration_id") % 10 == 9
    });
}

fn completed_in_next_step(s: &mut Sheets) {
    let last = s.i.n(s.i.len() - 1, "iteration_id");
    for row in s.r.where_is("state", "completed") {
        if s.r.n(row, "iteration_id") < last {
            s.r.add(row, "iteration_id", 1);
        }
    }
    let key = |row: &Vec<String>| row[0].parse::<i64>().unwrap();
    s.r.rows.sort_by_key(key);
}

fn completed_before_the_queues(s: &mut Sheets) {
    s.r.rows.sort_by_key(|row| (row[0].parse::<i64>().unwrap(), row[2] != "completed"));
}

fn every_hundredth(s: &mut Sheets) {
    // A pass lost at the very end is missed by nothing.
    let last = s.i.len() - 1;
    drop_rows(&mut s.i, |_, row| row % 10 == 9 && row < last);
}

fn arrivals_noted_late(s: &mut Sheets) {
    // The file is written when a request is over, its arrival beside its end.
    let order = |kind: &str| u8::from(kind != "request_completed" && kind != "request_arrived");
    let ends: Vec<(String, usize)> =
        s.e.where_is("event_type", "request_completed")
            .into_iter()
            .map(|row| (s.e.text(row, "request_id").to_owned(), row))
            .collect();
    let mut rows: Vec<(usize, Vec<String>)> =
        s.e.rows
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let end = ends.iter().find(|(id, _)| row[2] == *id && order(&row[1]) == 0);
                (end.map_or(index, |(_, end)| *end), row.clone())
            })
            .collect();
    rows.sort_by_key(|(index, _)| *index);
    s.e.rows = rows.into_iter().map(|(_, row)| row).collect();
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("lost-request", "the row of a request was never written", &["X003"], |s| {
        let rows: Vec<_> = (0..s.p.len() - 1).collect();
        lose(&mut s.p, &rows);
    }),
    mutant("repeated-request", "written at the end and at the cleanup", &["F007"], |s| {
        let rows: Vec<_> = (0..s.p.len()).collect();
        repeat(&mut s.p, &rows);
    }),
    mutant("swapped-requests", "rows collected in a hash map", &["X006"], swap_completions),
    mutant("lost-iteration", "the open row was dropped at a flush", &["M011"], |s| {
        let rows: Vec<_> = (0..s.i.len() - 1).collect();
        lose(&mut s.i, &rows);
    }),
    mutant(
        "lost-iterations-at-flush",
        "each flush drops the newest row",
        &["M011", "X005"],
        every_hundredth,
    ),
    mutant("repeated-iteration", "a row was flushed twice", &["M011"], |s| {
        let rows: Vec<_> = (0..s.i.len()).collect();
        repeat(&mut s.i, &rows);
    }),
    mutant("swapped-iterations", "rows written by two threads", &["M011"], |s| {
        let middle = s.i.len() / 2;
        s.i.rows.swap(middle - 1, middle);
    }),
    mutant("lost-running-row", "a request was left out of a snapshot", &["Q001", "X004"], |s| {
        lose_row(s, "running")
    }),
    mutant("lost-waiting-row", "the head was popped before the snapshot", &["Q001"], |s| {
        lose_row(s, "waiting")
    }),
    mutant("lost-preempted-row", "only the waiting queue was listed", &["Q001"], |s| {
        lose_row(s, "preempted")
    }),
    mutant("lost-completed-row", "finished requests had left already", &["Q001"], |s| {
        lose_row(s, "completed")
    }),
    mutant(
        "lost-completed-at-flush",
        "a flush came between queues and completions",
        &["Q001", "X005"],
        lose_completed_at_flush,
    ),
    mutant(
        "completed-in-next-step",
        "completions were buffered for a step",
        &["Q001", "S002", "X004"],
        completed_in_next_step,
    ),
    mutant(
        "completed-first",
        "completions were written before the queues",
        &["Q005", "S002"],
        completed_before_the_queues,
    ),
    mutant("repeated-row", "a request stands in two snapshots", &["S006"], |s| {
        let rows: Vec<_> = (0..s.r.len()).collect();
        repeat(&mut s.r, &rows);
    }),
    mutant("swapped-rows", "the running queue in another order", &["Q005"], swap_rows_of_a_step),
    mutant(
        "lost-step-rows",
        "the buffer was cleared before it was written",
        &["X004", "X005"],
        lose_step_rows,
    ),
    mutant(
        "rows-a-step-late",
        "the id was taken after it had been raised",
        &["X004", "Q001"],
        rows_a_step_late,
    ),
    mutant("lost-arrival", "the hook came after the early return", &["X001", "X005"], |s| {
        lose_event(s, "request_arrived")
    }),
    mutant("lost-scheduled", "the first scheduling was not noted", &["X002", "Q001"], |s| {
        lose_event(s, "request_scheduled")
    }),
    mutant("lost-preempted", "the preemption was not noted", &["S005", "Q001"], |s| {
        lose_event(s, "request_preempted")
    }),
    mutant("lost-resumed", "the resumption was not noted", &["X002", "Q001"], |s| {
        lose_event(s, "request_resumed")
    }),
    mutant("lost-evicted", "the eviction was not noted", &["C006"], |s| {
        lose_event(s, "request_evicted")
    }),
    mutant("lost-first-token", "no event for a one-token answer", &["X002", "X005"], |s| {
        lose_event(s, "first_token_generated")
    }),
    mutant("lost-completion", "the completion was not noted", &["X002", "X005"], |s| {
        lose_event(s, "request_completed")
    }),
    mutant("lost-allocation", "blocks taken by a decode are not noted", &["C008"], |s| {
        lose_event(s, "kv_cache_allocated")
    }),
    mutant("lost-freeing", "blocks given back are not noted", &["C008"], |s| {
        lose_event(s, "kv_cache_freed")
    }),
    mutant("repeated-arrival", "two layers note the arrival", &["X002"], |s| {
        repeat_event(s, "request_arrived")
    }),
    mutant("repeated-scheduled", "every chunk of a prompt is a first scheduling", &["X002"], |s| {
        repeat_event(s, "request_scheduled")
    }),
    mutant("repeated-preempted", "two layers note the preemption", &["S005"], |s| {
        repeat_event(s, "request_preempted")
    }),
    mutant("repeated-resumed", "two layers note the resumption", &["X002", "Q001"], |s| {
        repeat_event(s, "request_resumed")
    }),
    mutant("repeated-evicted", "one event per lost block", &["C006"], |s| {
        repeat_event(s, "request_evicted")
    }),
    mutant("repeated-first-token", "noted again after a preemption", &["X002"], |s| {
        repeat_event(s, "first_token_generated")
    }),
    mutant("repeated-completion", "abort and end are both noted", &["X002"], |s| {
        repeat_event(s, "request_completed")
    }),
    mutant("repeated-allocation", "noted by pool and manager", &["C008"], |s| {
        repeat_event(s, "kv_cache_allocated")
    }),
    mutant("repeated-freeing", "noted by pool and manager", &["C008"], |s| {
        repeat_event(s, "kv_cache_freed")
    }),
    mutant("swapped-events", "events from two threads", &["M012"], swap_events),
    mutant(
        "arrivals-noted-late",
        "arrivals are written when the request is over",
        &["M012"],
        arrivals_noted_late,
    ),
    mutant("lost-running-change", "a start is missing", &["S001", "M003", "M006"], |s| {
        lose_change(s, "running")
    }),
    mutant("lost-preempted-change", "a preemption is missing", &["S001", "S005"], |s| {
        lose_change(s, "preempted")
    }),
    mutant("lost-completed-change", "an end is missing", &["S003", "X005"], |s| {
        lose_change(s, "completed")
    }),
    mutant("repeated-change", "written by two hooks", &["S001", "S003"], |s| {
        let rows: Vec<_> = (0..s.t.len()).collect();
        repeat(&mut s.t, &rows);
    }),
    mutant("swapped-changes", "the end was written first", &["M004", "S001"], last_change_first),
    mutant("lost-aborted-request", "aborts leave by another door", &["X003", "X005"], |s| {
        lose_aborted(s, |s| &mut s.p)
    }),
    mutant("lost-aborted-events", "aborted requests are cleaned up", &["X001", "X005"], |s| {
        lose_aborted(s, |s| &mut s.e)
    }),
    mutant("lost-aborted-changes", "aborted requests are cleaned up", &["X001", "X005"], |s| {
        lose_aborted(s, |s| &mut s.t)
    }),
    mutant("lost-aborted-rows", "aborted requests are cleaned up", &["Q001", "X004"], |s| {
        lose_aborted(s, |s| &mut s.r)
    }),
    mutant("lost-aborted-end", "an abort is no change", &["S003", "X005"], lose_aborted_end),
    mutant(
        "request-only-in-steps",
        "a request that one file knows",
        &["X003", "X005", "Q001"],
        |s| {
            lose_one(s, |s| vec![&mut s.p, &mut s.e, &mut s.t]);
        },
    ),
    mutant("request-not-in-steps", "a request without rows", &["Q001", "X004", "X001"], |s| {
        lose_one(s, |s| vec![&mut s.r]);
    }),
];
