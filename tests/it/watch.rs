//! A log that is being written: judged like a whole one, and soon.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use schedlog::check::CheckOptions;
use schedlog::engine::run::LogOptions;
use schedlog::log::schema::Table;
use schedlog::view::watch::{Engine, finding_line};

use crate::fixtures::{Log, fixture, repo};
use crate::golden::{bundled, replay_bundled};
use crate::support::in_snapshots;

fn lines(engine: &mut Engine) -> Vec<String> {
    let news = engine.catch_up();
    news.findings.iter().map(|finding| finding_line("log", finding)).collect()
}

#[test]
fn a_clean_log_is_clean() {
    for (name, path) in bundled() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("log");
        let mut engine = Engine::new(&directory, &CheckOptions::default());
        assert_eq!(engine.look().steps, 0);
        replay_bundled(&path, &directory, &LogOptions::default());
        assert_eq!(lines(&mut engine), [""; 0], "{name}");
        let rows = fs::read_to_string(directory.join("per_iteration.csv")).unwrap();
        assert_eq!(engine.pulse.steps, rows.lines().count() as u64 - 1, "{name}");
    }
}

/// Writes the first `steps` steps of a log, as a logger would have flushed them.
fn write_prefix(whole: &Path, to: &Path, steps: usize) {
    fs::create_dir_all(to).unwrap();
    fs::copy(whole.join("run.json"), to.join("run.json")).unwrap();
    let text = |table: Table| fs::read_to_string(whole.join(table.file_name())).unwrap();
    let iterations = text(Table::PerIteration);
    let end = iterations.lines().nth(steps).and_then(|row| row.split(',').nth(2));
    let end: u64 = end.unwrap().parse().unwrap();
    let number = |row: &str, column: usize| {
        row.split(',').nth(column).and_then(|text| text.parse::<u64>().ok()).unwrap_or(u64::MAX)
    };
    let mut over = 0;
    for table in Table::ALL {
        let mut completed = 0;
        let rows: String = text(table)
            .split_inclusive('\n')
            .enumerate()
            .take_while(|(line, row)| {
                let within = match table {
                    Table::PerRequest => number(row, 3) <= end,
                    Table::PerIteration => *line <= steps,
                    Table::PerIterationRequests => number(row, 0) < steps as u64,
                    Table::Events => number(row, 0) <= end,
                    Table::StateTransitions => completed < over,
                };
                completed += u64::from(row.contains(",completed,"));
                *line == 0 || within
            })
            .map(|(_, row)| row)
            .collect();
        if table == Table::PerRequest {
            over = rows.lines().count() as u64 - 1;
        }
        fs::write(to.join(table.file_name()), rows).unwrap();
    }
}

#[test]
fn every_prefix_of_a_run_is_clean() {
    for name in ["tiny-cache-preemption", "shared-prefixes", "aborts", "priorities"] {
        let place = tempfile::tempdir().unwrap();
        let (whole, growing) = (place.path().join("whole"), place.path().join("growing"));
        let trace = repo(&format!("traces/{name}.jsonl"));
        replay_bundled(&trace, &whole, &LogOptions::default());
        let steps =
            fs::read_to_string(whole.join("per_iteration.csv")).unwrap().lines().count() - 1;
        let mut engine = Engine::new(&growing, &CheckOptions::default());
        for step in 1..=steps {
            write_prefix(&whole, &growing, step);
            assert_eq!(lines(&mut engine), [""; 0], "{name} after {step} steps");
            assert_eq!(engine.pulse.steps, step as u64, "{name}");
        }
    }
}

#[test]
fn what_is_wrong_is_found_as_soon_as_it_is_there() {
    let mut found = Vec::new();
    for rule in ["M002", "Q003", "C001", "S003", "X002", "K001"] {
        let dir = Log::base().edited(&fixture(rule)).write();
        let mut engine = Engine::new(dir.path(), &CheckOptions::default());
        found.push(format!("{rule}:"));
        found.extend(lines(&mut engine));
        assert!(engine.counts.0 + engine.counts.1 + engine.counts.2 > 0, "{rule}");
    }
    in_snapshots("watch", || insta::assert_snapshot!("findings", found.join("\n")));
}

#[test]
fn a_torn_row_waits_for_its_end_and_a_new_run_is_read_anew() {
    let dir = Log::base().write();
    let path = dir.path().join("per_iteration.csv");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let mut engine = Engine::new(dir.path(), &CheckOptions::default());
    assert_eq!(lines(&mut engine), [""; 0]);
    let steps = engine.pulse.steps;
    fs::write(&path, &whole).unwrap();
    lines(&mut engine);
    assert_eq!(engine.pulse.steps, steps + 1);
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(engine.look().restarted);
}

#[test]
fn what_is_not_there_cannot_be_read_once() {
    let place = tempfile::tempdir().unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_schedlog"))
        .args(["watch", "--once"])
        .arg(place.path().join("missing"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("there is no such directory"));
}

#[test]
fn steps_that_cannot_be_read_are_an_error_and_not_steps_to_come() {
    let once = |dir: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_schedlog"));
        let output = command.args(["watch", "--once"]).arg(dir).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let dir = Log::base().write();
    let path = dir.path().join("per_iteration.csv");
    let whole = fs::read_to_string(&path).unwrap();
    let header = whole.split_inclusive('\n').next().unwrap();
    for (text, problem) in [
        ("garbage\n", "a column is missing"),
        (&header[..header.len() / 2], "the file ends inside"),
        (&header.replace(',', ";"), "separated by semicolons"),
        ("", "the file has no header"),
    ] {
        fs::write(&path, text).unwrap();
        let (code, said) = once(dir.path());
        assert_eq!(code, Some(2), "{text}");
        assert!(said.contains("per_iteration.csv") && said.contains(problem), "{said}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(once(dir.path()).0, Some(2));
    // These steps are to come.
    fs::write(&path, header).unwrap();
    assert_eq!(once(dir.path()), (Some(0), String::new()));
}

#[test]
fn a_violation_is_said_within_a_second_of_its_flush() {
    let dir = Log::base().edited(&fixture("M002")).write();
    let path = dir.path().join("per_request.csv");
    let whole = fs::read_to_string(&path).unwrap();
    let header = whole.split_inclusive('\n').next().unwrap();
    fs::write(&path, header).unwrap();
    let iterations = dir.path().join("per_iteration.csv");
    let steps = fs::read_to_string(&iterations).unwrap();
    let half = steps.split_inclusive('\n').take(2).collect::<String>();
    fs::write(&iterations, &half).unwrap();

    let mut child = Command::new(env!("CARGO_BIN_EXE_schedlog"))
        .args(["watch", "--plain"])
        .arg(dir.path())
        .arg(dir.path().join("not-there-yet"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let wait_for = |text: &str| {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            let left = patience.saturating_duration_since(Instant::now());
            let line = receiver.recv_timeout(left).unwrap_or_else(|_| panic!("no {text}"));
            if line.contains(text) {
                return line;
            }
        }
    };
    wait_for("no log yet");
    let append = |path: &Path, text: &str| {
        OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    append(&path, &whole[header.len()..]);
    append(&iterations, &steps[half.len()..]);
    let flushed = Instant::now();
    let line = wait_for("error[M002]");
    let late = flushed.elapsed();
    // SIGTERM ends it with its verdict.
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(line.contains("per_request.csv:"), "{line}");
    // A busy machine may be slower; a quiet one takes three looks.
    eprintln!("said after {late:?}");
    assert!(late < Duration::from_secs(5), "{late:?}");
}
