//! Wrong schedulers and altered logs: each is caught, in the iteration where it first matters.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use schedlog::check::{CheckOptions, Outcome, Verdict, check_dir};
use schedlog::config::Policy;
use schedlog::conform::log::{ConformOptions as Options, LogReport, LogVerdict, conform_log};
use schedlog::engine::run::LogOptions;
use schedlog::log::values::LogLevel;
use schedlog::report::{TextOptions, write_conformance, write_conformance_json, write_text};
use schedlog::settings::{Resolved, Settings};
use schedlog::trace::{ReadOptions, Trace};
use serde_json::{Value, json};

use crate::dialect_writer::written;
use crate::golden::{files, replay_bundled};
use crate::sheets::Sheets;
use crate::support::{in_snapshots, root};
use crate::wrong_scheduler::{Bug, Job, run};

pub(crate) fn conform(directory: &Path) -> LogReport {
    conform_log(directory, &Options::default()).unwrap()
}

pub(crate) fn text(report: &LogReport) -> String {
    let mut out = Vec::new();
    write_conformance(report, false, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

pub(crate) fn settings(policy: Policy) -> Resolved {
    let settings = Settings {
        policy: Some(policy),
        max_num_seqs: Some(4),
        max_num_batched_tokens: Some(24),
        max_model_len: Some(64),
        long_prefill_token_threshold: Some(16),
        watermark: Some(0.15),
        block_size: Some(4),
        num_gpu_blocks: Some(21),
        enable_prefix_caching: Some(false),
        ..Settings::default()
    };
    settings.resolve().unwrap()
}

/// Prompts of all sizes in bursts, with pauses in which the engine may run empty.
pub(crate) fn jobs(seed: u64) -> Vec<Job> {
    many_jobs(seed, 14, [0, 100, 1_500, 40_000])
}

/// So many of them, with such pauses in microseconds.
pub(crate) fn many_jobs(seed: u64, count: usize, pauses: [u64; 4]) -> Vec<Job> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut draw = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut at_us = 0;
    let job = |_| {
        at_us += pauses[draw(4) as usize];
        let longest = [12, 45][draw(2) as usize];
        let input = 1 + draw(longest) as u32;
        let output = 1 + draw(18) as u32;
        Job { at_us, input, output, priority: draw(3) as i64 }
    };
    (0..count).map(job).collect()
}

/// Each bug with the policy under which it shows.
pub(crate) const BUGS: [(Bug, Policy); 21] = [
    (Bug::KeepsABlockOfAVictim, Policy::Priority),
    (Bug::LeaksABlock, Policy::Fcfs),
    (Bug::PreemptsTheFirst, Policy::Fcfs),
    (Bug::AdmitsAfterAPreemption, Policy::Fcfs),
    (Bug::ServesTheShortestFirst, Policy::Fcfs),
    (Bug::LosesTheBudget, Policy::Fcfs),
    (Bug::IgnoresTheWatermark, Policy::Fcfs),
    (Bug::IgnoresPriority, Policy::Priority),
    (Bug::PreemptsTheUrgent, Policy::Priority),
    (Bug::IgnoresTheThreshold, Policy::Fcfs),
    (Bug::CapsALoneRequest, Policy::Fcfs),
    (Bug::AdmitsOneTooMany, Policy::Fcfs),
    (Bug::DropsAChunk, Policy::Fcfs),
    (Bug::DecodesFirst, Policy::Fcfs),
    (Bug::ReservesOnlyTheChunk, Policy::Fcfs),
    (Bug::PreemptedGoToTheBack, Policy::Fcfs),
    (Bug::TriesTheNext, Policy::Fcfs),
    (Bug::AllocatesLate, Policy::Fcfs),
    (Bug::FreesLate, Policy::Fcfs),
    (Bug::BlamesTheSeats, Policy::Fcfs),
    (Bug::StopsAtTheFirstChunk, Policy::Fcfs),
];

/// The first iteration in which two logs tell of different decisions.
pub(crate) fn first_difference(one: &Path, other: &Path) -> u64 {
    let rows = |directory: &Path, file: &str| -> Vec<String> {
        let text = fs::read_to_string(directory.join(file)).unwrap();
        // In which order finished requests are listed is nobody's decision.
        let decisions = text.lines().skip(1).filter(|row| !row.contains(",completed,"));
        decisions.map(str::to_owned).collect()
    };
    let mut first = u64::MAX;
    for file in ["per_iteration.csv", "per_iteration_requests.csv"] {
        let (one, other) = (rows(one, file), rows(other, file));
        let differs = one.iter().zip(&other).find(|(one, other)| one != other);
        let id = |row: &String| row.split(',').next().unwrap().parse::<u64>().unwrap();
        first = first.min(differs.map_or(u64::MAX, |(one, other)| id(one).min(id(other))));
    }
    first
}

#[test]
fn the_second_scheduler_conforms_unless_told_to_be_wrong() {
    let (mut preempted, mut waiting) = (0, 0);
    for (seed, policy) in (0..60).flat_map(|seed| [(seed, Policy::Fcfs), (seed, Policy::Priority)])
    {
        let directory = tempfile::tempdir().unwrap();
        run(Bug::None, &jobs(seed), &settings(policy), directory.path());
        let report = conform(directory.path());
        assert_eq!(report.verdict, LogVerdict::Conforms, "{seed} {}", text(&report));
        assert_eq!(report.counts.same, report.counts.iterations);
        preempted += report.counts.preempted;
        waiting += report.counts.waiting;
    }
    assert!(preempted > 50 && waiting > 1000, "{preempted} {waiting}");
}

/// Requests of one moment have no order: one that serves the shortest of them first is right.
fn jobs_for(bug: Bug, seed: u64) -> Vec<Job> {
    match bug {
        Bug::ServesTheShortestFirst => many_jobs(seed, 14, [1, 100, 1_500, 40_000]),
        _ => jobs(seed),
    }
}

/// The log of the first workload in which a bug makes a difference, and the iteration in which it does.
pub(crate) fn first_wrong_log(bug: Bug, policy: Policy) -> (tempfile::TempDir, u64) {
    (0..200)
        .map(|seed| {
            let (right, wrong) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            run(Bug::None, &jobs_for(bug, seed), &settings(policy), right.path());
            run(bug, &jobs_for(bug, seed), &settings(policy), wrong.path());
            let first = first_difference(right.path(), wrong.path());
            (wrong, first)
        })
        .find(|(_, first)| *first < u64::MAX)
        .unwrap_or_else(|| panic!("{bug:?} makes no difference"))
}

#[test]
fn every_wrong_scheduler_is_caught_where_it_first_matters() {
    let mut missed = Vec::new();
    for (bug, policy) in BUGS {
        let (wrong, expected) = first_wrong_log(bug, policy);
        let report = conform(wrong.path());
        match report.verdict {
            LogVerdict::Diverges(id) if id.0 == expected => {}
            ref other => missed.push(format!("{bug:?}: {other:?}, not at {expected}")),
        }
        in_snapshots("conform", || insta::assert_snapshot!(format!("{bug:?}"), text(&report)));
    }
    assert_eq!(missed, [""; 0]);
}

/// The events of one moment stand the other way round; those that are apart are left as they are.
#[test]
fn arrivals_of_one_moment_queue_up_in_any_order() {
    let mut turned = 0;
    for seed in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        run(Bug::None, &jobs(seed), &settings(Policy::Fcfs), directory.path());
        let mut log = Sheets::read(directory.path());
        let at_once = |one: &Vec<String>, other: &Vec<String>| {
            one[0] == other[0] && one[1] == "request_arrived" && other[1] == "request_arrived"
        };
        let starts: Vec<_> = (0..log.i.len()).map(|row| log.moments(row)[0].to_string()).collect();
        let shown = log.clone();
        for ties in log.e.rows.chunk_by_mut(at_once) {
            turned += usize::from(ties.len() > 1);
            ties.reverse();
        }
        // Without their rows it is not told which of those that come as a step begins it counts, nor in which
        // order those wait that one step schedules later.
        let mut hidden = shown;
        let scheduled = |id: &String| {
            log.request(id).map(|row| log.p.text(row, "first_scheduled_time").to_owned())
        };
        for ties in hidden.e.rows.chunk_by_mut(at_once) {
            let steps: BTreeSet<_> = ties.iter().map(|row| scheduled(&row[2])).collect();
            if !starts.contains(&ties[0][0]) && steps.len() == ties.len() {
                ties.reverse();
            }
        }
        for (log, habits) in
            [(&log, &[][..]), (&log, &["no-details"]), (&hidden, &["no-initial-rows"])]
        {
            let place = written(log, habits, true).write();
            let report = conform(place.path());
            assert_eq!(report.verdict, LogVerdict::Conforms, "{seed} {habits:?} {}", text(&report));
        }
    }
    assert!(turned > 20, "{turned}");
}

/// Nothing tells where one that gives up in the queue stood; it may have held up those behind it.
#[test]
fn one_that_gives_up_in_the_queue_is_passed_by_nobody_of_its_moment() {
    let trace = "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 60}\n\
                 {\"timestamp\": 5, \"input_length\": 120, \"output_length\": 2, \"abort_after_ms\": 100}\n\
                 {\"timestamp\": 5, \"input_length\": 8, \"output_length\": 4}\n";
    let settings = "max_model_len = 128\nblock_size = 16\nnum_gpu_blocks = 9\n\
                    max_num_batched_tokens = 256\nenable_chunked_prefill = false\nlatency = \"fixed\"\n";
    let log = crate::cuts::replayed(trace, settings);
    let last = log.p.where_is("input_tokens", "8")[0];
    assert!(log.p.n(last, "first_scheduled_time") > 100_000_000);
    for habits in
        [&[][..], &["no-details"], &["no-initial-rows"], &["no-initial-rows", "no-details"]]
    {
        let place = written(&log, habits, true).write();
        let report = conform(place.path());
        assert_eq!(report.verdict, LogVerdict::Conforms, "{habits:?} {}", text(&report));
    }
}

/// Changes run.json.
fn claim(directory: &Path, change: impl FnOnce(&mut Value)) {
    let path = directory.join("run.json");
    let mut info: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut info);
    fs::write(&path, info.to_string()).unwrap();
}

/// Sets a column of the rows of one file.
fn set(directory: &Path, file: &str, column: &str, value: &str, rows: impl Fn(&[&str]) -> bool) {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).unwrap();
    let at = text.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
    let mut changed = 0;
    let lines = text.lines().enumerate().map(|(line, row)| {
        let mut fields: Vec<_> = row.split(',').collect();
        if line > 0 && rows(&fields) && fields[at] != value {
            fields[at] = value;
            changed += 1;
        }
        fields.join(",") + "\n"
    });
    let text: String = lines.collect();
    assert!(changed > 0, "{file} {column}");
    fs::write(&path, text).unwrap();
}

fn bundled(name: &str) -> std::path::PathBuf {
    root().join(format!("traces/{name}.jsonl"))
}

pub(crate) fn replay(name: &str, directory: &Path, log_level: LogLevel) -> Trace {
    let options = LogOptions { log_level, ..LogOptions::default() };
    replay_bundled(&bundled(name), directory, &options);
    Trace::open(&bundled(name), &ReadOptions::default()).unwrap()
}

/// Logs of one engine that claim to be of another: the engine ignores what it is told.
#[test]
fn a_log_that_claims_other_settings_is_caught_where_they_first_matter() {
    let claims = [
        ("burst-into-max-num-seqs", "max_num_seqs", json!(3)),
        ("long-prompts-chunked", "long_prefill_token_threshold", json!(0)),
        ("long-prompts-chunked", "max_num_batched_tokens", json!(65)),
        ("unsplit-prompts", "enable_chunked_prefill", json!(true)),
        ("priorities", "policy", json!("fcfs")),
        ("watermark", "watermark", json!(0.0)),
        ("tiny-cache-preemption", "scheduler_reserve_full_isl", json!(false)),
        ("speculative-drafts", "num_speculative_tokens", json!(2)),
        ("too-long-prompts", "max_model_len", json!(63)),
        ("shared-prefixes", "enable_prefix_caching", json!(false)),
    ];
    for (name, setting, value) in claims {
        let (log, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let trace = replay(name, log.path(), LogLevel::Standard);
        let mut claimed = Settings::from_file(&bundled(name).with_extension("toml")).unwrap();
        let mut given = serde_json::to_value(&claimed).unwrap();
        given[setting] = value.clone();
        if setting == "max_num_batched_tokens" {
            given["max_num_scheduled_tokens"] = value.clone();
        }
        claimed = serde_json::from_value(given).unwrap();
        let resolved = claimed.resolve().unwrap();
        let options = LogOptions::default();
        schedlog::engine::run::replay_trace(
            &trace,
            &resolved,
            Some(other.path()),
            &options,
            |_| {},
        )
        .unwrap();
        let config = resolved.as_config();
        claim(log.path(), |info| info["config"] = json!(config));
        let expected = first_difference(log.path(), other.path());
        let options = Options { trace: Some(&trace), ..Options::default() };
        let report = conform_log(log.path(), &options).unwrap();
        let at = |verdict: &LogVerdict| match verdict {
            LogVerdict::Diverges(id) => Some(id.0),
            _ => None,
        };
        assert_eq!(at(&report.verdict), Some(expected), "{name} {setting}: {}", text(&report));
        in_snapshots("conform", || {
            insta::assert_snapshot!(format!("claim-{setting}"), text(&report));
        });
    }
}

/// A cache that drops blocks before it has to: the log of a smaller one, with the size of a larger.
#[test]
fn an_early_eviction_is_caught_by_the_trace() {
    let directory = tempfile::tempdir().unwrap();
    let path = bundled("shared-prefixes");
    let trace = Trace::open(&path, &ReadOptions::default()).unwrap();
    let settings = Settings::from_file(&path.with_extension("toml")).unwrap();
    let smaller = Settings { num_gpu_blocks: Some(68), ..settings };
    let resolved = smaller.resolve().unwrap();
    let options = LogOptions::default();
    schedlog::engine::run::replay_trace(
        &trace,
        &resolved,
        Some(directory.path()),
        &options,
        |_| {},
    )
    .unwrap();
    claim(directory.path(), |info| info["config"]["num_gpu_blocks"] = json!(72));
    set(directory.path(), "per_iteration.csv", "kv_cache_total", "71", |_| true);
    let traced = Options { trace: Some(&trace), ..Options::default() };
    let report = conform_log(directory.path(), &traced).unwrap();
    assert!(matches!(report.verdict, LogVerdict::Diverges(_)), "{}", text(&report));
    assert_eq!(report.divergences[0].differences[0].field, "evicted_blocks", "{}", text(&report));
    in_snapshots("conform", || insta::assert_snapshot!("evicts-early", text(&report)));
}

/// One wrong value in the log of a right scheduler.
#[test]
fn one_altered_value_is_caught_in_its_iteration() {
    let (rows, steps) = ("per_iteration_requests.csv", "per_iteration.csv");
    let edits = [
        (rows, "scheduled_tokens", "2", "running"),
        (rows, "computed_tokens", "999", "running"),
        (rows, "kv_cache_blocks", "9", "running"),
        (rows, "tokens_generated", "99", "running"),
        (rows, "waiting_reason", "max_num_seqs", "waiting"),
        (rows, "state", "waiting", "preempted"),
        (steps, "kv_cache_used", "1", ""),
        (steps, "batch_size", "7", ""),
        (steps, "preempted_count", "3", ""),
        (steps, "evicted_blocks", "99", ""),
    ];
    for (file, column, value, state) in edits {
        let directory = tempfile::tempdir().unwrap();
        replay("tiny-cache-preemption", directory.path(), LogLevel::Standard);
        let text_before = fs::read_to_string(directory.path().join(rows)).unwrap();
        // Somewhere in the middle, in a step that has such a row.
        let steps_with: Vec<&str> = text_before
            .lines()
            .skip(1)
            .map(|row| row.split(',').collect::<Vec<_>>())
            .filter(|row| state.is_empty() || row[2] == state)
            .map(|row| row[0])
            .collect();
        let step = steps_with[steps_with.len() / 2];
        set(directory.path(), file, column, value, |row| {
            row[0] == step && (state.is_empty() || row[2] == state)
        });
        let report = conform(directory.path());
        let expected = LogVerdict::Diverges(schedlog::units::IterationId(step.parse().unwrap()));
        assert_eq!(report.verdict, expected, "{column}: {}", text(&report));
        let fields: Vec<_> = report.divergences[0].differences.iter().map(|d| d.field).collect();
        assert!(fields.contains(&column) || column == "preempted_count", "{column}: {fields:?}");
    }
}

#[test]
fn what_cannot_be_compared_is_void_and_says_what_is_missing() {
    let logged = || {
        let directory = tempfile::tempdir().unwrap();
        replay("plain-run", directory.path(), LogLevel::Standard);
        directory
    };
    let mut messages = Vec::new();
    let mut note = |directory: tempfile::TempDir, options: &Options<'_>| {
        let report = conform_log(directory.path(), options).unwrap();
        assert!(matches!(report.verdict, LogVerdict::Void(_)), "{}", text(&report));
        assert_eq!(report.exit_code(), 2);
        messages.push(text(&report));
    };
    let none = Options::default();
    let log = logged();
    fs::remove_file(log.path().join("run.json")).unwrap();
    note(log, &none);
    let log = logged();
    claim(log.path(), |info| info["config"]["max_num_seqs"] = json!(null));
    note(log, &none);
    let log = logged();
    claim(log.path(), |info| info["config"]["pipeline_parallel_size"] = json!(2));
    note(log, &none);
    let log = logged();
    claim(log.path(), |info| info["config"]["policy"] = json!("lottery"));
    note(log, &none);
    let log = logged();
    fs::write(log.path().join("run.json"), "{").unwrap();
    note(log, &none);
    let log = tempfile::tempdir().unwrap();
    replay("plain-run", log.path(), LogLevel::Summary);
    note(log, &none);
    let log = logged();
    fs::remove_file(log.path().join("events.csv")).unwrap();
    note(log, &none);
    let bare = ["fixed-columns-only", "no-details", "no-completed-rows"];
    let sheets = Sheets::read(logged().path());
    note(written(&sheets, &bare[..2], true).write(), &none);
    note(written(&sheets, &bare, true).write(), &none);
    let other = Trace::open(&bundled("idle-gap"), &ReadOptions::default()).unwrap();
    note(logged(), &Options { trace: Some(&other), ..Options::default() });
    in_snapshots("conform", || insta::assert_snapshot!("void", messages.join("\n")));
}

#[test]
fn flags_stand_in_for_run_json() {
    let directory = tempfile::tempdir().unwrap();
    replay("burst-into-max-num-seqs", directory.path(), LogLevel::Standard);
    fs::remove_file(directory.path().join("run.json")).unwrap();
    let path = bundled("burst-into-max-num-seqs").with_extension("toml");
    let settings = Settings { num_gpu_blocks: None, ..Settings::from_file(&path).unwrap() };
    let options = Options { settings, ..Options::default() };
    let report = conform_log(directory.path(), &options).unwrap();
    assert_eq!(report.verdict, LogVerdict::Conforms, "{}", text(&report));
    in_snapshots("conform", || insta::assert_snapshot!("assumed", text(&report)));
}

#[test]
fn a_log_cut_anywhere_conforms_as_far_as_it_goes() {
    let whole = tempfile::tempdir().unwrap();
    replay("tiny-cache-preemption", whole.path(), LogLevel::Standard);
    let logs = files(whole.path());
    for cut in logs.iter().map(|(name, _)| name).filter(|name| name.ends_with(".csv")) {
        for share in 1..10 {
            let directory = tempfile::tempdir().unwrap();
            for (name, bytes) in &logs {
                let kept = if name == cut { bytes.len() * share / 10 } else { bytes.len() };
                fs::write(directory.path().join(name), &bytes[..kept]).unwrap();
            }
            let report = conform(directory.path());
            let kept = fs::read_to_string(directory.path().join(cut)).unwrap();
            let conforms = report.verdict == LogVerdict::Conforms;
            // A file whose header is cut may not be readable at all.
            let void = !kept.contains('\n') && matches!(report.verdict, LogVerdict::Void(_));
            assert!(conforms || void, "{cut} {share}: {}", text(&report));
        }
    }
}

/// After a divergence the reference goes on from the log's decision: nothing is left out, and what the
/// right scheduler decides from there is the same.
#[test]
fn the_reference_takes_over_what_the_log_decided() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(Policy::Fcfs);
    let jobs = jobs_for(Bug::ServesTheShortestFirst, 1);
    run(Bug::ServesTheShortestFirst, &jobs, &settings, directory.path());
    let report = conform(directory.path());
    let counts = report.counts;
    assert!(counts.taken_over > 0 && counts.skipped() == 0, "{}", text(&report));
    assert_eq!(counts.same + counts.different, counts.compared);
    assert!(counts.different < counts.same / 4, "{counts:?}");
    let mut out = Vec::new();
    write_conformance_json(&report, &mut out).unwrap();
    let json: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["schema"], "schedlog.conform/1");
    assert_eq!(json["verdict"], "diverges");
    in_snapshots("conform", || insta::assert_json_snapshot!("json", json));
}

/// Two runs in the same files: the first is compared, and it is said that the second is not.
#[test]
fn of_two_runs_in_one_log_the_first_is_compared() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    replay("tiny-cache-preemption", one.path(), LogLevel::Standard);
    replay("plain-run", other.path(), LogLevel::Standard);
    let alone = conform(one.path());
    for (name, second) in files(other.path()).iter().filter(|(name, _)| name.ends_with(".csv")) {
        let path = one.path().join(name);
        let (_header, body) = second.split_once('\n').unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + body).unwrap();
    }
    let report = conform(one.path());
    assert_eq!(report.counts, alone.counts);
    assert_eq!((report.verdict.clone(), report.exit_code()), (LogVerdict::Conforms, 2));
    in_snapshots("conform", || insta::assert_snapshot!("two-runs", text(&report)));
}

#[test]
fn the_comparison_joins_a_check_as_v001() {
    let directory = tempfile::tempdir().unwrap();
    replay("long-prompts-chunked", directory.path(), LogLevel::Standard);
    let rule = conform(directory.path()).as_rule();
    assert!(matches!(rule.outcome, Outcome::Holds { exercised } if exercised > 0), "{rule:?}");
    claim(directory.path(), |info| info["config"]["long_prefill_token_threshold"] = json!(0));
    let mut report = check_dir(directory.path(), &CheckOptions::default()).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean, "the log agrees with itself");
    report.rules.push(conform(directory.path()).as_rule());
    assert_eq!(report.verdict(), Verdict::Violated);
    let mut out = Vec::new();
    write_text(&report, &TextOptions::default(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    in_snapshots("conform", || insta::assert_snapshot!("check-V001", text));
    claim(directory.path(), |info| info["config"]["block_size"] = json!(null));
    let rule = conform(directory.path()).as_rule();
    assert_eq!((&rule.outcome, rule.damages), (&Outcome::Violated { count: 1 }, 1), "{rule:?}");
}

/// Without prefix caching no block holds content that could be dropped, trace or not.
#[test]
fn an_eviction_without_prefix_caching_is_a_divergence() {
    let directory = tempfile::tempdir().unwrap();
    run(Bug::None, &jobs(1), &settings(Policy::Fcfs), directory.path());
    let report = conform(directory.path());
    let counts = report.counts;
    assert_eq!((counts.evictions, counts.evictions_untold()), (counts.compared, 0));
    set(directory.path(), "per_iteration.csv", "evicted_blocks", "1", |row| row[0] == "9");
    let report = conform(directory.path());
    assert_eq!(report.verdict, LogVerdict::Diverges(schedlog::units::IterationId(9)));
    assert_eq!(report.divergences[0].differences[0].field, "evicted_blocks");
}
