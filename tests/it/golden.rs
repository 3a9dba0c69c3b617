//! Every bundled trace, replayed: the whole log is a snapshot.

use std::fs;
use std::path::{Path, PathBuf};

use schedlog::check::{CheckOptions, check_dir};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::report::{TextOptions, write_text};
use schedlog::settings::Settings;
use schedlog::trace::{ReadOptions, Trace};

use crate::support::{in_snapshots, root};

/// The bundled traces: each has its settings beside it.
pub(crate) fn bundled() -> Vec<(String, PathBuf)> {
    let mut traces: Vec<_> = fs::read_dir(root().join("traces"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    traces.sort();
    traces
}

/// Replays a bundled trace into `directory`.
pub(crate) fn replay_bundled(trace: &Path, directory: &Path, options: &LogOptions) {
    let settings = Settings::from_file(&trace.with_extension("toml")).unwrap().resolve().unwrap();
    let trace = Trace::open(trace, &ReadOptions::default()).unwrap();
    replay_trace(&trace, &settings, Some(directory), options, |_| {}).unwrap();
}

/// The files of a log, by name.
pub(crate) fn files(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_log_of_every_bundled_trace_is_as_it_was() {
    let traces = bundled();
    assert!(traces.len() >= 8, "{traces:?}");
    for (name, trace) in traces {
        let directory = tempfile::tempdir().unwrap();
        replay_bundled(&trace, directory.path(), &LogOptions::default());
        for (file, text) in files(directory.path()) {
            // The trace's path is the only thing in a log that may differ from place to place.
            let text = text.replace(trace.to_str().unwrap(), &format!("traces/{name}.jsonl"));
            in_snapshots(&format!("golden/{name}"), || insta::assert_snapshot!(file, text));
        }
        let report = check_dir(directory.path(), &CheckOptions::default()).unwrap();
        let options = TextOptions { rules: true, ..TextOptions::default() };
        let mut text = Vec::new();
        write_text(&report, &options, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        in_snapshots(&format!("golden/{name}"), || insta::assert_snapshot!("check", text));
    }
}

#[test]
fn the_same_trace_gives_the_same_bytes() {
    for (_, trace) in bundled() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        replay_bundled(&trace, first.path(), &LogOptions::default());
        replay_bundled(&trace, second.path(), &LogOptions::default());
        assert_eq!(files(first.path()), files(second.path()));
    }
}

#[test]
fn the_interval_of_flushes_does_not_show_in_the_files() {
    for (_, trace) in bundled() {
        let (often, rarely) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let every_step = LogOptions { flush_interval_iterations: 1, ..LogOptions::default() };
        replay_bundled(&trace, often.path(), &every_step);
        replay_bundled(&trace, rarely.path(), &LogOptions::default());
        let tables = |directory: &Path| {
            let mut files = files(directory);
            files.retain(|(name, _)| name.ends_with(".csv"));
            files
        };
        assert_eq!(tables(often.path()), tables(rarely.path()));
    }
}
