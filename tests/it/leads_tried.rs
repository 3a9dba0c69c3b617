//! One value, row or column that is wrong in an otherwise right log: whatever else it breaks, there is one group, and
//! its cause names the value and what it should be.

use std::fmt::Write;

use schedlog::check::{CheckOptions, check_dir};
use schedlog::diagnose::Diagnosis;
use schedlog::report::{TextOptions, write_text};

use crate::leads::told_first;
use crate::leads_files::crowded;
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets};
use crate::support::in_snapshots;

/// What is wrong, the rule that leads, and what is done to the log.
type Case = (&'static str, &'static str, fn(&mut Sheets));

/// The middle one of the rows with this text.
fn middle(sheet: &Sheet, column: &str, text: &str) -> usize {
    let rows = sheet.where_is(column, text);
    rows[rows.len() / 2]
}

fn call(s: &mut Sheets, from: &str, to: &str) {
    let event = middle(&s.e, "event_type", from);
    s.e.set(event, "event_type", to);
}

const CASES: &[Case] = &[
    ("a row holds one block too many", "C002", |s| {
        let row = middle(&s.r, "state", "running");
        s.r.add(row, "kv_cache_blocks", 1);
    }),
    ("a step took a nanosecond longer to decide", "M010", |s| {
        s.i.add(s.i.len() / 2, "scheduling_overhead", 1);
    }),
    ("a step says that it preempted somebody", "Q001", |s| {
        let step = middle(&s.i, "preempted_count", "0");
        s.i.add(step, "preempted_count", 1);
    }),
    ("a step has another size of the cache", "C001", |s| {
        s.i.add(s.i.len() / 2, "kv_cache_total", -1);
    }),
    ("a first token names the next step", "M015", |s| {
        let event = middle(&s.e, "event_type", "first_token_generated");
        let step = s.detail(event, "iteration_id").unwrap();
        s.set_detail(event, "iteration_id", step + 1);
    }),
    ("a row shows a request that runs as preempted", "S004", |s| {
        let row = middle(&s.r, "state", "running");
        s.r.set(row, "state", "preempted");
    }),
    ("a change has another state", "S003", |s| {
        let row = middle(&s.t, "state", "running");
        s.t.set(row, "state", "completed");
    }),
    ("a first token is called an arrival", "F009", |s| {
        call(s, "first_token_generated", "request_arrived");
    }),
    ("an end is called a preemption", "F009", |s| {
        call(s, "request_completed", "request_preempted");
    }),
    ("a step has the number of another", "M011", |s| {
        let row = s.i.len() / 2;
        s.i.set(row, "iteration_id", 1_000);
    }),
    ("durations of three steps are wrong, each by something else", "M010", |s| {
        for (step, by) in [(20, 1_000), (33, 2_500), (71, 777)] {
            s.i.add(step, "duration", by);
        }
    }),
    ("a row stands twice", "S006", |s| {
        let row = middle(&s.r, "state", "running");
        let again = s.r.rows[row].clone();
        s.r.rows.insert(row + 1, again);
    }),
    ("a change stands before the one that it follows", "S001", |s| {
        let change = middle(&s.t, "state", "preempted");
        s.t.rows.swap(change, change + 1);
    }),
    ("all rows hold a block too many", "C002", |s| {
        s.r.map("kv_cache_blocks", |blocks| blocks + 1);
    }),
    ("all rows get a token too many", "K002", |s| {
        s.r.map("scheduled_tokens", |tokens| tokens + 1);
    }),
];

#[test]
fn one_wrong_value_is_one_group_that_names_it() {
    let (log, mut text, mut others) = (crowded(), String::new(), Vec::new());
    for (name, rule, apply) in CASES {
        let mut wrong = log.clone();
        apply(&mut wrong);
        let place = wrong.log().write();
        let report = check_dir(place.path(), &CheckOptions::default()).unwrap();
        let diagnosis = Diagnosis::of(&report, false);
        let under: Vec<_> = diagnosis.groups[0].consequences.iter().map(|it| it.rule.id).collect();
        let told = told_first(&diagnosis, &format!("      under it: {}\n", under.join(" ")));
        write!(text, "{name}\n    {told}").unwrap();
        let leads = diagnosis.groups[0].rule().id == *rule;
        let is_one = diagnosis.groups.len() == 1 && !diagnosis.groups[0].causes.is_empty();
        if !leads || !is_one {
            others.push(format!("{name}: {told}"));
        }
    }
    in_snapshots("leads", || insta::assert_snapshot!("tried", text));
    assert!(others.is_empty(), "{}", others.join("\n"));
}

/// Loggers that have -1 for requests that wait in no queue have it for those that are over, too.
#[test]
fn ended_requests_with_place_minus_one_are_told_of_once_unless_running_ones_have_it() {
    let log = crowded();
    let ended = log.r.where_is("state", "completed");
    let set = |s: &mut Sheets, rows: &[usize]| {
        rows.iter().for_each(|row| s.r.set(*row, "queue_position", -1));
    };
    let (mut all, mut some) = (log.clone(), log.clone());
    set(&mut all, &ended);
    set(&mut some, &ended[4..]);
    let mut text = Vec::new();
    for wrong in [&all, &some] {
        let place = wrong.log().write();
        let report = check_dir(place.path(), &CheckOptions::default()).unwrap();
        assert_eq!(report.counts(), (1, 0, 0));
        write_text(&report, &TextOptions::default(), &mut text).unwrap();
    }
    set(&mut all, &log.r.where_is("state", "running"));
    let place = all.log().write();
    let report = check_dir(place.path(), &CheckOptions::default()).unwrap();
    assert_eq!(report.counts(), (0, 0, 0));
    let text = String::from_utf8(text).unwrap();
    let text: Vec<_> = text.lines().filter(|line| !line.contains("/tmp")).collect();
    in_snapshots("leads", || insta::assert_snapshot!("ended-places", text.join("\n")));
}

#[test]
fn what_is_told_of_one_value_is_where_and_what_it_was() {
    let mut told = 0;
    for (name, log) in full_logs() {
        for column in ["scheduling_overhead", "preempted_count", "duration", "running_count"] {
            let mut wrong: Sheets = log.clone();
            let row = wrong.i.len() / 2;
            let (right, line) = (wrong.i.n(row, column), row + 2);
            wrong.i.add(row, column, 3);
            let place = wrong.log().write();
            let report = check_dir(place.path(), &CheckOptions::default()).unwrap();
            let diagnosis = Diagnosis::of(&report, false);
            assert_eq!(diagnosis.groups.len(), 1, "{column} of {name}");
            // Where there was one group before, nothing was tried.
            let tried = diagnosis.groups[0].causes.iter().find(|it| it.id == "one-wrong-value");
            let Some(cause) = tried else { continue };
            let what = format!("{column} in line {line} of per_iteration.csv");
            assert!(cause.text.contains(&what), "{name}: {}", cause.text);
            assert!(cause.text.contains(&format!("with {right} there")), "{name}: {}", cause.text);
            told += 1;
        }
    }
    assert!(told > 20, "{told}");
}
