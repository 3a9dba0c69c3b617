//! Notebooks that read this log with pandas keep working.

use std::process::Command;

use schedlog::engine::run::LogOptions;

use crate::golden::replay_bundled;
use crate::support::{in_snapshots, root};

#[test]
fn pandas_reads_the_columns_that_notebooks_select() {
    let has_pandas = Command::new("python3").args(["-c", "import pandas"]).output();
    if !has_pandas.is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 with pandas is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let trace = root().join("traces/tiny-cache-preemption.jsonl");
    replay_bundled(&trace, &log, &LogOptions::default());
    let output = Command::new("python3")
        .arg(root().join("tests/python/notebook.py"))
        .arg(&log)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    in_snapshots("notebook", || insta::assert_snapshot!("pandas", text));
}
