//! The command line as a user meets it: what it says, where, and how it ends.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::{in_snapshots, root, without_sizes};

pub(crate) fn schedlog(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_schedlog"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("VLLM_SCHEDULER_LOGGING")
        .env_remove("VLLM_SCHEDULER_LOG_DIR")
        .output()
        .unwrap()
}

/// Exit code, stdout and stderr as one text; times of the machine are replaced.
fn transcript(output: &Output) -> String {
    let text = format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    text.lines()
        .map(|line| match line.split_once(" s in ") {
            Some((simulated, _)) => format!("{simulated} s in [real] s\n"),
            None => without_sizes(line) + "\n",
        })
        .collect()
}

/// A working directory with a copy of the bundled traces.
fn workplace() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let traces = directory.path().join("traces");
    fs::create_dir(&traces).unwrap();
    for entry in fs::read_dir(root().join("traces")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, traces.join(path.file_name().unwrap())).unwrap();
        }
    }
    directory
}

fn assert_transcript(name: &str, arguments: &[&str]) {
    let place = workplace();
    let output = schedlog(arguments, place.path());
    in_snapshots("cli", || insta::assert_snapshot!(name, transcript(&output)));
}

#[test]
fn replay_prints_a_summary() {
    let (trace, config) =
        ("traces/tiny-cache-preemption.jsonl", "traces/tiny-cache-preemption.toml");
    assert_transcript("replay", &["replay", trace, "--config", config, "--out", "log"]);
    assert_transcript("replay-without-log", &["replay", trace, "--config", config]);
}

#[test]
fn the_log_of_a_recorded_run_can_be_checked() {
    let place = tempfile::tempdir().unwrap();
    let record = |name: &str| {
        root().join(format!("traces/vllm-0.32/{name}.jsonl.gz")).to_str().unwrap().to_owned()
    };
    let (one, two) = (record("spec-0020"), record("depth3-0010"));
    let exit = |arguments: &[&str]| {
        let output = schedlog(arguments, place.path());
        (output.status.code(), transcript(&output))
    };
    assert_eq!(exit(&["conform", &one, "--log", "one"]).0, Some(0));
    assert_eq!(exit(&["check", "one"]).0, Some(0));
    assert_eq!(exit(&["conform", &one, &two, "--log", "both", "--log-level", "full"]).0, Some(0));
    for log in ["both/spec-0020", "both/depth3-0010"] {
        assert_eq!(exit(&["check", log]).0, Some(0));
    }
    let (code, text) = exit(&["conform", &one, "--log", "one"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("the log of") && text.contains("--force"), "{text}");
    assert_eq!(exit(&["conform", &one, "--log", "one", "--force"]).0, Some(0));
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_written() {
    let trace = "traces/plain-run.jsonl";
    let cases: [(&str, &[&str]); 8] = [
        ("missing-trace", &["replay", "no-such.jsonl", "--out", "log"]),
        ("cache-too-small", &["replay", trace, "--num-gpu-blocks", "10", "--out", "log"]),
        ("not-modelled", &["replay", trace, "--pipeline-parallel-size", "2", "--out", "log"]),
        ("unknown-flag", &["replay", trace, "--max-num-sequences", "2", "--out", "log"]),
        (
            "contradiction",
            &["replay", trace, "--max-num-seqs", "64", "--max-num-batched-tokens", "32"],
        ),
        ("drafts-without-method", &["replay", trace, "--num-speculative-tokens", "2"]),
        ("no-such-setting", &["config", "max-seqs"]),
        ("missing-config", &["replay", trace, "--config", "no.toml", "--out", "log"]),
    ];
    for (name, arguments) in cases {
        let place = workplace();
        let output = schedlog(arguments, place.path());
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(!place.path().join("log").exists(), "{name} left a log behind");
        in_snapshots("cli", || insta::assert_snapshot!(name, transcript(&output)));
    }
}

#[test]
fn a_log_is_never_mixed_with_an_older_one() {
    let place = workplace();
    let replay = ["replay", "traces/plain-run.jsonl", "--out", "log"];
    assert_eq!(schedlog(&replay, place.path()).status.code(), Some(0));
    let before = crate::golden::files(&place.path().join("log"));
    let refused = schedlog(&replay, place.path());
    assert_eq!(refused.status.code(), Some(2));
    in_snapshots("cli", || insta::assert_snapshot!("not-empty", transcript(&refused)));
    assert_eq!(crate::golden::files(&place.path().join("log")), before);
    let forced = [&replay[..], &["--force", "--log-level", "summary"]].concat();
    assert_eq!(schedlog(&forced, place.path()).status.code(), Some(0));
    assert!(!place.path().join("log/per_iteration_requests.csv").exists());
}

#[test]
fn the_environment_turns_logging_on() {
    let run = |logging: &str| {
        let place = workplace();
        let status = Command::new(env!("CARGO_BIN_EXE_schedlog"))
            .args(["replay", "traces/plain-run.jsonl"])
            .current_dir(place.path())
            .env("VLLM_SCHEDULER_LOGGING", logging)
            .env("VLLM_SCHEDULER_LOG_DIR", "here")
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        place.path().join("here/events.csv").exists()
    };
    assert!(run("1"));
    assert!(!run("true"));
    assert!(!run("0"));
}

#[test]
fn a_reader_that_leaves_is_an_error_and_the_log_is_whole() {
    let place = workplace();
    // Gone before the process begins, so that it does not depend on who is faster.
    let (reader, stdout) = io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_schedlog"))
        .args(["replay", "traces/plain-run.jsonl", "--out", "log"])
        .current_dir(place.path())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .unwrap();
    // No code of a verdict.
    assert_eq!(output.status.code(), Some(141));
    assert!(String::from_utf8_lossy(&output.stderr).contains("its reader has gone"));
    let rows = fs::read_to_string(place.path().join("log/per_request.csv")).unwrap();
    assert_eq!(rows.lines().count(), 7);
}

#[test]
fn settings_are_explained() {
    assert_transcript("config-explain", &["config", "--explain"]);
    assert_transcript("config-one", &["config", "--max_num_seqs=16", "--no-enable-prefix-caching"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_whole_rows_and_a_remedy() {
    // A limit on the size of files stands for a full disk: a write stops in the middle.
    let place = workplace();
    let log = place.path().join("log");
    fs::create_dir(&log).unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 8; trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_schedlog"))
        .args(["replay", "traces/burst-into-max-num-seqs.jsonl", "--out", "log"])
        .args(["--config", "traces/burst-into-max-num-seqs.toml"])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", transcript(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write rows"));
    for (name, text) in crate::golden::files(&log) {
        assert!(text.ends_with('\n'), "{name} ends within a row");
    }
}

/// A small log in `log`, of the bundled trace with preemptions.
pub(crate) fn logged() -> tempfile::TempDir {
    let place = workplace();
    let (trace, config) =
        ("traces/tiny-cache-preemption.jsonl", "traces/tiny-cache-preemption.toml");
    let output =
        schedlog(&["replay", trace, "--config", config, "--out", "log", "--force"], place.path());
    assert!(output.status.success());
    place
}

pub(crate) fn said(place: &Path, arguments: &[&str]) -> String {
    format!("$ schedlog {}\n{}", arguments.join(" "), transcript(&schedlog(arguments, place)))
}

#[test]
fn mistaken_input_is_told_with_a_remedy() {
    let place = logged();
    let at = |path: &str| place.path().join(path);
    let copy = |to: &str| {
        fs::create_dir(at(to)).unwrap();
        for entry in fs::read_dir(at("log")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, at(to).join(path.file_name().unwrap())).unwrap();
        }
    };
    for (name, separator) in [("semicolons", ";"), ("tabs", "\t")] {
        copy(name);
        let path = at(name).join("state_transitions.csv");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace(',', separator)).unwrap();
    }
    copy("cr");
    for entry in fs::read_dir(at("cr")).unwrap() {
        let path = entry.unwrap().path();
        fs::write(&path, fs::read_to_string(&path).unwrap().replace('\n', "\r")).unwrap();
    }
    copy("no-gzip");
    fs::rename(at("no-gzip/events.csv"), at("no-gzip/events.csv.gz")).unwrap();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    for name in ["gzip-and-more", "gzip-sum"] {
        copy(name);
        let path = at(name).join("events.csv");
        let mut bytes = gzip(&fs::read(&path).unwrap());
        let sum = bytes.len() - 8;
        match name {
            "gzip-sum" => bytes[sum] ^= 1,
            _ => bytes.extend([0; 64]),
        }
        fs::write(at(name).join("events.csv.gz"), bytes).unwrap();
        fs::remove_file(path).unwrap();
    }
    copy("directory");
    fs::remove_file(at("directory/events.csv")).unwrap();
    fs::create_dir(at("directory/events.csv")).unwrap();
    fs::remove_file(at("directory/state_transitions.csv")).unwrap();
    fs::create_dir(at("directory/state_transitions.csv")).unwrap();
    copy("twice");
    fs::write(at("twice/events.csv.gz"), "").unwrap();
    copy("torn");
    let path = at("torn/state_transitions.csv");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 10]).unwrap();
    fs::create_dir(at("empty")).unwrap();
    let mut texts = Vec::new();
    let names = ["semicolons", "tabs", "cr", "no-gzip", "gzip-and-more", "gzip-sum", "directory"];
    for name in names.into_iter().chain(["twice", "empty"]) {
        texts.push(said(place.path(), &["check", name]));
    }
    for name in ["cr", "no-gzip", "twice", "empty"] {
        texts.push(said(place.path(), &["conform", name]));
    }
    for name in ["semicolons", "torn"] {
        texts.push(said(place.path(), &["graph", name]));
    }
    texts.push(said(place.path(), &["check", "nowhere", "log", "empty", "--select", "M002"]));
    texts.push(said(place.path(), &["check", "log", "--output", "nowhere/report"]));
    texts.push(said(place.path(), &["check", "log", "--max-num-seqs", "-1"]));
    texts.push(said(place.path(), &["check", "log", "--skew-bound", "soon"]));
    texts.push(said(place.path(), &["conform", "log", "--time-unit", "ms"]));
    for rule in ["foo", "M2", "M999", "wating-plus"] {
        texts.push(said(place.path(), &["explain", rule]));
    }
    in_snapshots("cli", || insta::assert_snapshot!("mistaken-input", texts.join("\n")));
}

/// A directory whose files cannot be looked at is not one that holds no log.
#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_is_not_called_absent() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    fs::create_dir(&log).unwrap();
    // A link to itself stands for a directory without permission, which stops not every user.
    std::os::unix::fs::symlink("per_request.csv", log.join("per_request.csv")).unwrap();
    let output = schedlog(&["check", "log"], place.path());
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("log/per_request.csv cannot be opened"), "{said}");
}

#[test]
fn the_trace_of_a_comparison_is_read_as_a_replay_reads_it() {
    let place = workplace();
    let (trace, config) =
        ("traces/tiny-cache-preemption.jsonl", "traces/tiny-cache-preemption.toml");
    let reading = ["--rate-scale", "2", "--time-unit", "ms", "--trace-format", "mooncake"];
    let replay = ["replay", trace, "--config", config, "--out", "log"];
    assert!(schedlog(&[&replay[..], &reading].concat(), place.path()).status.success());
    let conform = ["conform", "log", "--trace", trace];
    let output = schedlog(&[&conform[..], &reading].concat(), place.path());
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("every block is accounted for"));
}

/// Beyond the bound a difference of readings is a mistake, within it a warning.
#[test]
fn the_bound_of_clock_skew_can_be_given() {
    let place = logged();
    let run = place.path().join("log/run.json");
    let text = fs::read_to_string(&run).unwrap().replace("\"schedlog\"", "\"another-logger\"");
    fs::write(&run, text).unwrap();
    let path = place.path().join("log/per_iteration.csv");
    let mut state = 7u64;
    let jittered = fs::read_to_string(&path).unwrap();
    let jittered: Vec<_> = jittered
        .lines()
        .enumerate()
        .map(|(line, row)| {
            let mut fields: Vec<_> = row.split(',').map(str::to_owned).collect();
            if line > 0 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let duration: u64 = fields[3].parse().unwrap();
                fields[3] = (duration + 100 + (state >> 33) % 49_900).to_string();
            }
            fields.join(",") + "\n"
        })
        .collect();
    fs::write(&path, jittered.concat()).unwrap();
    let code = |arguments: &[&str]| {
        let output = schedlog(&[&["check", "log"], arguments].concat(), place.path());
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (clean, text) = code(&[]);
    assert_eq!(clean, 0, "{text}");
    assert!(text.contains("warning[T001]") && text.contains("half of them by up to"), "{text}");
    assert_eq!(code(&["--skew-bound", "200us"]).0, 0);
    assert_eq!(code(&["--skew-bound", "1us"]).0, 1);
    assert_eq!(code(&["--skew-bound", "0"]).0, 1);
}

#[cfg(unix)]
#[test]
fn a_closed_standard_stream_is_an_error() {
    let place = logged();
    let shell = |command: &str| {
        let line = format!("\"$0\" {command}");
        let output = Command::new("sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_schedlog")])
            .current_dir(place.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for command in ["check log", "rules", "explain M001", "generate", "conform log", "--help"] {
        let (code, said) = shell(&format!("{command} >&-"));
        assert_eq!(
            (code, said.contains("standard output is closed")),
            (2, true),
            "{command}: {said}"
        );
        // Who throws the output away on purpose, for writing only or not, gets no error.
        assert_eq!(shell(&format!("{command} >/dev/null")).0, 0, "{command}");
        assert_eq!(shell(&format!("{command} 1<>/dev/null")).0, 0, "{command}");
    }
    assert_eq!(shell("check log --output report >&-").0, 0, "nothing is to be shown");
    let (code, said) = shell("trace - <&-");
    assert_eq!((code, said.contains("standard input is closed")), (2, true), "{said}");
}

/// Of more than a thousand findings of a rule the rest is known as a number, and that is said.
#[test]
fn findings_that_are_known_by_number_only_are_told() {
    let place = workplace();
    let run = |arguments: &[&str]| schedlog(arguments, place.path());
    let sizes = ["--input-length", "fixed:8", "--output-length", "fixed:1", "--rate", "1000"];
    let made =
        run(&[&["generate", "--requests", "1100", "--out", "many.jsonl"][..], &sizes].concat());
    assert!(made.status.success(), "{}", transcript(&made));
    assert!(run(&["replay", "many.jsonl", "--out", "log"]).status.success());
    let path = place.path().join("log/per_request.csv");
    let text = fs::read_to_string(&path).unwrap();
    let at =
        text.lines().next().unwrap().split(',').position(|name| name == "e2e_latency").unwrap();
    let wrong = text.lines().enumerate().map(|(line, row)| {
        let mut fields: Vec<_> = row.split(',').map(str::to_owned).collect();
        if line > 0 {
            fields[at] = (fields[at].parse::<u64>().unwrap() + 1_000_000).to_string();
        }
        fields.join(",") + "\n"
    });
    fs::write(&path, wrong.collect::<String>()).unwrap();
    assert!(run(&["check", "log", "--write-baseline", "known.json"]).status.success());
    let output = run(&["check", "log", "--baseline", "known.json"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find(|line| line.contains("M001 beyond the first thousand"));
    assert!(line.is_some_and(|line| line.starts_with("known by number only: 100 ")), "{said}");
}

#[test]
fn a_place_that_cannot_be_written_is_told_before_anything_is_said() {
    let place = logged();
    std::fs::write(place.path().join("file"), "").unwrap();
    for arguments in [
        ["analyze", "log", "--html", "no/such/page.html"],
        ["analyze", "log", "--html", "log"],
        ["analyze", "log", "--plots", "file"],
        ["analyze", "log", "--plots", "file/below"],
    ] {
        let output = schedlog(&arguments, place.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with(&format!("error: {}: cannot be written", arguments[3])), "{said}");
    }
    let arguments = ["compare", "log", "log", "--resamples", "0", "--plots", "file"];
    let output = schedlog(&arguments, place.path());
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    // Places that are made are no obstacle.
    let arguments = ["analyze", "log", "--html", "page.html", "--plots", "some/where"];
    assert_eq!(schedlog(&arguments, place.path()).status.code(), Some(0));
    assert!(place.path().join("page.html").is_file() && place.path().join("some/where").is_dir());
}

#[test]
fn numbers_of_things_are_whole() {
    let place = logged();
    let told = schedlog(&["compare", "log", "log", "--resamples", "0"], place.path()).stdout;
    let told = String::from_utf8(told).unwrap();
    for (figure, decimals) in [
        ("  requests ", false),
        ("  finished requests ", false),
        ("  steps ", false),
        ("  ttft mean ", true),
    ] {
        let line = told.lines().find(|line| line.starts_with(figure)).unwrap();
        let values =
            line[figure.len()..].split_whitespace().filter(|word| word.parse::<f64>().is_ok());
        // The last is the ratio.
        let values: Vec<_> = values.take(2).collect();
        assert!(values.iter().all(|value| value.contains('.') == decimals), "{line}");
    }
}
