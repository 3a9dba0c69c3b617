//! Damage is no violation, and does not hide one.

use std::collections::BTreeSet;
use std::io::Write;

use proptest::prelude::*;
use schedlog::check::{CheckReport, Verdict};

use crate::dialect_writer::another_logger;
use crate::fixtures::{Log, tripped};
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets, TABLES};

fn errors(report: &CheckReport) -> Vec<&'static str> {
    report.rules.iter().filter(|rule| rule.errors > 0).map(|rule| rule.rule.id).collect()
}

fn first_error(report: &CheckReport) -> String {
    let rule = report.rules.iter().find(|rule| rule.errors > 0);
    rule.map_or(String::new(), |rule| format!("{:#?}", rule.findings[0]))
}

fn no_error(name: &str, what: &str, log: &Log) -> CheckReport {
    let (_directory, report) = log.check();
    assert_eq!(errors(&report), [""; 0], "{name}, {what}: {}", first_error(&report));
    report
}

pub(crate) fn damaged(name: &str, what: &str, log: &Log) -> CheckReport {
    let report = no_error(name, what, log);
    assert_eq!(report.verdict(), Verdict::Damaged, "{name}, {what}");
    report
}

fn map_tables(log: &Log, change: impl Fn(&str, &[u8]) -> Vec<u8>) -> Log {
    let mut log = log.clone();
    for table in TABLES {
        let bytes = change(table, &log.files[table]);
        log.files.insert(table.to_owned(), bytes);
    }
    log
}

/// `second` behind `first`, with its header or without.
fn appended(first: &Log, second: &Log, header: bool) -> Log {
    map_tables(first, |table, bytes| {
        let second = &second.files[table];
        let rows = second.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        [bytes, if header { second } else { &second[rows..] }].concat()
    })
}

/// Moves all moments of a run, as on a clock that goes on.
fn later(log: &Sheets, by: i64) -> Sheets {
    let mut log = log.clone();
    for (sheet, columns) in [
        (&mut log.p, &["arrival_time", "first_scheduled_time", "completion_time"][..]),
        (&mut log.i, &["start_time", "end_time"]),
        (&mut log.e, &["timestamp"]),
        (&mut log.t, &["timestamp"]),
    ] {
        columns.iter().for_each(|column| sheet.map(column, |time| time + by));
    }
    log
}

#[test]
fn a_second_run_is_one_diagnosis_and_the_first_is_checked() {
    let logs = full_logs();
    for (index, (name, first)) in logs.iter().enumerate() {
        let (_, other) = &logs[(index + 1) % logs.len()];
        for second in [first.clone(), other.clone(), later(first, 1 << 40)] {
            for header in [true, false] {
                let log = appended(&first.log(), &second.log(), header);
                let report = damaged(name, "appended", &log);
                assert_eq!(tripped(&report), ["M011"], "{name} {header}");
                assert_eq!(report.rule("M011").unwrap().damages, 1, "{name}");
                let message = &report.rule("M011").unwrap().findings[0].message;
                let line = first.i.len() + 2;
                assert!(message.contains(&format!("line {line}")), "{name}: {message}");
            }
        }
        let mut wrong = first.clone();
        wrong.p.add(0, "e2e_latency", 1);
        let (_directory, report) = appended(&wrong.log(), &first.log(), false).check();
        assert!(errors(&report).contains(&"M001"), "{name}: {:?}", errors(&report));
    }
}

fn rows_until(sheet: &Sheet, keep: impl Fn(usize) -> bool) -> Sheet {
    let len = (0..sheet.len()).find(|row| !keep(*row)).unwrap_or(sheet.len());
    Sheet { header: sheet.header.clone(), rows: sheet.rows[..len].to_vec() }
}

/// Each file as it was when it was flushed last: per file the steps that it tells of.
fn flushed(log: &Sheets, steps: [usize; 5]) -> Sheets {
    let end = |index: usize| match steps[index] {
        0 => -1,
        step => log.i.n(step - 1, "end_time"),
    };
    let mut cut = log.clone();
    cut.p =
        rows_until(&log.p, |row| log.p.num(row, "completion_time").is_some_and(|at| at <= end(0)));
    cut.i = rows_until(&log.i, |row| row < steps[1]);
    cut.r = rows_until(&log.r, |row| log.r.n(row, "iteration_id") < steps[2] as i64);
    // Events are buffered in the order in which they happen, also while a step is open.
    cut.e = rows_until(&log.e, |row| log.e.n(row, "timestamp") <= end(3));
    let ended = |id: &str| {
        let row = log.request(id).unwrap();
        log.p.num(row, "completion_time").is_some_and(|at| at <= end(4))
    };
    cut.t = rows_until(&log.t, |row| ended(log.t.text(row, "request_id")));
    cut
}

#[test]
fn a_killed_run_and_files_of_different_flushes_are_damage() {
    for (name, log) in full_logs() {
        let len = log.i.len();
        for step in 1..len {
            let report =
                no_error(&name, &format!("killed after {step}"), &flushed(&log, [step; 5]).log());
            assert!(report.verdict() <= Verdict::Damaged);
        }
        for file in 0..5 {
            for quarter in 0..4 {
                let mut steps = [len; 5];
                steps[file] = len * quarter / 4;
                let what = format!("{} flushed up to {}", TABLES[file], steps[file]);
                no_error(&name, &what, &flushed(&log, steps).log());
            }
        }
    }
}

#[test]
fn a_missing_or_empty_file_is_damage() {
    for (name, log) in full_logs() {
        for table in TABLES {
            let log = log.log();
            damaged(&name, &format!("without {table}"), &log.clone().without(table));
            damaged(&name, &format!("{table} empty"), &log.clone().map(table, |_| Vec::new()));
            let header = |bytes: Vec<u8>| {
                bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec()
            };
            damaged(&name, &format!("{table} header only"), &log.map(table, header));
        }
    }
}

#[test]
fn forms_of_the_same_content_change_nothing() {
    for (name, log) in full_logs() {
        let mut renamed = log.clone();
        let rename = |id: &str| format!("{id},\"x\"\nß");
        for sheet in [&mut renamed.p, &mut renamed.r, &mut renamed.e, &mut renamed.t] {
            sheet.map_text("request_id", rename);
        }
        let text = |change: fn(String) -> String| {
            map_tables(&log.log(), |_, bytes| {
                change(String::from_utf8(bytes.to_vec()).unwrap()).into_bytes()
            })
        };
        let mut packed = log.log();
        for table in TABLES {
            let bytes = packed.files.remove(table).unwrap();
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            packed.files.insert(format!("{table}.gz"), encoder.finish().unwrap());
        }
        let forms = [
            ("quoted ids", renamed.log()),
            ("CRLF", text(|text| text.replace('\n', "\r\n"))),
            ("BOM", text(|text| format!("\u{feff}{text}"))),
            ("gzip", packed),
        ];
        for (what, log) in forms {
            let report = no_error(&name, what, &log);
            assert_eq!(tripped(&report), [""; 0], "{name}, {what}");
        }
    }
}

#[test]
fn a_torn_gzip_is_damage() {
    for (name, log) in full_logs() {
        for table in TABLES {
            let mut log = log.log();
            let bytes = log.files.remove(table).unwrap();
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            let packed = encoder.finish().unwrap();
            let torn = packed[..packed.len() * 2 / 3].to_vec();
            log.files.insert(format!("{table}.gz"), torn);
            damaged(&name, &format!("{table} torn"), &log);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_of_any_files_is_damage(cuts in proptest::collection::vec(proptest::option::of(0.0..1.0f64), 5)) {
        for (name, log) in full_logs() {
            let mut log = log.log();
            for (table, cut) in TABLES.iter().zip(&cuts) {
                let Some(cut) = cut else { continue };
                let bytes = &log.files[*table];
                let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                let at = header + ((bytes.len() - header) as f64 * cut) as usize;
                let bytes = bytes[..at].to_vec();
                log.files.insert((*table).to_owned(), bytes);
            }
            let (_directory, report) = log.check();
            prop_assert_eq!(errors(&report), [""; 0], "{}: {}", name, first_error(&report));
        }
    }
}

#[test]
fn changes_that_another_logger_does_not_write_are_not_missing() {
    for (name, mut log) in full_logs() {
        another_logger(&mut log.run);
        let (_directory, report) = log.log().without("state_transitions.csv").check();
        assert_eq!(report.verdict(), Verdict::Clean, "{name}: {:?}", tripped(&report));
    }
}

#[test]
fn violations_in_the_rest_are_still_found() {
    for (name, log) in full_logs() {
        let mut wrong = log.clone();
        wrong.i.add(0, "duration", 1);
        wrong.p.add(0, "e2e_latency", 1);
        for table in ["events.csv", "state_transitions.csv", "per_iteration_requests.csv"] {
            let (_directory, report) = wrong.log().without(table).check();
            assert_eq!(report.verdict(), Verdict::Violated, "{name} without {table}");
            assert_eq!(errors(&report)[..2], ["M001", "M002"], "{name} without {table}");
            assert!(errors(&report).contains(&"M010"), "{name} without {table}");
            assert_eq!(report.rule("F001").unwrap().damages, 1, "{name} without {table}");
        }
        let torn = |bytes: Vec<u8>| bytes[..bytes.len() - 4].to_vec();
        let log = TABLES.into_iter().fold(wrong.log(), |log, table| log.map(table, torn));
        let (_directory, report) = log.check();
        assert_eq!(report.verdict(), Verdict::Violated, "{name} torn");
        assert_eq!(report.rule("F004").unwrap().damages, 5, "{name} torn");
    }
}

/// Two processes write one file: a row is torn by another.
#[test]
fn a_torn_row_in_the_middle_costs_no_other_finding() {
    for (name, log) in full_logs() {
        for table in TABLES {
            let log = log.log().map(table, |bytes| {
                let text = String::from_utf8(bytes).unwrap();
                let lines: Vec<&str> = text.lines().collect();
                let middle = 1 + (lines.len() - 1) / 2;
                let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
                let half = lines[middle].len() / 2;
                // The other process has the rest in its own row.
                let rest = lines[middle].split_off(half);
                lines.insert(middle + 1, rest);
                (lines.join("\n") + "\n").into_bytes()
            });
            let (_directory, report) = log.check();
            let found: Vec<_> = errors(&report);
            let form = ["F002", "F003", "F006"];
            assert!(
                found.iter().all(|id| form.contains(id)),
                "{name}, {table}: {found:?} {}",
                first_error(&report)
            );
        }
    }
}

/// What was flushed of a run that was killed at a moment between two steps, and whether requests
/// were alive then.
fn killed(log: &Sheets, steps: usize, at: i64) -> (Sheets, bool) {
    let mut log = log.clone();
    let over: BTreeSet<String> = (0..log.p.len())
        .filter(|row| log.p.num(*row, "completion_time").is_some_and(|end| end <= at))
        .map(|row| log.p.text(row, "request_id").to_owned())
        .collect();
    log.p.rows.retain(|row| over.contains(&row[0]));
    log.t.rows.retain(|row| over.contains(&row[0]));
    log.i.rows.truncate(steps);
    log.r.rows.retain(|row| row[0].parse::<usize>().unwrap() < steps);
    log.e.rows.retain(|row| row[0].parse::<i64>().unwrap() <= at);
    let arrived = log.e.where_is("event_type", "request_arrived");
    let alive = arrived.into_iter().any(|row| !over.contains(log.e.text(row, "request_id")));
    (log, alive)
}

#[test]
fn a_killed_run_with_live_requests_is_damaged() {
    let (mut alive_at_all, mut idle) = (0, 0);
    for (name, log) in full_logs() {
        let steps = log.i.len();
        for step in (0..steps - 1).step_by(steps.div_ceil(12)) {
            let (end, next) = (log.moments(step)[3], log.moments(step + 1)[0]);
            for at in [end, next - 1] {
                // Steps in flight make the end of a log with overlapping steps another matter.
                if at < end {
                    continue;
                }
                let (killed, alive) = killed(&log, step + 1, at);
                let (_directory, report) = killed.log().check();
                assert_eq!(errors(&report), [""; 0], "{name} {step} {at} {}", first_error(&report));
                let damaged = report.verdict() == Verdict::Damaged;
                assert!(damaged || !alive, "{name} killed at {at} behind step {step}");
                alive_at_all += usize::from(alive);
                idle += usize::from(!alive);
            }
        }
    }
    assert!(alive_at_all > 100 && idle > 0, "{alive_at_all} {idle}");
}

/// One file of the log was appended to itself, with its header or without: what a copy or a flush that
/// ran twice does to it.
#[test]
fn a_file_that_holds_its_rows_twice_is_damage() {
    let mut tried = 0;
    for (name, sheets) in full_logs() {
        let log = sheets.log();
        for table in TABLES.into_iter().filter(|table| *table != "per_iteration.csv") {
            let bytes = &log.files[table];
            let rows = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            if bytes.iter().filter(|byte| **byte == b'\n').count() <= 10 {
                continue;
            }
            for again in [&bytes[..], &bytes[rows..]] {
                let twice = log.clone().map(table, |bytes| [&bytes[..], again].concat());
                let report = damaged(&name, table, &twice);
                assert_eq!(tripped(&report), ["F001"], "{name}, {table}");
                let message = &report.rule("F001").unwrap().findings[0].message;
                assert!(message.contains("appended to itself"), "{name}, {table}: {message}");
                tried += 1;
            }
            // A row of the second half that is another one is no copy.
            let mut other = [&bytes[..], &bytes[rows..]].concat();
            let last = other.len() - 2;
            other[last] ^= 1;
            let (_directory, report) = log.clone().map(table, |_| other).check();
            assert_eq!(report.verdict(), Verdict::Violated, "{name}, {table}");
        }
    }
    assert!(tried > 50);
}
