//! Mistakes about a file as a whole, which break many rules at once: what leads is the rule that shows
//! the mistake.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Mutant, mutant, rates, sort_events};
use crate::sheets::{Sheet, Sheets};

const DECISIONS: [&str; 4] =
    ["request_scheduled", "request_resumed", "request_preempted", "request_evicted"];

/// The files that name requests, per_request.csv first.
pub(super) fn named(s: &mut Sheets) -> [&mut Sheet; 4] {
    [&mut s.p, &mut s.r, &mut s.e, &mut s.t]
}

pub(super) fn spell(sheet: &mut Sheet, how: impl Fn(&str) -> String) {
    sheet.map_text("request_id", |id| if id.is_empty() { String::new() } else { how(id) });
}

/// An ending that is another one for each id.
fn ending(id: &str) -> String {
    let sum = id.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(1_000_003) ^ u32::from(byte));
    format!("{id}-{sum:08x}")
}

fn exchange_names(s: &mut Sheets) {
    if s.e.where_is("event_type", "request_evicted").is_empty() {
        return;
    }
    s.e.map_text("event_type", |kind| {
        match kind {
            "request_preempted" => "request_evicted",
            "request_evicted" => "request_preempted",
            other => other,
        }
        .to_owned()
    });
}

fn number_from_one(s: &mut Sheets) {
    s.i.map("iteration_id", |id| id + 1);
    s.r.map("iteration_id", |id| id + 1);
}

fn details_from_one(s: &mut Sheets) {
    for event in 0..s.e.len() {
        if let Some(id) = s.detail(event, "iteration_id") {
            s.set_detail(event, "iteration_id", id + 1);
        }
    }
}

/// The rows of each step by the ids of their requests, which come in no order.
fn sort_rows(s: &mut Sheets) {
    let ids: Vec<String> =
        (0..s.p.len()).map(|row| s.p.text(row, "request_id").to_owned()).collect();
    let place = |id: &str| ids.iter().position(|it| it == id).unwrap_or(ids.len());
    for sheet in named(s) {
        spell(sheet, |id| format!("{:04}-{id}", 9999 - place(id)));
    }
    let [step, id] = ["iteration_id", "request_id"].map(|column| s.r.column(column));
    s.r.rows.sort_by_key(|row| (row[step].parse::<u64>().unwrap(), row[id].clone()));
}

/// Running rows have the tokens that the next row of their request has.
pub(super) fn read_at_end(s: &mut Sheets) {
    let mut next: BTreeMap<String, String> = BTreeMap::new();
    for row in (0..s.r.len()).rev() {
        let id = s.r.text(row, "request_id").to_owned();
        let own = s.r.text(row, "tokens_generated").to_owned();
        if let Some(next) = next.insert(id, own).filter(|_| s.r.text(row, "state") == "running") {
            s.r.set(row, "tokens_generated", next);
        }
    }
}

/// Everything happens at three times the pace, and the requests come in another order.
fn change_in_another_run(s: &mut Sheets) {
    let ids: Vec<String> =
        (0..s.p.len()).map(|row| s.p.text(row, "request_id").to_owned()).collect();
    if ids.len() < 4 {
        return;
    }
    s.t.map("timestamp", |time| time / 3);
    s.t.map("duration_in_prev_state", |time| time / 3);
    s.t.map_text("request_id", |id| {
        let place = ids.iter().position(|it| it == id).unwrap_or(0);
        ids[ids.len() - 1 - place].clone()
    });
}

/// Decisions and changes are stamped as their steps begin, or when the request arrived if that is later.
fn decide_at_start(s: &mut Sheets) {
    let steps = (0..s.i.len()).map(|row| s.moments(row));
    let starts: BTreeMap<i64, i64> = steps.map(|[start, decided, ..]| (decided, start)).collect();
    let arrivals: BTreeMap<String, i64> = (0..s.p.len())
        .map(|row| (s.p.text(row, "request_id").to_owned(), s.p.n(row, "arrival_time")))
        .collect();
    let moved = |id: &str, at: i64| starts.get(&at).map_or(at, |start| (*start).max(arrivals[id]));
    for kind in DECISIONS {
        for event in s.e.where_is("event_type", kind) {
            let at = moved(s.e.text(event, "request_id"), s.e.n(event, "timestamp"));
            s.e.set(event, "timestamp", at);
        }
    }
    sort_events(s);
    for row in 0..s.p.len() {
        let id = s.p.text(row, "request_id").to_owned();
        if let Some(at) = s.p.num(row, "first_scheduled_time") {
            s.p.set(row, "first_scheduled_time", moved(&id, at));
        }
        let (mut before, mut running, mut waiting) = (arrivals[&id], 0, 0);
        for change in s.changes(&id) {
            let mut at = s.t.n(change, "timestamp");
            if s.t.text(change, "state") != "completed" {
                at = moved(&id, at);
            }
            let spent = at - std::mem::replace(&mut before, at);
            let side = if s.t.text(change, "prev_state") == "running" {
                &mut running
            } else {
                &mut waiting
            };
            *side += spent;
            s.t.set(change, "timestamp", at);
            s.t.set(change, "duration_in_prev_state", spent);
        }
        if s.p.num(row, "e2e_latency").is_some() && !s.changes(&id).is_empty() {
            s.p.set(row, "waiting_time", waiting);
            s.p.set(row, "execution_time", running);
        }
    }
}

fn count_ends_late(s: &mut Sheets) {
    let mut before = 0;
    for row in 0..s.i.len() {
        let now = s.i.n(row, "completed_count");
        s.i.set(row, "completed_count", std::mem::replace(&mut before, now));
    }
}

fn aborted(s: &Sheets) -> Vec<String> {
    let rows = s.p.where_is("finish_reason", "abort").into_iter();
    rows.map(|row| s.p.text(row, "request_id").to_owned()).collect()
}

/// Without the completions of these requests.
fn without_ends(s: &mut Sheets, ids: &[String]) {
    let (kind, id) = (s.e.column("event_type"), s.e.column("request_id"));
    s.e.rows.retain(|row| row[kind] != "request_completed" || !ids.contains(&row[id]));
}

/// Of requests that were aborted as they ran or waited there are only arrivals and rows of steps.
fn forget_aborted(s: &mut Sheets) {
    let ids: Vec<_> = aborted(s)
        .into_iter()
        .filter(|id| s.r.where_is("request_id", id).len() > 1)
        .filter(|id| {
            // The steps go on without it.
            let last = s.r.where_is("request_id", id).pop().map(|row| s.r.n(row, "iteration_id"));
            last.is_some_and(|last| last + 2 < s.i.len() as i64)
        })
        .collect();
    without_ends(s, &ids);
    s.p.rows.retain(|row| !ids.contains(&row[0]));
    s.t.rows.retain(|row| !ids.contains(&row[0]));
}

fn arrive_with_preemptions(s: &mut Sheets) {
    let mut event = 0;
    while event < s.e.len() {
        if s.e.text(event, "event_type") == "request_preempted" {
            let mut again = s.e.rows[event].clone();
            again[s.e.column("event_type")] = "request_arrived".to_owned();
            let request = s.request(&again[s.e.column("request_id")]).unwrap();
            let (tokens, priority) =
                (s.p.n(request, "input_tokens"), s.p.n(request, "priority_score"));
            again[s.e.column("details")] =
                json!({ "input_tokens": tokens, "priority": priority }).to_string();
            s.e.rows.insert(event + 1, again);
        }
        event += 1;
    }
}

fn complete_twice(s: &mut Sheets) {
    let kind = s.e.column("event_type");
    let rows = std::mem::take(&mut s.e.rows).into_iter();
    let twice = |row: Vec<String>| {
        let times = 1 + usize::from(row[kind] == "request_completed");
        std::iter::repeat_n(row, times)
    };
    s.e.rows = rows.flat_map(twice).collect();
}

fn reverse_queue(s: &mut Sheets) {
    let mut row = 0;
    while row < s.r.len() {
        let waits = |s: &Sheets, row: usize| {
            row < s.r.len() && matches!(s.r.text(row, "state"), "waiting" | "preempted")
        };
        let step = s.r.text(row, "iteration_id").to_owned();
        let mut end = row;
        while waits(s, end) && s.r.text(end, "iteration_id") == step {
            end += 1;
        }
        s.r.rows[row..end].reverse();
        for (place, row) in (row..end).enumerate() {
            s.r.set(row, "queue_position", place);
        }
        row = end.max(row + 1);
    }
}

/// Whether several wait in a step, so that they have an order.
fn has_queues(s: &Sheets) -> bool {
    (0..s.i.len()).filter(|row| s.i.n(*row, "waiting_count") > 1).count() > 1
}

fn read_after_free(s: &mut Sheets) {
    for row in s.r.where_is("state", "completed") {
        s.r.set(row, "kv_cache_blocks", 0);
    }
}

/// The events of a third of the file once more, right behind it.
fn flush_twice(s: &mut Sheets) {
    let (from, to) = (s.e.len() / 3, s.e.len() / 2);
    let differs = s.e.n(from, "timestamp") < s.e.n(to - 1, "timestamp");
    if differs && to - from > 2 {
        let block = s.e.rows[from..to].to_vec();
        s.e.rows.splice(to..to, block);
    }
}

/// The events of another run of the same requests, on a clock of its own.
fn append_other_run(s: &mut Sheets) {
    let mut other = s.e.clone();
    other.map("timestamp", |at| at / 2 * 3 + 1);
    s.e.rows.extend(other.rows);
}

/// The events in no order, but in the same one each time.
fn shuffle_events(s: &mut Sheets) {
    let sum = |text: &str, seed: u64| {
        text.bytes().fold(seed, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    };
    let mixed = |row: &Vec<String>| {
        let all = row.iter().fold(0xcbf2_9ce4_8422_2325, |seed, field| sum(field, seed));
        all.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
    };
    if s.e.len() > 7 {
        s.e.rows.sort_by_key(mixed);
    }
}

/// Moments as floats of seconds since 1970, of which those of the run are taken.
fn steps_in_floats(s: &mut Sheets) {
    let begin = 1_767_225_600.0_f64;
    for column in ["start_time", "end_time"] {
        s.i.map(column, |at| ((begin + at as f64 / 1e9 - begin) * 1e9) as i64);
    }
}

/// The stamp of each change is that of the line before.
fn stamp_a_line_late(s: &mut Sheets) {
    let stamps: Vec<String> =
        (0..s.t.len()).map(|row| s.t.text(row, "timestamp").to_owned()).collect();
    for (row, before) in (1..s.t.len()).zip(stamps) {
        s.t.set(row, "timestamp", before);
    }
}

/// A third of the events is flushed behind later ones.
fn flush_late(s: &mut Sheets) {
    let (from, to, behind) = (s.e.len() / 4, s.e.len() / 3, s.e.len() / 2);
    let later = s.e.n(to - 1, "timestamp") < s.e.n(to, "timestamp");
    if later && to - from > 2 {
        s.e.rows[from..behind].rotate_left(to - from);
    }
}

fn end_at_output(s: &mut Sheets) {
    let steps: Vec<_> = (0..s.i.len()).map(|row| s.moments(row)).collect();
    let output = |at: i64| steps.iter().find(|moments| moments[3] == at).map(|moments| moments[2]);
    for row in 0..s.p.len() {
        let ran = matches!(s.p.text(row, "finish_reason"), "stop" | "length");
        let Some(at) = s.p.num(row, "completion_time").filter(|_| ran) else { continue };
        let Some(by) = output(at).map(|output| at - output) else { continue };
        let id = s.p.text(row, "request_id").to_owned();
        let last = s.changes(&id).pop().unwrap();
        let side = match s.t.text(last, "prev_state") {
            "running" => "execution_time",
            _ => "waiting_time",
        };
        for column in ["completion_time", "e2e_latency", side] {
            s.p.add(row, column, -by);
        }
        rates(s, row);
        s.t.add(last, "timestamp", -by);
        s.t.add(last, "duration_in_prev_state", -by);
        for event in s.e.where_is("request_id", &id) {
            if s.e.text(event, "event_type") == "request_completed" {
                s.e.add(event, "timestamp", -by);
            }
        }
    }
    sort_events(s);
}

/// The first rule of each leads in a log with all there is.
pub(crate) const MUTANTS: &[Mutant] = &[
    mutant("ids-of-outputs-in-steps", "each step names sequences", &["X001"], |s| {
        spell(&mut s.r, |id| format!("{id}-8f3a21bc"));
    }),
    mutant("ids-with-endings-in-steps", "the engine makes ids unique", &["X001"], |s| {
        spell(&mut s.r, ending);
    }),
    mutant("ids-in-upper-case-in-events", "written by another tool", &["X001"], |s| {
        spell(&mut s.e, str::to_uppercase);
    }),
    mutant("ids-of-the-server-in-requests", "the API puts a word before", &["X001"], |s| {
        spell(&mut s.p, |id| format!("cmpl-{id}"));
    }),
    mutant("ids-without-their-prefix-in-changes", "the engine's own ids", &["X001"], |s| {
        named(s).into_iter().for_each(|sheet| spell(sheet, |id| format!("cmpl-{id}")));
        spell(&mut s.t, |id| id["cmpl-".len()..].to_owned());
    }),
    mutant(
        "preempted-and-evicted-exchanged",
        "a preemption is said to evict",
        &["M015", "Q001"],
        exchange_names,
    ),
    mutant("all-numbered-from-one", "the counter is raised first", &["M011"], |s| {
        number_from_one(s);
        details_from_one(s);
    }),
    mutant("files-numbered-from-one", "rows count, details are told", &["M011"], number_from_one),
    mutant("rows-numbered-from-one", "written behind the counter", &["X004"], |s| {
        s.r.map("iteration_id", |id| id + 1);
    }),
    mutant("overlap-is-not-declared", "run.json is always the same", &["M010"], |s| {
        s.run["overlapping_steps"] = false.into();
    }),
    mutant(
        "all-decisions-at-start",
        "one time is read for the whole step",
        &["M015"],
        decide_at_start,
    ),
    mutant("ends-counted-a-step-late", "raised behind the row", &["Q001"], count_ends_late),
    mutant("aborts-note-no-end", "aborts are another path", &["X002"], |s| {
        let ids = aborted(s);
        without_ends(s, &ids);
    }),
    mutant("aborted-are-forgotten", "aborts are another path", &["X003"], forget_aborted),
    mutant(
        "arrives-with-each-preemption",
        "queued again is arrived again",
        &["X002"],
        arrive_with_preemptions,
    ),
    mutant("completes-twice", "noted by engine and server", &["X002"], complete_twice),
    mutant("null-block-is-counted", "num_gpu_blocks as it is", &["C001"], |s| {
        s.i.map("kv_cache_total", |total| total + 1);
    }),
    mutant("queue-from-its-end", "a list that is popped", &["Q011", "Q006"], |s| {
        // Of equals another order is no mistake.
        if has_queues(s) {
            reverse_queue(s);
        }
    }),
    mutant("blocks-read-after-the-end", "the row is made last", &["C009"], read_after_free),
    mutant("resumed-is-scheduled", "one word for both", &["Q001", "X002"], |s| {
        s.e.map_text("event_type", |kind| kind.replace("request_resumed", "request_scheduled"));
    }),
    mutant("events-flushed-twice", "a retry after an error", &["M012"], flush_twice),
    mutant("events-of-another-run", "the old file was there", &["M012"], append_other_run),
    mutant("events-flushed-late", "two buffers", &["M012"], flush_late),
    mutant("events-in-no-order", "a table without an order", &["M012"], shuffle_events),
    mutant("steps-in-floats", "time.time() for moments", &["M010"], steps_in_floats),
    mutant("changes-stamped-a-line-late", "one time for all", &["S003"], stamp_a_line_late),
    mutant("steps-sorted-as-text", "ids are sorted as text", &["M011"], |s| {
        let id = s.i.column("iteration_id");
        s.i.rows.sort_by(|one, other| one[id].cmp(&other[id]));
    }),
    mutant("rows-sorted-by-request", "sorted afterwards", &["Q005", "Q006", "Q011"], sort_rows),
    mutant("tokens-read-at-the-end", "read when the step is over", &["M018", "K004"], read_at_end),
    mutant("changes-of-another-run", "the old file was there", &["S003"], change_in_another_run),
    mutant("states-as-members-of-an-enum", "str(state)", &["F006"], |s| {
        s.r.map_text("state", |state| format!("RequestState.{}", state.to_uppercase()));
    }),
    mutant("ends-at-the-output", "stamped as tokens arrive", &["M020"], end_at_output),
];
