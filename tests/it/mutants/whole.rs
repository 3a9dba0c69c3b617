//! Mistakes about a file as a whole: its order, rows that are written twice, names that stand for others, times
//! that are rounded; what leads is the rule that shows it.

use std::collections::BTreeMap;

use super::leads::{named, spell};
use super::{Mutant, mutant};
use crate::sheets::{Sheet, Sheets};

/// Fewer rows are in any order by chance.
const FEW: usize = 8;

fn sort_by<K: Ord>(sheet: &mut Sheet, key: impl Fn(&dyn Fn(&str) -> String) -> K) {
    let header = sheet.header.clone();
    sheet.rows.sort_by_key(|row| {
        let place = |name: &str| header.iter().position(|column| column == name).unwrap();
        key(&|name: &str| row[place(name)].clone())
    });
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(i64::MAX)
}

/// The same rows in an order that none of them says.
fn shuffle(sheet: &mut Sheet) {
    let count = sheet.rows.len();
    if count < FEW {
        return;
    }
    let mut state = 7_usize;
    for row in (1..count).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sheet.rows.swap(row, (state >> 33) % (row + 1));
    }
}

/// Each row twice, at first with these columns not filled in.
fn begin_and_end(sheet: &mut Sheet, columns: &[&str], blank: &str) {
    let places: Vec<usize> = columns.iter().map(|name| sheet.column(name)).collect();
    let rows = std::mem::take(&mut sheet.rows);
    for row in rows {
        let mut begun = row.clone();
        places.iter().for_each(|place| blank.clone_into(&mut begun[*place]));
        if begun != row {
            sheet.rows.push(begun);
        }
        sheet.rows.push(row);
    }
}

/// Ids of other lengths, of which the first characters are not unique.
fn long_ids(s: &mut Sheets) {
    let ids: Vec<String> =
        (0..s.p.len()).map(|row| s.p.text(row, "request_id").to_owned()).collect();
    let place = |id: &str| ids.iter().position(|it| it == id).unwrap_or(ids.len());
    for sheet in named(s) {
        spell(sheet, |id| format!("req-{}-{:03}", place(id) / 4, place(id)));
    }
}

fn cut(id: &str) -> String {
    id.chars().take(5).collect()
}

/// One state in place of another.
fn call(sheet: &mut Sheet, columns: &[&str], state: &str, other: &str) {
    for column in columns {
        sheet.map_text(column, |it| if it == state { other.to_owned() } else { it.to_owned() });
    }
}

fn exchange(sheet: &mut Sheet, one: &str, other: &str) {
    for row in 0..sheet.len() {
        let (first, second) = (sheet.text(row, one).to_owned(), sheet.text(row, other).to_owned());
        sheet.set(row, one, second);
        sheet.set(row, other, first);
    }
}

/// From the middle of the run on all stamps are three milliseconds earlier.
fn correct_the_clock(s: &mut Sheets) {
    if s.i.len() < 12 {
        return;
    }
    let [start, .., end] = s.moments(s.i.len() / 2);
    let middle = i64::midpoint(start, end);
    let set = |at: i64| if at < middle { at } else { at - 3_000_000 };
    ["arrival_time", "first_scheduled_time", "completion_time"]
        .iter()
        .for_each(|column| s.p.map(column, set));
    ["start_time", "end_time"].iter().for_each(|column| s.i.map(column, set));
    s.e.map("timestamp", set);
    s.t.map("timestamp", set);
}

fn cut_durations(s: &mut Sheets, unit: i64) {
    let cut = |time: i64| time / unit * unit;
    ["waiting_time", "execution_time", "e2e_latency", "ttft", "tpot"]
        .iter()
        .for_each(|column| s.p.map(column, cut));
    ["duration", "scheduling_overhead", "forward_pass_duration", "output_processing_duration"]
        .iter()
        .for_each(|column| s.i.map(column, cut));
    s.r.map("time_in_state", cut);
    s.t.map("duration_in_prev_state", cut);
}

/// Moments of steps in whole milliseconds, where their durations are not.
fn stamp_in_ms(s: &mut Sheets) {
    let fine = (0..s.i.len()).filter(|row| s.i.n(*row, "duration") % 1_000_000 != 0).count();
    if fine * 2 > s.i.len() {
        for column in ["start_time", "end_time"] {
            s.i.map(column, |at| at / 1_000_000 * 1_000_000);
        }
    }
}

fn details_of_the_first(s: &mut Sheets, member: &str) {
    let mut first = None;
    let all = (0..s.e.len()).filter_map(|event| s.detail(event, member));
    // One other value is as well a slip of one event.
    if all.collect::<std::collections::BTreeSet<_>>().len() < 4 {
        return;
    }
    for event in 0..s.e.len() {
        if let Some(value) = s.detail(event, member) {
            let first = *first.get_or_insert(value);
            s.set_detail(event, member, first);
        }
    }
}

fn last_since_arrival(s: &mut Sheets) {
    let arrivals: BTreeMap<String, i64> = (0..s.p.len())
        .map(|row| (s.p.text(row, "request_id").to_owned(), s.p.n(row, "arrival_time")))
        .collect();
    for row in 0..s.t.len() {
        let since = s.t.n(row, "timestamp") - arrivals[s.t.text(row, "request_id")];
        s.t.set(row, "duration_in_prev_state", since);
    }
}

pub(crate) const MUTANTS: &[Mutant] = &[
    mutant("events-sorted-as-text", "stamps are sorted as text", &["M012"], |s| {
        sort_by(&mut s.e, |field| field("timestamp"));
    }),
    mutant("events-newest-first", "a list that is popped", &["M012"], |s| s.e.rows.reverse()),
    mutant("rows-together-by-request", "grouped for a table", &["X009"], |s| {
        sort_by(&mut s.r, |field| field("request_id"));
    }),
    mutant("rows-newest-first", "a list that is popped", &["X009"], |s| s.r.rows.reverse()),
    mutant("rows-in-no-order", "a table without an order", &["X009"], |s| shuffle(&mut s.r)),
    mutant("steps-in-no-order", "a table without an order", &["M011"], |s| shuffle(&mut s.i)),
    mutant("requests-by-arrival", "written for all at once", &["X006", "X008"], |s| {
        sort_by(&mut s.p, |field| number(&field("arrival_time")));
    }),
    mutant("requests-by-id", "sorted afterwards", &["X006", "X008"], |s| {
        sort_by(&mut s.p, |field| field("request_id"));
    }),
    mutant("requests-newest-first", "a list that is popped", &["X006", "X008"], |s| {
        s.p.rows.reverse();
    }),
    mutant("changes-by-id", "sorted afterwards", &["X008", "X006"], |s| {
        sort_by(&mut s.t, |field| (field("request_id"), number(&field("timestamp"))));
    }),
    mutant("changes-newest-first", "a list that is popped", &["X008", "X006", "S001"], |s| {
        s.t.rows.reverse();
    }),
    mutant("changes-in-no-order", "without an order", &["X008", "X006", "S001"], |s| {
        shuffle(&mut s.t);
    }),
    mutant("steps-written-when-begun", "flushed as it is", &["M011"], |s| {
        let open = ["end_time", "duration", "forward_pass_duration", "output_processing_duration"];
        begin_and_end(&mut s.i, &open, "0");
    }),
    mutant("steps-written-empty-when-begun", "flushed as it is", &["F003"], |s| {
        begin_and_end(&mut s.i, &["end_time", "duration"], "");
    }),
    mutant("requests-written-when-begun", "flushed as it is", &["F007"], |s| {
        let open = ["completion_time", "e2e_latency", "tpot", "throughput"];
        begin_and_end(&mut s.p, &open, "");
    }),
    mutant("rows-written-when-begun", "flushed as it is", &["S006"], |s| {
        begin_and_end(&mut s.r, &["kv_cache_blocks"], "0");
    }),
    mutant("changes-written-when-begun", "flushed as it is", &["S001", "S003", "M004"], |s| {
        begin_and_end(&mut s.t, &["duration_in_prev_state"], "0");
    }),
    mutant("events-written-without-details", "flushed as it is", &["F009", "X002"], |s| {
        begin_and_end(&mut s.e, &["details"], "");
    }),
    mutant("ids-of-outputs-but-arrivals", "the engine makes ids unique", &["X003"], |s| {
        let id = s.e.column("request_id");
        for row in 0..s.e.len() {
            if s.e.text(row, "event_type") != "request_arrived" {
                s.e.rows[row][id].push_str("-0");
            }
        }
    }),
    mutant("ids-of-outputs-at-the-end", "the output names a sequence", &["X003"], |s| {
        let id = s.e.column("request_id");
        for row in s.e.where_is("event_type", "request_completed") {
            s.e.rows[row][id].push_str("-0");
        }
    }),
    mutant("ids-cut-in-events", "shortened for the eye", &["X001"], |s| {
        if s.p.len() >= 5 {
            long_ids(s);
            spell(&mut s.e, cut);
        }
    }),
    mutant("ids-cut-everywhere", "shortened for the eye", &["F007"], |s| {
        if s.p.len() >= 5 {
            long_ids(s);
            named(s).into_iter().for_each(|sheet| spell(sheet, cut));
        }
    }),
    mutant(
        "details-name-the-first-step",
        "one struct for all events",
        &["M014", "M015", "M018", "M020", "Q001"],
        |s| {
            details_of_the_first(s, "iteration_id");
        },
    ),
    mutant("details-have-the-first-prompt", "one struct for all events", &["X007"], |s| {
        details_of_the_first(s, "input_tokens");
    }),
    mutant(
        "durations-in-whole-ms",
        "each is rounded for the eye",
        &["M001", "M004", "M010"],
        |s| {
            cut_durations(s, 1_000_000);
        },
    ),
    mutant("steps-stamped-in-whole-ms", "the clock's, in ms", &["M010"], stamp_in_ms),
    mutant("clock-of-all-corrected", "NTP sets it", &["M001", "M010"], correct_the_clock),
    mutant("changes-stamped-with-the-entry", "of the state left", &["M006", "S003"], |s| {
        for row in 0..s.t.len() {
            s.t.add(row, "timestamp", -s.t.n(row, "duration_in_prev_state"));
        }
    }),
    mutant("changes-last-since-arrival", "one timer goes on", &["M004"], last_since_arrival),
    mutant("states-of-changes-exchanged", "arguments in another order", &["S001"], |s| {
        exchange(&mut s.t, "state", "prev_state");
    }),
    mutant("used-and-total-exchanged", "arguments in another order", &["C001", "C003"], |s| {
        exchange(&mut s.i, "kv_cache_used", "kv_cache_total");
    }),
    mutant("start-and-end-exchanged", "arguments in another order", &["M010"], |s| {
        exchange(&mut s.i, "start_time", "end_time");
    }),
    mutant("end-never-filled-in", "the row is written too early", &["M010"], |s| {
        s.i.map("end_time", |_| 0);
    }),
    mutant("preempted-changes-called-waiting", "they wait again", &["S001"], |s| {
        call(&mut s.t, &["state", "prev_state"], "preempted", "waiting");
    }),
    mutant("preempted-rows-called-waiting", "they wait again", &["S007", "S004"], |s| {
        call(&mut s.r, &["state"], "preempted", "waiting");
    }),
    mutant("ended-rows-called-running", "read before it is set", &["S006"], |s| {
        call(&mut s.r, &["state"], "completed", "running");
    }),
    mutant("scheduled-events-called-arrived", "a line that was copied", &["F009"], |s| {
        call(&mut s.e, &["event_type"], "request_scheduled", "request_arrived");
    }),
    mutant("numbers-of-steps-begin-anew", "counted in a byte", &["M011", "X009"], |s| {
        if s.i.len() > 20 {
            s.i.map("iteration_id", |id| id % 6);
            s.r.map("iteration_id", |id| id % 6);
        }
    }),
    mutant(
        "run-json-without-prefix-caching",
        "run.json is of another run",
        &["K009"],
        crate::mutants::bounds::without_caching,
    ),
];
