//! The corpus of the byte fuzzers, tried once.

use std::path::PathBuf;

use crate::support::root;

#[path = "../../fuzz/src/targets.rs"]
mod targets;

fn corpus(target: &str) -> Vec<PathBuf> {
    let directory = root().join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn any_bytes_can_be_read_as_a_file_of_a_log() {
    for file in corpus("read_log") {
        targets::read_log(&std::fs::read(file).unwrap());
    }
}

#[test]
fn any_bytes_can_be_read_as_a_trace() {
    for file in corpus("read_trace") {
        targets::read_trace(&std::fs::read(file).unwrap());
    }
}

#[test]
fn any_bytes_can_be_checked_as_a_log() {
    let directory = tempfile::tempdir().unwrap();
    for file in corpus("check_log") {
        targets::check_log(&std::fs::read(file).unwrap(), directory.path());
    }
}
