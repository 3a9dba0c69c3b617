//! What the command line makes of a comparison: settings by flag, V001 beside other rules, options of the
//! wrong kind.

use std::fs;
use std::path::Path;

use crate::cli::{logged, said, schedlog};
use crate::support::in_snapshots;

/// The exit code and what was printed.
fn run(place: &Path, arguments: &[&str]) -> (i32, String) {
    let output = schedlog(arguments, place);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Changes a setting in run.json.
fn claim(place: &Path, key: &str, value: Option<u32>) {
    let path = place.join("log/run.json");
    let mut info: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let config = info["config"].as_object_mut().unwrap();
    match value {
        Some(value) => config.insert(key.to_owned(), value.into()),
        None => config.remove(key),
    };
    fs::write(&path, info.to_string()).unwrap();
}

/// run.json says every limit twice: as the setting, and as the narrower one that it is the default of.
#[test]
fn a_flag_wins_over_run_json() {
    let place = logged();
    let codes = |flags: &[&str]| {
        ["check", "conform"]
            .map(|command| run(place.path(), &[&[command, "log"], flags].concat()).0)
    };
    assert_eq!(codes(&[]), [0, 0]);
    assert_eq!(codes(&["--max-num-seqs", "1"]), [1, 1], "a lower limit");
    for key in ["max_num_seqs", "max_num_active_seqs"] {
        claim(place.path(), key, Some(1));
    }
    assert_eq!(codes(&[]), [1, 1]);
    assert_eq!(codes(&["--max-num-seqs", "8"]), [0, 0], "a higher limit");
    claim(place.path(), "max_num_seqs", Some(8));
    assert_eq!(codes(&["--max-num-seqs", "8"]), [1, 1], "another setting of run.json stays");
}

#[test]
fn the_comparison_is_chosen_as_any_rule_is() {
    let place = logged();
    // A wrong scheduler: it behaves as if its cache were smaller than run.json says.
    let check = |more: &[&str]| {
        run(place.path(), &[&["check", "log", "--conform", "--rules"], more].concat())
    };
    let judged = |text: &str, outcome: &str| {
        let line = text.lines().find(|line| line.starts_with("V001 reference-decides-the-same"));
        line.is_some_and(|line| line.contains(outcome))
    };
    claim(place.path(), "watermark", Some(0));
    claim(place.path(), "num_gpu_blocks", Some(64));
    let (code, text) = check(&["--ignore", "C,F"]);
    assert!(code == 1 && judged(&text, "violated"), "{text}");
    let (code, text) = check(&["--select", "V001"]);
    assert!(code == 1 && judged(&text, "violated"), "{text}");
    for more in [["--select", "M"], ["--ignore", "C,F,V"]] {
        let (code, text) = check(&more);
        assert!(code == 0 && judged(&text, "deselected"), "{more:?}: {text}");
    }
    fs::write(place.path().join("schedlog.toml"), "[severity]\nV001 = \"warning\"\n").unwrap();
    let (code, text) = check(&["--select", "V"]);
    assert!(code == 0 && text.contains("V001 counts as warning instead of error"), "{text}");
    let (code, text) = run(place.path(), &["check", "log", "--select", "M,V001"]);
    assert!(code == 2 && text.contains("V001 is judged only with --conform"), "{text}");
}

#[test]
fn a_comparison_that_was_asked_for_and_is_void_is_told_in_every_report() {
    let place = logged();
    claim(place.path(), "block_size", None);
    let told = "nothing was compared with the reference: block_size is not known";
    for format in ["text", "json", "junit", "sarif", "github"] {
        let (code, text) = run(place.path(), &["check", "log", "--conform", "--format", format]);
        assert!(code == 2 && text.contains("V001") && text.contains(told), "{format}: {text}");
        let (code, text) = run(place.path(), &["check", "log", "--format", format]);
        let silent = !text.contains("compared with the reference");
        assert!(code == 0 && silent, "{format}: {text}");
    }
    let text = said(place.path(), &["check", "log", "--conform"]);
    in_snapshots("cli", || insta::assert_snapshot!("void-comparison", text));
}

#[test]
fn a_log_that_has_nothing_to_compare_is_told_so_and_not_called_damaged() {
    let place = tempfile::tempdir().unwrap();
    fs::write(
        place.path().join("trace.jsonl"),
        "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 3}\n",
    )
    .unwrap();
    let mut texts = Vec::new();
    for (name, longest, level) in [("rejected", "32", "standard"), ("summary", "64", "summary")] {
        let replay = ["replay", "trace.jsonl", "--num-gpu-blocks", "64", "--out", name];
        let settings = ["--max-model-len", longest, "--log-level", level];
        assert_eq!(run(place.path(), &[&replay[..], &settings].concat()).0, 0, "{name}");
        for format in ["text", "json"] {
            let (code, text) = run(place.path(), &["check", name, "--conform", "--format", format]);
            let told = "nothing was compared with the reference: ";
            assert!(code == 0 && text.contains(told) && text.contains("clean"), "{name}: {text}");
        }
        texts.push(said(place.path(), &["check", name, "--conform", "--rules"]));
    }
    fs::remove_file(place.path().join("summary/events.csv")).unwrap();
    assert_eq!(run(place.path(), &["check", "summary", "--conform"]).0, 2);
    in_snapshots("cli", || insta::assert_snapshot!("nothing-to-compare", texts.join("\n")));
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    let place = logged();
    let record = crate::support::root().join("traces/vllm-0.32/spec-0020.jsonl.gz");
    fs::copy(record, place.path().join("record.jsonl.gz")).unwrap();
    let mut texts = Vec::new();
    let cases: [&[&str]; 8] = [
        &["log", "--log", "other"],
        &["log", "--markdown", "--format", "json"],
        &["log", "--jobs", "2"],
        &["record.jsonl.gz", "--format", "json"],
        &["record.jsonl.gz", "--all"],
        &["record.jsonl.gz", "--skew-bound", "1us"],
        &["record.jsonl.gz", "--max-num-seqs", "2"],
        &["record.jsonl.gz", "--markdown", "--all"],
    ];
    for arguments in cases {
        let arguments = [&["conform"], arguments].concat();
        assert_eq!(run(place.path(), &arguments).0, 2, "{arguments:?}");
        texts.push(said(place.path(), &arguments));
    }
    assert!(!place.path().join("other").exists());
    in_snapshots("cli", || insta::assert_snapshot!("conform-options", texts.join("\n")));
}
