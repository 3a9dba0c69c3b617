//! One mistake in the logs of several engines, of which steps take an even time or another one each: the rule that
//! shows it leads, and the cause is true of it or none is told.

use std::collections::BTreeMap;
use std::fmt::Write;

use schedlog::check::{CheckOptions, Verdict, check_dir};
use schedlog::diagnose::Diagnosis;
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::settings::Settings;
use schedlog::trace::{ReadOptions, Trace};

use crate::leads::told_first;
use crate::mutants::{REQUEST_TIMES, STEP_TIMES};
use crate::sheets::{Sheet, Sheets};
use crate::support::in_snapshots;

/// Causes that no mistake in a bundled log brings about.
pub(crate) const TOLD_HERE: [&str; 8] = [
    "shifted-moment",
    "scaled-moments",
    "one-moment",
    "all-times-cut",
    "wrong-part",
    "one-wrong-value",
    "steps-left-out",
    "never-fits",
];

const SETTINGS: &str =
    "max_model_len = 512\nblock_size = 16\nmax_num_seqs = 6\nmax_num_batched_tokens = 512\n";

/// The log of a trace, of an engine that hangs as well.
fn replay(lines: &str, settings: &str) -> Sheets {
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace.jsonl");
    std::fs::write(&trace, lines).unwrap();
    let file = place.path().join("trace.toml");
    std::fs::write(&file, format!("{SETTINGS}{settings}")).unwrap();
    let settings = Settings::from_file(&file).unwrap().resolve().unwrap();
    let trace = Trace::open(&trace, &ReadOptions::default()).unwrap();
    let options = LogOptions { log_level: LogLevel::Full, ..LogOptions::default() };
    // What an engine has written that hangs is its log.
    let _ = replay_trace(&trace, &settings, Some(&place.path().join("log")), &options, |_| {});
    Sheets::read(&place.path().join("log"))
}

/// So many requests, one each so many nanoseconds, the first at a moment that is in no unit.
fn requests(count: u64, apart: u64) -> String {
    let line = |place: u64| {
        let at = (225_531_393 + place * apart) as f64 / 1e6;
        let (input, output) = (40 + 67 * place % 211, 3 + 23 * place % 41);
        format!("{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": {output}}}\n")
    };
    (0..count).map(line).collect()
}

fn logs() -> Vec<(&'static str, Sheets)> {
    let crowded = requests(18, 41_234_123);
    vec![
        ("uneven steps", replay(&crowded, "num_gpu_blocks = 40\n")),
        ("even steps", replay(&crowded, "num_gpu_blocks = 40\nlatency = \"fixed\"\n")),
        ("all at once", replay(&requests(12, 0), "num_gpu_blocks = 400\nlatency = \"fixed\"\n")),
        (
            "one by one",
            replay(&requests(9, 1_000_000_000), "num_gpu_blocks = 400\nlatency = \"fixed\"\n"),
        ),
        (
            "long steps",
            replay(
                &requests(12, 0),
                "num_gpu_blocks = 400\nlatency = \"fixed\"\nlatency_forward_ns = 20000000\n",
            ),
        ),
    ]
}

/// What leads: the rule and the cause, if one is told.
type Lead = (&'static str, Option<&'static str>);

/// A mistake, and what leads.
struct Case {
    name: &'static str,
    lead: Lead,
    apply: fn(&mut Sheets),
}

const fn case(
    name: &'static str,
    rule: &'static str,
    cause: &'static str,
    apply: fn(&mut Sheets),
) -> Case {
    Case { name, lead: (rule, Some(cause)), apply }
}

/// Where no cause is to be had, none is told.
const fn bare(name: &'static str, rule: &'static str, apply: fn(&mut Sheets)) -> Case {
    Case { name, lead: (rule, None), apply }
}

const ONE: &str = "one-wrong-value";

/// The middle one of the rows with this text.
fn middle(sheet: &Sheet, column: &str, text: &str) -> Option<usize> {
    let rows = sheet.where_is(column, text);
    rows.get(rows.len() / 2).copied()
}

fn add_detail(s: &mut Sheets, kind: &str, key: &str, by: i64) {
    if let Some(event) = middle(&s.e, "event_type", kind) {
        let told = s.detail(event, key).unwrap();
        s.set_detail(event, key, told + by);
    }
}

fn set_details(s: &mut Sheets, kind: &str, key: &str, value: i64) {
    for event in s.e.where_is("event_type", kind) {
        s.set_detail(event, key, value);
    }
}

/// Doubles input_tokens of so many arrivals from the fourth on.
fn double_arrivals(s: &mut Sheets, count: usize) {
    for event in s.e.where_is("event_type", "request_arrived").into_iter().skip(3).take(count) {
        let told = s.detail(event, "input_tokens").unwrap();
        s.set_detail(event, "input_tokens", 2 * told);
    }
}

fn cut(s: &mut Sheets, unit: i64) {
    for column in REQUEST_TIMES {
        s.p.map(column, |time| time / unit * unit);
    }
    for column in STEP_TIMES {
        s.i.map(column, |time| time / unit * unit);
    }
    s.r.map("time_in_state", |time| time / unit * unit);
    s.e.map("timestamp", |time| time / unit * unit);
    s.t.map("timestamp", |time| time / unit * unit);
    s.t.map("duration_in_prev_state", |time| time / unit * unit);
}

/// Only one step in so many is written, and numbered anew.
fn leave_out(s: &mut Sheets, stride: usize) {
    let old = std::mem::take(&mut s.i.rows).into_iter().step_by(stride);
    s.i.rows = old.collect();
    let place: BTreeMap<String, String> =
        s.i.rows.iter().enumerate().map(|(at, row)| (row[0].clone(), at.to_string())).collect();
    s.r.rows.retain(|row| place.contains_key(&row[0]));
    for row in s.i.rows.iter_mut().chain(&mut s.r.rows) {
        row[0] = place[&row[0]].clone();
    }
}

fn with_tokens(s: &Sheets) -> Vec<usize> {
    let rows = s.r.where_is("state", "running").into_iter();
    rows.filter(|row| s.r.n(*row, "scheduled_tokens") > 0).collect()
}

/// Whether nothing lies between a step and its neighbours.
fn is_between(s: &Sheets, row: usize) -> bool {
    let meets = |row: usize| s.i.n(row, "end_time") == s.i.n(row + 1, "start_time");
    meets(row - 1) && meets(row)
}

fn move_stamp(s: &mut Sheets, by: i64) {
    let Some(event) = middle(&s.e, "event_type", "first_token_generated") else { return };
    s.e.add(event, "timestamp", by);
}

/// Whether requests run one by one, so that their events stand together and rise with their ids.
fn one_by_one(s: &Sheets) -> bool {
    (0..s.i.len()).all(|row| s.i.n(row, "running_count") <= 1)
}

const CASES: &[Case] = &[
    bare("one e2e_latency is 1000 ns too large", "M001", |s| s.p.add(5, "e2e_latency", 1_000)),
    case("one duration is 3000 ns too large", "M010", ONE, |s| s.i.add(20, "duration", 3_000)),
    case("one step ends 7 ms late", "M010", ONE, |s| {
        if is_between(s, 20) {
            s.i.add(20, "end_time", 7_000_000);
        }
    }),
    case("one step begins 1 ns late", "M010", ONE, |s| {
        if is_between(s, 20) {
            s.i.add(20, "start_time", 1);
        }
    }),
    bare("one change lasted 2000 ns more", "M004", |s| s.t.add(9, "duration_in_prev_state", 2_000)),
    case("one step stands twice", "M011", "written-twice", |s| {
        let row = s.i.rows[20].clone();
        s.i.rows.insert(21, row);
    }),
    bare("one e2e_latency is ten times too large", "M001", |s| {
        let latency = s.p.n(5, "e2e_latency");
        s.p.set(5, "e2e_latency", 10 * latency);
    }),
    case("end_time is 1 ns late", "M010", "shifted-moment", |s| s.i.map("end_time", |at| at + 1)),
    case("end_time is 1 ns early", "M010", "shifted-moment", |s| s.i.map("end_time", |at| at - 1)),
    case("start_time is 1 ns late", "M010", "shifted-moment", |s| {
        s.i.map("start_time", |at| at + 1)
    }),
    case("end_time and what lasts until it are 1 ns late", "M010", "shifted-moment", |s| {
        for column in ["end_time", "duration", "output_processing_duration"] {
            s.i.map(column, |at| at + 1);
        }
    }),
    case("durations are 1 ns long", "M010", "off-by-one", |s| s.i.map("duration", |time| time + 1)),
    case("changes lasted 1 ns less", "M004", "off-by-one", |s| {
        s.t.map("duration_in_prev_state", |time| time - 1);
    }),
    case("one arrival has twice the tokens", "X007", ONE, |s| double_arrivals(s, 1)),
    case("two arrivals have twice the tokens", "X007", ONE, |s| double_arrivals(s, 2)),
    case("one row has other tokens than its arrival", "X007", ONE, |s| {
        s.p.add(3, "input_tokens", 50)
    }),
    case("two rows have other tokens than their arrivals", "X007", ONE, |s| {
        s.p.add(3, "input_tokens", 50);
        s.p.add(4, "input_tokens", 50);
    }),
    case("one allocation has a block more", "C008", ONE, |s| {
        add_detail(s, "kv_cache_allocated", "blocks", 1);
    }),
    case("one scheduling has a token more in the cache", "K009", ONE, |s| {
        add_detail(s, "request_scheduled", "cached_tokens", 1);
    }),
    case("one scheduling has a block more in the cache", "K011", ONE, |s| {
        add_detail(s, "request_scheduled", "cached_tokens", 16);
    }),
    case("one freeing names the step behind", "M015", ONE, |s| {
        add_detail(s, "kv_cache_freed", "iteration_id", 1);
    }),
    case("one allocation names the step behind", "M015", ONE, |s| {
        add_detail(s, "kv_cache_allocated", "iteration_id", 1);
    }),
    case("batch_size is never filled in", "Q003", "never-filled", |s| s.i.map("batch_size", |_| 0)),
    case("first_scheduled_time is never filled in", "F005", "never-filled", |s| {
        s.p.map("first_scheduled_time", |_| 0);
    }),
    case("one step in two is written", "K006", "steps-left-out", |s| leave_out(s, 2)),
    case("events are stamped twice as late", "M015", "scaled-moments", |s| {
        s.e.map("timestamp", |at| 2 * at);
    }),
    case("changes are stamped half as late again", "S003", "scaled-moments", |s| {
        s.t.map("timestamp", |at| at + at / 2);
    }),
    case("steps are stamped twice as late", "M010", "scaled-moments", |s| {
        s.i.map("start_time", |at| 2 * at);
        s.i.map("end_time", |at| 2 * at);
    }),
    case("changes have one moment", "S003", "one-moment", |s| {
        s.t.map("timestamp", |_| 225_633_393)
    }),
    case("changes have no moment", "S003", "one-moment", |s| s.t.map("timestamp", |_| 0)),
    case("neither changes nor events have a moment", "M015", "one-moment", |s| {
        s.t.map("timestamp", |_| 0);
        s.e.map("timestamp", |_| 0);
    }),
    case("events have one moment", "M015", "one-moment", |s| s.e.map("timestamp", |_| 225_531_393)),
    bare("the first request has twice the bytes", "C005", |s| {
        let bytes = s.p.n(0, "kv_cache_memory_bytes");
        s.p.set(0, "kv_cache_memory_bytes", 2 * bytes);
        s.run["config"].as_object_mut().unwrap().remove("kv_bytes_per_block");
    }),
    case("rows have a token more", "K002", ONE, |s| {
        with_tokens(s).into_iter().for_each(|row| s.r.add(row, "scheduled_tokens", 1));
    }),
    case("one row has a token more", "K002", ONE, |s| {
        let row = with_tokens(s)[60];
        s.r.add(row, "scheduled_tokens", 1);
    }),
    case("two rows have other tokens", "K002", ONE, |s| {
        let rows = with_tokens(s);
        s.r.add(rows[30], "scheduled_tokens", 2);
        s.r.add(rows[60], "scheduled_tokens", 1);
    }),
    case("all allocations name one step", "M015", "always-the-same", |s| {
        set_details(s, "kv_cache_allocated", "iteration_id", 0);
    }),
    case("all times are cut to microseconds", "M001", "all-times-cut", |s| {
        // Where all are apart by whole ones nothing is off.
        if (0..s.p.len()).any(|row| s.p.n(row, "waiting_time") % 1_000 != 0) {
            cut(s, 1_000);
        }
    }),
    case("output_processing_duration is doubled", "M010", "wrong-part", |s| {
        s.i.map("output_processing_duration", |time| 2 * time);
    }),
    case("scheduling_overhead is halved", "M010", "wrong-part", |s| {
        s.i.map("scheduling_overhead", |time| time / 2);
    }),
    case("events of another run follow", "M012", "another-run", |s| {
        let mut other = replay(&requests(7, 23_456_789), "num_gpu_blocks = 60\n").e;
        s.e.rows.append(&mut other.rows);
    }),
    case("one event is stamped late", "M012", ONE, |s| move_stamp(s, 3_000_000_000)),
    case("one event is stamped early", "M012", ONE, |s| {
        if one_by_one(s) {
            move_stamp(s, -1_500_000_000);
        }
    }),
    case("one request ends late", "S003", ONE, |s| s.p.add(3, "completion_time", 3_000_000_000)),
    case("two requests end late", "S003", ONE, |s| {
        s.p.add(3, "completion_time", 1_000);
        s.p.add(5, "completion_time", 2_000);
    }),
    case("one row has a token more in the cache", "K011", ONE, |s| s.p.add(3, "cached_tokens", 1)),
    bare("durations are by turns 1 ns short and long", "M010", |s| {
        for row in 0..s.i.len() {
            s.i.add(row, "duration", if row % 2 == 0 { -1 } else { 1 });
        }
    }),
    case("one scheduling has a block more in the cache, and rows do not say", "C008", ONE, |s| {
        add_detail(s, "request_scheduled", "cached_tokens", 16);
        for column in ["scheduled_tokens", "computed_tokens"] {
            let column = s.r.column(column);
            s.r.header.remove(column);
            s.r.rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
        let column = s.p.column("cached_tokens");
        s.p.header.remove(column);
        s.p.rows.iter_mut().for_each(|row| drop(row.remove(column)));
    }),
    bare("one request stands behind another", "X006", |s| s.p.rows.swap(3, 6)),
];

/// What the report begins with: the rule, the causes, and a text of them.
fn lead(s: &Sheets) -> Option<(&'static str, Vec<&'static str>, String)> {
    let place = s.log().write();
    let report = check_dir(place.path(), &CheckOptions::default()).unwrap();
    if report.verdict() != Verdict::Violated {
        return None;
    }
    let diagnosis = Diagnosis::of(&report, false);
    let group = &diagnosis.groups[0];
    let text = told_first(&diagnosis, "");
    let causes = group.causes.iter().map(|cause| cause.id).collect();
    Some((group.rule().id, causes, text))
}

#[test]
fn one_mistake_is_told_by_its_own_rule_and_by_no_cause_that_is_not_true() {
    let logs = logs();
    for (name, log) in &logs {
        assert!(lead(log).is_none(), "{name}: {:?}", lead(log));
    }
    let (mut text, mut others) = (String::new(), Vec::new());
    for case in CASES {
        writeln!(text, "{}", case.name).unwrap();
        let mut applied = 0;
        for (name, log) in &logs {
            let mut wrong = log.clone();
            (case.apply)(&mut wrong);
            if wrong == *log {
                continue;
            }
            applied += 1;
            let Some((rule, causes, told)) = lead(&wrong) else {
                others.push(format!("{}, {name}: nothing", case.name));
                continue;
            };
            // Where findings are says nothing of why.
            let fits = match case.lead.1 {
                Some(cause) => causes.contains(&cause),
                None => causes.iter().all(|cause| *cause == "from-here-on"),
            };
            if rule != case.lead.0 || !fits {
                others.push(format!("{}, {name}: {told}", case.name));
            }
            if applied == 1 || told.lines().count() > 2 && name == &"one by one" {
                write!(text, "  {name}\n    {told}").unwrap();
            }
        }
        assert!(applied > 0, "{} is no mistake in any log", case.name);
    }
    in_snapshots("leads", || insta::assert_snapshot!("single", text));
    assert!(others.is_empty(), "{}", others.join("\n"));
    let told = TOLD_HERE.iter().filter(|id| **id != "never-fits");
    let silent: Vec<_> = told.filter(|id| !text.contains(&format!(" {id}: "))).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn an_engine_that_hangs_over_a_prompt_that_fits_into_no_step_is_told_which_setting_bounds_it() {
    let trace = "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 9}\n\
                 {\"timestamp\": 20, \"input_length\": 300, \"output_length\": 9}\n\
                 {\"timestamp\": 21, \"input_length\": 20, \"output_length\": 9}\n";
    let settings =
        "num_gpu_blocks = 400\nmax_num_scheduled_tokens = 128\nenable_chunked_prefill = false\n";
    let log = replay(trace, settings);
    let (rule, causes, text) = lead(&log).unwrap();
    assert_eq!((rule, causes.as_slice()), ("L001", ["never-fits"].as_slice()));
    in_snapshots("leads", || insta::assert_snapshot!("hangs", text));
}
