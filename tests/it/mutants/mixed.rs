//! Files that do not belong together: of two engines, of two clocks, numbered or measured otherwise than the
//! rest; what leads is the rule that shows it.

use std::collections::{BTreeMap, BTreeSet};

use super::leads::{named, read_at_end, spell};
use super::{Mutant, mutant, rates, sort_events};
use crate::sheets::{Sheet, Sheets};

const MOMENTS_OF_REQUESTS: [&str; 3] = ["arrival_time", "first_scheduled_time", "completion_time"];

/// Ids of four digits, with zeros before them.
fn number_ids(s: &mut Sheets) {
    let ids: Vec<String> =
        (0..s.p.len()).map(|row| s.p.text(row, "request_id").to_owned()).collect();
    for sheet in named(s) {
        spell(sheet, |id| format!("{:04}", ids.iter().position(|it| it == id).unwrap_or(9_999)));
    }
}

/// Ids as long as the hashes that servers make.
fn hash_ids(s: &mut Sheets) {
    for sheet in named(s) {
        spell(sheet, |id| {
            let sum = id
                .bytes()
                .fold(7_u64, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte) << 17);
            format!("{:016x}", sum.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        });
    }
}

fn name_the_next_step(s: &mut Sheets) {
    for event in 0..s.e.len() {
        if let Some(id) = s.detail(event, "iteration_id") {
            s.set_detail(event, "iteration_id", id + 1);
        }
    }
}

/// Requests that a step finishes have no running row of it, and the others have the tokens of its output.
fn read_all_at_the_end(s: &mut Sheets) {
    let over: BTreeSet<(i64, String)> =
        s.r.where_is("state", "completed")
            .into_iter()
            .map(|row| (s.r.n(row, "iteration_id"), s.r.text(row, "request_id").to_owned()))
            .collect();
    let steps: BTreeSet<i64> = over.iter().map(|(step, _)| *step).collect();
    if steps.len() < 2 {
        return;
    }
    read_at_end(s);
    let [step, id, state, place] =
        ["iteration_id", "request_id", "state", "queue_position"].map(|column| s.r.column(column));
    s.r.rows.retain(|row| {
        row[state] != "running" || !over.contains(&(row[step].parse().unwrap(), row[id].clone()))
    });
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for row in s.r.rows.iter_mut().filter(|row| row[state] == "running") {
        let next = places.entry(row[step].clone()).or_default();
        row[place] = next.to_string();
        *next += 1;
    }
}

/// From the middle of a file on, its moments begin anew.
fn set_back(sheet: &mut Sheet, columns: &[&str]) {
    let middle = sheet.len() / 2;
    if sheet.len() < 12 {
        return;
    }
    let from = sheet.n(middle, columns[0]);
    for row in middle..sheet.len() {
        columns.iter().for_each(|column| sheet.add(row, column, -from));
    }
}

/// From the middle of the run on a file has moments that are two seconds later.
fn jump_ahead(s: &mut Sheets, file: fn(&mut Sheets) -> &mut Sheet, columns: &[&str]) {
    // An abort is at no moment of a step.
    let ended = |row: &usize| matches!(s.p.text(*row, "finish_reason"), "length" | "stop");
    let ends: BTreeSet<i64> =
        (0..s.p.len()).filter(ended).filter_map(|row| s.p.num(row, "completion_time")).collect();
    let Some(middle) = ends.iter().nth(ends.len() / 2).copied().filter(|_| ends.len() > 5) else {
        return;
    };
    let later = |at: i64| if at < middle { at } else { at + 2_000_000_000 };
    columns.iter().for_each(|column| file(s).map(column, later));
}

/// The last running row of each request that ends has the blocks that it has then.
fn read_after_the_end(s: &mut Sheets) {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut read = Vec::new();
    for row in 0..s.r.len() {
        let id = s.r.text(row, "request_id").to_owned();
        match s.r.text(row, "state") {
            "running" => drop(last.insert(id, row)),
            "completed" => read.extend(last.remove(&id)),
            _ => drop(last.remove(&id)),
        }
    }
    // Where steps overlap, one that ended may run in the next step.
    let runs_on = |s: &Sheets, row: &usize| {
        let id = s.r.text(*row, "request_id");
        s.r.where_is("request_id", id)
            .iter()
            .any(|it| it > row && s.r.text(*it, "state") == "running")
    };
    if read.len() > 1 && !read.iter().any(|row| runs_on(s, row)) {
        read.into_iter().for_each(|row| s.r.set(row, "kv_cache_blocks", 0));
    }
}

/// The same again, a little later and with other ids.
fn add_an_engine(s: &mut Sheets) {
    const LATER: i64 = 3_141;
    let mut other = s.clone();
    for sheet in named(&mut other) {
        spell(sheet, |id| format!("b{id}"));
    }
    MOMENTS_OF_REQUESTS.iter().for_each(|it| other.p.map(it, |at| at + LATER));
    ["start_time", "end_time"].iter().for_each(|it| other.i.map(it, |at| at + LATER));
    other.e.map("timestamp", |at| at + LATER);
    other.t.map("timestamp", |at| at + LATER);
    let all = [(&mut s.p, other.p), (&mut s.r, other.r), (&mut s.t, other.t)];
    all.into_iter().for_each(|(sheet, other)| sheet.rows.extend(other.rows));
    s.i.rows.extend(other.i.rows);
    s.e.rows.extend(other.e.rows);
    sort_events(s);
    let [start, step] = [s.i.column("start_time"), s.r.column("iteration_id")];
    s.i.rows.sort_by_key(|row| row[start].parse::<i64>().unwrap());
    s.r.rows.sort_by_key(|row| row[step].parse::<i64>().unwrap());
    let end = s.p.column("completion_time");
    s.p.rows.sort_by_key(|row| row[end].parse().unwrap_or(i64::MAX));
}

/// Requests arrive when the next step begins.
fn arrive_when_noticed(s: &mut Sheets) {
    let starts: Vec<i64> = (0..s.i.len()).map(|row| s.moments(row)[0]).collect();
    let noticed = |s: &Sheets, row: usize| {
        let arrival = s.p.n(row, "arrival_time");
        let start = starts.iter().copied().find(|start| *start >= arrival)?;
        let end = s.p.num(row, "completion_time").is_none_or(|end| end > start);
        end.then_some((arrival, start))
    };
    let all: Option<Vec<_>> = (0..s.p.len()).map(|row| noticed(s, row)).collect();
    let Some(all) = all else { return };
    if all.iter().filter(|(arrival, start)| arrival < start).count() < 2 {
        return;
    }
    for (row, (arrival, start)) in all.into_iter().enumerate() {
        let late = start - arrival;
        s.p.set(row, "arrival_time", start);
        for column in ["waiting_time", "e2e_latency", "ttft"] {
            s.p.add(row, column, -late);
        }
        rates(s, row);
    }
}

/// Each change lasts as long as the state that it begins.
fn last_until_the_next(s: &mut Sheets) {
    let durations: Vec<i64> =
        (0..s.t.len()).map(|row| s.t.n(row, "duration_in_prev_state")).collect();
    for row in 0..s.t.len() {
        let id = s.t.text(row, "request_id");
        let next = row + 1 < s.t.len() && s.t.text(row + 1, "request_id") == id;
        s.t.set(row, "duration_in_prev_state", if next { durations[row + 1] } else { 0 });
    }
}

fn last_since_the_line_before(s: &mut Sheets) {
    for row in (1..s.t.len()).rev() {
        let since = s.t.n(row, "timestamp") - s.t.n(row - 1, "timestamp");
        s.t.set(row, "duration_in_prev_state", since.abs());
    }
}

/// All at three quarters of the pace, and the requests in another order.
fn rows_of_another_run(s: &mut Sheets) {
    let before = s.clone();
    let ids: Vec<String> =
        (0..s.p.len()).map(|row| s.p.text(row, "request_id").to_owned()).collect();
    if ids.len() < 4 {
        return;
    }
    s.r.map("iteration_id", |id| id * 3 / 4);
    s.r.map_text("request_id", |id| {
        let place = ids.iter().position(|it| it == id).unwrap_or(0);
        ids[(place + ids.len() / 2) % ids.len()].clone()
    });
    let step = s.r.column("iteration_id");
    let mut seen = BTreeSet::new();
    let [id, state] = ["request_id", "state"].map(|column| s.r.column(column));
    s.r.rows.retain(|row| seen.insert((row[step].clone(), row[id].clone(), row[state].clone())));
    // By chance it may be much like this one.
    let running = |step: i64| {
        let of_step = |row: &usize| s.r.n(*row, "iteration_id") == step;
        s.r.where_is("state", "running").iter().filter(|row| of_step(row)).count() as i64
    };
    let alike = (0..s.i.len())
        .filter(|row| running(s.i.n(*row, "iteration_id")) == s.i.n(*row, "running_count"));
    let ends = s.r.where_is("state", "completed");
    let fits = ends.iter().any(|row| {
        let end = s.moments(s.step(s.r.n(*row, "iteration_id")))[3];
        let request = s.request(s.r.text(*row, "request_id")).unwrap();
        s.p.num(request, "completion_time") == Some(end)
    });
    if fits || ends.len() < 2 || alike.count() * 2 > s.i.len() {
        *s = before;
    }
}

/// Those of a run before stand behind those of this one.
fn add_old_requests(s: &mut Sheets) {
    let mut old = s.p.clone();
    spell(&mut old, |id| format!("old-{id}"));
    for column in MOMENTS_OF_REQUESTS {
        old.map(column, |at| at + 1);
    }
    let end = s.p.column("completion_time");
    let ended = |sheet: &Sheet| sheet.rows.iter().filter(|row| !row[end].is_empty()).count();
    if ended(&s.p) > 2 {
        s.p.rows.extend(old.rows);
    }
}

/// The first token comes with the first step of a request.
fn note_first_chunks(s: &mut Sheets) {
    let mut firsts: BTreeMap<String, i64> = BTreeMap::new();
    for row in s.r.where_is("state", "running") {
        let id = s.r.text(row, "request_id").to_owned();
        firsts.entry(id).or_insert(s.r.n(row, "iteration_id"));
    }
    let mut moved = 0;
    let before = s.clone();
    for row in 0..s.p.len() {
        let id = s.p.text(row, "request_id").to_owned();
        let (Some(ttft), Some(first)) = (s.p.num(row, "ttft"), firsts.get(&id)) else { continue };
        let end = s.moments(s.step(*first))[3];
        let early = end - s.p.n(row, "arrival_time");
        moved += usize::from(early < ttft);
        s.p.set(row, "ttft", early);
        rates(s, row);
        for event in s.e.where_is("request_id", &id) {
            if s.e.text(event, "event_type") == "first_token_generated" {
                s.e.set(event, "timestamp", end);
                s.set_detail(event, "iteration_id", *first);
            }
        }
    }
    if moved < 2 {
        *s = before;
        return;
    }
    sort_events(s);
}

/// A request that ran for some steps is in no file.
fn hide_a_request(s: &mut Sheets) {
    let runs = |id: &str| {
        let rows = s.r.where_is("request_id", id);
        let ended =
            s.p.where_is("request_id", id)
                .into_iter()
                .all(|row| matches!(s.p.text(row, "finish_reason"), "length" | "stop"));
        rows.len() > 6 && ended
    };
    let ids: Vec<String> =
        (0..s.p.len()).map(|row| s.p.text(row, "request_id").to_owned()).collect();
    let Some(hidden) = ids.iter().filter(|id| ids.len() > 3 && runs(id)).nth(1).cloned() else {
        return;
    };
    for sheet in named(s) {
        let id = sheet.column("request_id");
        sheet.rows.retain(|row| row[id] != hidden);
    }
}

fn double(sheet: &mut Sheet) {
    sheet.rows = sheet.rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
}

/// The second time each step begins and ends a bit later.
fn note_steps_twice(s: &mut Sheets) {
    double(&mut s.i);
    for row in (1..s.i.len()).step_by(2) {
        let by = 100 + i64::try_from(row * 37 % 400).unwrap();
        s.i.add(row, "start_time", by);
        s.i.add(row, "end_time", by);
    }
}

/// One that has ended stands at the end of the running queue for five steps.
fn run_on(s: &mut Sheets) {
    let ended = |s: &Sheets, row: usize| s.r.text(row, "state") == "completed";
    let last = s.i.n(s.i.len() - 1, "iteration_id");
    let early = |s: &Sheets, row: usize| s.r.n(row, "iteration_id") + 8 < last;
    let Some(end) = (0..s.r.len()).find(|row| ended(s, *row) && early(s, *row)) else { return };
    let (id, step) = (s.r.text(end, "request_id").to_owned(), s.r.n(end, "iteration_id"));
    let Some(own) = s.row_of(step, &id, "running") else { return };
    // Where steps overlap it has rows of the next one.
    if s.row_of(step + 1, &id, "running").is_some() {
        return;
    }
    for step in step + 1..step + 6 {
        let count = s.i.n(s.step(step), "running_count");
        let first = (0..s.r.len()).find(|row| s.r.n(*row, "iteration_id") >= step).unwrap();
        let at = first + usize::try_from(count).unwrap();
        s.r.rows.insert(at, s.r.rows[own].clone());
        s.r.set(at, "iteration_id", step);
        s.r.set(at, "scheduled_tokens", 0);
        s.r.set(at, "queue_position", count);
        let row = s.step(step);
        s.i.set(row, "running_count", count + 1);
    }
}

/// The first rule of each leads in a log with all there is.
pub(crate) const MUTANTS: &[Mutant] = &[
    mutant("ids-as-numbers-in-events", "read by pandas as numbers", &["X001"], |s| {
        number_ids(s);
        spell(&mut s.e, |id| id.parse::<u64>().unwrap().to_string());
    }),
    mutant("ids-as-numbers-in-requests", "read by pandas as numbers", &["X001"], |s| {
        number_ids(s);
        spell(&mut s.p, |id| id.parse::<u64>().unwrap().to_string());
    }),
    mutant("ids-cut-in-steps", "ids are shortened for the table", &["X001"], |s| {
        hash_ids(s);
        spell(&mut s.r, |id| id[..8].to_owned());
    }),
    mutant(
        "details-name-the-next-step",
        "the counter was raised already",
        &["M014", "M015", "Q001"],
        name_the_next_step,
    ),
    mutant("steps-numbered-from-one", "only one file counts from 1", &["M011"], |s| {
        s.i.map("iteration_id", |id| id + 1);
    }),
    mutant("rows-read-at-the-end", "all is read when it is over", &["Q001"], read_all_at_the_end),
    mutant("clock-of-steps-begins-anew", "the engine was restarted", &["M010"], |s| {
        set_back(&mut s.i, &["start_time", "end_time"]);
    }),
    mutant("clock-of-events-begins-anew", "another process writes on", &["M012"], |s| {
        set_back(&mut s.e, &["timestamp"]);
    }),
    mutant("clock-of-steps-jumps", "NTP sets it", &["M014", "M015"], |s| {
        jump_ahead(s, |s| &mut s.i, &["start_time", "end_time"]);
    }),
    mutant("clock-of-events-jumps", "NTP sets it", &["M014", "M006", "M007", "M015"], |s| {
        jump_ahead(s, |s| &mut s.e, &["timestamp"]);
    }),
    mutant("clock-of-changes-jumps", "NTP sets it", &["S003"], |s| {
        jump_ahead(s, |s| &mut s.t, &["timestamp"]);
    }),
    mutant("last-rows-read-after-the-end", "made last", &["C002"], read_after_the_end),
    mutant("two-engines", "data parallelism", &["M011"], add_an_engine),
    mutant("arrives-when-noticed", "seen by the next step", &["M015"], arrive_when_noticed),
    mutant("lasts-until-the-next", "of the state entered", &["M004"], last_until_the_next),
    mutant(
        "lasts-since-the-line-before",
        "one time for all requests",
        &["M004"],
        last_since_the_line_before,
    ),
    mutant("state-before-is-the-new-one", "read after it was set", &["S001"], |s| {
        for row in 0..s.t.len() {
            let state = s.t.text(row, "state").to_owned();
            s.t.set(row, "prev_state", state);
        }
    }),
    mutant(
        "rows-of-another-run",
        "the old file was there",
        &["S004", "X003", "Q001", "X004", "K002"],
        rows_of_another_run,
    ),
    mutant("requests-of-another-run", "the old file was there", &["X001"], add_old_requests),
    mutant("first-token-with-first-chunk", "any output is a token", &["M018"], note_first_chunks),
    mutant(
        "clock-since-boot-in-steps",
        "perf_counter_ns() as it is",
        &["M019", "M014", "S004", "M013", "S008"],
        |s| {
            // Rows of ends tell it where few others do.
            if s.r.where_is("state", "completed").len() > 1 {
                let columns = ["start_time", "end_time"];
                columns.iter().for_each(|it| s.i.map(it, |at| at + 3 * 86_400_000_000_000));
            }
        },
    ),
    mutant("request-in-no-file", "two with one id", &["Q001", "X004"], hide_a_request),
    mutant("run-of-another-block-size", "run.json is a template", &["C002"], |s| {
        if s.setting("num_speculative_tokens") == 0 {
            s.run["config"]["block_size"] = (s.setting("block_size") * 2).into();
        }
    }),
    mutant("logger-registered-twice", "two handlers, one file", &["F007", "M011"], |s| {
        let sheets = [&mut s.p, &mut s.i, &mut s.r, &mut s.e, &mut s.t];
        sheets.into_iter().for_each(double);
    }),
    mutant("steps-noted-twice", "two observers, two clocks", &["M011"], note_steps_twice),
    mutant("steps-newest-first", "a list that is popped", &["M011"], |s| s.i.rows.reverse()),
    mutant("state-is-the-one-before", "read before it is set", &["S001", "M004"], |s| {
        for row in 0..s.t.len() {
            let state = s.t.text(row, "prev_state").to_owned();
            s.t.set(row, "state", state);
        }
    }),
    mutant("blocks-of-rows-are-larger", "counted in two ways", &["C002", "C003", "C009"], |s| {
        s.r.map("kv_cache_blocks", |blocks| (blocks + 1) / 2);
    }),
    mutant("events-sorted-by-type", "grouped for a table", &["M012"], |s| {
        let kind = s.e.column("event_type");
        s.e.rows.sort_by(|one, other| one[kind].cmp(&other[kind]));
    }),
    mutant("runs-on-after-its-end", "not taken from the list", &["X003", "S002", "S004"], run_on),
    mutant("half-of-preemptions-noted", "sampled", &["Q001", "S005", "X002"], |s| {
        let kind = s.e.column("event_type");
        let mut odd = false;
        s.e.rows.retain(|row| {
            odd ^= row[kind] == "request_preempted";
            row[kind] != "request_preempted" || odd
        });
    }),
];
