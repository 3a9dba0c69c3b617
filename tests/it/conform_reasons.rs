//! A waiting reason that the reference would not give is a divergence, also where nothing tells what the
//! head of the queue would have found in the prefix cache.

use std::collections::BTreeSet;

use schedlog::config::SpeculativeMethod;
use schedlog::conform::log::{ConformOptions, LogReport, LogVerdict, conform_log};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::settings::Settings;
use schedlog::trace::{ReadOptions, Trace};
use schedlog::units::IterationId;

use crate::dialect_writer::written;
use crate::mutants::logs_at;
use crate::reasons::with_drafts;
use crate::record_logs;
use crate::sheets::Sheets;

const MEMORY: &str = "memory_insufficient";
const BUDGET: &str = "max_num_batched_tokens";
const SEATS: &str = "max_num_seqs";

/// A log without prefix hits to be known: what the trace would tell is not given.
fn conform(log: &Sheets, habits: &[&str]) -> LogReport {
    let directory = written(log, habits, true).write();
    conform_log(directory.path(), &ConformOptions::default()).unwrap()
}

/// Gives one reason for another; the steps in which that changes something.
fn blame(log: &mut Sheets, old: &str, new: &str) -> BTreeSet<u64> {
    let rows = log.r.where_is("waiting_reason", old);
    log.r.map_text("waiting_reason", |reason| {
        if reason == old { new.to_owned() } else { reason.to_owned() }
    });
    rows.into_iter().map(|row| log.r.n(row, "iteration_id") as u64).collect()
}

/// What is wrong with a report on a log in which the reasons of these steps are wrong.
fn complaint(
    report: &LogReport,
    steps: &BTreeSet<u64>,
    [old, new]: [&str; 2],
) -> Option<&'static str> {
    let first = steps.first().map(|id| LogVerdict::Diverges(IterationId(*id)));
    if Some(&report.verdict) != first.as_ref() {
        return Some("not in the first step");
    }
    if report.counts.different != steps.len() as u64 {
        return Some("not in every step");
    }
    if report.counts.taken_over + report.counts.skipped() > 0 {
        return Some("the same decision is taken over");
    }
    let differences: Vec<_> = report.divergences.iter().flat_map(|it| &it.differences).collect();
    let sides = differences.iter().all(|it| {
        (it.field, &*it.logged, &*it.reference) == ("waiting_reason", new, old)
            && it.request.is_some()
    });
    (differences.is_empty() || !sides).then_some("not by its reason")
}

/// Bundled traces, also with drafts.
fn logs() -> Vec<(String, Sheets)> {
    use SpeculativeMethod as M;
    let mut logs = logs_at(LogLevel::Standard);
    for method in [M::Ngram, M::Eagle, M::DraftModel] {
        for name in ["tiny-cache-preemption", "burst-into-max-num-seqs", "watermark"] {
            logs.push((format!("{name} {method:?}"), with_drafts(name, method, true)));
        }
    }
    logs
}

#[test]
fn a_limit_that_no_number_of_hits_makes_true_diverges_in_every_step() {
    let (mut missed, mut tried) = (Vec::new(), [0; 6]);
    let pairs = [
        [MEMORY, BUDGET],
        [MEMORY, SEATS],
        [BUDGET, MEMORY],
        [BUDGET, SEATS],
        [SEATS, MEMORY],
        [SEATS, BUDGET],
    ];
    for (name, right) in logs() {
        for (pair, tried) in pairs.into_iter().zip(&mut tried) {
            for habit in ["no-completed-rows", "no-details", "ends-at-decision"] {
                let mut log = right.clone();
                let steps = blame(&mut log, pair[0], pair[1]);
                if steps.is_empty() {
                    continue;
                }
                *tried += 1;
                for habits in [&[][..], &[habit]] {
                    let report = conform(&log, habits);
                    if let Some(why) = complaint(&report, &steps, pair) {
                        missed.push(format!("{name} {habits:?} {pair:?}: {why}"));
                    }
                }
            }
        }
    }
    assert_eq!(missed, [""; 0]);
    assert!(tried.iter().all(|count| *count > 0), "{tried:?}");
}

/// Two prompts arrive at once, and the second one does not fit in the budget unless it finds both blocks
/// that the first one has; then it may lack a block. Nothing but the trace tells that it finds none.
#[test]
fn either_of_two_limits_is_let_through_where_hits_decide() {
    // Length of the second prompt, blocks, prefix caching: whether memory may have kept it out.
    let cases = [
        (48, 6, true, true),
        // With both hits a token is still too many.
        (57, 6, true, false),
        // There are blocks enough for any.
        (48, 7, true, false),
        // Nothing is found.
        (48, 6, false, false),
    ];
    for (length, blocks, caching, is_open) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("two.jsonl");
        let row = |length| {
            format!("{{\"timestamp\": 0, \"input_length\": {length}, \"output_length\": 2}}\n")
        };
        std::fs::write(&path, row(40) + &row(length)).unwrap();
        let trace = Trace::open(&path, &ReadOptions::default()).unwrap();
        let settings = Settings {
            max_model_len: Some(64),
            num_gpu_blocks: Some(blocks),
            block_size: Some(16),
            enable_chunked_prefill: Some(false),
            enable_prefix_caching: Some(caching),
            max_num_batched_tokens: Some(64),
            max_num_seqs: Some(4),
            ..Settings::default()
        };
        let (settings, options) = (settings.resolve().unwrap(), LogOptions::default());
        let logged = directory.path().join("log");
        replay_trace(&trace, &settings, Some(&logged), &options, |_| {}).unwrap();
        let mut log = Sheets::read(&logged);
        let right = conform(&log, &[]);
        assert_eq!(right.verdict, LogVerdict::Conforms, "{right:#?}");
        let steps = blame(&mut log, BUDGET, MEMORY);
        assert!(steps.contains(&0), "{length} {blocks} {caching}");
        let wrong = LogVerdict::Diverges(IterationId::ZERO);
        let directory = log.log().write();
        let report = conform_log(directory.path(), &ConformOptions::default()).unwrap();
        let expected = if is_open { &LogVerdict::Conforms } else { &wrong };
        assert_eq!(&report.verdict, expected, "{length} {blocks} {caching}: {report:#?}");
        let options = ConformOptions { trace: Some(&trace), ..ConformOptions::default() };
        let exact = conform_log(directory.path(), &options).unwrap();
        assert_eq!(exact.verdict, wrong, "{length} {blocks} {caching}: {exact:#?}");
    }
}

/// The reference has none of these features, so it cannot tell what the engine that has them would say.
#[test]
fn reasons_that_the_reference_cannot_have_are_named_as_not_compared() {
    let features =
        ["unknown", "waiting_for_remote_kvs", "waiting_for_fsm", "lora_limit", "encoder_budget"];
    let guesses = ["decode_priority", "chunked_prefill", "initial_waiting", "recomputation"];
    let mut logs = logs_at(LogLevel::Standard);
    logs.retain(|(name, _)| name == "tiny-cache-preemption" || name == "unsplit-prompts");
    assert_eq!(logs.len(), 2);
    for (name, right) in logs {
        let from = if name == "unsplit-prompts" { BUDGET } else { MEMORY };
        for reason in features.into_iter().chain(guesses) {
            let mut log = right.clone();
            let steps = blame(&mut log, from, reason);
            let report = conform(&log, &[]);
            let note = format!("{} iterations have waiting requests whose", steps.len());
            let told = report.notes.iter().any(|told| told.starts_with(&note));
            if features.contains(&reason) {
                assert_eq!(report.verdict, LogVerdict::Conforms, "{name} {reason}: {report:#?}");
                assert!(told, "{name} {reason}: {report:#?}");
            } else {
                let why = complaint(&report, &steps, [from, reason]);
                assert_eq!((why, told), (None, false), "{name} {reason}: {report:#?}");
            }
        }
    }
}

/// With three batches in flight a preempted request is passed over while others are looked at.
#[test]
fn a_request_that_waits_for_its_output_says_so_in_the_reference_too() {
    for name in ["depth3-0005", "depth3-0007"] {
        let directory = record_logs::log(name);
        let report = conform_log(directory.path(), &ConformOptions::default()).unwrap();
        assert_eq!(report.verdict, LogVerdict::Conforms, "{name}: {report:#?}");
        let mut log = Sheets::read(directory.path());
        let waits = blame(&mut log, "waiting_for_output", "preempted");
        let report = conform(&log, &[]);
        let why = complaint(&report, &waits, ["waiting_for_output", "preempted"]);
        assert_eq!(why, None, "{name}: {report:#?}");
    }
}
