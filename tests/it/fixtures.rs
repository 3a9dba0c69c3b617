//! Logs for tests: the hand-verifiable base log and small edits of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schedlog::check::{CheckOptions, CheckReport, RuleOutcome, check_dir};
use serde::Deserialize;

/// A file of the repository.
pub(crate) fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A log that breaks one rule, as edits of the base log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// What is wrong with it.
    pub(crate) about: String,
    /// Other rules that break with it.
    #[serde(default)]
    pub(crate) also: Vec<String>,
    /// What to change.
    pub(crate) edit: Vec<Edit>,
}

/// One change of one file: a text that occurs once, or all values of a column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    file: String,
    #[serde(default)]
    find: String,
    #[serde(default)]
    replace: String,
    column: Option<String>,
    set: Option<String>,
}

/// The files of a log by name.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Log {
    /// The base log: one request that runs through, one preempted and resumed, one aborted while it
    /// waits, one rejected, one unfinished.
    pub(crate) fn base() -> Self {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(repo("tests/fixtures/base")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
        Self { files }
    }

    /// Replaces a text that occurs exactly once.
    pub(crate) fn replace(mut self, file: &str, find: &str, replace: &str) -> Self {
        let text = String::from_utf8(self.files[file].clone()).unwrap();
        assert_eq!(text.matches(find).count(), 1, "{find:?} in {file}");
        self.files.insert(file.to_owned(), text.replacen(find, replace, 1).into_bytes());
        self
    }

    /// Changes the bytes of a file.
    pub(crate) fn map(mut self, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let bytes = self.files.remove(file).unwrap();
        self.files.insert(file.to_owned(), change(bytes));
        self
    }

    /// Takes a file away.
    pub(crate) fn without(mut self, file: &str) -> Self {
        self.files.remove(file).unwrap();
        self
    }

    fn set_column(self, file: &str, column: &str, value: &str) -> Self {
        self.map(file, |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            let index = text.lines().next().unwrap().split(',').position(|name| name == column);
            let rows = text.lines().enumerate().map(|(line, row)| {
                let mut fields: Vec<_> = row.split(',').collect();
                if line > 0 {
                    fields[index.unwrap()] = value;
                }
                fields.join(",") + "\n"
            });
            rows.collect::<String>().into_bytes()
        })
    }

    /// The log with a fixture's edits.
    pub(crate) fn edited(self, fixture: &Fixture) -> Self {
        fixture.edit.iter().fold(self, |log, edit| match (&edit.column, &edit.set) {
            (Some(column), Some(value)) => log.set_column(&edit.file, column, value),
            _ => log.replace(&edit.file, &edit.find, &edit.replace),
        })
    }

    /// Writes the log to a directory.
    pub(crate) fn write(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in &self.files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    /// Checks the log; the directory lives as long as the first value.
    ///
    /// Every log is checked twice, the second time with all rows shown to all rules: what comes out
    /// is the same.
    pub(crate) fn check(&self) -> (tempfile::TempDir, CheckReport) {
        let dir = self.write();
        let report = check_dir(dir.path(), &CheckOptions::default()).unwrap();
        let every_row = CheckOptions { every_row: true, ..CheckOptions::default() };
        let plain = check_dir(dir.path(), &every_row).unwrap();
        for (rule, plain) in report.rules.iter().zip(&plain.rules) {
            let all = |rule: &RuleOutcome| (rule.outcome.clone(), rule.exercised);
            assert_eq!(all(rule), all(plain), "{} with steady rows and without", rule.rule.id);
            assert_eq!(rule.findings, plain.findings, "{}", rule.rule.id);
        }
        assert_eq!(report.notes, plain.notes);
        (dir, report)
    }
}

/// The fixture of a rule.
pub(crate) fn fixture(rule: &str) -> Fixture {
    let path = repo(&format!("tests/fixtures/rules/{rule}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The ids of the rules that found something.
pub(crate) fn tripped(report: &CheckReport) -> Vec<&'static str> {
    report
        .rules
        .iter()
        .filter(|rule| rule.errors + rule.damages + rule.warnings > 0)
        .map(|rule| rule.rule.id)
        .collect()
}
