//! The first difference that a report names is the decision, not what follows from it, in any dialect.

use schedlog::conform::log::{ConformOptions, LogReport, conform_log};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::settings::Settings;
use schedlog::trace::{Arrival, Trace, TraceRequest, private_token};
use schedlog::units::{Nanos, Priority, TokenRun, Tokens};
use serde_json::{Value, json};

use crate::conform_canaries::replay;
use crate::dialect_writer::written;
use crate::sheets::Sheets;

/// The log as if its engine had had another setting; compared without the trace.
fn claims(log: &Sheets, habits: &[&str], setting: &str, value: &Value) -> LogReport {
    let directory = written(log, habits, true).write();
    let path = directory.path().join("run.json");
    let mut info: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    info["config"][setting] = value.clone();
    let derived = match setting {
        "max_num_batched_tokens" => "max_num_scheduled_tokens",
        "max_num_seqs" => "max_num_active_seqs",
        _ => setting,
    };
    info["config"][derived] = value.clone();
    std::fs::write(&path, info.to_string()).unwrap();
    conform_log(directory.path(), &ConformOptions::default()).unwrap()
}

/// The first difference of the first divergence: its iteration, field, and both sides.
fn first(report: &LogReport) -> (u64, &'static str, &str, &str) {
    let divergence = report.divergences.first().unwrap_or_else(|| panic!("{report:#?}"));
    let lead = &divergence.differences[0];
    (divergence.iteration.0, lead.field, &lead.logged, &lead.reference)
}

const DIALECTS: [&[&str]; 5] =
    [&[], &["fixed-columns-only"], &["no-details"], &["no-initial-rows"], &["no-preempted-rows"]];

#[test]
fn another_setting_shows_by_the_decision_in_any_dialect() {
    let cases = [
        ("burst-into-max-num-seqs", "max_num_seqs", json!(3), ["admitted requests"; 2]),
        ("watermark", "watermark", json!(0.0), ["admitted requests"; 2]),
        (
            "long-prompts-chunked",
            "long_prefill_token_threshold",
            json!(0),
            ["scheduled_tokens", "kv_cache_blocks"],
        ),
        (
            "long-prompts-chunked",
            "max_num_batched_tokens",
            json!(65),
            ["scheduled_tokens", "kv_cache_blocks"],
        ),
        ("unsplit-prompts", "enable_chunked_prefill", json!(true), ["admitted requests"; 2]),
        ("priorities", "policy", json!("fcfs"), ["admitted requests"; 2]),
    ];
    for (trace, setting, value, [field, without_tokens]) in cases {
        let directory = tempfile::tempdir().unwrap();
        replay(trace, directory.path(), LogLevel::Standard);
        let log = Sheets::read(directory.path());
        let reference = claims(&log, &[], setting, &value);
        for habits in DIALECTS {
            let report = claims(&log, habits, setting, &value);
            let fixed = habits.contains(&"fixed-columns-only");
            let (iteration, found, ..) = first(&report);
            assert_eq!(iteration, first(&reference).0, "{setting} {habits:?}");
            assert_eq!(found, if fixed { without_tokens } else { field }, "{setting} {habits:?}");
        }
    }
}

/// A request of these tokens: shared ones, then its own.
fn request(ordinal: u32, at: u64, shared: u32, own: u32) -> TraceRequest {
    let runs = [(u32::MAX, shared), (ordinal, own)];
    let runs = runs.into_iter().filter(|(_, len)| *len > 0);
    TraceRequest {
        ordinal,
        id: format!("r{ordinal}").into(),
        arrival: Arrival::At(Nanos(at)),
        session: None,
        input_tokens: Tokens(shared + own),
        output_tokens: Tokens(4),
        max_tokens: Tokens(4),
        priority: Priority(0),
        abort_after: None,
        prompt: runs
            .map(|(whose, len)| TokenRun { first: private_token(whose, 0), len: Tokens(len) })
            .collect(),
        failed: false,
    }
}

/// One request finds the blocks of one that is over, another that comes with it has no room for all of its
/// prompt. How many blocks the first one shares shows in kv_cache_used only, behind both.
#[test]
fn an_admission_for_which_the_step_left_no_room_is_named_and_not_its_block_count() {
    let settings = Settings {
        max_num_seqs: Some(4),
        max_num_batched_tokens: Some(64),
        max_model_len: Some(96),
        block_size: Some(8),
        num_gpu_blocks: Some(16),
        scheduler_reserve_full_isl: Some(false),
        ..Settings::default()
    };
    let requests = vec![
        request(0, 0, 32, 1),
        request(1, 10_000_000_000, 32, 9),
        request(2, 10_000_000_000, 0, 80),
    ];
    let trace = Trace::from_requests("room", requests);
    let directory = tempfile::tempdir().unwrap();
    let resolved = settings.resolve().unwrap();
    let options = LogOptions::default();
    replay_trace(&trace, &resolved, Some(directory.path()), &options, |_| {}).unwrap();
    let log = Sheets::read(directory.path());
    for habits in DIALECTS {
        let report = claims(&log, habits, "scheduler_reserve_full_isl", &json!(true));
        let (_, field, logged, reference) = first(&report);
        let sides = ("admitted requests", "[r1 r2]", "[r1]");
        assert_eq!((field, logged, reference), sides, "{habits:?} {report:#?}");
        let why = "admission ended at r2: the full sequence needs 10 blocks, 9 are free";
        assert_eq!(report.divergences[0].reasons, [why], "{habits:?}");
    }
}
