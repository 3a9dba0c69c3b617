//! `schedlog conform` on logs: damaged ones, ones that cannot be compared, and differences of all kinds.

use serde_json::json;

use super::{Place, bundled, packed, trace};
use crate::cli::schedlog;
use crate::dialect_writer::written;
use crate::record_logs;
use crate::sheets::Sheets;

/// The lines that say why, and how it ends.
const END: [&str; 3] = ["note: ", "damage: ", "verdict: "];
/// A difference: where it is, what differs, and both sides of it.
const DIFFERENCE: [&str; 8] = [
    "iteration ",
    "  -->",
    "    log     ",
    "    reference ",
    "  kv_cache_used",
    "  evicted_blocks",
    "  assertion",
    "  batches in flight",
];

/// Every setting that the reference does not have, and what its log lacks.
#[test]
fn what_keeps_a_log_from_being_compared_is_named() {
    let mut place = Place::new();
    let log = bundled("tiny-cache-preemption");
    for (setting, value) in [
        ("pipeline_parallel_size", json!(2)),
        ("decode_context_parallel_size", json!(2)),
        ("kv_transfer_config", json!({"kv_connector": "x"})),
        ("ec_transfer_config", json!({"ec_connector": "x"})),
        ("enable_lora", json!(true)),
        ("prefill_schedule_interval", json!(4)),
        ("max_num_seqs", json!(0)),
        ("speculative_method", json!("guess")),
    ] {
        let mut other = log.clone();
        other.run["config"][setting] = value;
        other.run["config"]["num_speculative_tokens"] = json!(1);
        place.log(setting, &other.log());
        assert_eq!(place.says(&format!("conform {setting}")), 2);
    }
    let mut other = bundled("priorities");
    other.e.map_text("details", |details| {
        let Ok(mut told) = serde_json::from_str::<serde_json::Value>(details) else {
            return details.to_owned();
        };
        told.as_object_mut().unwrap().remove("priority");
        told.to_string()
    });
    place.log("no-priority", &written(&other, &["fifteen-columns"], true));
    assert_eq!(place.says("conform no-priority"), 2);
    let mut empty = log.clone();
    empty.i.rows.clear();
    empty.r.rows.clear();
    place.log("empty", &empty.log());
    assert_eq!(place.says("conform empty"), 2);
    place.log("log", &log.log());
    let own = std::fs::read_to_string(trace("tiny-cache-preemption")).unwrap();
    place.file("other.jsonl", own.replace("\"input_length\": 30", "\"input_length\": 31"));
    place.file("part.jsonl", own.lines().take(2).collect::<Vec<_>>().join("\n"));
    for trace in ["other.jsonl", "part.jsonl", "nowhere.jsonl"] {
        assert_eq!(place.says(&format!("conform log --trace {trace}")), 2);
    }
    assert_eq!(place.says("conform log log"), 2);
    assert_eq!(place.says("conform log nowhere.jsonl"), 2);
    place.assert_known("conform-void");
}

/// What was assumed, what a cut file or the dialect does not tell, what is damaged.
#[test]
fn what_was_not_compared_is_told_beside_the_verdict() {
    let mut place = Place::new();
    let log = bundled("tiny-cache-preemption");
    let mut told = |name: &str, log: &crate::fixtures::Log| {
        place.log(name, log);
        place.tells(&format!("conform {name}"), &END)
    };
    for file in ["per_request.csv", "per_iteration_requests.csv", "events.csv"] {
        let torn = log.log().map(file, |bytes| bytes[..bytes.len() * 2 / 3].to_vec());
        assert_eq!(told(&format!("torn-{file}"), &torn), 0);
    }
    let damaged = packed(&log.log(), "events.csv", |mut bytes| {
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        bytes
    });
    assert_eq!(told("damaged", &damaged), 2);
    for habit in ["no-initial-rows", "no-preempted-rows", "no-details", "fixed-columns-only"] {
        told(habit, &written(&log, &[habit], true));
    }
    let mut reasons = log.clone();
    reasons.r.map_text("waiting_reason", |_| String::new());
    assert_eq!(told("no-reasons", &reasons.log()), 0);
    reasons = log.clone();
    let foreign = |reason: &str| {
        if reason.is_empty() { String::new() } else { "lora_limit".to_owned() }
    };
    reasons.r.map_text("waiting_reason", foreign);
    assert_eq!(told("foreign-reasons", &reasons.log()), 0);
    // An output with drafts of a request that was preempted meanwhile.
    let drafts = Sheets::read(record_logs::log("async-0030").path());
    told("drafts", &written(&drafts, &["no-preempted-rows"], true));
    // A preemption that shared blocks may have made needless, and a step that counts otherwise.
    let mut open = Sheets::read(record_logs::log("extra-0009").path());
    let step = open.step(15);
    open.i.add(step, "waiting_count", 1);
    told("open", &open.log());
    let mut bare = log.clone();
    let config = bare.run["config"].as_object_mut().unwrap();
    let needed = ["block_size", "max_num_seqs", "max_num_batched_tokens", "max_model_len"];
    config.retain(|name, _| needed.contains(&name.as_str()));
    told("few-settings", &bare.log());
    place.assert_known("conform-notes");
}

fn step_of(log: &Sheets, wanted: impl Fn(usize) -> bool) -> usize {
    (0..log.i.len()).find(|row| wanted(*row)).unwrap()
}

#[test]
fn both_sides_of_a_difference_are_told() {
    let mut place = Place::new();
    let mut differs = |name: &str, log: &Sheets| {
        place.log(name, &log.log());
        assert_eq!(place.tells(&format!("conform {name}"), &DIFFERENCE), 1, "{name}");
    };
    let right = bundled("shared-prefixes");
    for (column, value) in [("kv_cache_used", 1), ("evicted_blocks", 99)] {
        let mut log = right.clone();
        let step = step_of(&log, |row| row > 3 && log.i.n(row, "admitted_count") > 0);
        log.i.set(step, column, value);
        differs(column, &log);
    }
    let mut log = bundled("async-overlap");
    log.run["config"]["async_scheduling"] = json!(false);
    log.run["config"]["max_concurrent_batches"] = json!(1);
    differs("in-flight", &log);
    // Two requests, of which the second one is admitted with a full set of drafts.
    let row = |at, input| {
        format!("{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": 20}}\n")
    };
    place.file("two.jsonl", row(0, 3) + &row(1, 1));
    let settings = "--speculative-method ngram --num-speculative-tokens 5 --draft-acceptance 0 \
                    --max-model-len 96 --num-gpu-blocks 64 --block-size 8 --max-num-seqs 8 \
                    --max-num-batched-tokens 64 --latency fixed";
    let replay = format!("replay two.jsonl --out two {settings}");
    let replay: Vec<_> = replay.split(' ').collect();
    assert!(schedlog(&replay, place.directory.path()).status.success());
    let mut log = Sheets::read(&place.at("two"));
    log.run["config"]["long_prefill_token_threshold"] = json!(4);
    place.log("cut-drafts", &log.log());
    assert_eq!(place.tells("conform cut-drafts", &DIFFERENCE), 1);
    place.assert_known("conform-differences");
}
