//! The reference in the place of a log's scheduler, in every dialect: a right log conforms, or it is
//! said what the dialect lacks; a wrong decision is still found.

use std::fmt::Write as _;

use proptest::prelude::*;
use schedlog::conform::log::{ConformOptions as Options, LogReport, LogVerdict, Void, conform_log};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::latency::LatencyModel;
use schedlog::log::values::LogLevel;
use schedlog::settings::{Resolved, Settings};
use schedlog::trace::{ReadOptions, Trace};
use schedlog::units::Nanos;

use crate::conform_canaries::{BUGS, first_wrong_log, text};
use crate::conform_log::{cut, latencies};
use crate::dialect_writer::{VARIATIONS, written};
use crate::golden::bundled;
use crate::mutants::logs_at;
use crate::record_logs;
use crate::sheets::Sheets;
use crate::skew::stamps;
use crate::strategies::{settings, traces};
use crate::support::in_snapshots;

fn conform(log: &Sheets, habits: &[&str], options: &Options<'_>, run_json: bool) -> LogReport {
    let directory = written(log, habits, run_json).write();
    conform_log(directory.path(), options).unwrap()
}

/// What a log in these habits cannot tell.
fn missing(log: &Sheets, habits: &[&str]) -> Option<Void> {
    let has = |habit: &str| habits.contains(&habit);
    let bare = has("fixed-columns-only");
    if (bare || has("fifteen-columns")) && has("no-details") && has("no-completed-rows") {
        return Some(Void::NoReasons);
    }
    let config = &log.run["config"];
    if bare && has("no-details") && config["enable_prefix_caching"] == true {
        return Some(Void::NoHits);
    }
    let priority = config["policy"] == "priority";
    (has("fifteen-columns") && has("no-details") && priority).then_some(Void::NoPriority)
}

/// What is wrong with a comparison, unless it came out as it should.
fn complaint(report: &LogReport, missing: Option<Void>) -> Option<String> {
    let expected = missing.map_or(LogVerdict::Conforms, LogVerdict::Void);
    let counts = report.counts;
    let all = expected != LogVerdict::Conforms || counts.same == counts.iterations;
    (report.verdict != expected || !all).then(|| format!("{report:#?}"))
}

/// Every bundled log, with the settings to give as flags where it has no run.json.
fn logs() -> Vec<(String, Sheets, Settings)> {
    let path = |name: &str| bundled().into_iter().find(|(other, _)| other == name).unwrap().1;
    let with_settings = |(name, log): (String, Sheets)| {
        let given = Settings::from_file(&path(&name).with_extension("toml")).unwrap();
        let resolved = given.resolve().unwrap().scheduler;
        let settings = Settings {
            block_size: Some(resolved.block_size),
            max_num_seqs: Some(resolved.max_num_seqs.0),
            max_num_batched_tokens: Some(resolved.max_num_batched_tokens.0),
            max_model_len: Some(resolved.max_model_len.0),
            // The log tells these.
            num_gpu_blocks: None,
            async_scheduling: None,
            ..given
        };
        (name, log, settings)
    };
    logs_at(LogLevel::Standard).into_iter().map(with_settings).collect()
}

#[test]
fn every_bundled_log_conforms_in_every_dialect() {
    let mut wrong = Vec::new();
    for (name, log, settings) in logs() {
        for variation in VARIATIONS {
            let habits = [variation.habit];
            for run_json in [true, false] {
                let settings = if run_json { Settings::default() } else { settings.clone() };
                let options = Options { settings, ..Options::default() };
                let report = conform(&log, &habits, &options, run_json);
                if let Some(complaint) = complaint(&report, missing(&log, &habits)) {
                    wrong.push(format!("{name}, {habits:?}, run.json {run_json}: {complaint}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong[0]);
}

/// What the fixed columns leave open is the content of prompts, which details of events or a trace tell.
#[test]
fn fixed_columns_are_compared_where_prompts_are_known() {
    let bare = ["fixed-columns-only", "no-details"];
    let mut compared = 0;
    for (name, log, _) in logs() {
        if missing(&log, &bare) != Some(Void::NoHits) {
            continue;
        }
        let path = bundled().into_iter().find(|(other, _)| *other == name).unwrap().1;
        let trace = Trace::open(&path, &ReadOptions::default()).unwrap();
        let options = Options { trace: Some(&trace), ..Options::default() };
        let report = conform(&log, &bare, &options, true);
        let complaint = complaint(&report, None);
        assert!(complaint.is_none(), "{name}: {}", complaint.unwrap());
        let told = report.notes.iter().any(|note| note.contains("no tokens per request"));
        assert!(told, "{name}: {:?}", report.notes);
        compared += 1;
    }
    assert!(compared >= 12, "{compared}");
}

/// The logs of the real scheduler's recorded runs, whose drafters propose as many as they like.
#[test]
fn recorded_runs_conform_with_fixed_columns_only() {
    let mut lines = String::new();
    for name in record_logs::names() {
        let log = Sheets::read(record_logs::log(&name).path());
        if conform(&log, &[], &Options::default(), true).verdict != LogVerdict::Conforms {
            // A record has no moments of arrival, of which priorities ask.
            continue;
        }
        let report = conform(&log, &["fixed-columns-only"], &Options::default(), true);
        let (counts, verdict) = (report.counts, &report.verdict);
        assert_eq!(*verdict, LogVerdict::Conforms, "{name}: {report:#?}");
        if name == "spec-0003" {
            in_snapshots("conform", || {
                insta::assert_snapshot!("fixed-columns-drafts", text(&report))
            });
        }
        let _ = writeln!(lines, "{name}: {} of {} iterations", counts.same, counts.iterations);
    }
    in_snapshots("conform", || insta::assert_snapshot!("recorded-fixed-columns", lines));
}

#[test]
fn reasons_that_a_log_does_not_give_are_named_as_not_compared() {
    for (name, mut log, _) in logs() {
        let waits = log.r.where_is("waiting_reason", "").len() < log.r.len();
        log.r.map_text("waiting_reason", |_| String::new());
        let report = conform(&log, &[], &Options::default(), true);
        let told = report.notes.iter().any(|note| note.contains("without a waiting_reason"));
        assert_eq!(told, waits, "{name}: {report:#?}");
    }
}

/// A wrong decision is found in any dialect, and where it first matters if the dialect has the rows
/// that show it.
#[test]
fn every_wrong_scheduler_is_caught_in_every_dialect() {
    let mut missed = Vec::new();
    for (bug, policy) in BUGS {
        let (directory, expected) = first_wrong_log(bug, policy);
        let log = Sheets::read(directory.path());
        assert_eq!(missing(&log, &["fixed-columns-only"]), None, "{bug:?}");
        let skewed = stamps(&log, 3_000);
        let dialects = VARIATIONS.iter().map(|variation| (&log, variation.habit));
        for (log, habit) in dialects.chain([(&skewed, "clock-skew")]) {
            let report = conform(log, &[habit], &Options::default(), true);
            let found = match report.verdict {
                LogVerdict::Diverges(id) => Some(id.0),
                LogVerdict::Conforms => None,
                LogVerdict::Void(_) if missing(log, &[habit]).is_some() => continue,
                LogVerdict::Void(reason) => panic!("{bug:?}, {habit}: {reason}"),
            };
            if found != Some(expected) {
                missed.push(format!("{bug:?}, {habit}: {found:?}, not {expected}"));
            }
        }
    }
    assert_eq!(missed, HIDDEN);
}

/// Some wrong decisions show in the rows of waiting requests alone, or first.
const HIDDEN: [&str; 3] = [
    "PreemptedGoToTheBack, no-initial-rows: Some(72), not 65",
    "PreemptedGoToTheBack, no-preempted-rows: Some(72), not 65",
    "BlamesTheSeats, no-preempted-rows: None, not 65",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn bundled_logs_conform_in_any_combination(
        chosen in any_habits(),
        run_json: bool,
        skew in proptest::option::of(3u64..20_000),
    ) {
        for (name, log, settings) in logs() {
            let settings = if run_json { Settings::default() } else { settings };
            let options = Options { settings, ..Options::default() };
            // The changes show the skew of any log of some length.
            let changes = !chosen.contains(&"no-transitions");
            let shown = log.i.len() >= 6 && log.p.len() >= 3 && changes;
            let log = skew.filter(|_| shown).map_or(log.clone(), |most| stamps(&log, most));
            let report = conform(&log, &chosen, &options, run_json);
            let complaint = complaint(&report, missing(&log, &chosen));
            prop_assert!(complaint.is_none(), "{}, {:?}: {}", name, chosen, complaint.unwrap());
        }
    }
}

/// Each habit as often as not; the one that leaves most logs nothing to compare more rarely.
fn any_habits() -> impl Strategy<Value = Vec<&'static str>> {
    let share = |habit: &str| if habit == "fixed-columns-only" { 0.2 } else { 0.4 };
    let habits: Vec<_> = VARIATIONS
        .iter()
        .map(|variation| {
            proptest::bool::weighted(share(variation.habit))
                .prop_map(|chosen| chosen.then_some(variation.habit))
        })
        .collect();
    habits.prop_map(|habits| habits.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn what_the_reference_writes_conforms_in_any_dialect(
        requests in traces(12),
        settings in settings(),
        latency in proptest::option::weighted(0.2, latencies()),
        habits in any_habits(),
    ) {
        let settings = Resolved { latency: latency.unwrap_or(settings.latency), ..settings };
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests);
        let options = LogOptions::default();
        if replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}).is_err() {
            return Err(TestCaseError::reject("vLLM itself would hang or die"));
        }
        let log = Sheets::read(directory.path());
        let report = conform(&log, &habits, &Options::default(), true);
        if report.verdict == LogVerdict::Void(Void::NoIteration) {
            return Err(TestCaseError::reject("every request is refused at the door"));
        }
        let named = |habit: &str| report.dialect.iter().any(|it| it.name() == habit);
        // Of a few steps it is not told whether a file has no such row or was cut before it.
        let taken_for_cut = habits.contains(&"no-completed-rows") && !named("no-completed-rows");
        // Where everybody gave up, nothing tells that there would be such rows, so that who did is open.
        let no_ends = !log.r.rows.iter().any(|row| row[2] == "completed");
        prop_assume!(!no_ends || report.verdict != LogVerdict::Void(Void::NoReasons));
        // Where no forward pass takes any time, nothing tells that steps end at their decisions.
        prop_assume!(!habits.contains(&"ends-at-decision") || named("ends-at-decision"));
        // Nor whether a step saw an arrival at its own moment, where it has no row and the log is too
        // short to tell that such rows are left out.
        let timeless = matches!(settings.latency, LatencyModel::Fixed(fixed) if fixed.cpu.schedule_base == Nanos::ZERO);
        let unseen = habits.contains(&"no-initial-rows") && !named("no-initial-rows");
        prop_assume!(!(timeless && unseen));
        let untold = settings.scheduler.speculative.is_some()
            && habits.contains(&"no-preempted-rows")
            && report.notes.iter().any(|note| note.contains("how many drafts"));
        // Where the rows end, the counts do not tell how many of the other kind there should be.
        let open_end = named("no-initial-rows") != named("no-preempted-rows")
            && report.notes.iter().any(|note| note.contains("ends before it has told"));
        if untold || taken_for_cut || open_end {
            prop_assert!(!matches!(report.verdict, LogVerdict::Diverges(_)), "{:#?}", report);
            return Ok(());
        }
        let complaint = complaint(&report, missing(&log, &habits));
        prop_assert!(complaint.is_none(), "{:?}: {}", habits, complaint.unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What each request had and got is told by the step's sums and blocks, so that taking the decision
    /// over at every step changes nothing.
    #[test]
    fn fixed_columns_conform_with_the_decision_taken_over(
        requests in traces(12),
        settings in settings(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests);
        let options = LogOptions::default();
        if replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}).is_err() {
            return Err(TestCaseError::reject("vLLM itself would hang or die"));
        }
        let (log, bare) = (Sheets::read(directory.path()), ["fixed-columns-only"]);
        for always_take_over in [false, true] {
            let options = Options { always_take_over, ..Options::default() };
            let report = conform(&log, &bare, &options, true);
            if report.verdict == LogVerdict::Void(Void::NoIteration) {
                return Err(TestCaseError::reject("every request is refused at the door"));
            }
            let complaint = complaint(&report, missing(&log, &bare));
            prop_assert!(complaint.is_none(), "{}: {}", always_take_over, complaint.unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What is gone with the ends of files is never taken for a decision, in no dialect.
    #[test]
    fn a_cut_log_never_diverges_in_any_dialect(
        requests in traces(10),
        settings in settings(),
        habits in any_habits(),
        cuts in proptest::collection::vec(proptest::option::weighted(0.4, 0.0..1.0f64), 5),
        whole_rows: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests);
        let options = LogOptions::default();
        if replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}).is_err() {
            return Err(TestCaseError::reject("vLLM itself would hang or die"));
        }
        let directory = written(&Sheets::read(directory.path()), &habits, true).write();
        cut(directory.path(), &cuts, whole_rows);
        let report = conform_log(directory.path(), &Options::default()).unwrap();
        // Of what is left it may not be told that the dialect lacks rows, and they were not lost.
        let named = |habit: &str| report.dialect.iter().any(|it| it.name() == habit);
        let unnamed = |habit: &str| habits.contains(&habit) && !named(habit);
        let rows = ["no-initial-rows", "no-preempted-rows", "no-completed-rows", "ends-at-decision", "resumed-at-first", "batch-is-running"];
        if rows.into_iter().any(unnamed) {
            return Ok(());
        }
        prop_assert!(!matches!(report.verdict, LogVerdict::Diverges(_)), "{:#?}", report);
    }
}
