//! The command line itself: help, values of flags that are none, and outputs that cannot be written.

use std::process::{Command, Stdio};

use super::{Place, bundled};
use crate::fixtures::Log;

#[test]
fn help_is_known() {
    let mut place = Place::new();
    for command in ["check", "conform", "rules", "explain"] {
        // What `schedlog config --explain` says too is left out.
        let mut is_new = true;
        let help = place.note(&format!("{command} --help"), |line| {
            is_new &= !line.starts_with("Engine settings");
            is_new
        });
        assert_eq!(help, 0, "{command}");
    }
    place.assert_known("help");
}

#[test]
fn what_a_flag_cannot_be_is_told() {
    let mut place = Place::new();
    place.log("log", &Log::base());
    let record = "conform nowhere.jsonl --log log";
    for mistake in [
        "check log --format yaml",
        "check log --max-num-seqs 0",
        "check log --policy lottery",
        "check log --skew-bound soon",
        "check log --require-coverage colours",
        "check log --pipeline-parallel-size 2",
        "check log --output nowhere/report",
        "check log --output log",
        "check log --write-baseline nowhere/known.json",
        "check",
        "analyze log --plots log/run.json",
        "analyze log --html log",
        "conform log --trace nowhere.jsonl --rate-scale 0",
        "explain Z001",
        "rules M002",
    ] {
        assert_eq!(place.says(mistake), 2, "{mistake}");
    }
    assert_eq!(place.says(&format!("{record} --log-level loud")), 2);
    place.assert_known("flags");
}

#[test]
fn what_other_commands_cannot_do_is_told() {
    let mut place = Place::new();
    place.log("log", &Log::base());
    place.log("golden", &Log::base().without("events.csv"));
    std::fs::create_dir(place.at("golden/events.csv")).unwrap();
    for mistake in [
        "diff log/run.json/golden log --bless",
        "generate --requests 1 --out nowhere/trace.jsonl",
        "replay nowhere.jsonl --check",
        "watch nowhere --once",
    ] {
        assert_eq!(place.says(mistake), 2, "{mistake}");
    }
    assert_eq!(place.tells("diff golden log --bless", &["error"]), 2);
    let many = format!("compare{} --plots plots", " log".repeat(40));
    assert_eq!(place.says(&many), 2);
    place.assert_known("others");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_form_that_this_build_does_not_write_is_told() {
    let mut place = Place::new();
    place.log("log", &Log::base());
    assert_eq!(place.says("export log --format parquet --out frames"), 2);
    place.assert_known("parquet");
}

/// A field that is no value of its column, as far as it can be shown.
#[test]
fn what_a_field_cannot_be_is_told() {
    let mut place = Place::new();
    let file = "per_iteration.csv";
    let huge = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replacen("\n0,", "\n99999999999999999999,", 1).into_bytes()
    };
    place.log("huge", &Log::base().map(file, huge));
    let latin = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let at = text.find("\na,").unwrap() + 1;
        [&text.as_bytes()[..at], &[0xe9], &text.as_bytes()[at + 1..]].concat()
    };
    place.log("latin", &Log::base().map("per_request.csv", latin));
    for name in ["huge", "latin"] {
        assert_eq!(place.tells(&format!("check {name} --select F003"), &["F003", "-->"]), 1);
    }
    place.assert_known("fields");
}

/// A file of the log that is there and cannot be opened, and settings of run.json that are none.
#[cfg(unix)]
#[test]
fn what_of_a_log_cannot_be_opened_is_told() {
    let mut place = Place::new();
    std::fs::create_dir(place.at("loop")).unwrap();
    // A link to itself stands for a file without permission, which stops not every user.
    std::os::unix::fs::symlink("per_request.csv", place.at("loop/per_request.csv")).unwrap();
    for command in ["check", "conform"] {
        assert_eq!(place.says(&format!("{command} loop")), 2);
    }
    let mut log = bundled("plain-run");
    log.run["overlapping_steps"] = serde_json::json!("perhaps");
    place.log("log", &log.log());
    for command in ["check", "conform"] {
        let told = ["run.json", "verdict"];
        place.tells(&format!("{command} log"), &told);
    }
    place.assert_known("unreadable");
}

/// Standard output that is full, closed or read by nobody is no verdict.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_told() {
    let mut place = Place::new();
    place.log("log", &Log::base());
    let closed = ("sh", "exec \"$0\" \"$@\" >&-", Stdio::null());
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let read_by_nobody = ("sh", "exec \"$0\" \"$@\"", gone.into());
    let full = ("sh", "exec \"$0\" \"$@\" >/dev/full", Stdio::null());
    for ((shell, script, stdout), code) in [(closed, 2), (read_by_nobody, 141), (full, 2)] {
        let output = Command::new(shell)
            .args(["-c", script, env!("CARGO_BIN_EXE_schedlog"), "check", "log"])
            .current_dir(place.directory.path())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let what = "check log".to_owned() + script.strip_prefix("exec \"$0\" \"$@\"").unwrap();
        assert_eq!(place.add(&what, &output, |_| true), code, "{script}");
    }
    let output = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" <&-", env!("CARGO_BIN_EXE_schedlog")])
        .args(["conform", "log", "--trace", "-"])
        .current_dir(place.directory.path())
        .output()
        .unwrap();
    assert_eq!(place.add("conform log --trace - <&-", &output, |_| true), 2);
    place.assert_known("streams");
}
