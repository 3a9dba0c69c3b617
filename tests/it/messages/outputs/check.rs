//! `schedlog check`: what every form of the report says of findings that are not in it.

use super::{Place, bundled, packed, read};
use crate::edits::Edited;
use crate::fixtures::{Log, fixture};

const FORMATS: [&str; 5] = ["text", "json", "junit", "sarif", "github"];

fn wrong() -> Log {
    Log::base().edited(&fixture("M002")).edited(&fixture("Q001"))
}

/// More findings of one rule than are kept.
fn flood() -> Log {
    let spoil = |_, blocks, _: &_| blocks + 1;
    let log = Edited::long_of(4).number("per_iteration_requests.csv", "kv_cache_blocks", spoil);
    read(&log.path())
}

#[test]
fn what_is_not_in_a_report_is_told_in_every_form() {
    let mut place = Place::new();
    place.log("wrong", &wrong());
    place.log("flood", &flood());
    place.log("log", &Log::base());
    for format in FORMATS {
        let check = format!("check wrong --ignore M013,M020 --format {format}");
        let told = ["M013", "not_run", "deselected", "rules not run", "verdict"];
        assert_eq!(place.tells(&check, &told), 1);
    }
    for format in ["text", "json", "sarif"] {
        let check = format!("check flood --select C002 --format {format}");
        assert_eq!(place.tells(&check, &["beyond these", "verdict"]), 1);
    }
    place.tells("check wrong --write-baseline known.json --select M", &["known"]);
    for format in FORMATS {
        let check = format!("check wrong --baseline known.json --select M --format {format}");
        assert_eq!(place.tells(&check, &["known findings", "known.json"]), 0);
    }
    for format in FORMATS {
        let check = format!("check nowhere log --require-coverage edges --format {format}");
        let told = ["nowhere is", "never exercised: "];
        assert_eq!(place.tells(&check, &told), 2);
    }
    place.assert_known("check");
}

/// Whoever asks for a comparison with the reference is not told that all is well where there was none.
#[test]
fn a_comparison_that_was_asked_for_and_could_not_be_made_does_not_read_as_clean() {
    let mut place = Place::new();
    place.log("log", &Log::base().without("run.json"));
    place.log("right", &Log::base());
    for format in FORMATS {
        let check = format!("check log --conform --select V --format {format}");
        let told = ["nothing was compared", "verdict", ": damaged,"];
        assert_eq!(place.tells(&check, &told), 2);
    }
    let settings = "--block-size 4 --max-num-seqs 2 --max-num-batched-tokens 8 --max-model-len 32";
    let check = format!("check log --conform --select V {settings}");
    assert_ne!(place.says(&check), 2);
    assert_eq!(place.says("check log --conform --ignore V"), 0);
    // With other rules the verdict is theirs, unless they have nothing to say.
    assert_eq!(place.tells("check log --conform", &["V001", "rules:", "verdict"]), 2);
    place.log("wrong", &wrong().without("run.json"));
    assert_eq!(place.tells("check wrong --conform", &["V001", "rules:", "verdict"]), 1);
    let damaged = packed(&Log::base(), "events.csv", |mut bytes| {
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        bytes
    });
    place.log("damaged", &damaged);
    assert_eq!(place.says("check damaged --conform --select V"), 2);
    let (mut runs, second) = (bundled("tiny-cache-preemption"), bundled("plain-run"));
    runs.p.rows.extend(second.p.rows);
    runs.i.rows.extend(second.i.rows);
    runs.r.rows.extend(second.r.rows);
    runs.e.rows.extend(second.e.rows);
    runs.t.rows.extend(second.t.rows);
    place.log("runs", &runs.log());
    assert_eq!(place.says("check runs --conform --select V"), 2);
    assert_eq!(place.tells("conform runs", &["verdict", "second"]), 2);
    place.assert_known("check-void");
}

/// What stands behind a compressed file, be it too short for another one, is named as what it is; several
/// compressed files in one are one file.
#[test]
fn bytes_behind_a_compressed_file_are_damage_and_another_member_is_none() {
    let mut place = Place::new();
    let file = "events.csv";
    let behind =
        |bytes: &'static [u8]| packed(&Log::base(), file, |packed| [&packed[..], bytes].concat());
    // Shorter than the header of a member, as long, longer, and as a block of a tape is filled.
    for (name, bytes) in [
        ("one", &b"\n"[..]),
        ("few", b"abc"),
        ("more", b"request_id,arrival_time\n"),
        ("zeros", &[0; 512]),
    ] {
        place.log(name, &behind(bytes));
        assert_eq!(place.tells(&format!("check {name}"), &["damage[", "events.csv", "verdict"]), 2);
        assert_eq!(place.tells(&format!("conform {name}"), &["damage", "verdict"]), 2);
    }
    let output = crate::cli::schedlog(&["check", "few"], place.directory.path());
    let end = super::gzip(&Log::base().files[file]).len();
    let told = format!("from byte {end} (counted from 0) on");
    assert!(String::from_utf8_lossy(&output.stdout).contains(&told), "{told}");
    // A member that was cut is a cut file.
    for (name, bytes) in [("cut", &b"\x1f\x8b\x08\x00"[..]), ("cut-short", b"\x1f")] {
        place.log(name, &behind(bytes));
        assert_eq!(place.tells(&format!("check {name}"), &["damage[", "verdict"]), 2);
    }
    let mut members = Log::base();
    let rows = members.files.remove(file).unwrap();
    let middle = rows.len() / 2;
    let bytes = [super::gzip(&rows[..middle]), super::gzip(b""), super::gzip(&rows[middle..])];
    members.files.insert(format!("{file}.gz"), bytes.concat());
    place.log("members", &members);
    assert_eq!(place.tells("check members", &["events.csv", "verdict"]), 0);
    assert_eq!(place.tells("conform members", &["verdict"]), 0);
    place.assert_known("gzip");
}

#[test]
fn of_a_compressed_file_with_wrong_bytes_no_row_is_judged() {
    let mut place = Place::new();
    for file in ["events.csv", "per_iteration.csv", "per_iteration_requests.csv", "per_request.csv"]
    {
        let log = bundled("tiny-cache-preemption").log();
        for part in 1..8 {
            let spoil = |mut bytes: Vec<u8>| {
                let at = bytes.len() * part / 8;
                bytes[at..at + 4].iter_mut().for_each(|byte| *byte = !*byte);
                bytes
            };
            place.log("spoiled", &packed(&log, file, spoil));
            let at = format!("{file} at {part}/8");
            let output = crate::cli::schedlog(&["check", "spoiled"], place.directory.path());
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(2), "{at}: {text}");
            assert_eq!(text.matches("damage[F004]").count(), 1, "{at}: {text}");
        }
        std::fs::remove_dir_all(place.at("spoiled")).unwrap();
    }
    let spoil = |mut bytes: Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at] = !bytes[at];
        bytes
    };
    place.log("spoiled", &packed(&bundled("tiny-cache-preemption").log(), "events.csv", spoil));
    assert_eq!(place.tells("check spoiled", &["F004", "events.csv", "verdict"]), 2);
    place.assert_known("spoiled");
}

#[test]
fn a_file_of_nearly_the_right_name_is_told() {
    let log = bundled("plain-run").log();
    let renamed = |new: &dyn Fn(&str) -> String| {
        let files = log.files.iter().map(|(name, bytes)| (new(name), bytes.clone()));
        Log { files: files.collect() }
    };
    let mut place = Place::new();
    place.log(
        "packed",
        &renamed(&|name| match name {
            "events.csv" => "events.csv.zst".to_owned(),
            other => other.to_owned(),
        }),
    );
    assert_eq!(place.tells("check packed", &["F001", "verdict"]), 2);
    // What is said of a file as a whole is said at the file.
    place.tells("check packed --format github", &["file=packed/events.csv,title=F001"]);
    place.tells("check packed --format json", &["\"file\": \"events.csv\""]);
    place.tells("check packed --format sarif", &["packed/events.csv"]);
    place.log("named", &renamed(&|name| format!("run1_{name}")));
    assert_eq!(place.says("check named"), 2);
    place.log("above/scheduler_logs", &log);
    assert_eq!(place.says("check above"), 2);
    place.assert_known("names");
}
