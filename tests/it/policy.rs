//! Which rules run, what is known already, and what the command line says of mistakes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use schedlog::conform::log::{ConformOptions, LogVerdict, conform_log};

use crate::fixtures::{Log, fixture};
use crate::support::in_snapshots;

/// A working directory with a wrong log, a clean one and a damaged one.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, log: &Log| {
        let dir = place.path().join(name);
        fs::create_dir(&dir).unwrap();
        for (file, bytes) in &log.files {
            fs::write(dir.join(file), bytes).unwrap();
        }
    };
    write("wrong", &Log::base().edited(&fixture("M002")).edited(&fixture("Q001")));
    write("clean", &Log::base());
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 20].to_vec();
    write("damaged", &Log::base().map("events.csv", cut));
    place
}

fn check(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_schedlog"))
        .arg("check")
        .args(arguments)
        .current_dir(place)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The lines of stdout about rules, known findings and the verdict, and all of stderr.
fn end(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let told = ["config:", "severity:", "known findings", "verdict:", "==>"];
    let mut lines: Vec<_> =
        text.lines().filter(|line| told.iter().any(|start| line.starts_with(start))).collect();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    lines.extend(errors.lines());
    format!("exit {}\n{}\n", code(output), lines.join("\n"))
}

#[test]
fn selection_by_id_and_prefix_never_passes_in_silence() {
    let place = place();
    assert_eq!(code(&check(place.path(), &["wrong"])), 1);
    assert_eq!(code(&check(place.path(), &["wrong", "--select", "Q001"])), 1);
    assert_eq!(code(&check(place.path(), &["wrong", "--select", "K001, Q001"])), 1);
    assert_eq!(code(&check(place.path(), &["wrong", "--select", "K001, "])), 0);
    assert_eq!(code(&check(place.path(), &["wrong", "--ignore", "M,Q,"])), 0);
    let clean = check(place.path(), &["wrong", "--ignore", "M002,M003", "--ignore", "q"]);
    assert_eq!(code(&clean), 0);
    let text = String::from_utf8_lossy(&clean.stdout).into_owned();
    assert!(text.contains(" not run (M002-M003, Q001-Q0"), "{text}");
    assert!(text.contains("by the rules that were run"), "{text}");
    for format in ["json", "junit", "sarif", "github"] {
        let output = check(place.path(), &["wrong", "--ignore", "M,Q", "--format", format]);
        assert_eq!(code(&output), 0);
        let text = String::from_utf8_lossy(&output.stdout);
        let told = ["not_run", "not run: deselected", "was not run", "rules not run"];
        assert!(told.iter().any(|words| text.contains(words)), "{format} is silent: {text}");
    }
}

/// Who ignores it wants no other exit code, and is told all the same.
#[test]
fn damage_that_is_ignored_is_told() {
    let place = place();
    assert_eq!(code(&check(place.path(), &["damaged"])), 2);
    let told = [
        (
            "text",
            "verdict: clean (0 errors, 0 damages, 0 warnings) by the rules that were run, but the log is damaged: ",
        ),
        ("json", "\"ignored_damages\": {\n      \"F004\": 1"),
        ("sarif", "F004 whole-last-row found 1 damage: ignored"),
        ("github", "::warning title=schedlog::damaged: clean, 0 errors, "),
    ];
    for (format, told) in told {
        let output =
            check(place.path(), &["damaged", "--ignore", "F004,X,Q,S", "--format", format]);
        assert_eq!(code(&output), 0, "{format}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(told), "{format}: {text}");
    }
    let whole = check(place.path(), &["clean", "--ignore", "F004,X005"]);
    assert!(!String::from_utf8_lossy(&whole.stdout).contains("damaged"));
}

#[test]
fn known_findings_do_not_fail_and_new_ones_do() {
    let place = place();
    let mut text = String::new();
    let mut run = |what: &str, arguments: &[&str]| {
        let output = check(place.path(), arguments);
        text.push_str(&format!("{what}\n{}\n", end(&output)));
        code(&output)
    };
    let write = ["wrong", "--write-baseline", "known.json"];
    assert_eq!(run("the present findings become known", &write), 0);
    let known = ["wrong", "--baseline", "known.json"];
    assert_eq!(run("they are accepted", &known), 0);
    // Another line above, another moment: the same finding.
    let path = place.path().join("wrong/per_request.csv");
    let rows = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = rows.lines().collect();
    lines.insert(2, "");
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    assert_eq!(run("a line moved", &known), 0);
    // Another request with the same mistake: a new finding.
    fs::write(&path, rows.replace("a,0,2,133,2,131,", "a,0,2,133,1,131,")).unwrap();
    assert_eq!(run("a second request is wrong", &known), 1);
    // One repaired: said, so that the list can be made shorter.
    fs::write(&path, rows.replace("b,5,22,173,76,", "b,5,22,173,77,")).unwrap();
    assert_eq!(run("one is repaired", &known), 0);
    let list = fs::read_to_string(place.path().join("known.json")).unwrap();
    in_snapshots("report", || {
        insta::assert_snapshot!("baseline", text);
        insta::assert_snapshot!("baseline-file", list);
    });
}

#[test]
fn several_logs_share_a_list_and_end_with_the_worst() {
    let place = place();
    assert_eq!(code(&check(place.path(), &["clean", "damaged"])), 2);
    let output = check(place.path(), &["clean", "damaged", "wrong"]);
    assert_eq!(code(&output), 1);
    in_snapshots("report", || insta::assert_snapshot!("several", end(&output)));
    let write = ["clean", "damaged", "wrong", "--write-baseline", "known.json"];
    assert_eq!(code(&check(place.path(), &write)), 0);
    let read = ["damaged", "wrong", "--baseline", "known.json"];
    assert_eq!(code(&check(place.path(), &read)), 0);
    // Two logs of one name share their entries: what one of them has, the other does not miss.
    fs::create_dir(place.path().join("again")).unwrap();
    for (file, bytes) in &Log::base().files {
        fs::create_dir_all(place.path().join("again/wrong")).unwrap();
        fs::write(place.path().join("again/wrong").join(file), bytes).unwrap();
    }
    let logs = ["again/wrong", "wrong", "clean"];
    let output = check(place.path(), &[&logs[..], &["--write-baseline", "same.json"]].concat());
    assert!(!end(&output).contains("not found again"), "{}", end(&output));
    let output = check(place.path(), &[&logs[..], &["--baseline", "same.json"]].concat());
    assert!(!end(&output).contains("not found again"), "{}", end(&output));
    let output = check(place.path(), &["again/wrong", "--baseline", "same.json"]);
    assert!(end(&output).contains("3 listed there were not found again"), "{}", end(&output));
    // What is known of one log is not known of another.
    fs::rename(place.path().join("wrong"), place.path().join("other")).unwrap();
    assert_eq!(code(&check(place.path(), &["other", "--baseline", "known.json"])), 1);
}

#[test]
fn what_cannot_be_read_hides_no_violation_and_is_hidden_by_none() {
    let place = place();
    for (logs, expected) in [
        (["clean", "nowhere"], 2),
        (["damaged", "nowhere"], 2),
        (["wrong", "nowhere"], 1),
        (["nowhere", "wrong"], 1),
    ] {
        let output = check(place.path(), &logs);
        assert_eq!(code(&output), expected, "{logs:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("nowhere"), "{logs:?}: {errors}");
        assert!(errors.contains("1 of 2 directories could not be checked"), "{logs:?}: {errors}");
    }
}

#[test]
fn a_report_is_written_whole_or_not_at_all() {
    let place = place();
    let arguments = ["wrong", "--format", "json", "--output", "report.json"];
    let output = check(place.path(), &arguments);
    assert_eq!((code(&output), output.stdout.len()), (1, 0));
    let text = fs::read(place.path().join("report.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(json["directory"], "wrong");
    let lost = check(place.path(), &["wrong", "--output", "no/such/report.txt"]);
    assert_eq!(code(&lost), 2);
    let names = fs::read_dir(place.path()).unwrap().count();
    assert_eq!(names, 4, "a part of a report was left behind");
}

/// What cannot be read is an error in every form, and no report of an earlier check is left.
#[test]
fn a_report_names_what_could_not_be_read() {
    let place = place();
    let report = place.path().join("report");
    for format in ["text", "json", "junit", "sarif", "github"] {
        for logs in [&["clean", "nowhere"][..], &["nowhere"]] {
            fs::write(&report, "all is well").unwrap();
            let arguments = [logs, &["--format", format, "--output", "report"]].concat();
            assert_eq!(code(&check(place.path(), &arguments)), 2, "{arguments:?}");
            let text = fs::read_to_string(&report).unwrap();
            assert!(text.contains("nowhere is not a directory"), "{arguments:?}: {text}");
        }
        fs::write(&report, "all is well").unwrap();
        let arguments = ["clean", "--select", "Z", "--format", format, "--output", "report"];
        assert_eq!(code(&check(place.path(), &arguments)), 2);
        assert!(!report.exists(), "the report of an earlier check was left");
        let cover = ["clean", "--require-coverage", "edges", "--format", format];
        let output = check(place.path(), &cover);
        assert_eq!(code(&output), 1);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("edges never exercised: "), "{format}: {text}");
    }
    let write = ["nowhere", "--write-baseline", "known.json"];
    assert_eq!(code(&check(place.path(), &write)), 2);
    assert!(!place.path().join("known.json").exists(), "nothing was found, nothing is known");
}

#[test]
fn a_file_sets_rules_severities_and_settings() {
    let place = place();
    let config = "ignore = [\"M003\"]\nbaseline = \"known.json\"\n\n[severity]\nM002 = \"warning\"\n\
                  \n[settings]\nmax_num_seqs = 1\n";
    fs::write(place.path().join("schedlog.toml"), config).unwrap();
    // What a log tells counts more than the file.
    let info = place.path().join("wrong/run.json");
    let told = fs::read_to_string(&info).unwrap();
    fs::write(&info, told.replace("\"max_num_seqs\"", "\"not_told\"")).unwrap();
    let mut text = String::new();
    let mut run = |what: &str, arguments: &[&str]| {
        let output = check(place.path(), arguments);
        text.push_str(&format!("{what}\n{}\n", end(&output)));
        code(&output)
    };
    assert_eq!(run("the list of known findings is missing", &["wrong"]), 2);
    fs::write(place.path().join("known.json"), "[]").unwrap();
    assert_eq!(run("the list is something else", &["wrong"]), 2);
    let other = "{\"schema\": \"schedlog.baseline/9\", \"findings\": []}";
    fs::write(place.path().join("known.json"), other).unwrap();
    assert_eq!(run("the list is of another version", &["wrong"]), 2);
    let config = config.replace("baseline = \"known.json\"\n", "");
    fs::write(place.path().join("schedlog.toml"), &config).unwrap();
    assert_eq!(
        run("one seat only: the running queue is too long", &["wrong", "--select", "M002,Q002"]),
        1
    );
    assert_eq!(run("a warning only", &["wrong", "--select", "M002"]), 0);
    fs::remove_file(place.path().join("schedlog.toml")).unwrap();
    fs::write(place.path().join("wrong/schedlog.toml"), "select = [\"F\"]\n").unwrap();
    assert_eq!(run("the file is beside the log", &["wrong"]), 0);
    // What has the name of the file and cannot be read is not passed over.
    fs::create_dir(place.path().join("schedlog.toml")).unwrap();
    assert_eq!(run("the file is a directory", &["wrong"]), 2);
    in_snapshots("report", || insta::assert_snapshot!("config", text));
}

#[test]
fn a_setting_of_the_file_that_the_log_contradicts_is_told() {
    let place = place();
    let config = "[settings]\nmax_num_seqs = 1\nblock_size = 4\n";
    fs::write(place.path().join("schedlog.toml"), config).unwrap();
    let note = |arguments: &[&str]| {
        let output = check(place.path(), arguments);
        assert_eq!(code(&output), 0);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.contains("[settings]")).unwrap_or_default().to_owned()
    };
    // block_size is the same in both.
    assert_eq!(
        note(&["clean"]),
        "note: run.json tells another value than [settings] of schedlog.toml, and that of run.json \
         was used: max_num_seqs (2); to judge by another value give it as a flag"
    );
    assert_eq!(note(&["clean", "--max-num-seqs", "2"]), "");
    assert!(note(&["clean", "--format", "json"]).contains("was used: max_num_seqs (2); to judge"));
}

#[test]
fn a_value_that_no_scheduler_can_have_is_damage_of_run_json() {
    let wrong = [
        ("block_size", "0"),
        ("max_num_seqs", "0"),
        ("max_num_active_seqs", "0"),
        ("max_num_batched_tokens", "0"),
        ("max_num_scheduled_tokens", "0"),
        ("max_model_len", "0"),
        ("num_gpu_blocks", "0"),
        ("watermark", "3.0"),
        ("watermark", "-1"),
    ];
    for (key, value) in wrong {
        let log = Log::base().map("run.json", |bytes| {
            let mut info: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            info["config"][key] = serde_json::from_str(value).unwrap();
            info.to_string().into_bytes()
        });
        let directory = log.write();
        let output = check(directory.path(), &["."]);
        // What is wrong is the file, not the log: no rule judges by such a value.
        assert_eq!(code(&output), 2, "{key} {value}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("config.{key} cannot be {value};")), "{text}");
        assert_eq!(text.matches("damage[").count(), 1, "{text}");
        let report = conform_log(directory.path(), &ConformOptions::default()).unwrap();
        let LogVerdict::Void(why) = &report.verdict else { panic!("{key} {value} {report:#?}") };
        assert!(why.to_string().starts_with(&format!("{key} is {}", value.trim_end_matches(".0"))));
    }
}

#[test]
fn mistakes_in_the_file_are_errors_with_a_remedy() {
    let place = place();
    let mistakes = [
        ("an unknown member", "selected = [\"M\"]\n"),
        ("no such rule", "ignore = [\"M999\"]\n"),
        ("no such severity", "[severity]\nM002 = \"fatal\"\n"),
        ("no such rule for a severity", "[severity]\nMM = \"error\"\n"),
        ("no such setting", "[settings]\nmax_seqs = 4\n"),
        ("a setting of the wrong kind", "[settings]\nmax_num_seqs = \"many\"\n"),
        ("blocks of no token", "[settings]\nblock_size = 0\n"),
        ("more than the whole cache", "[settings]\nwatermark = 3.0\n"),
        ("no TOML", "select = M\n"),
        ("nothing left", "ignore = [\"ALL\"]\n"),
    ];
    let mut text = String::new();
    for (what, config) in mistakes {
        fs::write(place.path().join("mine.toml"), config).unwrap();
        let output = check(place.path(), &["clean", "--config", "mine.toml"]);
        assert_eq!(code(&output), 2, "{what}");
        text.push_str(&format!("{what}\n{}\n", end(&output)));
    }
    let arguments: [&[&str]; 9] = [
        &["clean", "--block-size", "0"],
        &["clean", "--watermark", "3"],
        &["clean", "--watermark", "a bit"],
        &["clean", "--select", ", "],
        &["clean", "--config", "no.toml"],
        &["clean", "--select", "Z"],
        &["clean", "--require-coverage", "colours"],
        &["clean", "--baseline", "a", "--write-baseline", "b"],
        &["no-such-log"],
    ];
    for arguments in arguments {
        let output = check(place.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        text.push_str(&format!("{}\n{}\n", arguments.join(" "), end(&output)));
    }
    in_snapshots("report", || insta::assert_snapshot!("mistakes", text));
}
