//! Logs of bundled traces with edits that wrong loggers would make.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::settings::Settings;
use schedlog::trace::{ReadOptions, Trace};

use crate::golden::replay_bundled;
use crate::support::root;

/// The fields of a row by column.
pub(crate) type Fields = BTreeMap<String, String>;

/// A log in a directory of its own.
pub(crate) struct Edited {
    dir: tempfile::TempDir,
}

impl Edited {
    /// The log of a bundled trace, with everything logged.
    pub(crate) fn of(trace: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions { log_level: LogLevel::Full, ..LogOptions::default() };
        let trace = root().join("traces").join(trace).with_extension("jsonl");
        replay_bundled(&trace, &dir.path().join("log"), &options);
        Self { dir }
    }

    /// The log of another run of a bundled trace: with settings of its own.
    pub(crate) fn of_run(trace: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trace = root().join("traces").join(trace);
        let mut replay = Command::new(env!("CARGO_BIN_EXE_schedlog"));
        replay.arg("replay").arg(trace.with_extension("jsonl"));
        replay.arg("--config").arg(trace.with_extension("toml")).arg("--out");
        replay.arg(dir.path().join("log")).args(flags);
        assert!(replay.output().unwrap().status.success());
        Self { dir }
    }

    /// A log of some 320 iterations of one request.
    pub(crate) fn long() -> Self {
        Self::long_of(1)
    }

    /// A log of some 320 iterations of so many requests.
    pub(crate) fn long_of(requests: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trace = dir.path().join("long.jsonl");
        let line = "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 320}\n";
        std::fs::write(&trace, line.repeat(requests)).unwrap();
        let settings = Settings::default().resolve().unwrap();
        let trace = Trace::open(&trace, &ReadOptions::default()).unwrap();
        let options = LogOptions::default();
        replay_trace(&trace, &settings, Some(&dir.path().join("log")), &options, |_| {}).unwrap();
        Self { dir }
    }

    /// The directory of the log.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// The rows of a file.
    pub(crate) fn rows(&self, file: &str) -> Vec<Fields> {
        read(&self.path().join(file)).1
    }

    /// Changes every row of a file; it is told which one, from 0.
    pub(crate) fn edit(self, file: &str, mut change: impl FnMut(usize, &mut Fields)) -> Self {
        self.reorder(file, |rows| {
            rows.iter_mut().enumerate().for_each(|(index, row)| change(index, row));
        })
    }

    /// Changes the rows of a file as a whole.
    pub(crate) fn reorder(self, file: &str, change: impl FnOnce(&mut Vec<Fields>)) -> Self {
        let path = self.path().join(file);
        let (header, mut rows) = read(&path);
        change(&mut rows);
        let mut writer = csv::Writer::from_path(&path).unwrap();
        writer.write_record(&header).unwrap();
        for row in rows {
            writer.write_record(header.iter().map(|column| &row[column])).unwrap();
        }
        writer.flush().unwrap();
        self
    }

    /// Changes a number in every row that has one.
    pub(crate) fn number(
        self,
        file: &str,
        column: &str,
        mut change: impl FnMut(usize, i64, &Fields) -> i64,
    ) -> Self {
        self.edit(file, |index, row| {
            if let Ok(value) = row[column].parse() {
                let changed = change(index, value, row);
                row.insert(column.to_owned(), changed.to_string());
            }
        })
    }
}

fn read(path: &Path) -> (Vec<String>, Vec<Fields>) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows = reader.records().map(|record| {
        header.iter().cloned().zip(record.unwrap().iter().map(str::to_owned)).collect()
    });
    let rows = rows.collect();
    (header, rows)
}
