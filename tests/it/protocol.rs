//! Loggers and schedulers in other processes. Needs python3; says so and passes where there is none.

use std::process::{Command, Stdio};

use schedlog::fuzz::case::Mode;
use schedlog::fuzz::external::{ExternalLogger, ExternalScheduler, Program};
use schedlog::fuzz::failure::Failure;
use schedlog::fuzz::judge::Subject;
use schedlog::fuzz::run::Found;
use schedlog::fuzz::watch::Duration;

use crate::fuzz::{fuzz, options, smallest};
use crate::support::root;

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: python3 is not there");
    }
    found
}

fn program(script: &str, mistake: Option<&str>, seconds: u64) -> Program {
    let script = root().join("tests/python").join(script).display().to_string();
    let mut words = vec!["python3".to_owned(), script];
    words.extend(mistake.into_iter().flat_map(|name| ["--mistake".to_owned(), name.to_owned()]));
    Program { words, timeout: Duration::from_secs(seconds) }
}

fn logger(mistake: Option<&str>, seconds: u64) -> Box<dyn Subject> {
    Box::new(ExternalLogger::start(program("example_logger.py", mistake, seconds)).unwrap())
}

fn scheduler(mistake: Option<&str>) -> Box<dyn Subject> {
    Box::new(ExternalScheduler::start(program("example_scheduler.py", mistake, 30)).unwrap())
}

/// The first failure of a subject.
fn first(subject: Box<dyn Subject>) -> Found {
    let options = options(0, 256, Mode::Legal, subject.limits());
    let (_, mut found) = fuzz(&options, vec![subject]);
    found.remove(0)
}

#[test]
fn a_right_python_logger_passes() {
    if !has_python() {
        return;
    }
    let subject = logger(None, 30);
    let options = options(3, 150, Mode::Legal, subject.limits());
    let (state, found) = fuzz(&options, vec![subject]);
    assert!(found.is_empty(), "{}", found[0].failure);
    assert_eq!(state.cases, 150);
}

#[test]
fn three_classic_mistakes_are_found_and_shrunk() {
    if !has_python() {
        return;
    }
    for (mistake, rules) in [
        ("early-flush", ["Q001", "X005"]),
        ("preempted-time", ["M002", "M004"]),
        ("lost-completion", ["X003", "X005"]),
    ] {
        let found = first(logger(Some(mistake), 30));
        let shrunk = smallest(&found, &mut *logger(Some(mistake), 30));
        let (requests, steps) = (shrunk.sequence.requests(), shrunk.sequence.steps());
        assert!(requests < 4 && steps < 6, "{mistake}: {requests} requests, {steps} steps");
        let Failure::Violated { broken, as_called: false } = &shrunk.failure else {
            panic!("{mistake}: {}", shrunk.failure);
        };
        assert!(
            broken.iter().any(|broken| rules.contains(&broken.rule.as_str())),
            "{mistake}: {broken:?}"
        );
    }
}

#[test]
fn a_logger_that_crashes_hangs_or_babbles_is_a_finding() {
    if !has_python() {
        return;
    }
    let crash = first(logger(Some("crash"), 30)).failure;
    assert!(matches!(&crash, Failure::Crash { message } if message.contains("third step")));
    let hang = first(logger(Some("hang"), 1)).failure;
    assert_eq!(hang, Failure::Hang { waiting_for: "shutdown".to_owned() });
    let noise = first(logger(Some("noise"), 30)).failure;
    assert_eq!(noise, Failure::Noise { line: "debug: third step".to_owned() });
}

#[test]
fn a_command_that_is_no_logger_is_told_so() {
    let missing =
        Program { words: vec!["no-such-logger".to_owned()], timeout: Duration::from_secs(1) };
    assert!(matches!(ExternalLogger::start(missing), Err(Failure::Crash { .. })));
}

#[test]
fn a_scheduler_is_compared_decision_by_decision() {
    if !has_python() {
        return;
    }
    let right = scheduler(None);
    let all = options(2, 150, Mode::Legal, right.limits());
    let (_, found) = fuzz(&all, vec![right]);
    assert!(found.is_empty(), "{}", found[0].failure);

    for (mistake, part) in [("victim", "preempted"), ("budget", "batch")] {
        let found = first(scheduler(Some(mistake)));
        let shrunk = smallest(&found, &mut *scheduler(Some(mistake)));
        assert!(shrunk.sequence.requests() < 4 && shrunk.sequence.steps() < 6, "{mistake}");
        let Failure::Differs { what, .. } = &shrunk.failure else { panic!("{}", shrunk.failure) };
        assert_eq!(what, part);
    }
}
