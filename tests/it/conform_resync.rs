//! After a difference the reference goes on from where the log is, also where a request is on one side
//! only.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use schedlog::config::Policy;
use schedlog::conform::log::{LogReport, LogVerdict};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::trace::Trace;
use schedlog::units::IterationId;

use crate::conform_canaries::{
    BUGS, conform, first_difference, jobs, many_jobs, replay, settings, text,
};
use crate::dialect_writer::written;
use crate::sheets::Sheets;
use crate::strategies::{self, traces};
use crate::support::in_snapshots;
use crate::wrong_scheduler::{Bug, run, run_with};

/// The log of a right scheduler, changed.
fn changed(change: impl FnOnce(&mut Sheets)) -> LogReport {
    let directory = tempfile::tempdir().unwrap();
    run(Bug::None, &jobs(1), &settings(Policy::Fcfs), directory.path());
    compared(directory.path(), change)
}

fn compared(directory: &Path, change: impl FnOnce(&mut Sheets)) -> LogReport {
    let mut log = Sheets::read(directory);
    change(&mut log);
    conform(log.log().write().path())
}

/// The log of a scheduler that is wrong in one iteration, the first of some in which that makes a
/// difference, amid steady work.
fn wrong_once(bug: Bug, policy: Policy) -> Option<(tempfile::TempDir, u64)> {
    let jobs = many_jobs(1, 48, [0, 100, 1_500, 3_000]);
    let right = tempfile::tempdir().unwrap();
    run(Bug::None, &jobs, &settings(policy), right.path());
    (40..80).find_map(|iteration| {
        let wrong = tempfile::tempdir().unwrap();
        run_with((bug, Some(iteration)), &jobs, &settings(policy), wrong.path());
        (first_difference(right.path(), wrong.path()) == iteration).then_some((wrong, iteration))
    })
}

/// Takes the middle one of the rows in a state away.
fn lose_a_row(log: &mut Sheets, state: &str) {
    let rows = log.r.where_is("state", state);
    log.r.rows.remove(rows[rows.len() / 2]);
}

#[test]
fn a_lost_row_is_one_divergence() {
    for state in ["running", "waiting", "preempted"] {
        let report = changed(|log| lose_a_row(log, state));
        let (counts, shown) = (report.counts, text(&report));
        assert!(matches!(report.verdict, LogVerdict::Diverges(_)), "{shown}");
        assert_eq!((report.diverged, counts.skipped()), (1, 0), "{state}: {shown}");
        assert_eq!((counts.taken_over, counts.restarts), (1, 0), "{state}: {shown}");
        in_snapshots("conform", || insta::assert_snapshot!(format!("lost-{state}-row"), shown));
    }
    let report = changed(|log| lose_a_row(log, "completed"));
    assert_eq!((report.diverged, report.counts.skipped()), (1, 0), "{}", text(&report));
}

#[test]
fn a_request_whose_arrival_is_not_told_is_taken_in_by_its_rows() {
    let report = changed(|log| {
        let arrivals = log.e.where_is("event_type", "request_arrived");
        log.e.rows.remove(arrivals[5]);
    });
    let shown = text(&report);
    assert!(matches!(report.verdict, LogVerdict::Diverges(_)), "{shown}");
    assert_eq!((report.diverged, report.counts.skipped()), (1, 0), "{shown}");
    in_snapshots("conform", || insta::assert_snapshot!("lost-arrival", shown));
}

#[test]
fn a_request_that_arrives_late_is_taken_in_by_its_rows() {
    let report = changed(|log| {
        let arrivals = log.e.where_is("event_type", "request_arrived");
        log.e.add(arrivals[5], "timestamp", 30_000_000);
        log.e.rows.sort_by_key(|row| row[0].parse::<u64>().unwrap());
    });
    assert_eq!((report.diverged, report.counts.skipped()), (1, 0), "{}", text(&report));
}

#[test]
fn a_request_that_is_gone_untold_is_gone_in_the_reference() {
    let directory = tempfile::tempdir().unwrap();
    replay("aborts", directory.path(), LogLevel::Standard);
    let report = compared(directory.path(), |log| {
        // It runs when it gives up, and others go on.
        let abort = log.e.rows.iter().position(|row| row[2] == "r1" && row[3].contains("abort"));
        log.e.rows.remove(abort.unwrap());
    });
    let shown = text(&report);
    assert!(matches!(report.verdict, LogVerdict::Diverges(_)), "{shown}");
    assert_eq!((report.diverged, report.counts.skipped()), (1, 0), "{shown}");
    in_snapshots("conform", || insta::assert_snapshot!("lost-abort", shown));
}

/// A request that reaches its limit and goes on in the log.
#[test]
fn a_request_goes_on_beyond_its_limit_as_in_the_log() {
    let report = changed(|log| {
        let rows = log.p.where_is("finish_reason", "length");
        let long = rows.into_iter().find(|row| log.p.n(*row, "output_tokens") > 6).unwrap();
        log.p.add(long, "output_tokens", -3);
    });
    let shown = text(&report);
    assert!(matches!(report.verdict, LogVerdict::Diverges(_)), "{shown}");
    assert_eq!((report.diverged, report.counts.skipped()), (1, 0), "{shown}");
    in_snapshots("conform", || insta::assert_snapshot!("beyond-its-limit", shown));
}

/// With all columns and with the fixed ones: found where it is, and compared again from the next
/// iteration on.
#[test]
fn one_wrong_decision_in_a_busy_log_is_one_divergence() {
    let mut table = String::new();
    for (bug, policy) in BUGS {
        let Some((directory, iteration)) = wrong_once(bug, policy) else { continue };
        let log = Sheets::read(directory.path());
        for habits in [&[][..], &["fixed-columns-only"]] {
            let report = conform(written(&log, habits, true).write().path());
            let (counts, shown) = (report.counts, text(&report));
            let found = LogVerdict::Diverges(IterationId(iteration));
            assert_eq!(report.verdict, found, "{bug:?}, {habits:?}: {shown}");
            let _ = writeln!(
                table,
                "{bug:?} at {iteration}, {}: {} of {} iterations compared, {} different, {} skipped",
                habits.first().unwrap_or(&"all columns"),
                counts.compared,
                counts.iterations,
                counts.different,
                counts.skipped(),
            );
        }
    }
    in_snapshots("conform", || insta::assert_snapshot!("wrong-once", table));
}

/// Rows that cannot be read cannot be taken over: the reference goes on from the next step.
#[test]
fn the_reference_goes_on_behind_a_row_that_cannot_be_read() {
    let report = changed(lose_count);
    let (counts, shown) = (report.counts, text(&report));
    assert_eq!(report.verdict, LogVerdict::Conforms, "{shown}");
    assert_eq!((counts.skipped(), counts.taken_over, counts.restarts), (2, 1, 0), "{shown}");
    in_snapshots("conform", || insta::assert_snapshot!("goes-on", shown));
}

/// Makes a row of a waiting request unreadable.
fn lose_count(log: &mut Sheets) {
    let rows = log.r.where_is("state", "waiting");
    log.r.set(rows[0], "tokens_generated", "many");
}

/// Where preempted requests have no rows, no step tells all: the reference waits until the log's engine
/// is empty.
#[test]
fn the_reference_starts_anew_where_the_log_was_empty() {
    let report = changed(|log| {
        lose_count(log);
        log.r.rows.retain(|row| row[2] != "preempted");
    });
    let (counts, shown) = (report.counts, text(&report));
    assert_eq!(report.verdict, LogVerdict::Conforms, "{shown}");
    assert!(counts.skipped() > 2 && counts.restarts > 0, "{shown}");
    in_snapshots("conform", || insta::assert_snapshot!("starts-anew", shown));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Nothing that a right log lacks is taken for a decision of what comes behind it.
    #[test]
    fn what_stands_behind_rows_that_cannot_be_read_conforms(
        requests in traces(10),
        settings in strategies::settings(),
        damaged in proptest::collection::vec(0.0..1.0f64, 1..4),
        bare: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests);
        let options = LogOptions::default();
        if replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}).is_err() {
            return Err(TestCaseError::reject("vLLM itself would hang or die"));
        }
        let mut log = Sheets::read(directory.path());
        let queued: Vec<_> = (0..log.r.len()).filter(|row| log.r.rows[*row][2] != "completed").collect();
        prop_assume!(!queued.is_empty());
        for share in damaged {
            let row = queued[(queued.len() as f64 * share) as usize];
            log.r.set(row, "tokens_generated", "many");
        }
        let habits = if bare { &["fixed-columns-only"][..] } else { &[] };
        let report = conform(written(&log, habits, true).write().path());
        prop_assert!(!matches!(report.verdict, LogVerdict::Diverges(_)), "{}", text(&report));
    }
}
