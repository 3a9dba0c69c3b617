//! Logs of which the beginning is missing, as of files that are rotated.

use std::fmt::Write;

use schedlog::check::{CheckReport, Verdict};
use schedlog::conform::log::{ConformOptions, LogVerdict, Void, conform_log};
use schedlog::units::IterationId;

use crate::cuts::{bundled, replayed};
use crate::dialect_writer::VARIATIONS;
use crate::fixtures::tripped;
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets};
use crate::support::in_snapshots;

/// What is left of a log if its files begin with a step.
fn rest(log: &Sheets, step: usize) -> Sheets {
    let mut rest = log.clone();
    let (first, start) = (log.i.n(step, "iteration_id"), log.i.n(step, "start_time"));
    let from = |sheet: &mut Sheet, least: i64| {
        sheet.rows.retain(|row| row[0].parse::<i64>().unwrap() >= least);
    };
    from(&mut rest.i, first);
    from(&mut rest.r, first);
    from(&mut rest.e, start);
    let over = |row: usize| log.p.num(row, "completion_time").is_some_and(|at| at < start);
    let over: Vec<_> = (0..log.p.len())
        .filter(|row| over(*row))
        .map(|row| log.p.text(row, "request_id").to_owned())
        .collect();
    rest.p.rows.retain(|row| !over.contains(&row[0]));
    rest.t.rows.retain(|row| row[1].parse::<i64>().unwrap() >= start);
    rest
}

fn note(report: &CheckReport) -> Option<&String> {
    report.notes.iter().find(|note| note.starts_with("the beginning of the log is missing"))
}

/// What is told of requests that arrived before goes on from what no file has.
#[test]
fn a_log_of_which_the_beginning_is_missing_is_damaged() {
    let (mut told, mut others, mut text) = (0, Vec::<String>::new(), String::new());
    for (name, log) in full_logs() {
        for step in [1, log.i.len() / 3, log.i.len() / 2, log.i.len() - 2] {
            let report = rest(&log, step).log().check().1;
            if let Some(note) = note(&report) {
                writeln!(text, "{name} from {step}\n  {note}").unwrap();
                for rule in report.rules.iter().filter(|rule| rule.errors > 0) {
                    let errors = rule.findings.iter().filter(|finding| finding.severity.is_none());
                    others.extend(errors.map(|it| {
                        let about = (&it.request, it.iteration.map(|id| id.0));
                        format!("{name} from {step}: {} {about:?} {}", rule.rule.id, it.message)
                    }));
                }
                told += 1;
            }
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert!(told > 30, "{told}");
    in_snapshots("messages", || insta::assert_snapshot!("rotated", text));
}

fn is_damaged(what: &str, log: &crate::fixtures::Log) -> CheckReport {
    let report = log.check().1;
    assert_eq!(report.verdict(), Verdict::Damaged, "{what}: {:#?}", tripped(&report));
    assert!(note(&report).is_some(), "{what}: {:?}", report.notes);
    report
}

/// At level summary no row tells how long requests that arrived before wait and run.
#[test]
fn requests_from_before_a_summary_begins_are_counted_as_long_as_they_may_live() {
    for name in ["burst-into-max-num-seqs", "tiny-cache-preemption", "priorities"] {
        let log = bundled(name);
        for step in [2, log.i.len() / 3] {
            let rest = rest(&log, step).log();
            let summary =
                rest.without("per_iteration_requests.csv").without("state_transitions.csv");
            is_damaged(name, &summary);
        }
    }
}

/// The engine has nothing to do where the files begin.
#[test]
fn a_log_may_go_on_where_nobody_is_left_of_its_beginning() {
    let line =
        |at: u32| format!("{{\"timestamp\": {at}, \"input_length\": 8, \"output_length\": 3}}\n");
    let log = replayed(&[0, 500, 1000].map(line).concat(), "max_num_seqs = 1\n");
    let arrival = log.p.n(1, "arrival_time");
    let step = (0..log.i.len()).find(|step| log.i.n(*step, "start_time") >= arrival).unwrap();
    let rest = rest(&log, step);
    assert_eq!(rest.p.len(), 2);
    is_damaged("nobody is left", &rest.log());
    let mut from_one = log;
    from_one.i.map("iteration_id", |id| id + 1);
    from_one.r.map("iteration_id", |id| id + 1);
    assert_eq!(from_one.log().check().1.verdict(), Verdict::Violated);
}

#[test]
fn a_log_of_which_the_beginning_is_missing_is_not_compared() {
    let mut text = String::new();
    for name in ["plain-run", "tiny-cache-preemption", "async-overlap"] {
        let log = bundled(name);
        let step = log.i.len() / 3;
        let first = IterationId(step as u64);
        let log = rest(&log, step).log().write();
        let report = conform_log(log.path(), &ConformOptions::default()).unwrap();
        let LogVerdict::Void(why) = report.verdict else { panic!("{name}: {:?}", report.verdict) };
        assert_eq!(why, Void::NoBeginning { first });
        writeln!(text, "{name}\n  {why}").unwrap();
    }
    in_snapshots("messages", || insta::assert_snapshot!("rotated_void", text));
}

/// Who ends as the first step begins has its end in the events, and nothing else.
#[test]
fn who_waits_is_counted_on_from_requests_of_which_only_the_end_is_left() {
    let no_rows = VARIATIONS.iter().find(|other| other.habit == "no-initial-rows").unwrap();
    let mut seen = 0;
    for name in ["burst-into-max-num-seqs", "tiny-cache-preemption", "priorities"] {
        let log = bundled(name);
        for step in 2..log.i.len() - 2 {
            let start = log.i.text(step, "start_time");
            let over: Vec<String> = log
                .p
                .where_is("completion_time", start)
                .into_iter()
                .map(|row| log.p.text(row, "request_id").to_owned())
                .collect();
            if over.is_empty() {
                continue;
            }
            let mut rest = rest(&log, step);
            rest.p.rows.retain(|row| !over.contains(&row[0]));
            rest.t.rows.retain(|row| !over.contains(&row[0]));
            (no_rows.write)(&mut rest);
            let report = is_damaged(name, &rest.log());
            seen += report.rule("Q001").unwrap().damages;
        }
    }
    assert!(seen > 5, "{seen}");
}
