//! Two logs compared by meaning.

use std::fs;
use std::path::Path;

use schedlog::diff::{Class, DiffOptions, diff_dirs, render};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::settings::Settings;
use schedlog::trace::{ReadOptions, Trace};
use schedlog::units::Nanos;

use crate::support::{in_snapshots, root};

fn log(directory: &Path, change: impl FnOnce(&mut Settings)) {
    let mut settings = Settings {
        max_num_seqs: Some(3),
        max_num_batched_tokens: Some(64),
        max_model_len: Some(512),
        num_gpu_blocks: Some(64),
        ..Settings::default()
    };
    change(&mut settings);
    let path = root().join("traces/plain-run.jsonl");
    let trace = Trace::open(&path, &ReadOptions::default()).unwrap();
    let settings = settings.resolve().unwrap();
    replay_trace(&trace, &settings, Some(directory), &LogOptions::default(), |_| {}).unwrap();
}

fn pair(change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, tempfile::TempDir) {
    let (golden, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log(golden.path(), |_| {});
    log(new.path(), change);
    (golden, new)
}

#[test]
fn the_same_run_is_the_same_log() {
    let (golden, new) = pair(|_| {});
    // Neither line ends nor the order of the files' columns are meaning.
    let path = new.path().join("events.csv");
    let text = fs::read_to_string(&path).unwrap().replace('\n', "\r\n");
    fs::write(&path, text).unwrap();
    let report = diff_dirs(golden.path(), new.path(), DiffOptions::default()).unwrap();
    assert!(report.is_same() && report.settings.is_empty() && report.rows > 30, "{report:?}");
}

#[test]
fn another_decision_comes_before_the_times_that_follow() {
    let (golden, new) = pair(|settings| settings.max_num_seqs = Some(2));
    let report = diff_dirs(golden.path(), new.path(), DiffOptions::default()).unwrap();
    assert!(report.differences.iter().all(|difference| difference.class == Class::Decision));
    in_snapshots("diff", || insta::assert_snapshot!("decision", render(&report)));
}

#[test]
fn times_have_a_tolerance() {
    let (golden, new) = pair(|settings| settings.schedule_base_ns = Some(100_500));
    let compare = |options| diff_dirs(golden.path(), new.path(), options).unwrap();
    let report = compare(DiffOptions::default());
    assert!(report.differences.iter().all(|difference| difference.class == Class::Time));
    in_snapshots("diff", || insta::assert_snapshot!("times", render(&report)));
    let wide = DiffOptions { time_tolerance: Nanos(1_000_000), ..DiffOptions::default() };
    assert!(compare(wide).is_same());
    assert!(!compare(DiffOptions { time_tolerance: Nanos(100), ..wide }).is_same());
    assert!(compare(DiffOptions { ignore_times: true, ..DiffOptions::default() }).is_same());
}

#[test]
fn a_lost_row_is_a_decision() {
    let (golden, new) = pair(|_| {});
    let path = new.path().join("per_request.csv");
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap();
    fs::write(&path, &text[..=cut]).unwrap();
    let report = diff_dirs(golden.path(), new.path(), DiffOptions::default()).unwrap();
    assert!(report.differences[0].new.is_none());
    in_snapshots("diff", || insta::assert_snapshot!("lost-row", render(&report)));
}

#[test]
fn a_row_lost_in_the_middle_is_one_difference() {
    let (golden, new) = pair(|_| {});
    for file in ["state_transitions.csv", "per_request.csv", "events.csv"] {
        let path = new.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        // Arrivals are compared in per_request.csv.
        let is_lost = |(at, line): (usize, &str)| at >= 3 && !line.contains("request_arrived");
        let lost_at = text.lines().enumerate().position(is_lost).unwrap();
        let kept = text.lines().enumerate().filter(|(at, _)| *at != lost_at).map(|(_, line)| line);
        fs::write(&path, kept.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let report = diff_dirs(golden.path(), new.path(), DiffOptions::default()).unwrap();
        let lost = report.differences.iter().find(|found| found.table.file_name() == file).unwrap();
        assert_eq!(lost.rows, 1, "{file}");
        assert_eq!(lost.golden.as_ref().map(|side| side.line), Some(lost_at as u64 + 1), "{file}");
        assert!(lost.new.is_none(), "{file}");
        fs::write(&path, text).unwrap();
    }
}

#[test]
fn bless_makes_and_updates_the_golden_log() {
    let (golden, new) = pair(|settings| settings.max_num_seqs = Some(2));
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_schedlog"));
        let paths = [golden.path(), new.path()];
        command.arg("diff").args(paths).args(arguments).output().unwrap().status.code()
    };
    assert_eq!(run(&[]), Some(1));
    assert_eq!(run(&["--bless"]), Some(0));
    assert_eq!(run(&[]), Some(0));
    fs::remove_dir_all(golden.path()).unwrap();
    assert_eq!(run(&[]), Some(2));
    assert_eq!(run(&["--bless"]), Some(0));
    assert_eq!(run(&[]), Some(0));
}

#[test]
fn words_of_another_logger_are_compared_as_they_stand() {
    let (golden, new) = pair(|settings| settings.max_num_seqs = Some(2));
    let rename = |directory: &std::path::Path, word: &str| {
        let path = directory.join("per_iteration_requests.csv");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("max_num_seqs"), "{text}");
        fs::write(&path, text.replace("max_num_seqs", word)).unwrap();
    };
    fs::remove_dir_all(golden.path()).unwrap();
    fs::create_dir(golden.path()).unwrap();
    for entry in fs::read_dir(new.path()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), golden.path().join(entry.file_name())).unwrap();
    }
    let compare = || diff_dirs(golden.path(), new.path(), DiffOptions::default()).unwrap();
    rename(golden.path(), "batch_full");
    let report = compare();
    assert_eq!(report.differences.len(), 1);
    let fields = &report.differences[0].fields;
    assert_eq!((fields[0].golden.as_str(), fields[0].new.as_str()), ("batch_full", "max_num_seqs"));
    rename(new.path(), "batch_full");
    assert!(compare().is_same());
    // A number that is none is no word.
    let path = new.path().join("per_iteration_requests.csv");
    let text = fs::read_to_string(&path).unwrap().replacen("running,0,", "running,x,", 1);
    fs::write(&path, text).unwrap();
    let error = diff_dirs(golden.path(), new.path(), DiffOptions::default()).unwrap_err();
    assert!(error.to_string().contains("line 2: queue_position: the field"), "{error}");
}

/// Nobody reads what the command says.
#[test]
#[cfg(target_os = "linux")]
fn a_golden_log_is_replaced_only_if_the_differences_were_shown() {
    let (golden, new) = pair(|settings| settings.max_num_seqs = Some(2));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_schedlog"));
    command.arg("diff").args([golden.path(), new.path()]).arg("--bless").stdout(full);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not replaced"));
    assert!(!diff_dirs(golden.path(), new.path(), DiffOptions::default()).unwrap().is_same());
}
