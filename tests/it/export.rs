//! Exports: valid in their own terms, complete, and read back by other tools where these are.

mod ocel;
#[cfg(feature = "parquet")]
mod parquet;
mod perfetto;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::analyze::log_of;

fn export(log: &Path, format: &str, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_schedlog"))
        .args(["export", "--format", format, "--out"])
        .args([out, log])
        .output()
        .unwrap()
}

/// Exports to JSON and reads that.
fn exported(log: &Path, format: &str) -> (String, Value) {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.json");
    let output = export(log, format, &out);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&out).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

/// The number of rows of a table of a log.
fn rows(log: &Path, table: &str) -> usize {
    csv::Reader::from_path(log.join(table)).unwrap().records().count()
}

/// Lets the readers that python has open exports; prints what it did.
fn read_with_python(log: &Path, parquet: &str, ocel: &str) {
    let script = crate::fixtures::repo("tests/python/read_exports.py");
    let Ok(output) = Command::new("python3").arg(script).arg(log).args([parquet, ocel]).output()
    else {
        println!("skipped: python3 is not installed");
        return;
    };
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cannot_be_exported_leaves_nothing_behind() {
    let log = log_of("plain-run");
    let place = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let missing = place.path().join("no/such/place");
    for format in ["perfetto", "ocel", "parquet"] {
        let output = export(empty.path(), format, &out);
        assert_eq!(output.status.code(), Some(2), "{format}");
        let output = export(log.path(), format, &missing);
        assert_eq!(output.status.code(), Some(2), "{format}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{format}");
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_how_to_get_it() {
    let log = log_of("plain-run");
    let place = tempfile::tempdir().unwrap();
    let output = export(log.path(), "parquet", &place.path().join("out"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--features parquet"));
}
