//! The log of recorded runs: the checker finds nothing in it, and every byte is as it was.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use schedlog::check::{CheckOptions, CheckReport, check_dir};
use schedlog::conform::record::read_text;
use schedlog::conform::{Outcome, RecordLogError, conform_and_log, conform_text_and_log};
use schedlog::engine::run::LogOptions;
use schedlog::log::values::LogLevel;
use schedlog::report::{TextOptions, write_text};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

use crate::golden::files;
use crate::support::{in_snapshots, root};

fn bundled() -> PathBuf {
    root().join("traces/vllm-0.32")
}

/// The records in a directory, by name.
fn records(directory: &Path) -> Vec<(String, PathBuf)> {
    let mut records: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".jsonl.gz")?.to_owned();
            Some((name, path))
        })
        .collect();
    records.sort();
    records
}

/// Logs a bundled record at a level.
fn log_at(name: &str, log_level: LogLevel) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = bundled().join(format!("{name}.jsonl.gz"));
    let options = LogOptions { log_level, ..LogOptions::default() };
    let report = conform_and_log(&[path], 1, directory.path(), &options).unwrap();
    assert_eq!(report.exit_code(), 0, "{report}");
    directory
}

/// The bundled records.
pub(crate) fn names() -> Vec<String> {
    records(&bundled()).into_iter().map(|(name, _)| name).collect()
}

pub(crate) fn log(name: &str) -> TempDir {
    log_at(name, LogLevel::Standard)
}

fn text(report: &CheckReport) -> String {
    let mut out = Vec::new();
    write_text(report, &TextOptions::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn assert_clean(name: &str, directory: &Path) {
    let report = check_dir(directory, &CheckOptions::default()).unwrap();
    // An engine that is stuck is found to be: that is what such a record shows.
    let found = report.rules.iter().filter(|rule| !rule.findings.is_empty());
    let wrong = found.filter(|rule| !(rule.rule.id.starts_with('L') && is_stuck(name))).count();
    assert_eq!(wrong, 0, "{name}: {}", text(&report));
    assert!(report.dialect.is_reference(), "{name}: {:?}", report.dialect);
}

/// Whether the recorded engine came to no end: a sequence larger than its cache.
fn is_stuck(name: &str) -> bool {
    let places = [bundled(), root().join("../shared/vllm-records")];
    let file = places.map(|place| place.join(format!("{name}.jsonl.gz")));
    let path = file.iter().find(|path| path.is_file()).unwrap();
    let record = read_text(path).unwrap();
    let end = record.lines().last().unwrap();
    end.contains("\"stalled\"") || end.contains("\"max_steps\"")
}

/// Calls `visit` for every record, several at a time.
fn each(records: &[(String, PathBuf)], visit: impl Fn(&str, &Path) + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((name, path)) = records.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let directory = tempfile::tempdir().unwrap();
                    let paths = [path.clone()];
                    let options = LogOptions::default();
                    match conform_and_log(&paths, 1, directory.path(), &options) {
                        Ok(report) if report.exit_code() == 0 => visit(name, directory.path()),
                        Ok(report) => failures.lock().unwrap().push(report.to_string()),
                        Err(error) => failures.lock().unwrap().push(error.to_string()),
                    }
                }
            });
        }
    });
    assert_eq!(failures.into_inner().unwrap(), [""; 0]);
}

/// What pins every byte of the five files: rows, a hash and the first and last rows of each.
fn digest(directory: &Path) -> String {
    let mut digest = String::new();
    for (file, text) in files(directory).iter().filter(|(file, _)| file.ends_with(".csv")) {
        let lines: Vec<_> = text.lines().collect();
        let hash = xxh3_128(text.as_bytes());
        writeln!(digest, "{file}: {} lines, xxh3 {hash:032x}", lines.len()).unwrap();
        for line in lines.iter().take(3).chain(lines.iter().skip(3).last()) {
            writeln!(digest, "    {line}").unwrap();
        }
    }
    digest
}

#[test]
fn the_log_of_every_bundled_record_is_clean_and_as_it_was() {
    let records = records(&bundled());
    assert!(records.len() >= 61, "{}", records.len());
    let digests = Mutex::new(Vec::new());
    each(&records, |name, directory| {
        assert_clean(name, directory);
        digests.lock().unwrap().push((name.to_owned(), digest(directory)));
    });
    let mut digests = digests.into_inner().unwrap();
    digests.sort();
    in_snapshots("records", || {
        for (name, digest) in digests {
            insta::assert_snapshot!(name, digest);
        }
    });
}

/// Small ones of every kind, to be read: synchronous, preempting, prioritised, with drafts,
/// asynchronous, three batches in flight, and both at once.
const IN_FULL: [&str; 7] = [
    "basic-0021",
    "preempt-0028",
    "priority-0022",
    "spec-0020",
    "async-0039",
    "mixed-0008",
    "depth3-0010",
];

#[test]
fn small_logs_are_as_they_were_in_full() {
    for name in IN_FULL {
        let directory = log_at(name, LogLevel::Full);
        assert_clean(name, directory.path());
        in_snapshots(&format!("records/{name}"), || {
            for (file, text) in files(directory.path()) {
                insta::assert_snapshot!(file, text);
            }
        });
    }
}

#[test]
fn the_log_of_every_shared_record_is_clean_where_they_are_at_hand() {
    let shared = root().join("../shared/vllm-records");
    if !shared.is_dir() {
        eprintln!("skipped: {} is not there", shared.display());
        return;
    }
    each(&records(&shared), assert_clean);
}

/// Three outputs arrive between two decisions; the bound was that of two batches in flight.
#[test]
fn three_batches_in_flight_bring_three_outputs_to_a_step() {
    for name in ["depth3-0002", "depth3-0004", "depth3-0007"] {
        assert_clean(name, log(name).path());
    }
}

/// A request preempted with output in flight is passed over until that has arrived, while others are
/// admitted: the step preempts nothing, so `preempted` would not be true of it.
#[test]
fn a_request_whose_output_is_in_flight_says_that_it_waits_for_it() {
    let directory = log("depth3-0005");
    assert_clean("depth3-0005", directory.path());
    let rows =
        std::fs::read_to_string(directory.path().join("per_iteration_requests.csv")).unwrap();
    let waits: Vec<_> = rows.lines().filter(|row| row.contains("waiting_for_output")).collect();
    assert!(!waits.is_empty());
    assert!(waits.iter().all(|row| row.contains(",preempted,")), "{waits:?}");
}

/// The client's clocks order equally urgent requests otherwise than they reached the server.
#[test]
fn equally_urgent_requests_are_served_by_the_clock_of_their_clients() {
    assert_clean("extra-0015", log("extra-0015").path());
}

/// The record is cut with steps in flight; what they scheduled is in no row.
#[test]
fn steps_in_flight_at_the_end_have_no_rows() {
    // Alive at the end; ended while steps were in flight; first scheduled by one of them.
    for name in ["depth3-0005", "extra-0012", "extra-0013"] {
        let directory = log(name);
        assert_clean(name, directory.path());
    }
}

/// What the record leaves alive is unfinished.
#[test]
fn a_stalled_or_dead_scheduler_leaves_unfinished_requests() {
    for name in ["extra-0005", "extra-0006", "extra-0007", "extra-0008"] {
        let directory = log(name);
        assert_clean(name, directory.path());
        let requests = std::fs::read_to_string(directory.path().join("per_request.csv")).unwrap();
        assert!(requests.contains(",unfinished,"), "{name}");
    }
}

#[test]
fn a_log_ends_before_the_first_difference() {
    let path = bundled().join("preempt-0028.jsonl.gz");
    let original = read_text(&path).unwrap();
    let whole = log("preempt-0028");
    let rows = |directory: &Path| {
        let text = std::fs::read_to_string(directory.join("per_iteration.csv")).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let steps: Vec<_> = original.lines().filter(|line| line.contains(r#""type":"step""#)).collect();
    for at in [0, steps.len() / 2, steps.len() - 1] {
        let altered = original.replace(steps[at], &steps[at].replace(r#""free":"#, r#""free":1"#));
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions::default();
        let report = conform_text_and_log(&path, &altered, directory.path(), &options).unwrap();
        assert!(matches!(report.outcome, Outcome::Diverged(_)), "{:?}", report.outcome);
        assert_clean("altered", directory.path());
        let (rows, whole) = (rows(directory.path()), rows(whole.path()));
        assert!(rows.len() < whole.len() && whole.starts_with(&rows));
    }
}

#[test]
fn several_records_go_to_directories_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["async-0039", "spec-0020"].map(|name| bundled().join(format!("{name}.jsonl.gz")));
    let options = LogOptions::default();
    let report = conform_and_log(&paths, 2, directory.path(), &options).unwrap();
    assert_eq!(report.exit_code(), 0);
    for name in ["async-0039", "spec-0020"] {
        assert_eq!(files(&directory.path().join(name)), files(log(name).path()));
    }
    // A log is never mixed with an older one, and two of one name are none.
    let again = conform_and_log(&paths, 1, directory.path(), &options).unwrap_err();
    assert!(matches!(again, RecordLogError::Log { .. }), "{again}");
    let force = LogOptions { force: true, ..options };
    conform_and_log(&paths, 1, directory.path(), &force).unwrap();
    let twice = [paths[0].clone(), paths[0].clone()];
    let error = conform_and_log(&twice, 1, directory.path(), &force).unwrap_err();
    assert!(matches!(error, RecordLogError::SameName { .. }), "{error}");
}

#[test]
fn a_record_that_cannot_be_compared_has_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("log");
    let text = "{\"type\":\"config\"}\n";
    let options = LogOptions::default();
    let report = conform_text_and_log(Path::new("r"), text, &target, &options).unwrap();
    assert!(matches!(report.outcome, Outcome::Void(_)));
    assert!(!target.exists());
}
