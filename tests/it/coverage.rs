//! The bundled traces are not vacuous: together they exercise all that the reference logger writes.

use std::process::Command;

use schedlog::check::{CheckOptions, Verdict, check_dir};
use schedlog::coverage::{self, Coverage, Dimension};
use schedlog::engine::run::LogOptions;
use schedlog::log::reader::LogDir;
use schedlog::log::values::LogLevel;
use schedlog::report::write_coverage;

use crate::fixtures::Log;
use crate::golden::{bundled, replay_bundled};
use crate::support::in_snapshots;

/// What no replay writes: a replay goes on until every request is over.
const NEVER_BY_REPLAY: [&str; 1] = ["unfinished"];

#[test]
fn the_bundled_traces_exercise_everything() {
    let mut together = Coverage::default();
    let mut alone = Vec::new();
    for (name, trace) in bundled() {
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions { log_level: LogLevel::Full, ..LogOptions::default() };
        replay_bundled(&trace, directory.path(), &options);
        let report = check_dir(directory.path(), &CheckOptions::default()).unwrap();
        assert_eq!(report.verdict(), Verdict::Clean, "{name}");
        let mut coverage = coverage::of_log(&LogDir::open(directory.path()).unwrap()).unwrap();
        coverage.add_rules(&report);
        together.merge(&coverage);
        alone.push((name, coverage));
    }
    for dimension in Dimension::ALL.into_iter().filter(|it| *it != Dimension::Rules) {
        let mut missing = together.missing(dimension);
        missing.retain(|what| !NEVER_BY_REPLAY.contains(&what.as_str()));
        assert!(missing.is_empty(), "{} never exercised: {missing:?}", dimension.name());
        // Nothing is beyond the vocabulary of the reference logger either.
        assert!(together.seen(dimension).len() <= dimension.expected().len());
    }
    assert!(alone.iter().any(|(_, one)| !one.missing(Dimension::Reasons).is_empty()));
    let mut text = Vec::new();
    write_coverage(&together, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (text, _) = text.split_once("  rules  ").unwrap();
    in_snapshots("report", || insta::assert_snapshot!("coverage", text));
}

#[test]
fn changes_are_told_by_the_rows_where_no_file_has_them() {
    let of = |log: &Log| {
        let dir = log.write();
        coverage::of_log(&LogDir::open(dir.path()).unwrap()).unwrap()
    };
    let (with, without) = (of(&Log::base()), of(&Log::base().without("state_transitions.csv")));
    for edge in ["waiting->running", "running->preempted", "preempted->running"] {
        let count = |coverage: &Coverage| coverage.count(Dimension::Edges, edge);
        assert_eq!(count(&with), count(&without), "{edge}");
    }
    // An aborted request has no row of its end.
    assert_eq!(without.count(Dimension::Edges, "waiting->completed"), 0);
}

#[test]
fn coverage_can_be_required() {
    let dir = Log::base().write();
    let check = |kinds: &str| {
        Command::new(env!("CARGO_BIN_EXE_schedlog"))
            .arg("check")
            .arg(dir.path())
            .args(["--require-coverage", kinds])
            .output()
            .unwrap()
    };
    assert_eq!(check("states,events").status.code(), Some(0));
    let lacking = check("states,edges,reasons");
    assert_eq!(lacking.status.code(), Some(1));
    let said = String::from_utf8(lacking.stderr).unwrap();
    in_snapshots("report", || insta::assert_snapshot!("coverage-required", said));
}
