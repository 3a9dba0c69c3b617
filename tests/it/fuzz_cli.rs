//! `schedlog fuzz` as a user meets it: other programs that misbehave, places that cannot be written,
//! and Ctrl-C in the middle.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use schedlog::fuzz::sequence::EventSequence;

use crate::support::root;

fn command(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_schedlog"));
    command.current_dir(place).arg("fuzz").args(arguments);
    command
}

fn fuzz(place: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(place, arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8_lossy(&stderr))
}

fn python() -> bool {
    let has = Command::new("python3").arg("--version").output().is_ok();
    if !has {
        println!("skipped: no python3 on this machine");
    }
    has
}

#[test]
fn a_place_where_nothing_can_be_saved_is_told_first() {
    let place = tempfile::tempdir().unwrap();
    for save in ["no/such/place.json", "."] {
        let (code, text) = fuzz(place.path(), &["--cases", "1", "--save", save]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(save) && text.contains("--save") && !text.contains("cases in"));
    }
}

#[test]
fn a_run_of_nothing_is_no_run() {
    let place = tempfile::tempdir().unwrap();
    for arguments in [["--cases", "0"], ["--time", "0"], ["--jobs", "0"], ["--timeout", "0"]] {
        assert_eq!(fuzz(place.path(), &arguments).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_time_may_be_a_fraction_or_have_a_unit() {
    let place = tempfile::tempdir().unwrap();
    for (time, told) in [("0.25", "time 0.25 s"), ("1ms", "time 0.001 s"), ("1s", "time 1 s")] {
        let (code, text) = fuzz(place.path(), &["--time", time, "--cases", "1"]);
        assert_eq!(code, Some(0), "{time}: {text}");
        assert!(text.contains(told), "{time}: {text}");
    }
    let (code, text) = fuzz(place.path(), &["--time", "soon"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("write 0.5, 90s or 10min"), "{text}");
}

#[test]
fn a_working_directory_that_was_not_there_is_not_left_behind() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["--cases", "1", "--work-dir", "some/where"];
    assert_eq!(fuzz(place.path(), &arguments).0, Some(0));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    // One that was there stays, with what is in it.
    std::fs::create_dir(place.path().join("some")).unwrap();
    assert_eq!(fuzz(place.path(), &arguments).0, Some(0));
    assert_eq!(std::fs::read_dir(place.path().join("some")).unwrap().count(), 0);
}

#[test]
fn a_damaged_case_is_not_run() {
    let place = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(root().join("tests/fuzz/early-flush.json")).unwrap();
    let half = &whole[..whole.len() / 2];
    let other = whole.replace("\"version\": 1", "\"version\": 99");
    assert_ne!(whole, other);
    for (name, text) in [("empty", ""), ("half", half), ("other", &other), ("list", "[1, 2]")] {
        std::fs::write(place.path().join(name), text).unwrap();
        let (code, text) = fuzz(place.path(), &["--replay", name]);
        assert_eq!(code, Some(2), "{name}: {text}");
        assert!(text.starts_with(&format!("error: {name}: ")), "{text}");
    }
    assert_eq!(fuzz(place.path(), &["--replay", "missing"]).0, Some(2));
}

/// A logger that answers as it should, but for what `when` does with a line.
fn logger(when: &str) -> String {
    format!(
        "import json, sys, time\nfor n, line in enumerate(sys.stdin):\n    message = json.loads(line)\n    \
         {when}\n    if message.get('hook', 'shutdown') == 'shutdown':\n        \
         print('{{\"ok\": true}}', flush=True)\n"
    )
}

#[test]
fn a_logger_that_misbehaves_is_a_finding() {
    if !python() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let cases = [
        ("hang", "time.sleep(60 if n > 3 else 0)", "hang: no answer to shutdown"),
        ("crash", "assert n < 4, 'what a pity'", "AssertionError: what a pity"),
        ("gone", "n < 4 or sys.exit(0)", "crash: exit status: 0"),
        ("noise", "n < 4 or print('INFO ' * 1000000)", "… (4999999 bytes)"),
        ("wrong", "n < 4 or print('{\"no\": 1}')", "noise on standard output: \"{\\\"no\\\": 1}\""),
        ("bytes", "n < 4 or sys.stdout.buffer.write(b'\\xff\\n')", "noise on standard output"),
        ("silent", "pass", "no log"),
    ];
    for (name, when, expected) in cases {
        std::fs::write(place.path().join("logger.py"), logger(when)).unwrap();
        let save = format!("{name}.json");
        let timeout = if name == "hang" { "5" } else { "60" };
        let logger = ["--logger", "python3 logger.py", "--timeout", timeout, "--shrink-tries", "1"];
        let arguments = [&["--cases", "2", "--save", &save], &logger[..]].concat();
        let (code, text) = fuzz(place.path(), &arguments);
        assert_eq!(code, Some(1), "{name}: {text}");
        assert!(text.contains(expected) && text.len() < 4_000, "{name}: {text}");
        EventSequence::read(&place.path().join(save)).unwrap();
    }
    // What babbles before it was told anything is no logger.
    std::fs::write(place.path().join("logger.py"), "print('Hello!', flush=True); input()").unwrap();
    let (code, text) = fuzz(place.path(), &["--logger", "python3 logger.py"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("noise on standard output: \"Hello!\""), "{text}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_wrapper_does_not_leave_the_logger_behind() {
    if !python() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let note = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)";
    std::fs::write(place.path().join("logger.py"), note).unwrap();
    let arguments =
        ["--logger", "sh -c 'python3 logger.py; true'", "--timeout", "3", "--cases", "1"];
    let (code, text) = fuzz(place.path(), &arguments);
    assert_eq!(code, Some(2), "{text}");
    let pid = std::fs::read_to_string(place.path().join("pid")).unwrap();
    // That of a process which nobody has collected yet is empty.
    let words = Path::new("/proc").join(pid).join("cmdline");
    for _ in 0..100 {
        if std::fs::read(&words).unwrap_or_default().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{} is still there", words.display());
}

/// Runs until a round is done (told by a failure or the time), stops it as Ctrl-C does.
#[cfg(unix)]
fn interrupted(place: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    use std::io::{BufRead, BufReader, Read};

    let work = place.join("work");
    let mut child = command(place, arguments)
        .args(["--work-dir", work.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    output.read_line(&mut text).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    output.read_to_string(&mut text).unwrap();
    // Nothing stays behind.
    let code = child.wait().unwrap().code();
    assert!(!work.exists());
    (code, text)
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_found() {
    let place = tempfile::tempdir().unwrap();
    let (code, text) = interrupted(place.path(), &["--cases", "100000000"]);
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains(" cases in ") && text.contains("stopped before its end\n"), "{text}");
    if !python() {
        return;
    }
    let script = root().join("tests/python/example_logger.py");
    let logger = format!("python3 '{}' --mistake lost-completion", script.display());
    let arguments = ["--cases", "100000000", "--keep-going", "--logger", &logger, "--save", "it"];
    let (code, text) = interrupted(place.path(), &arguments);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("stopped before its end\n") && text.contains("saved as it."), "{text}");
}
