//! The figures of a log: right, stable, the same as pandas', and honest about what is missing.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use schedlog::analyze::distribution::Summary;
use schedlog::analyze::render::{to_csv, to_json, to_text};
use schedlog::analyze::{Analysis, AnalyzeOptions, RequestFigures, Sink, analyze_dir, read_log};
use schedlog::compare::{CompareOptions, compare_dirs};
use schedlog::engine::run::LogOptions;

use crate::dialects::with_all_habits;
use crate::fixtures::{Log, repo};
use crate::golden::{bundled, replay_bundled};
use crate::support::in_snapshots;

mod laws;

fn analyze(log: &Path, slo: Option<&str>) -> Analysis {
    let slo = slo.map(|slo| slo.parse().unwrap());
    analyze_dir(log, &AnalyzeOptions { slo, series_buckets: 0 }).unwrap()
}

/// A bundled trace's log.
pub(crate) fn log_of(trace: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = repo(&format!("traces/{trace}.jsonl"));
    replay_bundled(&path, directory.path(), &LogOptions::default());
    directory
}

fn snapshot(name: &str, text: &str) {
    in_snapshots("analyze", || insta::assert_snapshot!(name, text));
}

#[test]
fn bundled_traces_in_text_json_and_csv() {
    let cases = [
        ("tiny-cache-preemption", Some("ttft=200ms,tpot=15ms,e2e=1s")),
        ("priorities", None),
        ("aborts", Some("ttft=100ms")),
        ("idle-gap", None),
        ("async-preemption", None),
        ("too-long-prompts", None),
    ];
    for (trace, slo) in cases {
        let log = log_of(trace);
        snapshot(&format!("{trace}.txt"), &to_text(&analyze(log.path(), slo)));
    }
    let log = log_of("tiny-cache-preemption");
    let options = AnalyzeOptions { slo: Some("ttft=200ms".parse().unwrap()), series_buckets: 4 };
    let analysis = analyze_dir(log.path(), &options).unwrap();
    snapshot("tiny-cache-preemption.json", &to_json(&analysis).unwrap());
    snapshot("tiny-cache-preemption.csv", &to_csv(&analysis).unwrap());
}

#[test]
fn a_log_with_every_habit_says_what_it_cannot() {
    let log = with_all_habits().write();
    snapshot("every-habit.txt", &to_text(&analyze(log.path(), Some("e2e=1s"))));
}

#[derive(Default)]
struct Requests(Vec<RequestFigures>);

impl Sink for Requests {
    fn request(&mut self, request: &RequestFigures) {
        self.0.push(request.clone());
    }
}

#[test]
fn a_life_that_can_be_worked_out_by_hand() {
    let mut requests = Requests::default();
    read_log(Log::base().write().path(), &mut [&mut requests]).unwrap();
    let ids: Vec<_> = requests.0.iter().map(|request| request.request_id.as_str()).collect();
    assert_eq!(ids, ["c", "d", "a", "b", "e"]);
    let b = &requests.0[3];
    let spans: Vec<_> =
        b.spans.iter().map(|span| (span.activity.as_str(), span.from_ns.0, span.to_ns.0)).collect();
    let expected = [
        ("queueing", 5, 22),
        ("prefill", 22, 33),
        ("decode", 33, 82),
        ("preempted", 82, 142),
        // Step 7 computes its eight tokens again, and ends at 153.
        ("recomputation", 142, 153),
        ("decode", 153, 173),
    ];
    assert_eq!(spans, expected);
    let waits: Vec<_> =
        b.waits.iter().map(|wait| (wait.reason.map(|r| r.as_str()), wait.time_ns.0)).collect();
    assert_eq!(waits, [(None, 17), (Some("preempted"), 20), (Some("memory_insufficient"), 40)]);

    let analysis = analyze(Log::base().write().path(), Some("e2e=140ns,tpot=50ns"));
    // From 0 to 213 ten steps of 13 and one of 3 are in progress.
    assert_eq!(analysis.window.duration_ns.0, 213);
    assert_eq!(analysis.window.stepping_ns.0, 133);
    let slo = analysis.slo.unwrap();
    assert_eq!((slo.met_all, slo.owed), (1, 4));
    assert_eq!(slo.objectives.iter().map(|o| o.met).collect::<Vec<_>>(), [2, 1]);
    // 2, 4, 5, 5, 3, 3, 4, 2, 3 and 0 blocks hold for 20 ns, the last 2 for 11 ns. Step 8 finishes
    // the last request, so of its 20 ns the 7 ns from 173 to 180 are empty.
    let kv = analysis.iterations.unwrap().kv_utilisation.time_weighted_mean.unwrap();
    assert!((kv - (31.0 * 20.0 - 7.0 * 3.0 + 22.0) / (211.0 * 5.0)).abs() < 1e-12, "{kv}");
}

#[test]
fn any_file_may_be_missing() {
    let whole = analyze(Log::base().write().path(), None);
    for file in Log::base().files.keys() {
        let log = Log::base().without(file).write();
        let analysis = analyze(log.path(), None);
        assert!(analysis.log.cannot_say.len() > whole.log.cannot_say.len(), "{file}");
        let table = file.trim_end_matches(".csv");
        let lacks = match table {
            "per_iteration" => analysis.iterations.is_none(),
            "per_iteration_requests" => analysis.waiting.is_none(),
            "events" => analysis.events.is_none(),
            "state_transitions" => analysis.stays_ns.is_none(),
            "per_request" => analysis.requests.finished == 0,
            _ => analysis.log.producer.is_none(),
        };
        assert!(lacks, "{file}");
        if table != "per_request" {
            assert_eq!(analysis.latency, whole.latency, "{file}");
            let sum = |analysis: &Analysis| analysis.breakdown.clone().unwrap().e2e_ns;
            assert_eq!(sum(&analysis), sum(&whole), "{file}");
        }
    }
}

#[test]
fn only_the_requests_are_needed() {
    let mut log = Log::base();
    log.files.retain(|file, _| file == "per_request.csv");
    let analysis = analyze(log.write().path(), None);
    assert_eq!(analysis.latency.ttft_ns.count, 2);
    assert!(analysis.breakdown.is_none() && analysis.iterations.is_none());
}

#[test]
fn a_killed_run_counts_who_was_alive() {
    let log = Log::base().map("per_request.csv", |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        let rows: Vec<_> = text.lines().filter(|row| !row.contains("unfinished")).collect();
        (rows.join("\n") + "\n").into_bytes()
    });
    let analysis = analyze(log.write().path(), None);
    assert_eq!(analysis.requests.by_ending["cut_off"], 1);
    assert_eq!(analysis.requests.by_ending["unfinished"], 0);
    assert_eq!(analysis.requests.total, 5);
}

#[test]
fn an_idle_engine_holds_nothing() {
    let analysis = analyze(log_of("idle-gap").path(), None);
    let kv = analysis.iterations.unwrap().kv_utilisation;
    // 90 s of which it works for some 0.1 s: by rows the cache is used, by time it is empty.
    assert!(kv.row_weighted.mean.unwrap() > 0.03);
    assert!(kv.time_weighted_mean.unwrap() < 0.0001);
}

fn figures(group: &str, column: &str, summary: &Summary, out: &mut String) {
    let _ = write!(out, "{group} {column} {}", summary.count);
    for figure in [summary.p50, summary.p90, summary.p99].into_iter().flatten() {
        let _ = write!(out, " {figure:?}");
    }
    out.push('\n');
}

/// The quantiles in the form of `tests/python/quantiles.py`.
fn quantiles(analysis: &Analysis) -> String {
    let mut out = String::new();
    for (group, latency) in
        [("all", &analysis.latency_of_all_rows), ("finished", &analysis.latency)]
    {
        figures(group, "ttft", &latency.ttft_ns, &mut out);
        figures(group, "tpot", &latency.tpot_ns, &mut out);
        figures(group, "e2e_latency", &latency.e2e_ns, &mut out);
        figures(group, "waiting_time", &latency.waiting_ns, &mut out);
        figures(group, "execution_time", &latency.execution_ns, &mut out);
        figures(group, "queueing", &latency.queueing_ns, &mut out);
    }
    let steps = analysis.iterations.as_ref().unwrap();
    let rows = [
        ("duration", &steps.duration_ns),
        ("scheduling_overhead", &steps.scheduling_ns),
        ("forward_pass_duration", &steps.forward_ns),
        ("output_processing_duration", &steps.output_processing_ns),
        ("batch_size", &steps.batch_size.row_weighted),
        ("total_tokens", &steps.tokens_per_step.row_weighted),
        ("prefill_tokens", &steps.prefill_tokens_per_step.row_weighted),
        ("decode_tokens", &steps.decode_tokens_per_step.row_weighted),
        ("kv_utilisation", &steps.kv_utilisation.row_weighted),
        ("running_count", &steps.running.row_weighted),
        ("waiting_count", &steps.waiting.row_weighted),
    ];
    for (column, summary) in rows {
        figures("steps", column, summary, &mut out);
    }
    out
}

/// What pandas says of each log; `None` where there is no pandas.
fn pandas(logs: &[tempfile::TempDir]) -> Option<String> {
    let has = Command::new("python3").args(["-c", "import pandas"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = repo("tests/python/quantiles.py");
    let logs = logs.iter().map(tempfile::TempDir::path);
    let output = Command::new("python3").arg(script).args(logs).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn quantiles_are_those_of_pandas_to_the_last_digit() {
    let names: Vec<_> = bundled().into_iter().map(|(name, _)| name).collect();
    let logs: Vec<_> = names.iter().map(|name| log_of(name)).collect();
    let mut all = String::new();
    for (name, log) in names.iter().zip(&logs) {
        let ours = quantiles(&analyze(log.path(), None));
        in_snapshots("analyze/quantiles", || insta::assert_snapshot!(name.as_str(), ours));
        all.push_str(&ours);
        all.push('\n');
    }
    match pandas(&logs) {
        Some(theirs) => assert_eq!(all, theirs),
        None => println!("skipped: no python3 with pandas; the committed values were checked"),
    }
}

/// Maps whose keys are words of the log.
const MAPS: [&str; 5] = ["rows_by_state", "stays_ns", "events", "by_ending", "by_action"];

fn assert_documented(value: &serde_json::Value, page: &str) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                assert!(page.contains(&format!("`{name}`")), "docs/analyze.md misses {name}");
                if !MAPS.contains(&name.as_str()) {
                    assert_documented(value, page);
                }
            }
        }
        serde_json::Value::Array(elements) => {
            elements.iter().for_each(|element| assert_documented(element, page));
        }
        _ => {}
    }
}

#[test]
fn every_member_is_documented() {
    let page = std::fs::read_to_string(repo("docs/analyze.md")).unwrap();
    let log = log_of("priorities");
    let options = AnalyzeOptions { slo: Some("ttft=1s".parse().unwrap()), series_buckets: 2 };
    let analysis = analyze_dir(log.path(), &options).unwrap();
    assert_documented(&serde_json::to_value(&analysis).unwrap(), &page);
    let runs = [log.path().to_owned(), log.path().to_owned()];
    let options = CompareOptions { slo: None, seed: 0, resamples: 10 };
    let comparison = compare_dirs(&runs, &options).unwrap();
    assert_documented(&serde_json::to_value(&comparison).unwrap(), &page);
}
