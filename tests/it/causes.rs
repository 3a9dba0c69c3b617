//! Every recogniser of causes, on a log that is wrong in its way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use schedlog::check::{CheckOptions, check_dir};
use schedlog::diagnose::Diagnosis;
use schedlog::diagnose::causes::RECOGNISERS;
use schedlog::invariants::ALL;

use crate::causes_columns::{wrong_columns, wrong_requests, wrong_units};
use crate::edits::{Edited, Fields};
use crate::fixtures::{Log, fixture};
use crate::support::in_snapshots;

const P: &str = "per_request.csv";
const I: &str = "per_iteration.csv";
const R: &str = "per_iteration_requests.csv";
const E: &str = "events.csv";
const T: &str = "state_transitions.csv";

fn preempting() -> Edited {
    Edited::of("tiny-cache-preemption")
}

/// What the changes of each request say of the time in a state.
fn durations(log: &Edited, state: &str, last_only: bool) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for row in log.rows(T).iter().filter(|row| row["prev_state"] == state) {
        let duration: i64 = row["duration_in_prev_state"].parse().unwrap();
        let sum: &mut i64 = sums.entry(row["request_id"].clone()).or_default();
        *sum = if last_only { duration } else { *sum + duration };
    }
    sums
}

fn is_preempted(row: &Fields) -> bool {
    row["preemption_count"] != "0"
}

/// The completed rows stand in the step behind theirs, those of the last step excepted.
fn late_completions() -> Edited {
    preempting().reorder(R, |rows| {
        let step = |row: &Fields| row["iteration_id"].parse::<u64>().unwrap();
        let last = rows.iter().map(step).max().unwrap();
        for row in rows.iter_mut().filter(|row| row["state"] == "completed" && step(row) < last) {
            let behind = step(row) + 1;
            row.insert("iteration_id".to_owned(), behind.to_string());
        }
        // Stable: the rows of a step that were there come first, then those of the step before.
        let place = |row: &Fields| (step(row), row["state"] == "completed");
        rows.sort_by_key(place);
    })
}

/// Wrong loggers: the recogniser that should speak, what is wrong, the log.
fn wrong_logs() -> Vec<(&'static str, &'static str, Edited)> {
    let mut logs = wrong_values();
    logs.extend(wrong_units());
    logs.extend(wrong_columns());
    logs.extend(wrong_requests());
    logs.extend(wrong_places());
    logs.extend(wrong_signs());
    logs
}

fn wrong_signs() -> Vec<(&'static str, &'static str, Edited)> {
    let turned = Edited::of("priorities").edit(P, |_, row| {
        let priority: i64 = row["priority_score"].parse().unwrap();
        row.insert("priority_score".to_owned(), (-priority).to_string());
    });
    let wrapped = preempting().edit(E, |_, row| {
        let at: i64 = row["timestamp"].parse::<i64>().unwrap() + i64::from(i32::MAX) - 60_000_000;
        #[allow(clippy::cast_possible_truncation)]
        row.insert("timestamp".to_owned(), (at as i32).to_string());
    });
    vec![
        ("sign-turned", "priority_score has the other sign", turned),
        ("wrapped-at-32-bits", "timestamp is a whole number of 32 bits", wrapped),
    ]
}

fn wrong_values() -> Vec<(&'static str, &'static str, Edited)> {
    let preempted = durations(&preempting(), "preempted", false);
    let last_run = durations(&preempting(), "running", true);
    let mut before = String::from("0");
    let starts: BTreeMap<i64, i64> = preempting()
        .rows(I)
        .iter()
        .map(|row| {
            let [start, overhead] =
                ["start_time", "scheduling_overhead"].map(|c| row[c].parse::<i64>().unwrap());
            (start + overhead, start)
        })
        .collect();
    vec![
        ("swapped-columns", "waiting_time and execution_time are exchanged", {
            preempting().edit(P, |_, row| {
                let waiting = row.remove("waiting_time").unwrap();
                let execution = row.insert("execution_time".to_owned(), waiting).unwrap();
                row.insert("waiting_time".to_owned(), execution);
            })
        }),
        ("reset-on-preemption", "execution_time starts anew at a preemption", {
            preempting().number(P, "execution_time", |_, _, row| last_run[&row["request_id"]])
        }),
        ("state-not-counted", "waiting_time forgets the time spent preempted", {
            preempting().number(P, "waiting_time", |_, time, row| {
                time - preempted.get(&row["request_id"]).copied().unwrap_or(0)
            })
        }),
        ("state-not-counted", "the time spent preempted counts as execution", {
            preempting().edit(P, |_, row| {
                let [arrival, first, end] =
                    ["arrival_time", "first_scheduled_time", "completion_time"]
                        .map(|column| row[column].parse::<i64>().unwrap());
                row.insert("waiting_time".to_owned(), (first - arrival).to_string());
                row.insert("execution_time".to_owned(), (end - first).to_string());
            })
        }),
        ("other-step", "completed rows stand in the step behind", late_completions()),
        ("other-moment", "first_scheduled_time is the beginning of the step", {
            preempting().number(P, "first_scheduled_time", |_, time, _| starts[&time])
        }),
        ("event-again", "the first token is noted after each resumption", {
            preempting().reorder("events.csv", |rows| {
                let first = |row: &Fields| row["event_type"] == "first_token_generated";
                *rows = std::mem::take(rows)
                    .into_iter()
                    .flat_map(|row| std::iter::repeat_n(row.clone(), 1 + usize::from(first(&row))))
                    .collect();
            })
        }),
        ("wrong-unit", "ttft in microseconds", {
            preempting().number(P, "ttft", |_, time, _| time / 1000)
        }),
        ("negated", "time_in_state taken the wrong way round", {
            preempting().number(R, "time_in_state", |_, time, _| -time)
        }),
        ("stuck", "running_count is never set", {
            preempting().number(I, "running_count", |_, _, _| 0)
        }),
        ("one-step-late", "total_tokens of the step before", {
            Edited::of("speculative-drafts").edit(I, |_, row| {
                let tokens = row["total_tokens"].clone();
                row.insert("total_tokens".to_owned(), std::mem::replace(&mut before, tokens));
            })
        }),
        ("other-column", "duration without the scheduler's part", {
            preempting().number(I, "duration", |_, time, row| {
                time - row["scheduling_overhead"].parse::<i64>().unwrap()
            })
        }),
        ("rounded", "durations in whole milliseconds", {
            preempting()
                .number(T, "duration_in_prev_state", |_, time, _| time / 1_000_000 * 1_000_000)
        }),
        ("single-precision", "durations as 32-bit floats", {
            preempting().number(T, "duration_in_prev_state", |_, time, _| (time as f32) as i64)
        }),
        ("off-by-one", "running_count read before the last admission", {
            preempting().number(I, "running_count", |_, count, _| count - 1)
        }),
        ("constant-offset", "ttft measured from another moment", {
            preempting().number(P, "ttft", |_, time, _| time + 37)
        }),
    ]
}

fn wrong_places() -> Vec<(&'static str, &'static str, Edited)> {
    vec![
        ("at-the-flush", "the last row of each flush is written before it is complete", {
            Edited::long().number(I, "forward_pass_duration", |index, time, _| {
                if index % 100 == 99 { 0 } else { time }
            })
        }),
        ("periodic", "every seventh row has another duration", {
            Edited::long().number(I, "duration", |index, time, _| {
                time + if index % 7 == 3 { 1 + index as i64 } else { 0 }
            })
        }),
        ("from-here-on", "a leak of blocks from iteration 30 on", {
            Edited::long()
                .number(I, "kv_cache_used", |index, used, _| used + (index as i64 - 29).max(0))
        }),
        ("last-step", "the last row has no tokens", {
            let log = preempting();
            let last = log.rows(I).iter().rposition(|row| row["total_tokens"] != "0").unwrap();
            log.number(I, "prefill_tokens", |index, count, _| if index > last { 5 } else { count })
        }),
        ("one-step", "every row of one step has blocks too many", {
            Edited::of("plain-run").number(R, "kv_cache_blocks", |_, blocks, row| {
                if row["iteration_id"] == "2" { blocks * 2 + 1 } else { blocks }
            })
        }),
        ("one-request", "time_in_state of one request is something else", {
            preempting().number(R, "time_in_state", |index, time, row| {
                let wrong = row["request_id"] == "r4" && row["state"] == "running";
                time + if wrong { (index * index) as i64 } else { 0 }
            })
        }),
        ("preempted-only", "ttft of preempted requests is something else", {
            preempting().number(P, "ttft", |index, time, row| {
                if is_preempted(row) { time + 11 + 7 * index as i64 * index as i64 } else { time }
            })
        }),
        ("one-ending", "e2e_latency of aborted requests is something else", {
            Edited::of("aborts").number(P, "e2e_latency", |index, time, row| {
                if row["finish_reason"] == "abort" {
                    time + 5 + 3 * (index * index) as i64
                } else {
                    time
                }
            })
        }),
    ]
}

#[test]
fn every_finding_is_told_once_and_never_under_a_lighter_one() {
    for rule in ALL {
        let (_dir, report) = Log::base().edited(&fixture(rule.id)).check();
        let diagnosis = Diagnosis::of(&report, false);
        let mut told = Vec::new();
        for group in &diagnosis.groups {
            told.extend(group.findings.iter().map(|finding| std::ptr::from_ref(*finding)));
            for consequence in &group.consequences {
                for finding in &consequence.findings {
                    let severity = finding.severity.unwrap_or(consequence.rule.severity);
                    assert!(severity <= group.severity, "{}: {finding:?}", rule.id);
                    told.push(std::ptr::from_ref(*finding));
                }
            }
        }
        let mut found: Vec<_> =
            report.rules.iter().flat_map(|rule| &rule.findings).map(std::ptr::from_ref).collect();
        told.sort_unstable();
        found.sort_unstable();
        assert_eq!(told, found, "{}", rule.id);
    }
}

/// Each file of its own clock, and what is said of it.
#[test]
fn another_clock_is_one_finding_and_all_else_follows_from_it() {
    const TIMES: [(&str, &[&str]); 4] = [
        (P, &["arrival_time", "first_scheduled_time", "completion_time"]),
        (I, &["start_time", "end_time"]),
        ("events.csv", &["timestamp"]),
        (T, &["timestamp"]),
    ];
    for (name, by) in
        [("tiny-cache-preemption", 300_000), ("aborts", 3_000_000), ("async-preemption", 70_000)]
    {
        for (file, columns) in TIMES {
            let log = columns.iter().fold(Edited::of(name), |log, column| {
                log.number(file, column, |_, time, _| time + by)
            });
            let report = check_dir(&log.path(), &CheckOptions::default()).unwrap();
            let diagnosis = Diagnosis::of(&report, false);
            let roots: Vec<_> =
                diagnosis.groups.iter().map(|group| group.findings[0].message.as_str()).collect();
            let [root] = roots[..] else { panic!("{name}, {file}: {roots:#?}") };
            let expected =
                format!("{file} runs on another clock: its moments are all {by} ns later than");
            assert!(root.starts_with(&expected), "{name}, {file}: {root}");
        }
    }
}

#[test]
fn times_of_the_calendar_are_named_as_such() {
    let wall = 1_700_000_000_000_000_000;
    let log = preempting().number("events.csv", "timestamp", |_, time, _| time + wall);
    let report = check_dir(&log.path(), &CheckOptions::default()).unwrap();
    let diagnosis = Diagnosis::of(&report, false);
    let roots: Vec<_> =
        diagnosis.groups.iter().map(|group| group.findings[0].message.as_str()).collect();
    assert_eq!(roots, ["events.csv has times of the calendar, not since the scheduler started"]);
}

#[test]
fn every_recogniser_speaks_of_its_mistake() {
    let mut text = String::new();
    let mut spoke = BTreeSet::new();
    let mut silent = Vec::new();
    for (id, what, log) in wrong_logs() {
        let report = check_dir(&log.path(), &CheckOptions::default()).unwrap();
        let diagnosis = Diagnosis::of(&report, false);
        writeln!(text, "{what}").unwrap();
        for group in &diagnosis.groups {
            for cause in &group.causes {
                writeln!(text, "  {} {}: {}", group.rule().id, cause.id, cause.text).unwrap();
                spoke.insert((id, cause.id));
            }
        }
        if !spoke.contains(&(id, id)) {
            let found = diagnosis.groups.iter().map(|group| {
                let sample: Vec<_> = group.findings.iter().take(4).collect();
                format!("{} {:?} {sample:#?}", group.rule().id, group.causes)
            });
            silent.push((id, found.collect::<Vec<_>>().join("\n")));
        }
    }
    for (id, found) in &silent {
        eprintln!("{id} is silent: {found}");
    }
    assert!(silent.is_empty());
    in_snapshots("report", || insta::assert_snapshot!("causes", text));
    let all: BTreeSet<_> = RECOGNISERS.iter().map(|recogniser| recogniser.id).collect();
    // Of some of these more is told than what their values have in common.
    let told: BTreeSet<_> = spoke.iter().map(|(_, id)| *id).filter(|id| all.contains(id)).collect();
    assert_eq!(told, all);
}
