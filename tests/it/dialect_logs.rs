//! Bundled logs in every dialect: named, clean, and still judged.

use std::collections::BTreeSet;

use proptest::prelude::*;
use schedlog::check::{CheckReport, Verdict};
use schedlog::log::dialect::Habit;
use schedlog::log::values::LogLevel;

use crate::dialect_writer::{VARIATIONS, written};
use crate::fixtures::Log;
use crate::mutants::{catalogue, full_logs, logs_at};
use crate::sheets::Sheets;

fn problems(report: &CheckReport) -> String {
    let found = report.rules.iter().filter(|rule| rule.errors + rule.damages > 0);
    let found = found.map(|rule| {
        let finding = &rule.findings[0];
        let at = finding.primary.as_ref().map(|mark| (mark.at.table, mark.at.line));
        let values = (&finding.expected, &finding.actual);
        format!("{} {at:?} {} {values:?}", rule.rule.id, finding.message)
    });
    found.collect::<Vec<_>>().join("\n")
}

fn all_levels() -> Vec<(String, Sheets)> {
    let levels = [LogLevel::Full, LogLevel::Standard, LogLevel::Summary];
    let named = |level: LogLevel| {
        logs_at(level).into_iter().map(move |(name, log)| (format!("{name} at {level}"), log))
    };
    levels.into_iter().flat_map(named).collect()
}

fn habits(report: &CheckReport) -> BTreeSet<&'static str> {
    report.dialect.habits().map(Habit::name).collect()
}

#[test]
fn each_variation_alone_is_named_and_clean() {
    let (mut named, mut alarms) = (BTreeSet::new(), Vec::new());
    for (name, log) in all_levels() {
        for variation in VARIATIONS {
            for run_json in [true, false] {
                let wanted = [variation.habit];
                let (_directory, report) = written(&log, &wanted, run_json).check();
                if report.verdict() != Verdict::Clean {
                    let habit = variation.habit;
                    alarms.push(format!(
                        "{name}, {habit}, run.json {run_json}: {}",
                        problems(&report)
                    ));
                }
                if habits(&report).contains(variation.habit) {
                    named.insert(variation.habit);
                }
            }
        }
    }
    assert!(alarms.is_empty(), "{}", alarms.join("\n"));
    let all: BTreeSet<_> = VARIATIONS.iter().map(|variation| variation.habit).collect();
    assert_eq!(named, all, "variations that no bundled log shows");
}

#[test]
fn a_mixture_is_reported() {
    // The first half of a file in one spelling, the second in another.
    let (_, log) =
        full_logs().into_iter().find(|(name, _)| name == "burst-into-max-num-seqs").unwrap();
    let mut mixed = log.clone();
    let running = mixed.r.where_is("state", "running");
    for row in &running[running.len() / 2..] {
        mixed.r.set(*row, "queue_position", -1);
    }
    let (_directory, report) = mixed.log().check();
    assert!(report.rule("Q005").unwrap().errors > 0);
    let mut mixed = log.clone();
    let half = mixed.r.len() / 2;
    let mut row = 0;
    mixed.r.rows.retain(|fields| {
        row += 1;
        row < half || fields[2] != "waiting"
    });
    let (_directory, report) = mixed.log().check();
    assert!(report.rule("Q001").unwrap().errors > 0);
}

/// Mistakes that show in any dialect.
const VISIBLE: [&str; 12] = [
    "e2e-off-by-one",
    "preempted-time-nowhere",
    "waiting-swapped-with-execution",
    "lost-iteration",
    "repeated-iteration",
    "lost-request",
    "repeated-request",
    "used-is-free",
    "ttft-is-absolute",
    "arrivals-on-the-wall-clock",
    "preemptions-once-more",
    "total-twice",
];

#[test]
fn mutants_of_dialect_logs_are_caught() {
    let (mutants, mut survivors) = (catalogue(), Vec::new());
    for (name, log) in full_logs() {
        for mutant in VISIBLE.iter().map(|name| mutants.iter().find(|m| m.name == *name).unwrap()) {
            let mut wrong = log.clone();
            (mutant.apply)(&mut wrong);
            if wrong == log {
                continue;
            }
            for variation in VARIATIONS {
                let (_directory, report) = written(&wrong, &[variation.habit], true).check();
                let caught = report.verdict() == Verdict::Violated;
                if !caught {
                    survivors.push(format!("{name}: {} survives {}", mutant.name, variation.habit));
                }
            }
        }
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_combination_is_clean(chosen in proptest::collection::vec(any::<bool>(), VARIATIONS.len()), run_json: bool) {
        let wanted: Vec<&str> = VARIATIONS
            .iter()
            .zip(&chosen)
            .filter(|(_, chosen)| **chosen)
            .map(|(variation, _)| variation.habit)
            .collect();
        for (name, log) in all_levels() {
            let log: Log = written(&log, &wanted, run_json);
            let (_directory, report) = log.check();
            prop_assert!(
                report.verdict() == Verdict::Clean,
                "{}, {:?}, run.json {}: {}", name, wanted, run_json, problems(&report)
            );
        }
    }
}
