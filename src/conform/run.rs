//! Compares files, in parallel, and logs the runs that they record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::conform::compare::{Counts, compare};
use crate::conform::record::{BadRecord, Record, read_text};
use crate::conform::record_log::{RecordLog, RecordLogError};
use crate::conform::report::{ConformReport, Outcome, RecordReport};
use crate::engine::run::LogOptions;
use crate::logger::LoggerError;

/// Compares the records at `paths`, each a file or a directory of files ending in `.jsonl` or
/// `.jsonl.gz` (searched with its subdirectories), with `jobs` threads. The report is in the order
/// of `paths`, and within a directory in the order of names, whatever the timing.
#[must_use]
pub fn conform_paths(paths: &[PathBuf], jobs: usize) -> ConformReport {
    let files = collect_all(paths);
    let records = in_parallel(&files, jobs, |_, file| match file {
        Ok(path) => conform_file(path),
        Err((path, error)) => void(path, BadRecord::Io(error.clone())),
    });
    ConformReport { records }
}

/// As [`conform_paths`], and writes the log of each recorded run: to `directory` itself if there is
/// one record, else to a directory below it that has the record's name. A log ends before the first
/// difference; a record that cannot be compared at all has none.
///
/// # Errors
/// If two records have the same name, or a log cannot be written.
pub fn conform_and_log(
    paths: &[PathBuf],
    jobs: usize,
    directory: &Path,
    options: &LogOptions,
) -> Result<ConformReport, RecordLogError> {
    let files = collect_all(paths);
    let directories = log_directories(&files, directory)?;
    let records = in_parallel(&files, jobs, |index, file| match file {
        Ok(path) => match read_text(path) {
            Ok(text) => conform_text_and_log(path, &text, &directories[index], options),
            Err(error) => Ok(void(path, error)),
        },
        Err((path, error)) => Ok(void(path, BadRecord::Io(error.clone()))),
    });
    Ok(ConformReport { records: records.into_iter().collect::<Result<_, _>>()? })
}

/// Where the log of each record goes.
fn log_directories(files: &[Found], directory: &Path) -> Result<Vec<PathBuf>, RecordLogError> {
    if let [_] = files {
        return Ok(vec![directory.to_owned()]);
    }
    let mut names = BTreeMap::<String, &Path>::new();
    let mut directories = Vec::with_capacity(files.len());
    for file in files {
        let (Ok(path) | Err((path, _))) = file;
        let name = record_name(path);
        directories.push(directory.join(&name));
        if let Some(first) = names.insert(name, path) {
            let (first, second) = (first.to_owned(), path.clone());
            return Err(RecordLogError::SameName { first, second });
        }
    }
    Ok(directories)
}

/// The name of a record's file without its endings.
fn record_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.strip_suffix(".jsonl").unwrap_or(name).to_owned()
}

/// Works through `items` with `jobs` threads; the results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(usize, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = work(index, item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

type Found = Result<PathBuf, (PathBuf, String)>;

fn collect_all(paths: &[PathBuf]) -> Vec<Found> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files);
    }
    files
}

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
    match Record::parse(text) {
        Ok(record) => report(path, record, None),
        Err(error) => void(path, error),
    }
}

/// As [`conform_text`], and writes the log of the recorded run to `directory`.
///
/// # Errors
/// If the log cannot be written.
pub fn conform_text_and_log(
    path: &Path,
    text: &str,
    directory: &Path,
    options: &LogOptions,
) -> Result<RecordReport, RecordLogError> {
    let failed = |source: LoggerError| RecordLogError::Log { record: path.to_owned(), source };
    let record = match Record::parse(text) {
        Ok(record) => record,
        Err(error) => return Ok(void(path, error)),
    };
    let mut log = RecordLog::create(directory, &record.header, options)
        .map_err(|error| failed(error.into()))?;
    let report = report(path, record, Some(&mut log));
    log.close().map_err(failed)?;
    Ok(report)
}

fn report(path: &Path, record: Record<'_>, log: Option<&mut RecordLog>) -> RecordReport {
    let depth = record.header.config.max_concurrent_batches;
    let profile = if depth > 2 { format!("depth{depth}") } else { record.header.profile.clone() };
    let mut counts = Counts::default();
    let outcome = match compare(record, &mut counts, log) {
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
