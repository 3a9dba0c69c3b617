//! Reading traces: every format, every error, and the way back.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schedlog::trace::{
    Arrival, MAX_LENGTH, ReadOptions, TimeUnit, Trace, TraceError, TraceFormat, TraceRequest,
    TraceWriter, private_token,
};
use schedlog::units::{Nanos, Priority, RequestId, TokenId, TokenRun, Tokens, push_run};

mod errors;
mod properties;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/traces").join(name)
}

/// A fixture read from memory, so that its name in snapshots is not a path.
fn read_fixture(name: &str, options: &ReadOptions) -> Result<Trace, TraceError> {
    Trace::from_bytes(name, std::fs::read(fixture(name)).unwrap(), options)
}

fn read_text(text: &str, options: &ReadOptions) -> Result<Trace, TraceError> {
    Trace::from_bytes("trace", text.as_bytes(), options)
}

fn requests(trace: &Trace) -> Vec<TraceRequest> {
    trace.requests().unwrap().collect::<Result<_, _>>().unwrap()
}

/// One line per request, in words that a reviewer can check against the file.
fn show(trace: &Trace) -> String {
    let mut text = trace.summary().to_string();
    for request in requests(trace) {
        let arrival = match &request.arrival {
            Arrival::At(time) => format!("at {time}"),
            Arrival::AfterTurn { session, delay } => format!("{delay} after {session}"),
        };
        let (id, input, output) = (&request.id, request.input_tokens, request.output_tokens);
        write!(text, "{id} {arrival}: {input} -> {output}").unwrap();
        if request.max_tokens != output {
            write!(text, " of at most {}", request.max_tokens).unwrap();
        }
        if request.priority != Priority(0) {
            write!(text, ", priority {}", request.priority).unwrap();
        }
        if let Some(abort) = request.abort_after {
            write!(text, ", gives up after {abort}").unwrap();
        }
        if let Some(session) = &request.session {
            write!(text, ", session {session}").unwrap();
        }
        if request.failed {
            text.push_str(", failed");
        }
        for run in &request.prompt {
            match run.first.0.checked_sub(1 << 63) {
                Some(own) => write!(text, " [own {}:{}", own >> 31, own & 0x7fff_ffff),
                None => write!(text, " [{}", run.first.0),
            }
            .unwrap();
            write!(text, " +{}]", run.len).unwrap();
        }
        text.push('\n');
    }
    text
}

macro_rules! snapshot {
    ($name:expr, $value:expr) => {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/trace"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!($name, $value) })
    };
}
use snapshot;

#[test]
fn every_format_is_found_and_read() {
    for name in [
        "mooncake.jsonl",
        "native.jsonl",
        "azure-2023.csv",
        "azure-2024.csv",
        "burstgpt-v1.csv",
        "burstgpt-v3.csv",
        "plain.csv",
        "qwen.jsonl",
        "vidur.csv",
        "splitwise.csv",
        "llmservingsim.jsonl",
        "unsorted.jsonl",
    ] {
        let trace = read_fixture(name, &ReadOptions::default()).unwrap();
        snapshot!(name, show(&trace));
    }
}

#[test]
fn options_change_what_is_read() {
    let defaults = ReadOptions::default;
    let cases = [
        ("keep-failed", "burstgpt-v1.csv", ReadOptions { keep_failed: true, ..defaults() }),
        ("rebase", "burstgpt-v1.csv", ReadOptions { rebase: true, ..defaults() }),
        ("limit", "mooncake.jsonl", ReadOptions { limit: Some(2), ..defaults() }),
        (
            "until",
            "mooncake.jsonl",
            ReadOptions { until: Some(Nanos(3_052_000_000)), ..defaults() },
        ),
        (
            "rate-scale",
            "mooncake.jsonl",
            ReadOptions { rate_scale: "1.5".parse().unwrap(), ..defaults() },
        ),
        ("time-unit", "mooncake.jsonl", ReadOptions { time_unit: Some(TimeUnit::S), ..defaults() }),
        (
            "rate-scale-turns",
            "native.jsonl",
            ReadOptions { rate_scale: "4".parse().unwrap(), ..defaults() },
        ),
        (
            "until-unsorted",
            "unsorted.jsonl",
            ReadOptions { until: Some(Nanos(20_000_000)), ..defaults() },
        ),
    ];
    for (case, name, options) in cases {
        snapshot!(format!("option-{case}"), show(&read_fixture(name, &options).unwrap()));
    }
}

#[test]
fn a_compressed_trace_reads_like_the_plain_one() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mooncake.jsonl.gz");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&std::fs::read(fixture("mooncake.jsonl")).unwrap()).unwrap();
    let bytes = gz.finish().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let plain = Trace::open(&fixture("mooncake.jsonl"), &ReadOptions::default()).unwrap();
    let packed = Trace::open(&path, &ReadOptions::default()).unwrap();
    assert_eq!(requests(&plain), requests(&packed));
    assert!(!packed.summary().in_memory);
    let cut = Trace::from_bytes("cut.gz", &bytes[..bytes.len() - 9], &ReadOptions::default());
    assert!(cut.unwrap_err().to_string().contains("damaged or cut off"));
}

#[test]
fn a_sorted_file_is_streamed_and_an_unsorted_one_is_loaded() {
    let open = |name| Trace::open(&fixture(name), &ReadOptions::default()).unwrap();
    assert!(!open("mooncake.jsonl").summary().in_memory);
    assert!(!open("native.jsonl").summary().in_memory);
    assert!(open("unsorted.jsonl").summary().in_memory);
}

#[test]
fn a_file_that_changes_after_its_check_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    std::fs::copy(fixture("mooncake.jsonl"), &path).unwrap();
    let trace = Trace::open(&path, &ReadOptions::default()).unwrap();
    std::fs::write(&path, "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 5}\n")
        .unwrap();
    let mut read = trace.requests().unwrap();
    assert!(read.next().unwrap().is_ok());
    assert!(read.next().unwrap().unwrap_err().to_string().contains("changed while it was read"));
    assert!(read.next().is_none());
}

#[test]
fn rows_that_cannot_be_read_are_counted_by_reason() {
    let text = concat!(
        "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 5, \"request_id\": \"b\"}\n",
        "{\"timestamp\": 1, \"input_length\": -5, \"output_length\": 5}\n",
        "{\"timestamp\": 2, \"input_length\": 0, \"output_length\": 5}\n",
        "{\"timestamp\": 3, \"input_length\": 5, \"output_length\": 0}\n",
        "{\"timestamp\": 4, \"input_length\": 5, \"output_length\": 5, \"request_id\": \"a\"}\n",
        "{\"timestamp\": 4, \"input_length\": 5, \"output_length\": 5, \"request_id\": \"b\"}\n",
        "{\"timestamp\": 5, \"input_length\": 513, \"output_length\": 5, \"hash_ids\": [1]}\n",
        "{\"timestamp\": 6, \"delay\": 5, \"input_length\": 5, \"output_length\": 5}\n",
        "{\"timestamp\": 7, \"input_length\": 5, \"output_length\": 5, \"speed\": 1}\n",
        "{\"timestamp\": 8, \"input_length\": 5, \"outp",
    );
    let options = ReadOptions { skip_invalid: true, ..ReadOptions::default() };
    snapshot!("skip-invalid", show(&read_text(text, &options).unwrap()));
}

/// A trace published elsewhere; tests that need one are skipped where it is not at hand.
fn published(name: &str, options: &ReadOptions) -> Option<Trace> {
    let path = root().join("../shared/traces").join(name);
    if !path.exists() {
        println!("skipped: {name} is not at hand");
        return None;
    }
    Some(Trace::open(&path, options).unwrap())
}

#[test]
fn published_azure_trace() {
    let Some(trace) = published("AzureLLMInferenceTrace_code.csv", &ReadOptions::default()) else {
        return;
    };
    let summary = trace.summary();
    assert_eq!(summary.format, Some(TraceFormat::Azure));
    assert_eq!((summary.rows, summary.requests, summary.in_memory), (8_819, 8_819, false));
    assert_eq!(summary.last_arrival, Nanos(3_435_948_056_000));
    assert_eq!(summary.first_arrival, Nanos::ZERO);
    assert_eq!(summary.input_tokens_max, Tokens(7_437));
    assert_eq!(requests(&trace).len(), 8_819);
}

#[test]
fn published_mooncake_trace() {
    let name = "mooncake_conversation.head120s.jsonl";
    let Some(trace) = published(name, &ReadOptions::default()) else { return };
    let summary = trace.summary();
    assert_eq!(summary.format, Some(TraceFormat::Mooncake));
    assert_eq!((summary.requests, summary.hashed), (339, 339));
    assert_eq!(summary.last_arrival, Nanos(117_000_000_000));
    assert_eq!((summary.ties.distinct, summary.ties.largest), (40, 16));
    assert!(summary.ties.bucketed);
}

#[test]
fn published_burstgpt_trace() {
    let name = "BurstGPT_1.head120.csv";
    let Some(trace) = published(name, &ReadOptions::default()) else { return };
    assert_eq!((trace.summary().rows, trace.summary().requests), (120, 115));
    let options = ReadOptions { keep_failed: true, ..ReadOptions::default() };
    let trace = published(name, &options).unwrap();
    assert_eq!((trace.summary().requests, trace.summary().failed), (120, 5));
}
