//! The model against records of the real scheduler, and altered records against the model.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schedlog::conform::record::read_text;
use schedlog::conform::{
    BadRecord, ConformReport, Divergence, Moment, Outcome, RecordReport, conform_paths,
    conform_text, markdown,
};
use serde_json::{Value, json};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/vllm-0.32")
}

fn assert_same(report: &ConformReport) {
    assert_eq!(report.exit_code(), 0, "{report}");
}

#[test]
fn bundled_records_agree_in_every_field() {
    let report = conform_paths(&[bundled()], 2);
    assert_same(&report);
    let profiles: Vec<_> = report.by_profile().into_iter().map(|row| row.profile).collect();
    let expected = [
        "async", "basic", "depth3", "depth4", "depth5", "depth8", "extra", "mixed", "preempt",
        "prefix", "priority", "spec",
    ];
    assert_eq!(profiles, expected);
    assert!(report.by_profile().iter().all(|row| row.counts.decisions() > 50 * row.records));
}

#[test]
fn all_shared_records_agree_where_they_are_at_hand() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vllm-records");
    if !shared.is_dir() {
        eprintln!("skipped: {} is not there", shared.display());
        return;
    }
    assert_same(&conform_paths(&[shared], 2));
}

#[test]
fn the_report_does_not_depend_on_the_number_of_threads() {
    let one = conform_paths(&[bundled()], 1);
    let many = conform_paths(&[bundled()], 7);
    assert_eq!(one.to_string(), many.to_string());
    let paths = |report: &ConformReport| -> Vec<PathBuf> {
        report.records.iter().map(|record| record.path.clone()).collect()
    };
    assert!(paths(&one).is_sorted() && paths(&one) == paths(&many));
}

/// The documentation's table is that of the bundled records. To renew it, put the output of
/// `schedlog conform --markdown traces/vllm-0.32` between its marks.
#[test]
fn the_table_in_the_documentation_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fidelity.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("<!-- begin: conform -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- end: conform -->").unwrap();
    assert_eq!(table, markdown::table(&conform_paths(&[bundled()], 2)));
}

/// A bundled record as parsed lines.
fn lines(name: &str) -> Vec<Value> {
    let text = read_text(&bundled().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn compare(lines: &[Value]) -> RecordReport {
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    conform_text(Path::new("altered.jsonl"), &text)
}

fn divergence(lines: &[Value]) -> Divergence {
    match compare(lines).outcome {
        Outcome::Diverged(divergence) => *divergence,
        other => panic!("the alteration went unnoticed: {other:?}"),
    }
}

/// The index of a line whose pass satisfies `wanted`, somewhere in the middle of the record.
fn find(lines: &[Value], wanted: impl Fn(&Value) -> bool) -> usize {
    let steps = lines.iter().enumerate().filter(|(_, line)| line["schedule"].is_object());
    let found: Vec<_> =
        steps.filter(|(_, line)| wanted(&line["schedule"])).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "the record has no such pass");
    found[found.len() / 2]
}

fn len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

#[test]
fn records_agree_however_they_are_written() {
    // Keys come back in another order, so the lines are parsed instead of compared as text.
    for name in ["async-0030", "depth3-0002", "mixed-0008", "prefix-0007", "spec-0003"] {
        let report = compare(&lines(&format!("{name}.jsonl.gz")));
        assert!(matches!(report.outcome, Outcome::Same), "{name}: {:?}", report.outcome);
        let text = read_text(&bundled().join(format!("{name}.jsonl.gz"))).unwrap();
        assert_eq!(report.counts, conform_text(Path::new(name), &text).counts);
    }
}

#[test]
fn no_digit_of_a_decision_changes_unnoticed() {
    for name in ["async-0030.jsonl.gz", "mixed-0008.jsonl.gz", "spec-0003.jsonl.gz"] {
        let text = read_text(&bundled().join(name)).unwrap();
        let mut digits = Vec::new();
        let mut start = 0;
        for line in text.lines() {
            // Inputs may differ without consequence: tokens, proposals, where aborts are listed.
            let inputs = [r#""sampled":"#, r#""drafts":"#].map(|key| {
                line.find(key).map(|at| {
                    let end = line[at..].find(r#","appended""#).map_or(line.len(), |end| at + end);
                    at..end
                })
            });
            if line.starts_with(r#"{"type":"step""#) {
                digits.extend(
                    (0..line.len())
                        .filter(|&at| {
                            line.as_bytes()[at].is_ascii_digit()
                                && inputs.iter().flatten().all(|input| !input.contains(&at))
                        })
                        .map(|at| start + at),
                );
            }
            start += line.len() + 1;
        }
        for at in digits.iter().copied().step_by(digits.len() / 100) {
            let mut altered = text.clone().into_bytes();
            altered[at] = b'0' + (altered[at] - b'0' + 1) % 10;
            let altered = String::from_utf8(altered).unwrap();
            let report = conform_text(Path::new(name), &altered);
            let line = 1 + text[..at].matches('\n').count();
            match report.outcome {
                Outcome::Diverged(divergence) => assert!(divergence.line <= line + 1),
                Outcome::Void(_) => {}
                Outcome::Same => panic!("{name}: byte {at} in line {line} went unnoticed"),
            }
        }
    }
}

/// Alters one value of one pass and expects to hear of that field at that step.
fn assert_noticed(
    name: &str,
    field: &str,
    wanted: impl Fn(&Value) -> bool,
    alter: impl Fn(&mut Value),
) {
    let mut lines = lines(name);
    let at = find(&lines, wanted);
    alter(&mut lines[at]["schedule"][field]);
    let divergence = divergence(&lines);
    assert_eq!((divergence.line, divergence.field), (at + 1, field), "{divergence}");
    assert_eq!(Some(divergence.iteration), lines[at]["it"].as_u64());
    assert_eq!(divergence.moment, Moment::Scheduled);
    assert!(divergence.recorded_side.is_some());
}

#[test]
fn every_altered_field_of_a_pass_is_noticed_at_its_step() {
    let any = |_: &Value| true;
    let some = |field: &'static str| move |pass: &Value| len(&pass[field]) > 0;
    let several = |field: &'static str| move |pass: &Value| len(&pass[field]) > 1;
    let record = "priority-0006.jsonl.gz";
    let bump = |value: &mut Value| *value = json!(value.as_u64().unwrap() + 1);
    assert_noticed(record, "n", any, bump);
    assert_noticed(record, "total", any, bump);
    assert_noticed(record, "free", any, bump);
    assert_noticed(record, "used", any, bump);
    assert_noticed(record, "cached", any, bump);
    assert_noticed(record, "scheduled", some("scheduled"), |batch| bump(&mut batch[0][1]));
    assert_noticed(record, "computed", some("computed"), |computed| bump(&mut computed[0]));
    assert_noticed(record, "nblocks", some("nblocks"), |nblocks| bump(&mut nblocks[0]));
    assert_noticed(record, "free_head", some("free_head"), |head| bump(&mut head[0]));
    assert_noticed(record, "kind", some("kind"), |kind| {
        kind[0] = json!(if kind[0] == "new" { "resumed" } else { "new" });
    });
    let swap = |ids: &mut Value| ids.as_array_mut().unwrap().swap(0, 1);
    for field in ["scheduled", "running", "waiting", "preempted"] {
        assert_noticed(record, field, several(field), swap);
    }
    assert_noticed(record, "preempted", some("preempted"), |ids| ids[0] = json!("r999"));
    assert_noticed(record, "finished_ids", some("finished_ids"), |ids| *ids = json!([]));
    let takes_a_block = |pass: &Value| len(&pass["blocks"]) > 0 && len(&pass["blocks"][0]) > 0;
    assert_noticed(record, "blocks", takes_a_block, |blocks| bump(&mut blocks[0][0]));
    let hits = |pass: &Value| pass["hit"].as_object().is_some_and(|hit| !hit.is_empty());
    assert_noticed("prefix-0007.jsonl.gz", "hit", hits, |hit| {
        hit.as_object_mut().unwrap().values_mut().for_each(bump);
    });
    assert_noticed("spec-0003.jsonl.gz", "spec", some("spec"), |spec| bump(&mut spec[0]));
}

#[test]
fn altered_outcomes_are_noticed() {
    let original = lines("basic-0002.jsonl.gz");
    let at = find(&original, |pass| len(&pass["scheduled"]) > 0);
    for (field, value) in [("appended", json!([])), ("finished", json!([["r0", "stop"]]))] {
        let mut lines = original.clone();
        let found = (at..lines.len())
            .find(|&at| {
                lines[at]["update"][field] != value && len(&lines[at]["update"]["appended"]) > 0
            })
            .unwrap();
        lines[found]["update"][field] = value;
        let divergence = divergence(&lines);
        assert_eq!((divergence.line, divergence.field), (found + 1, field));
        assert_eq!(divergence.moment, Moment::Updated);
    }
    for field in ["steps", "preemptions", "hit_tokens", "scheduled", "tokens", "finished"] {
        let mut lines = original.clone();
        let end = lines.last_mut().unwrap();
        end[field] = json!(end[field].as_u64().unwrap() + 1);
        assert_eq!((divergence(&lines).moment, divergence(&lines).field), (Moment::End, field));
    }
    for status in ["stalled", "max_steps", "vllm_assertion"] {
        let mut lines = original.clone();
        lines.last_mut().unwrap()["status"] = json!(status);
        assert_eq!((divergence(&lines).moment, divergence(&lines).field), (Moment::End, "status"));
    }
}

#[test]
fn an_altered_setting_shows_in_the_decisions() {
    let mut lines = lines("preempt-0006.jsonl.gz");
    let blocks = lines[0]["num_gpu_blocks"].as_u64().unwrap();
    lines[0]["num_gpu_blocks"] = json!(blocks + 1);
    divergence(&lines);
}

#[test]
fn a_missing_step_is_noticed() {
    let mut lines = lines("basic-0002.jsonl.gz");
    let at = find(&lines, |pass| len(&pass["scheduled"]) > 0);
    let it = lines.remove(at)["it"].as_u64().unwrap();
    let divergence = divergence(&lines);
    assert_eq!((divergence.field, divergence.model), ("it", it.to_string()));
}

#[test]
fn a_divergence_shows_both_sides_and_the_reason() {
    let mut lines = lines("preempt-0006.jsonl.gz");
    let at = find(&lines, |pass| len(&pass["preempted"]) > 0 && len(&pass["waiting"]) > 1);
    lines[at]["schedule"]["preempted"] = json!(["r999"]);
    let report = compare(&lines).outcome;
    let Outcome::Diverged(divergence) = report else { panic!() };
    let text = divergence.to_string();
    for part in ["vLLM:  [r999]", "budget left", "free blocks", "waiting", "was preempted for"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn an_unsupported_setting_is_void_and_named() {
    for (setting, value) in [
        ("use_v2_model_runner", json!(true)),
        ("spec_method", json!("medusa")),
        ("policy", json!("lottery")),
        ("hash_block_size", json!(1)),
        ("vllm", json!("0.33.0")),
        ("num_kv_cache_groups", json!(2)),
    ] {
        let mut lines = lines("basic-0002.jsonl.gz");
        lines[0][setting] = value.clone();
        let report = ConformReport { records: vec![compare(&lines)] };
        assert_eq!(report.exit_code(), 2);
        let (_, reason) = report.void().next().unwrap();
        let BadRecord::Unsupported { line: 1, unsupported } = reason else {
            panic!("{setting}: {reason}")
        };
        assert_eq!((&*unsupported.setting, &*unsupported.value), (setting, &*value.to_string()));
    }
}

#[test]
fn a_malformed_record_is_void_and_names_the_line() {
    let mut lines = lines("basic-0002.jsonl.gz");
    let at = find(&lines, |_| true);
    lines[at]["schedule"]["surprise"] = json!(1);
    let Outcome::Void(BadRecord::Malformed { line, problem }) = compare(&lines).outcome else {
        panic!()
    };
    assert_eq!(line, at + 1);
    assert!(problem.contains("surprise"), "{problem}");

    lines[at]["schedule"].as_object_mut().unwrap().remove("surprise");
    lines.pop();
    assert!(matches!(compare(&lines).outcome, Outcome::Void(BadRecord::Malformed { .. })));
    assert!(matches!(compare(&[]).outcome, Outcome::Void(_)));
    let missing = conform_paths(&[PathBuf::from("does-not-exist.jsonl")], 1);
    assert_eq!(missing.exit_code(), 2);
}

/// A record of two requests that ends in the assertion on padded admissions.
fn assertion_record(iterations: u64, steps: u64) -> Vec<Value> {
    let mut config = lines("spec-0003.jsonl.gz").swap_remove(0);
    for (setting, value) in [
        ("num_spec_tokens", json!(5)),
        ("long_prefill_token_threshold", json!(4)),
        ("num_gpu_blocks", json!(72)),
    ] {
        config[setting] = value;
    }
    let request = |id: &str, step: u64, stream: u64, len: u64| {
        json!({
            "type": "request", "id": id, "step": step, "prompt": [[stream, 0, len]],
            "prompt_len": len, "stream": stream, "max_tokens": 20, "stop": null, "priority": 0,
            "arrival_time": step, "salt": null, "skip_read": false
        })
    };
    let step = json!({
        "type": "step", "it": 0, "added": ["r0"], "aborted": [],
        "schedule": {
            "n": 1, "total": 3, "scheduled": [["r0", 3]], "kind": ["new"], "computed": [0],
            "blocks": [[1]], "hit": {"r0": 0}, "preempted": [], "finished_ids": [],
            "running": ["r0"], "waiting": [], "nblocks": [1], "free": 70, "used": 1, "cached": 0,
            "free_head": [2, 3, 4, 5, 6, 7, 8, 9]
        },
        "update": {
            "aborted": [], "sampled": [["r0", [65539]]], "appended": [["r0", 1]], "finished": [],
            "drafts": [["r0", 0]]
        }
    });
    let end = json!({
        "type": "end", "status": "vllm_assertion", "iterations": iterations, "steps": steps,
        "preemptions": 0, "hit_tokens": 0, "scheduled": 1, "tokens": 3, "finished": 0
    });
    vec![config, request("r0", 0, 1, 3), request("r1", 1, 2, 1), step, end]
}

#[test]
fn a_record_may_end_in_the_assertion_that_the_model_knows() {
    // However the iteration that died is counted.
    for (iterations, steps) in [(1, 1), (2, 1), (2, 2)] {
        let outcome = compare(&assertion_record(iterations, steps)).outcome;
        assert!(matches!(outcome, Outcome::Same), "{outcome:?}");
    }
    let mut lines = assertion_record(2, 2);
    lines[0]["long_prefill_token_threshold"] = json!(0);
    assert_eq!(divergence(&lines).field, "status");
}
