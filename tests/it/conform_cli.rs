//! What the command line makes of a comparison: settings by flag, V001 beside other rules, options of the
//! wrong kind.

use std::fs;
use std::path::Path;

use crate::cli::{logged, schedlog};

/// The exit code and what was printed.
fn run(place: &Path, arguments: &[&str]) -> (i32, String) {
    let output = schedlog(arguments, place);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Changes a setting in run.json.
fn claim(place: &Path, key: &str, value: Option<u32>) {
    let path = place.join("log/run.json");
    let mut info: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let config = info["config"].as_object_mut().unwrap();
    match value {
        Some(value) => config.insert(key.to_owned(), value.into()),
        None => config.remove(key),
    };
    fs::write(&path, info.to_string()).unwrap();
}

/// run.json says every limit twice: as the setting, and as the narrower one that it is the default of.
#[test]
fn a_flag_wins_over_run_json() {
    let place = logged();
    let codes = |flags: &[&str]| {
        ["check", "conform"]
            .map(|command| run(place.path(), &[&[command, "log"], flags].concat()).0)
    };
    assert_eq!(codes(&[]), [0, 0]);
    assert_eq!(codes(&["--max-num-seqs", "1"]), [1, 1], "a lower limit");
    for key in ["max_num_seqs", "max_num_active_seqs"] {
        claim(place.path(), key, Some(1));
    }
    assert_eq!(codes(&[]), [1, 1]);
    assert_eq!(codes(&["--max-num-seqs", "8"]), [0, 0], "a higher limit");
    claim(place.path(), "max_num_seqs", Some(8));
    assert_eq!(codes(&["--max-num-seqs", "8"]), [1, 1], "another setting of run.json stays");
}
