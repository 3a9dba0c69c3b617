//! Loggers that read their clock more than once for one moment.

mod coarse;
mod readings;
mod short;
mod whole_units;
pub(crate) mod wide;

use std::path::Path;

use proptest::prelude::*;
use schedlog::check::{CheckOptions, CheckReport, Verdict, check_dir};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::dialect::Habit;
use schedlog::settings::Settings;
use schedlog::trace::{ReadOptions, Trace};
use schedlog::units::Nanos;

use crate::dialect_writer::written;
use crate::fixtures::tripped;
use crate::golden::bundled;
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets};

/// A small generator of differences, the same each time.
struct Jitter {
    state: u64,
    most: u64,
}

impl Jitter {
    fn next(&mut self) -> i64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (1 + (self.state >> 33) % self.most) as i64
    }

    /// Adds a difference to each number of a column.
    fn add(&mut self, sheet: &mut Sheet, column: &str) {
        for row in 0..sheet.len() {
            let by = self.next();
            sheet.add(row, column, by);
        }
    }
}

/// As a logger of another project: nothing says that its clock is read once.
fn foreign(log: &Sheets) -> Sheets {
    let mut log = log.clone();
    log.run["producer"]["name"] = "another-logger".into();
    log
}

/// The sums of a request are read apart from its latency, a step's parts apart from its duration.
pub(crate) fn accounts(log: &Sheets, most: u64) -> Sheets {
    let (mut log, mut jitter) = (foreign(log), Jitter { state: 7, most });
    jitter.add(&mut log.p, "execution_time");
    jitter.add(&mut log.i, "duration");
    jitter.add(&mut log.r, "time_in_state");
    for row in 0..log.r.len() {
        if log.r.text(row, "state") == "completed" {
            log.r.set(row, "time_in_state", 0);
        }
    }
    log
}

/// Only the time in a state, or only the ends of steps, are read apart from the rest.
fn one_column(log: &Sheets, column: &str, most: u64) -> Sheets {
    let (mut log, mut jitter) = (foreign(log), Jitter { state: 5, most });
    let sheet = if column == "time_in_state" { &mut log.r } else { &mut log.i };
    jitter.add(sheet, column);
    log
}

/// Only the events are stamped a little after the moment that they are of.
fn late_events(log: &Sheets, most: u64) -> Sheets {
    let mut skewed = stamps(log, most);
    skewed.t = log.t.clone();
    skewed
}

/// Events and changes are stamped a little after the moment that they are of.
pub(crate) fn stamps(log: &Sheets, most: u64) -> Sheets {
    let (mut log, mut jitter) = (foreign(log), Jitter { state: 11, most });
    jitter.add(&mut log.e, "timestamp");
    // One call after the other: the stamps of a file never go back.
    for row in 1..log.e.len() {
        let at = log.e.n(row, "timestamp").max(log.e.n(row - 1, "timestamp"));
        log.e.set(row, "timestamp", at);
    }
    jitter.add(&mut log.t, "timestamp");
    log
}

/// The log of a trace by a scheduler that takes this long in each call.
fn scheduled_in(trace: &Path, nanos: u64) -> Sheets {
    let mut settings = Settings::from_file(&trace.with_extension("toml")).unwrap();
    settings.schedule_base_ns = Some(nanos);
    settings.schedule_per_request_ns = Some(0);
    settings.output_base_ns = Some(nanos);
    settings.output_per_request_ns = Some(0);
    let directory = tempfile::tempdir().unwrap();
    let trace = Trace::open(trace, &ReadOptions::default()).unwrap();
    let options = LogOptions::default();
    replay_trace(&trace, &settings.resolve().unwrap(), Some(directory.path()), &options, |_| {})
        .unwrap();
    Sheets::read(directory.path())
}

fn report(log: &Sheets) -> CheckReport {
    log.log().check().1
}

fn problems(report: &CheckReport) -> String {
    let found = report.rules.iter().filter(|rule| rule.errors > 0);
    let found = found.map(|rule| format!("{} {:#?}", rule.rule.id, rule.findings[0]));
    found.collect::<Vec<_>>().join("\n")
}

/// Whether the log is long enough to show a habit.
fn shows(log: &Sheets) -> bool {
    log.i.len() >= 6 && log.p.len() >= 3
}

#[test]
fn skew_is_one_warning_with_its_distribution() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        for (what, skewed) in [
            ("accounts", accounts(log, 400)),
            ("accounts", accounts(log, 30_000)),
            ("stamps", stamps(log, 300)),
            ("stamps", stamps(log, 20_000)),
            ("time_in_state", one_column(log, "time_in_state", 400)),
            ("time_in_state", one_column(log, "time_in_state", 20_000)),
            ("end_time", one_column(log, "end_time", 90)),
            ("events", late_events(log, 400)),
            ("events", late_events(log, 20_000)),
        ] {
            let report = report(&skewed);
            assert!(report.dialect.has(Habit::ClockSkew), "{name}, {what}");
            assert_eq!(report.verdict(), Verdict::Clean, "{name}, {what}: {}", problems(&report));
            assert_eq!(tripped(&report), ["T001"], "{name}, {what}");
            let rule = report.rule("T001").unwrap();
            assert_eq!(rule.warnings, 1);
            assert!(rule.findings[0].message.contains("half of them by up to"), "{name}");
        }
    }
}

/// The number behind a text.
fn number_behind(text: &str, before: &str) -> u64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_distribution_of_the_skew_is_that_of_its_rows() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        for most in [400, 20_000, 45_000] {
            let report = report(&late_events(log, most));
            let finding = &report.rule("T001").unwrap().findings[0];
            let half = number_behind(&finding.message, "half of them by up to ");
            let all = number_behind(&finding.message, "the most by ");
            assert!(half <= all && all <= most, "{name}: {}", finding.message);
            // Three of the first, and all are even.
            assert!(half > most / 10 && all > most / 2, "{name}: {}", finding.message);
            let rows: std::collections::BTreeSet<_> =
                finding.related.iter().map(|mark| (mark.at.table, mark.at.line)).collect();
            assert_eq!(rows.len(), finding.related.len(), "{name}: a row is shown twice");
            for mark in &finding.related {
                assert!(number_behind(&mark.label, "off by ") <= all, "{name}: {}", mark.label);
            }
        }
    }
}

#[test]
fn real_mistakes_stand_out_of_the_skew() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        let mut wrong = accounts(log, 400);
        wrong.p.add(0, "e2e_latency", 1_000_000);
        let report = report(&wrong);
        assert!(report.rule("M001").unwrap().errors == 1, "{name}");
        assert!(report.rule("M002").unwrap().errors == 1, "{name}");
    }
}

/// A logger without the reference columns stamps outputs when it comes to them.
#[test]
fn outputs_may_be_stamped_by_readings_of_their_own() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        for most in [400, 20_000] {
            for habits in [&["fixed-columns-only"][..], &["fixed-columns-only", "no-details"]] {
                let (_directory, report) = written(&stamps(log, most), habits, false).check();
                let clean = report.verdict() == Verdict::Clean;
                assert!(clean, "{name}, {most}, {habits:?}: {}", problems(&report));
            }
        }
    }
}

/// Stamps of outputs stand behind the decision of the next step, of which they are not.
#[test]
fn the_skew_may_be_longer_than_a_call_of_the_scheduler() {
    for (name, trace) in bundled() {
        for (nanos, most) in [(1_000, 3_000), (5_000, 20_000), (5_000, 30_000)] {
            let log = scheduled_in(&trace, nanos);
            if !shows(&log) {
                continue;
            }
            let skewed = late_events(&log, most);
            for habits in [&[][..], &["fixed-columns-only"], &["fixed-columns-only", "no-details"]]
            {
                let (_directory, report) = written(&skewed, habits, false).check();
                let clean = report.verdict() == Verdict::Clean;
                assert!(clean, "{name}, {nanos}, {most}, {habits:?}: {}", problems(&report));
            }
        }
    }
}

#[test]
fn a_constant_difference_is_no_skew() {
    for (name, log) in full_logs() {
        let mut wrong = foreign(&log);
        wrong.p.map("execution_time", |time| time + 300);
        let report = report(&wrong);
        assert!(!report.dialect.has(Habit::ClockSkew), "{name}");
        assert_eq!(report.verdict(), Verdict::Violated, "{name}");
    }
}

#[test]
fn a_single_difference_is_no_skew() {
    for (name, log) in full_logs() {
        let mut wrong = foreign(&log);
        wrong.p.add(0, "e2e_latency", 1);
        assert_eq!(report(&wrong).verdict(), Verdict::Violated, "{name}");
    }
}

#[test]
fn this_products_own_logger_has_no_skew() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        let mut own = accounts(log, 400);
        own.run = log.run.clone();
        let report = report(&own);
        assert!(!report.dialect.has(Habit::ClockSkew), "{name}");
        assert_eq!(report.verdict(), Verdict::Violated, "{name}");
    }
}

#[test]
fn the_bound_is_a_setting() {
    let (_, log) = full_logs().into_iter().find(|(name, _)| name == "plain-run").unwrap();
    let directory = accounts(&log, 400).log().write();
    for (bound, verdict) in
        [(0, Verdict::Violated), (100, Verdict::Violated), (400, Verdict::Clean)]
    {
        let options = CheckOptions { skew_bound: Nanos(bound), ..CheckOptions::default() };
        let report = check_dir(directory.path(), &options).unwrap();
        assert_eq!(report.verdict(), verdict, "{bound}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_skew_below_the_bound_is_clean(most in 3u64..20_000, both: bool) {
        for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
            let skewed = stamps(log, most);
            let skewed = if both { accounts(&skewed, most) } else { skewed };
            let report = report(&skewed);
            prop_assert_eq!(report.verdict(), Verdict::Clean, "{}: {}", name, problems(&report));
        }
    }
}
