//! Each defect is called what it is: a wrong value no damage, a wrong id no second run, a mixture of
//! dialects a mixture.

use schedlog::check::{CheckReport, Severity, Verdict};
use schedlog::diagnose::Diagnosis;
use schedlog::log::dialect::Habit;
use schedlog::log::schema::Table;
use schedlog::log::values::LogLevel;

use crate::dialect_writer::{VARIATIONS, written};
use crate::fixtures::{Log, repo, tripped};
use crate::mutants::{catalogue, full_logs, logs_at};
use crate::sheets::{Sheets, TABLES};

/// The first of the columns behind the fixed ones, per file.
const FIRST_OF_OURS: [&str; 3] = ["finish_reason", "admitted_count", "scheduled_tokens"];

fn verdict(log: &Sheets) -> (Verdict, Vec<&'static str>) {
    let (_directory, report) = log.log().check();
    (report.verdict(), tripped(&report))
}

fn violated(name: &str, what: &str, log: &Sheets) {
    let (verdict, found) = verdict(log);
    assert_eq!(verdict, Verdict::Violated, "{name}, {what}: {found:?}");
}

#[test]
fn a_wrong_count_of_the_last_steps_is_no_cut() {
    for (name, log) in full_logs() {
        for row in log.i.len() - 3..log.i.len() {
            for column in ["running_count", "waiting_count", "completed_count"] {
                for by in [1, 3] {
                    let mut wrong = log.clone();
                    wrong.i.add(row, column, by);
                    violated(&name, &format!("{column} of step {row} + {by}"), &wrong);
                }
            }
        }
    }
}

#[test]
fn a_lost_row_is_no_dialect() {
    let mut tried = 0;
    for (name, log) in full_logs() {
        for row in log.r.where_is("state", "running").into_iter().step_by(5) {
            let mut wrong = log.clone();
            wrong.r.rows.remove(row);
            let (_directory, report) = wrong.log().check();
            assert!(!report.dialect.has(Habit::BatchIsRunning), "{name}: row {row}");
            assert_eq!(report.verdict(), Verdict::Violated, "{name}: row {row}");
            tried += 1;
        }
    }
    assert!(tried > 100);
}

#[test]
fn a_wrong_state_of_the_last_change_is_no_cut() {
    for (name, log) in full_logs() {
        for row in log.t.where_is("state", "completed") {
            let mut wrong = log.clone();
            wrong.t.set(row, "state", "preempted");
            violated(&name, &format!("change {row}"), &wrong);
        }
    }
}

#[test]
fn an_event_of_another_request_is_no_cut() {
    // At the other log level the last event is that of a completion.
    for (name, log) in full_logs().into_iter().chain(logs_at(LogLevel::Standard)) {
        let last = log.e.len() - 1;
        for row in last - 2..=last {
            for request in 0..log.p.len() {
                let (id, own) = (log.p.text(request, "request_id"), log.e.text(row, "request_id"));
                if id != own {
                    let mut wrong = log.clone();
                    wrong.e.set(row, "request_id", id);
                    violated(&name, &format!("event {row} of {own} given to {id}"), &wrong);
                }
            }
        }
    }
}

/// Cut rows are damage whichever of the other files still tells whose they were.
#[test]
fn a_lost_end_is_a_cut_though_the_events_were_cut_before() {
    for (name, log) in full_logs() {
        let last = log.r.len() - 1;
        if log.r.text(last, "state") != "completed" {
            continue;
        }
        for events in [0, 1, log.e.len()] {
            let mut cut = log.clone();
            cut.r.rows.truncate(last);
            cut.e.rows.truncate(events);
            let (verdict, found) = verdict(&cut);
            assert_eq!(verdict, Verdict::Damaged, "{name}, {events} events: {found:?}");
        }
    }
}

/// Where only the events say who was admitted, steps behind their end are not judged by them.
#[test]
fn events_that_end_early_do_not_make_the_actions_wrong() {
    for (name, mut log) in full_logs() {
        for sheet in [&mut log.p, &mut log.i, &mut log.r] {
            let fixed =
                sheet.header.iter().position(|column| FIRST_OF_OURS.contains(&column.as_str()));
            let fixed = fixed.unwrap();
            sheet.header.truncate(fixed);
            sheet.rows.iter_mut().for_each(|row| row.truncate(fixed));
        }
        for events in [0, 2, log.e.len() / 2] {
            let mut cut = log.clone();
            cut.e.rows.truncate(events);
            let (verdict, found) = verdict(&cut);
            assert_eq!(verdict, Verdict::Damaged, "{name}, {events} events: {found:?}");
        }
    }
}

#[test]
fn the_end_of_the_last_request_that_two_files_tell_of_different_requests_is_named() {
    let (_, log) = logs_at(LogLevel::Standard)
        .into_iter()
        .find(|(name, _)| name == "tiny-cache-preemption")
        .unwrap();
    let last = log.e.len() - 1;
    assert_eq!(
        (log.e.text(last, "event_type"), log.e.text(last, "request_id")),
        ("request_completed", "r2")
    );
    let mut wrong = log.clone();
    wrong.e.set(last, "request_id", "r0");
    let (_directory, report) = wrong.log().check();
    let found: Vec<_> =
        report.rule("X005").unwrap().findings.iter().map(|it| it.message.as_str()).collect();
    let expected = "per_request.csv has the end of r2 at 469848000, events.csv has it not, although \
                    it goes on as long";
    assert!(found.contains(&expected), "{found:#?}");
}

/// The client's clock, which orders equally urgent requests, is in the log of a reference model only.
#[test]
fn only_a_reference_model_serves_equals_by_their_arrival() {
    let name = "equals-last-first";
    let mutant = catalogue().into_iter().find(|mutant| mutant.name == name).unwrap();
    let (_, mut log) = full_logs().into_iter().find(|(name, _)| name == "priorities").unwrap();
    (mutant.apply)(&mut log);
    assert_eq!(verdict(&log), (Verdict::Violated, vec!["Q006", "Q011"]));
    log.run["engine"] = "vllm 0.32.0".into();
    assert_eq!(verdict(&log), (Verdict::Clean, vec![]));
}

/// Neither rows nor details tell the tokens, and steps overlap.
#[test]
fn a_batch_has_a_token_for_each_of_its_requests() {
    let (_, mut log) = full_logs().into_iter().find(|(name, _)| name == "async-overlap").unwrap();
    let fixed = VARIATIONS.iter().find(|other| other.habit == "fixed-columns-only").unwrap();
    (fixed.write)(&mut log);
    log.e.map_text("details", |_| String::new());
    let prompts = (0..log.i.len()).find(|row| log.i.n(*row, "prefill_tokens") > 0).unwrap();
    assert_eq!(log.i.n(prompts, "decode_tokens"), 0);
    log.i.set(prompts, "prefill_tokens", 0);
    log.i.set(prompts, "total_tokens", 0);
    let (_directory, report) = log.log().check();
    let message = "more requests are in the batch than tokens are scheduled";
    let found = &report.rule("Q003").unwrap().findings;
    assert!(found.iter().any(|it| it.message == message), "{:?}", tripped(&report));
}

/// The ids are wrong, and no run was appended.
fn ids_only(report: &CheckReport) {
    let rule = report.rule("M011").unwrap();
    assert!(rule.errors > 0 && rule.damages == 0, "{:#?}", rule.findings);
}

#[test]
fn a_wrong_iteration_id_is_no_second_run() {
    for (name, log) in full_logs() {
        for row in (1..log.i.len()).step_by(log.i.len().div_ceil(12)).chain([log.i.len() - 1]) {
            let mut wrong = log.clone();
            wrong.i.set(row, "iteration_id", 0);
            let (_directory, report) = wrong.log().check();
            assert_eq!(report.verdict(), Verdict::Violated, "{name} {row}: {:?}", tripped(&report));
            ids_only(&report);
        }
    }
}

#[test]
fn a_counter_that_is_set_back_while_the_clock_goes_on_is_no_second_run() {
    let (_, mut log) = full_logs().into_iter().find(|(name, _)| name == "plain-run").unwrap();
    log.i.map("iteration_id", |id| id % 10);
    log.r.map("iteration_id", |id| id % 10);
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Violated);
    ids_only(&report);
}

/// A run killed behind a step, its rows of that step not flushed, and another run behind it.
fn killed_and_followed(first: &Sheets, step: usize, second: &Sheets) -> Log {
    let end = first.i.n(step, "end_time");
    let mut killed = first.clone();
    killed.i.rows.truncate(step + 1);
    killed.r.rows.retain(|row| row[0].parse::<usize>().unwrap() < step);
    killed.e.rows.retain(|row| row[0].parse::<i64>().unwrap() <= end);
    let over = |row: &Vec<String>| row[3].parse::<i64>().is_ok_and(|at| at <= end);
    killed.p.rows.retain(over);
    let ids: Vec<_> = killed.p.rows.iter().map(|row| row[0].clone()).collect();
    killed.t.rows.retain(|row| ids.contains(&row[0]));
    let second = second.log();
    TABLES.iter().fold(killed.log(), |log, table| {
        log.map(table, |bytes| [bytes, second.files[*table].clone()].concat())
    })
}

#[test]
fn what_a_killed_first_run_lacks_is_told_under_the_second_run() {
    let logs = full_logs();
    let of = |name: &str| &logs.iter().find(|(other, _)| other == name).unwrap().1;
    let (_directory, report) = killed_and_followed(of("plain-run"), 9, of("idle-gap")).check();
    assert_eq!(report.verdict(), Verdict::Damaged);
    assert_eq!(report.rule("X005").unwrap().damages, 2);
    let diagnosis = Diagnosis::of(&report, false);
    let told: Vec<_> = diagnosis.groups.iter().map(|group| group.rule().id).collect();
    assert_eq!(told, ["M011"]);
    let follows = &diagnosis.groups[0].consequences;
    assert_eq!(
        follows.iter().map(|it| (it.rule.id, it.findings.len())).collect::<Vec<_>>(),
        [("X005", 2)]
    );
}

#[test]
fn a_header_that_is_cut_is_damage() {
    for (name, log) in full_logs() {
        let log = log.log();
        for table in TABLES {
            let len = log.files[table].iter().position(|byte| *byte == b'\n').unwrap();
            for at in [1, len / 3, len / 2, len - 1, len] {
                let cut = log.clone().map(table, |bytes| bytes[..at].to_vec());
                let (_directory, report) = cut.check();
                let found = tripped(&report);
                assert_eq!(
                    report.verdict(),
                    Verdict::Damaged,
                    "{name}, {table} at {at}: {found:?}"
                );
                assert_eq!(report.rule("F004").unwrap().damages, 1, "{name}, {table} at {at}");
            }
        }
    }
}

#[test]
fn what_no_row_says_is_not_added_up() {
    for (name, mut log) in full_logs() {
        log.r.map_text("computed_tokens", |_| String::new());
        let (verdict, found) = verdict(&log);
        assert_eq!((verdict, found), (Verdict::Clean, Vec::new()), "{name}");
    }
}

#[test]
fn a_mixture_of_queue_positions_is_named_as_one() {
    for (name, log) in full_logs() {
        let running = log.r.where_is("state", "running");
        for other in [None, Some("0"), Some("")] {
            let mut mixed = log.clone();
            for (index, row) in running.iter().enumerate() {
                match other {
                    _ if index % 2 == 0 => mixed.r.set(*row, "queue_position", -1),
                    Some(other) => mixed.r.set(*row, "queue_position", other),
                    None => {}
                }
            }
            let (_directory, report) = mixed.log().check();
            assert!(report.dialect.has(Habit::MixedRunningPosition), "{name} {other:?}");
            let rule = report.rule("Q005").unwrap();
            let messages: Vec<_> = rule.findings.iter().map(|it| it.message.as_str()).collect();
            assert_eq!(rule.errors, 1, "{name} {other:?} {messages:?}");
            assert!(messages[0].starts_with("two dialects are mixed: "), "{messages:?}");
        }
        let mut wrong = log.clone();
        wrong.r.set(running[0], "queue_position", -1);
        let (_directory, report) = wrong.log().check();
        assert!(report.dialect.is_reference(), "{name}");
        assert_eq!(tripped(&report), ["Q005"], "{name}");
    }
}

/// The causes that are named for findings of a rule.
fn causes(log: &Sheets, rule: &str) -> Vec<&'static str> {
    let (_directory, report) = log.log().check();
    assert!(report.rule(rule).unwrap().errors > 0, "{rule}: {:?}", tripped(&report));
    let diagnosis = Diagnosis::of(&report, false);
    let groups = diagnosis.groups.iter().filter(|group| group.rule().id == rule);
    groups.flat_map(|group| group.causes.iter().map(|cause| cause.id)).collect()
}

#[test]
fn rounding_is_claimed_only_where_the_clock_is_finer() {
    let (_, log) = full_logs().into_iter().find(|(name, _)| name == "plain-run").unwrap();
    // This clock ticks in microseconds: it is end_time that was moved.
    let mut moved = log.clone();
    for row in 0..moved.i.len() {
        moved.i.add(row, "end_time", 1 + (row as i64 * 379) % 900);
    }
    assert!(!causes(&moved, "M010").contains(&"rounded"));
    // This one ticks in nanoseconds, and duration is cut.
    let mut rounded = log;
    for row in 0..rounded.i.len() {
        let by = 1 + (row as i64 * 379) % 900;
        rounded.i.add(row, "start_time", by);
        rounded.i.add(row, "end_time", by + 1 + (row as i64 * 211) % 90);
    }
    assert!(causes(&rounded, "M010").contains(&"rounded"));
}

#[test]
fn the_severity_of_a_contradiction_between_ends_is_that_of_an_error() {
    let (_, mut log) = full_logs().into_iter().find(|(name, _)| name == "aborts").unwrap();
    let last = log.e.where_is("event_type", "request_completed").pop().unwrap();
    let other = log.p.text(0, "request_id").to_owned();
    assert_ne!(log.e.text(last, "request_id"), other);
    log.e.set(last, "request_id", other);
    let (_directory, report) = log.log().check();
    let rule = report.rule("X005").unwrap();
    assert!(rule.findings.iter().any(|it| it.severity == Some(Severity::Error)), "{rule:#?}");
}

/// What is lost or cut says nothing of the level.
#[test]
fn a_log_level_that_the_files_contradict_is_an_error_and_a_cut_is_not() {
    for (name, log) in full_logs() {
        let level = |level: &str, change: fn(&mut Sheets)| {
            let mut log = log.clone();
            log.run["log_level"] = level.into();
            change(&mut log);
            let (_directory, report) = log.log().check();
            report.rule("F010").unwrap().errors
        };
        let without_rows = |log: &mut Sheets| log.r.rows.clear();
        let without_blocks = |log: &mut Sheets| {
            let column = log.e.column("event_type");
            log.e.rows.retain(|row| !row[column].starts_with("kv_cache_"));
        };
        let without_events = |log: &mut Sheets| log.e.rows.clear();
        let until_the_first_scheduling = |log: &mut Sheets| {
            let first = log.e.where_is("event_type", "request_scheduled")[0];
            log.e.rows.truncate(first + 1);
        };
        assert_eq!(level("full", |_| {}), 0, "{name}");
        assert_eq!(level("full", without_blocks), 1, "{name}");
        assert_eq!(level("full", without_events), 0, "{name}");
        assert_eq!(level("full", until_the_first_scheduling), 0, "{name}");
        assert_eq!(level("standard", |_| {}), 1, "{name}");
        assert_eq!(level("standard", without_blocks), 0, "{name}");
        assert_eq!(level("summary", |_| {}), 2, "{name}");
        assert_eq!(level("summary", without_blocks), 1, "{name}");
        assert_eq!(level("summary", without_rows), 1, "{name}");
        assert_eq!(level("summary", without_events), 1, "{name}");
    }
}

/// A pipeline with one request at a time may overlap and does not.
#[test]
fn steps_that_may_overlap_need_not() {
    let mut tried = 0;
    for (name, mut log) in full_logs() {
        if log.run["overlapping_steps"] == true {
            continue;
        }
        log.run["overlapping_steps"] = true.into();
        for habits in [&["fixed-columns-only"][..], &["no-details"], &["no-transitions"], &[]] {
            let (_directory, report) = written(&log, habits, true).check();
            assert_eq!(
                report.verdict(),
                Verdict::Clean,
                "{name} {habits:?}: {:?}",
                tripped(&report)
            );
            tried += 1;
        }
    }
    assert!(tried > 20);
}

/// Its row was read long ago; only the events are out of order.
#[test]
fn an_event_that_is_written_again_later_is_no_lost_request() {
    let mut tried = 0;
    for (name, log) in full_logs() {
        for event in log.e.where_is("event_type", "request_completed") {
            let at = log.e.n(event, "timestamp");
            let over = log.i.len()
                - log.i.rows.iter().filter(|row| row[1].parse::<i64>().unwrap() > at).count();
            let Some(behind) = log.i.rows.get(over + 6).map(|row| row[2].parse::<i64>().unwrap())
            else {
                continue;
            };
            let mut wrong = log.clone();
            let place =
                wrong.e.rows.iter().rposition(|row| row[0].parse::<i64>().unwrap() <= behind);
            let again = wrong.e.rows[event].clone();
            wrong.e.rows.insert(place.unwrap() + 1, again);
            let (_directory, report) = wrong.log().check();
            let found = tripped(&report);
            assert!(
                found.contains(&"M012") && !found.contains(&"X003"),
                "{name}, {event}: {found:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 10);
}

/// What leads is that rows are out of order, not what seems to be missing or wrong then.
#[test]
fn rows_out_of_the_order_of_steps_are_called_so() {
    for (name, log) in full_logs() {
        let step = |row: usize| log.r.n(row, "iteration_id");
        let seam = (log.r.len() / 2..log.r.len()).find(|row| step(*row) > step(row - 1));
        let mut swapped = log.clone();
        swapped.r.rows.swap(seam.unwrap() - 1, seam.unwrap());
        let mut threads = log.clone();
        (0..log.r.len() - 1).step_by(7).for_each(|row| threads.r.rows.swap(row, row + 1));
        let mut flushed = log.clone();
        let half = log.r.rows[log.r.len() / 3..log.r.len() / 2].to_vec();
        flushed.r.rows.splice(log.r.len() / 2..log.r.len() / 2, half);
        for (what, wrong) in [("swapped", swapped), ("threads", threads), ("flushed", flushed)] {
            let (_directory, report) = wrong.log().check();
            let errors = report.rule("X009").unwrap().errors;
            assert!(errors > 0, "{name} {what}: {:?}", tripped(&report));
            let x004 = &report.rule("X004").unwrap().findings;
            assert!(x004.iter().all(|it| !it.message.contains("does not have")), "{name} {what}");
            let diagnosis = Diagnosis::of(&report, false);
            let first = diagnosis.groups[0].rule().id;
            assert_eq!(first, "X009", "{name} {what}");
        }
    }
}

/// The caret stands under the value with which the others do not agree.
#[test]
fn the_end_that_the_event_contradicts_is_the_wrong_one() {
    let (_, log) = full_logs().into_iter().find(|(name, _)| name == "plain-run").unwrap();
    let blamed = |log: &Sheets| {
        let (_directory, report) = log.log().check();
        let mark = report.rule("S003").unwrap().findings[0].primary.clone().unwrap();
        (mark.at.table, mark.column)
    };
    let mut change = log.clone();
    let end = change.t.where_is("state", "completed")[0];
    change.t.add(end, "timestamp", -5);
    assert_eq!(blamed(&change), (Table::StateTransitions, Some("timestamp")));
    let mut row = log;
    row.p.add(0, "completion_time", 5);
    assert_eq!(blamed(&row), (Table::PerRequest, Some("completion_time")));
}

/// At log level `summary` there are no rows to count.
#[test]
fn waiting_requests_are_counted_by_the_events_where_there_are_no_rows() {
    for (name, log) in logs_at(LogLevel::Summary) {
        let mut tried = 0;
        for row in 0..log.i.len() {
            let mut wrong = log.clone();
            wrong.i.add(row, "waiting_count", 2);
            let found = verdict(&wrong).1;
            // Who arrives as a step begins may be counted or not.
            tried += usize::from(found.contains(&"Q001"));
        }
        assert!(tried * 3 > log.i.len() * 2, "{name}: {tried} of {}", log.i.len());
    }
}

pub(crate) fn compressed(bytes: Vec<u8>) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut out, &bytes).unwrap();
    out.finish().unwrap()
}

/// Bytes of the first line may happen to open a quote that nothing closes, as in a file that was cut.
#[test]
fn a_compressed_file_is_told_so_whatever_its_bytes() {
    let mut quotes = 0;
    for (name, log) in full_logs() {
        for table in TABLES {
            let packed = log.log().map(table, compressed);
            let line = packed.files[table].split(|byte| *byte == b'\n').next();
            quotes += usize::from(line.is_some_and(|line| line.contains(&b'"')));
            let (_directory, report) = packed.check();
            let findings = &report.rule("F001").unwrap().findings;
            let told = findings.iter().any(|finding| finding.message.contains("with gzip"));
            assert!(told, "{name} {table}: {findings:#?}");
        }
    }
    assert!(quotes > 0);
}

/// A name that every line of a log would have without its header says nothing; what the bytes are does.
#[test]
fn a_file_without_its_header_is_told_what_it_is() {
    let (_, log) = full_logs().into_iter().find(|(name, _)| name == "shared-prefixes").unwrap();
    let told_of = |table: &str, bytes: fn(Vec<u8>) -> Vec<u8>| {
        let (_directory, report) = log.log().map(table, bytes).check();
        let findings = &report.rule("F001").unwrap().findings;
        assert!(findings.len() < 2, "{findings:#?}");
        findings.first().map(|finding| finding.message.clone())
    };
    let told = |bytes| told_of("events.csv", bytes).unwrap();
    let gzip = told_of(TABLES[0], compressed).unwrap();
    let utf16 = told(|bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    });
    let marked = told(|bytes| {
        let text = format!("\u{feff}{}", String::from_utf8(bytes).unwrap());
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    });
    let random = told(|_| (0..=255).rev().filter(|byte| *byte != b'"').collect());
    let rows = told(|bytes| {
        let header = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        bytes[header + 1..].to_vec()
    });
    insta::with_settings!({
        snapshot_path => repo("snapshots"), prepend_module_to_snapshot => false, omit_expression => true
    }, {
        insta::assert_snapshot!("headless", [gzip, utf16, marked, random, rows].join("\n"));
    });
}
