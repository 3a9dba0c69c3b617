//! Compares files, in parallel.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::conform::compare::{Counts, compare};
use crate::conform::record::{BadRecord, Record, read_text};
use crate::conform::report::{ConformReport, Outcome, RecordReport};

/// Compares the records at `paths`, each a file or a directory of files ending in `.jsonl` or
/// `.jsonl.gz` (searched with its subdirectories), with `jobs` threads. The report is in the order
/// of `paths`, and within a directory in the order of names, whatever the timing.
#[must_use]
pub fn conform_paths(paths: &[PathBuf], jobs: usize) -> ConformReport {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files);
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return };
            let report = match file {
                Ok(path) => conform_file(path),
                Err((path, error)) => void(path, BadRecord::Io(error.clone())),
            };
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, report));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.clamp(1, files.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    ConformReport { records: done.into_iter().map(|(_, report)| report).collect() }
}

type Found = Result<PathBuf, (PathBuf, String)>;

fn collect(path: &Path, files: &mut Vec<Found>) {
    if !path.is_dir() {
        files.push(Ok(path.to_owned()));
        return;
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            files.push(Err((path.to_owned(), error.to_string())));
            return;
        }
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() || name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") {
            collect(&path, files);
        }
    }
}

fn conform_file(path: &Path) -> RecordReport {
    match read_text(path) {
        Ok(text) => conform_text(path, &text),
        Err(error) => void(path, error),
    }
}

/// Compares one record, given its text; `path` only names it.
#[must_use]
pub fn conform_text(path: &Path, text: &str) -> RecordReport {
    let record = match Record::parse(text) {
        Ok(record) => record,
        Err(error) => return void(path, error),
    };
    let depth = record.header.config.max_concurrent_batches;
    let profile = if depth > 2 { format!("depth{depth}") } else { record.header.profile.clone() };
    let mut counts = Counts::default();
    let outcome = match compare(record, &mut counts) {
        Ok(None) => Outcome::Same,
        Ok(Some(divergence)) => Outcome::Diverged(divergence),
        Err(error) => Outcome::Void(error),
    };
    RecordReport { path: path.to_owned(), profile, counts, outcome }
}

fn void(path: &Path, reason: BadRecord) -> RecordReport {
    RecordReport {
        path: path.to_owned(),
        profile: "unknown".to_owned(),
        counts: Counts::default(),
        outcome: Outcome::Void(reason),
    }
}
