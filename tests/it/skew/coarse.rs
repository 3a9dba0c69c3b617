//! Skews that a clock hides, or that only few rows show.

use schedlog::check::Verdict;
use schedlog::log::dialect::Habit;

use super::{Jitter, foreign, problems};
use crate::cuts::{decided_at_ends, replayed};
use crate::dialect_writer::written;
use crate::sheets::Sheets;

/// A log of which all moments are whole microseconds.
fn whole_microseconds() -> Sheets {
    let line = |i: u32| {
        let (input, output) = (8 + i * 37 % 71, 1 + i * 13 % 23);
        let at = 7 * i;
        format!("{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": {output}}}\n")
    };
    let settings = "max_model_len = 128\nmax_num_seqs = 6\nlatency = \"fixed\"\n";
    let log = replayed(&(0..24).map(line).collect::<String>(), settings);
    let whole = |row: usize| log.moments(row).iter().all(|at| at % 1000 == 0);
    assert!((0..log.i.len()).all(whole));
    foreign(&log)
}

/// As a second reading tells them that is made 0.3 us later: three in ten are of the next microsecond.
fn read_later(log: &mut Sheets, kind: &str) {
    let mut jitter = Jitter { state: 3, most: 10 };
    for event in log.e.where_is("event_type", kind) {
        if jitter.next() <= 3 {
            log.e.add(event, "timestamp", 1_000);
        }
    }
    let at = log.e.column("timestamp");
    log.e.rows.sort_by_key(|row| row[at].parse::<u64>().unwrap());
}

#[test]
fn a_skew_below_the_unit_of_the_clock_is_a_skew() {
    for kind in ["request_scheduled", "first_token_generated", "request_completed"] {
        let mut log = whole_microseconds();
        read_later(&mut log, kind);
        for habits in [&[][..], &["no-details"], &["no-transitions"], &["ends-at-decision"]] {
            let report = written(&log, habits, true).check().1;
            let clean = report.verdict() == Verdict::Clean;
            assert!(clean, "{kind}, {habits:?}: {}", problems(&report));
            assert!(report.dialect.has(Habit::ClockSkew), "{kind}, {habits:?}");
        }
    }
}

/// Where all are of the next microsecond the logger adds one.
#[test]
fn a_constant_difference_of_one_unit_is_no_skew() {
    let mut log = whole_microseconds();
    for event in log.e.where_is("event_type", "first_token_generated") {
        log.e.add(event, "timestamp", 1_000);
    }
    let report = log.log().check().1;
    assert_eq!(report.verdict(), Verdict::Violated);
    assert!(!report.dialect.has(Habit::ClockSkew));
}

/// Each request runs in one step, so that no row goes on from another.
#[test]
fn times_in_states_show_a_skew_though_none_of_them_goes_on() {
    let line = |i: u32| {
        format!("{{\"timestamp\": {}, \"input_length\": 8, \"output_length\": 1}}\n", 30 * i)
    };
    let trace: String = (0..8).map(line).collect();
    let mut log = foreign(&replayed(&trace, "max_model_len = 64\nlatency = \"fixed\"\n"));
    let mut jitter = Jitter { state: 5, most: 900 };
    for row in log.r.where_is("state", "running") {
        let by = jitter.next();
        log.r.add(row, "time_in_state", by);
    }
    let report = log.log().check().1;
    assert_eq!(report.verdict(), Verdict::Clean, "{}", problems(&report));
    assert!(report.dialect.has(Habit::ClockSkew));
}

/// The events are sorted anew by their stamps: blocks stand before the arrival that they are for, and those of
/// two steps before the scheduling.
#[test]
fn blocks_add_up_where_stamps_put_the_events_into_another_order() {
    let kinds = ["request_arrived", "request_scheduled", "request_completed"];
    for settings in ["", "async_scheduling = true\n"] {
        for kind in kinds {
            let mut log = foreign(&decided_at_ends(settings));
            let mut jitter = Jitter { state: 9, most: 20_000 };
            for event in log.e.where_is("event_type", kind) {
                let by = jitter.next();
                log.e.add(event, "timestamp", by);
            }
            let at = log.e.column("timestamp");
            log.e.rows.sort_by_key(|row| row[at].parse::<u64>().unwrap());
            let report = log.log().check().1;
            let clean = report.verdict() == Verdict::Clean;
            assert!(clean, "{settings:?}, {kind}: {}", problems(&report));
        }
    }
}

/// What the parts of a step lack is as short as a skew, but each step lasts as long as it says.
#[test]
fn an_output_duration_that_is_never_filled_in_is_no_skew() {
    let line = |i: u32| {
        let output = 3 + i * 13 % 23;
        format!("{{\"timestamp\": {}, \"input_length\": 8, \"output_length\": {output}}}\n", 7 * i)
    };
    let trace: String = (0..12).map(line).collect();
    for settings in ["", "async_scheduling = true\n"] {
        let times = "output_base_ns = 4567\noutput_per_request_ns = 987\nlatency = \"fixed\"\n";
        let log = foreign(&replayed(&trace, &format!("max_model_len = 64\n{times}{settings}")));
        for run_json in [true, false] {
            let mut wrong = log.clone();
            wrong.i.map("output_processing_duration", |_| 0);
            let report = written(&wrong, &[], run_json).check().1;
            let rule = report.rule("M010").unwrap();
            assert!(rule.errors as usize * 2 > log.i.len(), "{settings:?} {run_json}");
            assert!(!report.dialect.has(Habit::ClockSkew), "{settings:?} {run_json}");
        }
    }
}
