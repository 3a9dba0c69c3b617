//! Lists of known findings in other runs of the same logger.

use std::fs;
use std::process::{Command, Output};

use crate::edits::Edited;
use crate::support::in_snapshots;

fn check(log: &Edited, arguments: &[&str]) -> Output {
    let mut check = Command::new(env!("CARGO_BIN_EXE_schedlog"));
    check.arg("check").arg(log.path()).args(arguments);
    // The list is beside the log.
    check.current_dir(log.path().parent().unwrap()).output().unwrap()
}

/// The exit code, what the report says of known findings, its verdict, and stderr.
fn end(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().filter(|line| line.starts_with("known") || line.starts_with("verdict"));
    let told: Vec<_> = told.collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    format!("exit {}\n{}\n{errors}", output.status.code().unwrap(), told.join("\n"))
}

/// A logger that counts a nanosecond of waiting that was none, and tells every batch one too large.
fn wrong(log: Edited) -> Edited {
    log.number("per_request.csv", "waiting_time", |_, time, _| time + 1).number(
        "per_iteration.csv",
        "batch_size",
        |_, size, _| size + 1,
    )
}

/// Ids without a digit, as a logger that draws them at random may have, in another order.
fn other_ids(log: Edited) -> Edited {
    let files =
        ["per_request.csv", "per_iteration_requests.csv", "events.csv", "state_transitions.csv"];
    files.into_iter().fold(log, |log, file| {
        log.edit(file, |_, row| {
            let id = row.get_mut("request_id").unwrap();
            *id = id.chars().map(|it| char::from(b'z' - (it as u8) % 26)).collect();
        })
    })
}

const TRACE: &str = "burst-into-max-num-seqs";

#[test]
fn known_kinds_are_known_in_another_run_and_findings_are_not() {
    let recorded = wrong(Edited::of_run(TRACE, &[]));
    let list = |how: &str| {
        let arguments = ["--write-baseline", "known.json", "--baseline-match", how];
        let output = check(&recorded, &arguments);
        assert_eq!(output.status.code(), Some(0));
        (fs::read(recorded.path().with_file_name("known.json")).unwrap(), end(&output))
    };
    let ((exact, _), (kinds, written)) = (list("exact"), list("kind"));
    let mut text = format!("the kinds become known\n{written}\n");
    let mut run = |what: &str, log: &Edited, list: &[u8]| {
        fs::write(log.path().with_file_name("known.json"), list).unwrap();
        let output = check(log, &["--baseline", "known.json"]);
        text.push_str(&format!("{what}\n{}\n", end(&output)));
        output.status.code().unwrap()
    };
    assert_eq!(run("the same run", &recorded, &kinds), 0);
    let again = || wrong(Edited::of_run(TRACE, &["--max-num-seqs", "1"]));
    assert_eq!(run("other steps, by findings", &again(), &exact), 1);
    assert_eq!(run("other steps", &again(), &kinds), 0);
    assert_eq!(
        run("other ids, by findings", &other_ids(wrong(Edited::of_run(TRACE, &[]))), &exact),
        1
    );
    assert_eq!(run("other steps and ids", &other_ids(again()), &kinds), 0);
    // Another column, another rule or another message of the same rule is another kind.
    let column = again().number("per_request.csv", "execution_time", |_, time, _| time + 1);
    assert_eq!(run("another mistake beside it", &column, &kinds), 1);
    let message = again().number("per_iteration.csv", "completed_count", |_, count, _| count + 1);
    assert_eq!(run("another count is wrong", &message, &kinds), 1);
    let repaired = Edited::of_run(TRACE, &["--max-num-seqs", "1"]).number(
        "per_iteration.csv",
        "batch_size",
        |_, size, _| size + 1,
    );
    assert_eq!(run("one is repaired", &repaired, &kinds), 0);
    let list = String::from_utf8(kinds).unwrap();
    in_snapshots("report", || {
        insta::assert_snapshot!("baseline-kinds", text);
        insta::assert_snapshot!("baseline-kinds-file", list);
    });
}

#[test]
fn a_kind_that_floods_is_known_beyond_what_is_told_apart() {
    let spoiled = |log: Edited| {
        log.number("per_iteration_requests.csv", "kv_cache_blocks", |_, blocks, _| blocks + 1)
    };
    let short = spoiled(Edited::of_run(TRACE, &[]));
    let list = ["--select", "C002", "--write-baseline", "known.json", "--baseline-match", "kind"];
    assert_eq!(check(&short, &list).status.code(), Some(0));
    let long = spoiled(Edited::long_of(4));
    fs::copy(short.path().with_file_name("known.json"), long.path().with_file_name("known.json"))
        .unwrap();
    let output = check(&long, &["--select", "C002", "--baseline", "known.json"]);
    in_snapshots("report", || insta::assert_snapshot!("baseline-kinds-flood", end(&output)));
}

#[test]
fn lists_of_the_version_before_are_read_as_fingerprints() {
    let log = wrong(Edited::of_run(TRACE, &[]));
    assert_eq!(check(&log, &["--write-baseline", "known.json"]).status.code(), Some(0));
    let path = log.path().with_file_name("known.json");
    let list = fs::read_to_string(&path).unwrap();
    let before = list.replace("baseline/2", "baseline/1").replace("  \"match\": \"exact\",\n", "");
    assert!(!before.contains("match"));
    fs::write(&path, before).unwrap();
    assert_eq!(check(&log, &["--baseline", "known.json"]).status.code(), Some(0));
    // A version of tomorrow may have other members: its number is what is told.
    fs::write(&path, r#"{"schema": "schedlog.baseline/3", "kinds": []}"#).unwrap();
    let output = check(&log, &["--baseline", "known.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(end(&output).contains("is of version \"schedlog.baseline/3\""), "{}", end(&output));
    // How a list is matched is said when it is written.
    let output = check(&log, &["--baseline", "known.json", "--baseline-match", "kind"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(end(&output).contains("--write-baseline"), "{}", end(&output));
}
