//! Reasons for waiting: guessed ones are found with drafts too, and in logs that have the fixed columns
//! only.

use schedlog::check::{CheckReport, Verdict};
use schedlog::config::SpeculativeMethod;
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::settings::Settings;
use schedlog::trace::{ReadOptions, Trace};

use crate::dialect_writer::written;
use crate::fixtures::tripped;
use crate::golden::bundled;
use crate::mutants::full_logs;
use crate::sheets::Sheets;

const BARE: &str = "fixed-columns-only";

/// Gives every waiting request another reason; whether that changes anything.
fn blame(log: &mut Sheets, reason: impl Fn(&str, &str) -> Option<&'static str>) -> bool {
    let correct = log.clone();
    for row in 0..log.r.len() {
        let (state, old) = (log.r.text(row, "state"), log.r.text(row, "waiting_reason"));
        if let Some(reason) = reason(state, old).filter(|_| !old.is_empty()) {
            log.r.set(row, "waiting_reason", reason);
        }
    }
    *log != correct
}

fn check(log: &Sheets, run_json: bool) -> CheckReport {
    written(log, &[BARE], run_json).check().1
}

/// A bundled trace, replayed with drafts.
pub(crate) fn with_drafts(name: &str, method: SpeculativeMethod, caching: bool) -> Sheets {
    replayed(name, |settings| Settings {
        speculative_method: Some(method),
        num_speculative_tokens: Some(3),
        enable_prefix_caching: Some(caching),
        ..settings
    })
}

/// A bundled trace, replayed with other settings.
fn replayed(name: &str, change: impl Fn(Settings) -> Settings) -> Sheets {
    let (_, path) = bundled().into_iter().find(|(other, _)| other == name).unwrap();
    let settings = change(Settings::from_file(&path.with_extension("toml")).unwrap());
    let trace = Trace::open(&path, &ReadOptions::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (settings, options) = (settings.resolve().unwrap(), LogOptions::default());
    replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}).unwrap();
    Sheets::read(directory.path())
}

#[test]
fn a_budget_that_is_not_spent_is_no_reason_with_drafts_either() {
    use SpeculativeMethod as M;
    let mut caught = 0;
    for method in [M::Ngram, M::Eagle, M::DraftModel] {
        for caching in [false, true] {
            for name in ["tiny-cache-preemption", "burst-into-max-num-seqs", "watermark"] {
                let mut log = with_drafts(name, method, caching);
                let (_directory, report) = log.log().check();
                assert_eq!(report.verdict(), Verdict::Clean, "{name}: {:?}", tripped(&report));
                let for_budget = |_: &str, old: &str| {
                    matches!(old, "memory_insufficient" | "max_num_seqs")
                        .then_some("max_num_batched_tokens")
                };
                if blame(&mut log, for_budget) {
                    let (_directory, report) = log.log().check();
                    assert_eq!(tripped(&report), ["Q008"], "{name}, {method:?}, {caching}");
                    caught += 1;
                }
            }
        }
    }
    assert!(caught >= 12, "{caught}");
}

#[test]
fn a_log_without_any_reason_is_wrong_in_every_dialect() {
    for (name, mut log) in full_logs() {
        let waits = blame(&mut log, |_, _| Some(""));
        for run_json in [true, false] {
            let report = check(&log, run_json);
            let expected: &[&str] = if waits { &["Q008"] } else { &[] };
            assert_eq!(tripped(&report), expected, "{name}, run.json {run_json}");
        }
    }
}

/// Where the settings are known, every guess that is always the same is found.
#[test]
fn a_reason_that_is_always_the_same_is_found_in_the_fixed_columns() {
    let reasons = [
        "max_num_seqs",
        "max_num_batched_tokens",
        "memory_insufficient",
        "preempted",
        "unknown",
        "initial_waiting",
        "decode_priority",
        "evicted",
        "recomputation",
    ];
    for (name, log) in full_logs() {
        for reason in reasons {
            let mut wrong = log.clone();
            if blame(&mut wrong, |_, _| Some(reason)) {
                assert_eq!(tripped(&check(&wrong, true)), ["Q008"], "{name}: {reason}");
            }
        }
    }
}

/// Without settings, what contradicts the steps or one another.
#[test]
fn what_no_setting_makes_true_is_found_without_settings() {
    type Guess = fn(&str, &str) -> Option<&'static str>;
    let guesses: [(&str, Guess); 5] = [
        ("preempted", |_, _| Some("preempted")),
        ("evicted", |_, _| Some("evicted")),
        ("memory for preempted", |_, old| (old == "preempted").then_some("memory_insufficient")),
        ("initial", |state, _| (state == "preempted").then_some("initial_waiting")),
        // Such a log has steps with fewer running requests and steps with more.
        ("seats for memory", |_, old| (old == "memory_insufficient").then_some("max_num_seqs")),
    ];
    for (guess, apply) in guesses {
        let mut caught = 0;
        for (name, mut log) in full_logs() {
            if blame(&mut log, apply) {
                assert_eq!(tripped(&check(&log, false)), ["Q008"], "{name}: {guess}");
                caught += 1;
            }
        }
        assert!(caught >= 2, "{guess}: {caught}");
    }
}

/// Where the details of events are empty, only per_request.csv tells how long a prompt is: when its
/// request is over.
const WITHOUT_DETAILS: [&[&str]; 3] = [&[], &["no-details"], &["no-details", BARE]];

#[test]
fn a_wrong_reason_is_found_without_details_too() {
    let reasons = ["max_num_seqs", "max_num_batched_tokens", "memory_insufficient", "preempted"];
    let pairs = reasons.iter().flat_map(|old| reasons.iter().map(move |new| (*old, *new)));
    let pairs: Vec<_> = pairs.filter(|(old, new)| old != new).collect();
    for (name, log) in full_logs() {
        for (from, to) in &pairs {
            let mut wrong = log.clone();
            if !blame(&mut wrong, |_, old| (old == *from).then_some(*to)) {
                continue;
            }
            for habits in WITHOUT_DETAILS {
                let (_directory, report) = written(&wrong, habits, true).check();
                assert_eq!(tripped(&report), ["Q008"], "{name}, {habits:?}: {to} for {from}");
            }
        }
    }
}

#[test]
fn a_prompt_that_fits_the_unsplit_budget_is_found_without_details_too() {
    let mut caught = 0;
    for name in ["tiny-cache-preemption", "burst-into-max-num-seqs", "watermark", "aborts"] {
        let mut log = replayed(name, |settings| Settings {
            enable_chunked_prefill: Some(false),
            max_num_batched_tokens: settings.max_num_batched_tokens.max(settings.max_model_len),
            ..settings
        });
        let (_directory, report) = written(&log, &["no-details"], true).check();
        assert_eq!(report.verdict(), Verdict::Clean, "{name}: {:?}", tripped(&report));
        if blame(&mut log, |_, old| (old != "preempted").then_some("max_num_batched_tokens")) {
            for habits in WITHOUT_DETAILS {
                let (_directory, report) = written(&log, habits, true).check();
                assert_eq!(tripped(&report), ["Q008"], "{name}, {habits:?}");
                caught += 1;
            }
        }
    }
    assert!(caught >= 9, "{caught}");
}
