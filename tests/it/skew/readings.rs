//! Every file, and every kind of stamp in it, with a reading of the clock of its own.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use schedlog::check::Verdict;
use schedlog::log::dialect::Habit;

use super::{Jitter, foreign, problems, shows};
use crate::dialect_writer::{VARIATIONS, written};
use crate::fixtures::tripped;
use crate::mutants::full_logs;
use crate::sheets::Sheets;

/// What a logger may read its clock for once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    /// The events of one type.
    Event(&'static str),
    /// All events but arrivals.
    Events,
    /// first_scheduled_time.
    FirstScheduled,
    /// completion_time, and the times that end with it.
    Completion,
    /// All changes of state, with the durations between them.
    Changes,
}

const STAMPS: [Stamp; 10] = [
    Stamp::Event("request_arrived"),
    Stamp::Event("request_scheduled"),
    Stamp::Event("request_preempted"),
    Stamp::Event("request_resumed"),
    Stamp::Event("first_token_generated"),
    Stamp::Event("request_completed"),
    Stamp::Events,
    Stamp::FirstScheduled,
    Stamp::Completion,
    Stamp::Changes,
];

/// As the log of a logger that reads its clock again for this.
fn read_again(log: &Sheets, stamp: Stamp, jitter: &mut Jitter) -> Sheets {
    let mut log = foreign(log);
    match stamp {
        Stamp::Event(_) | Stamp::Events => {
            for row in 0..log.e.len() {
                let kind = log.e.text(row, "event_type");
                let chosen = match stamp {
                    Stamp::Event(wanted) => kind == wanted,
                    _ => kind != "request_arrived",
                };
                if chosen {
                    let by = jitter.next();
                    log.e.add(row, "timestamp", by);
                }
            }
            let column = log.e.column("timestamp");
            log.e.rows.sort_by_key(|row| row[column].parse::<u64>().unwrap());
        }
        Stamp::FirstScheduled => jitter.add(&mut log.p, "first_scheduled_time"),
        Stamp::Completion => {
            for row in ended(&log) {
                let by = jitter.next();
                for column in ["completion_time", "e2e_latency", "execution_time"] {
                    log.p.add(row, column, by);
                }
                rates(&mut log, row);
            }
        }
        Stamp::Changes => {
            let arrivals = (0..log.p.len()).map(|row| {
                (log.p.text(row, "request_id").to_owned(), log.p.n(row, "arrival_time"))
            });
            let mut last: BTreeMap<String, i64> = arrivals.collect();
            for row in 0..log.t.len() {
                let by = jitter.next();
                log.t.add(row, "timestamp", by);
                let now = log.t.n(row, "timestamp");
                if let Some(before) = last.insert(log.t.text(row, "request_id").to_owned(), now) {
                    log.t.set(row, "duration_in_prev_state", now - before);
                }
            }
        }
    }
    log
}

/// As the log of a logger that reads its clock once for the end of a request, a little after that of its step.
fn late_ends(log: &Sheets, jitter: &mut Jitter) -> Sheets {
    let mut log = foreign(log);
    for row in ended(&log) {
        let (by, id) = (jitter.next(), log.p.text(row, "request_id").to_owned());
        for column in ["completion_time", "e2e_latency", "execution_time"] {
            log.p.add(row, column, by);
        }
        rates(&mut log, row);
        for change in log.t.where_is("request_id", &id) {
            if log.t.text(change, "state") == "completed" {
                log.t.add(change, "timestamp", by);
                log.t.add(change, "duration_in_prev_state", by);
            }
        }
        for event in log.e.where_is("request_id", &id) {
            if log.e.text(event, "event_type") == "request_completed" {
                log.e.add(event, "timestamp", by);
            }
        }
    }
    let (at, end) = (log.e.column("timestamp"), log.p.column("completion_time"));
    log.e.rows.sort_by_key(|row| row[at].parse::<u64>().unwrap());
    log.p.rows.sort_by_key(|row| row[end].parse::<u64>().unwrap_or(u64::MAX));
    let order: Vec<_> = log.p.rows.iter().map(|row| row[0].clone()).collect();
    log.t.rows.sort_by_key(|row| order.iter().position(|id| *id == row[0]));
    log
}

/// What is made of a request's latency.
fn rates(log: &mut Sheets, row: usize) {
    let (latency, outputs) = (log.p.n(row, "e2e_latency"), log.p.n(row, "output_tokens"));
    if let Some(first) = log.p.num(row, "ttft").filter(|_| outputs > 1) {
        log.p.set(row, "tpot", (latency - first) / (outputs - 1));
    }
    let rate = outputs as f64 * 1e9 / latency as f64;
    log.p.set(row, "throughput", format!("{rate:.6}"));
}

/// How many moments the stamp is of.
fn moments(log: &Sheets, stamp: Stamp) -> usize {
    match stamp {
        Stamp::Event(kind) => log.e.where_is("event_type", kind).len(),
        Stamp::Completion => ended(log).len(),
        Stamp::Events | Stamp::FirstScheduled | Stamp::Changes => log.p.len(),
    }
}

/// The rows of requests that the model ended.
fn ended(log: &Sheets) -> Vec<usize> {
    ["stop", "length"].iter().flat_map(|reason| log.p.where_is("finish_reason", reason)).collect()
}

fn jitter(most: u64) -> Jitter {
    Jitter { state: most, most }
}

#[test]
fn any_stamp_may_be_a_reading_of_its_own() {
    let mut told = BTreeSet::new();
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        for stamp in STAMPS.into_iter().filter(|stamp| moments(log, *stamp) >= 3) {
            for most in [900, 40_000] {
                let skewed = read_again(log, stamp, &mut jitter(most));
                let report = skewed.log().check().1;
                let what = format!("{name}, {stamp:?}, {most}");
                assert_eq!(report.verdict(), Verdict::Clean, "{what}: {}", problems(&report));
                assert!(report.dialect.has(Habit::ClockSkew), "{what}");
                assert_eq!(tripped(&report), ["T001"], "{what}");
                told.insert(format!("{stamp:?}"));
            }
        }
    }
    assert_eq!(told.len(), STAMPS.len(), "some stamp is of no bundled log");
}

#[test]
fn any_stamp_may_be_a_reading_of_its_own_in_every_dialect() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        for stamp in STAMPS.into_iter().filter(|stamp| moments(log, *stamp) >= 3) {
            let skewed = read_again(log, stamp, &mut jitter(20_000));
            for (index, variation) in VARIATIONS.iter().enumerate() {
                let report = written(&skewed, &[variation.habit], index % 2 == 0).check().1;
                let what = format!("{name}, {stamp:?}, {}", variation.habit);
                assert_eq!(report.verdict(), Verdict::Clean, "{what}: {}", problems(&report));
            }
        }
    }
}

/// Mistakes of a step or more, in logs with a reading of its own for each stamp.
#[test]
fn mistakes_larger_than_a_skew_stay_errors() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        let read = |stamp| read_again(log, stamp, &mut jitter(900));
        let step = log.moments(3)[1] - log.moments(2)[1];
        let wrong: [(&str, Sheets); 4] = [
            ("events a step late", {
                let mut wrong = read(Stamp::Event("first_token_generated"));
                wrong.e.map("timestamp", |at| at + step);
                wrong
            }),
            ("a completion a step late", {
                let mut wrong = read(Stamp::Events);
                wrong.p.add(0, "completion_time", step);
                wrong
            }),
            ("a wait that lacks a step", {
                let mut wrong = read(Stamp::Changes);
                let last = wrong.p.len() - 1;
                wrong.p.add(last, "execution_time", -step);
                wrong
            }),
            ("a change a step late", {
                let mut wrong = read(Stamp::FirstScheduled);
                wrong.t.add(0, "timestamp", step);
                wrong
            }),
        ];
        for (what, wrong) in wrong {
            let report = wrong.log().check().1;
            assert_eq!(report.verdict(), Verdict::Violated, "{name}: {what}");
        }
    }
}

/// As a log of the same decisions by a scheduler whose steps are a thousand times shorter.
fn shorter(log: &Sheets) -> Sheets {
    let mut log = foreign(log);
    let times = |sheet: &mut crate::sheets::Sheet, columns: &[&str]| {
        for column in columns {
            sheet.map(column, |time| time / 1000);
        }
    };
    times(
        &mut log.p,
        &[
            "arrival_time",
            "first_scheduled_time",
            "completion_time",
            "waiting_time",
            "execution_time",
            "e2e_latency",
            "ttft",
        ],
    );
    times(
        &mut log.i,
        &[
            "start_time",
            "end_time",
            "duration",
            "scheduling_overhead",
            "forward_pass_duration",
            "output_processing_duration",
        ],
    );
    times(&mut log.r, &["time_in_state"]);
    times(&mut log.e, &["timestamp"]);
    times(&mut log.t, &["timestamp", "duration_in_prev_state"]);
    for row in 0..log.p.len() {
        rates(&mut log, row);
    }
    log
}

#[test]
fn a_difference_as_long_as_a_step_is_no_skew_however_short_the_steps_are() {
    let (_, log) = full_logs().into_iter().find(|(name, _)| name == "plain-run").unwrap();
    let right = shorter(&log);
    assert_eq!(right.log().check().1.verdict(), Verdict::Clean);
    // Each by another step's time: all differences are below 50 us, and they vary.
    let mut wrong = right.clone();
    for (index, row) in
        wrong.e.where_is("event_type", "first_token_generated").into_iter().enumerate()
    {
        wrong.e.add(row, "timestamp", 6_000 + 700 * index as i64);
    }
    assert_eq!(wrong.log().check().1.verdict(), Verdict::Violated);
}

/// The step behind begins at the end of the one before where steps overlap, so that an end that is read late is
/// read while that step, which has no row of the request, has begun.
#[test]
fn ends_that_are_read_late_in_all_files_leave_no_row_missing() {
    let mut logs = 0;
    for (name, log) in full_logs().iter().filter(|(_, log)| ended(log).len() >= 3) {
        for most in [900, 20_000] {
            let late = late_ends(log, &mut jitter(most));
            for habits in [
                &["fixed-columns-only"][..],
                &["fixed-columns-only", "no-details"],
                &["ends-at-decision"],
                &["ends-at-decision", "no-initial-rows"],
            ] {
                let report = written(&late, habits, true).check().1;
                let what = format!("{name}, {most}, {habits:?}");
                assert_eq!(report.verdict(), Verdict::Clean, "{what}: {}", problems(&report));
                logs += 1;
            }
        }
    }
    assert!(logs >= 20, "{logs}");
}

/// Stamps at another moment of their step are no readings of the right one, however near that is.
#[test]
fn another_moment_of_the_step_is_no_skew() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        let mut wrong = foreign(log);
        // The scheduler takes 1 to 30 us in each step, but stamps are of its beginning.
        let mut steps = BTreeMap::new();
        for row in 0..log.i.len() {
            let [start, decided, ..] = log.moments(row);
            steps.insert(decided, start);
        }
        let at = |moment: i64| steps.get(&moment).copied().unwrap_or(moment);
        wrong.p.map("first_scheduled_time", at);
        let report = wrong.log().check().1;
        assert!(!report.dialect.has(Habit::ClockSkew), "{name}");
        assert_eq!(report.verdict(), Verdict::Violated, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_stamps_together_are_clean_in_any_dialect(
        most in 200u64..45_000,
        stamps in proptest::collection::vec(any::<bool>(), STAMPS.len()),
        habits in proptest::collection::vec(proptest::bool::weighted(0.2), VARIATIONS.len()),
        run_json: bool,
    ) {
        let habits: Vec<&str> = VARIATIONS
            .iter()
            .zip(&habits)
            .filter_map(|(variation, chosen)| chosen.then_some(variation.habit))
            .collect();
        // Not the events of a type beside those of all types: they are read once.
        let all = stamps[6];
        for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
            let mut skewed = foreign(log);
            let mut jitter = jitter(most);
            for (stamp, chosen) in STAMPS.into_iter().zip(&stamps) {
                let twice = all && matches!(stamp, Stamp::Event(kind) if kind != "request_arrived");
                if *chosen && !twice && moments(log, stamp) >= 3 {
                    skewed = read_again(&skewed, stamp, &mut jitter);
                }
            }
            let report = written(&skewed, &habits, run_json).check().1;
            prop_assert_eq!(
                report.verdict(), Verdict::Clean, "{}, {:?}: {}", name, habits, problems(&report)
            );
        }
    }
}
