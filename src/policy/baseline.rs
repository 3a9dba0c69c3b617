//! Known findings: a file of fingerprints, so that only new findings fail.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::{CheckReport, RuleOutcome};
use crate::diagnose::{fingerprint, shape};
use crate::policy::Accepted;

/// The version of the file.
pub const BASELINE_SCHEMA: &str = "schedlog.baseline/1";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It cannot be read.
    #[error("{path}: {source}; check the path, or write one with --write-baseline")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a list of known findings.
    #[error("{path} is not a list of known findings: {source}; write one with --write-baseline")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It is of another version.
    #[error(
        "{path} is of version {found:?}, not {BASELINE_SCHEMA:?}; write it anew with \
         --write-baseline"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
}

/// One known finding, or several that cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// The name of the log's directory.
    log: String,
    fingerprint: String,
    count: u64,
    /// For the reader of the file.
    message: String,
}

/// Findings of a rule beyond those that are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beyond {
    log: String,
    rule: String,
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `schema` and `findings`")]
struct Text {
    schema: String,
    findings: Vec<Known>,
    #[serde(default)]
    beyond: Vec<Beyond>,
}

/// A list of known findings.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    path: PathBuf,
    /// Whether logs are told apart by the names of their directories.
    several: bool,
    known: BTreeMap<(String, String), u64>,
    beyond: BTreeMap<(String, String), u64>,
}

impl Baseline {
    /// Reads a list.
    ///
    /// # Errors
    /// If it cannot be read or is something else.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        let bytes = std::fs::read(path)
            .map_err(|source| BaselineError::Read { path: path.to_owned(), source })?;
        let text: Text = serde_json::from_slice(&bytes)
            .map_err(|source| BaselineError::Form { path: path.to_owned(), source })?;
        if text.schema != BASELINE_SCHEMA {
            return Err(BaselineError::Version { path: path.to_owned(), found: text.schema });
        }
        Ok(Self::from_text(path, text))
    }

    fn from_text(path: &Path, text: Text) -> Self {
        let logs = text.findings.iter().map(|known| &known.log);
        let mut logs: Vec<_> = logs.chain(text.beyond.iter().map(|beyond| &beyond.log)).collect();
        logs.sort_unstable();
        logs.dedup();
        let mut baseline =
            Self { path: path.to_owned(), several: logs.len() > 1, ..Self::default() };
        for known in text.findings {
            let log = baseline.key(&known.log);
            *baseline.known.entry((log, known.fingerprint)).or_default() += known.count;
        }
        for beyond in text.beyond {
            let log = baseline.key(&beyond.log);
            *baseline.beyond.entry((log, beyond.rule)).or_default() += beyond.count;
        }
        baseline
    }

    fn key(&self, log: &str) -> String {
        if self.several { log.to_owned() } else { String::new() }
    }

    /// Takes known findings out of a report, and says which; [`left`](Self::left) says which were not found.
    pub fn apply(&mut self, report: &mut CheckReport) -> Accepted {
        let log = self.key(&log_name(report));
        let mut accepted = Accepted { path: self.path.clone(), ..Accepted::default() };
        for outcome in &mut report.rules {
            let (told_apart, by_number) = self.apply_to(&log, outcome);
            if told_apart + by_number > 0 {
                accepted.by_rule.insert(outcome.rule.id, told_apart + by_number);
            }
            if by_number > 0 {
                accepted.by_number.insert(outcome.rule.id, by_number);
            }
        }
        accepted
    }

    /// How many findings are listed for a log and in none of those of its name that were looked at.
    #[must_use]
    pub fn left(&self, report: &CheckReport) -> u64 {
        let log = self.key(&log_name(report));
        self.known.iter().filter(|((of, _), _)| *of == log).map(|(_, left)| *left).sum()
    }

    /// How many findings of a rule are known: those that were told apart, and those by number.
    fn apply_to(&mut self, log: &str, outcome: &mut RuleOutcome) -> (u64, u64) {
        let (rule, own) = (outcome.rule, outcome.rule.severity);
        let kept = outcome.findings.len() as u64;
        let total = outcome.errors + outcome.damages + outcome.warnings;
        let mut accepted = 0;
        for finding in std::mem::take(&mut outcome.findings) {
            let left = self.known.get_mut(&(log.to_owned(), fingerprint(rule, &finding)));
            match left.filter(|left| **left > 0) {
                Some(left) => {
                    *left -= 1;
                    accepted += 1;
                    *outcome.count_mut(finding.severity.unwrap_or(own)) -= 1;
                }
                None => outcome.findings.push(finding),
            }
        }
        // Findings that were counted and not kept are known as a number only.
        let known = self.beyond.get(&(log.to_owned(), rule.id.to_owned())).copied();
        let beyond = known.unwrap_or(0).min(total - kept).min(*outcome.count_mut(own));
        *outcome.count_mut(own) -= beyond;
        (accepted, beyond)
    }
}

/// The name by which a log is known: that of its directory.
fn log_name(report: &CheckReport) -> String {
    report.directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Collects the findings of one or more reports for a list.
#[derive(Debug, Default)]
pub struct Collector {
    known: BTreeMap<(String, String), (u64, String)>,
    beyond: Vec<Beyond>,
}

impl Collector {
    /// Adds the findings of a report.
    pub fn add(&mut self, report: &CheckReport) {
        let log = log_name(report);
        for outcome in &report.rules {
            for finding in &outcome.findings {
                let key = (log.clone(), fingerprint(outcome.rule, finding));
                let entry = self.known.entry(key).or_insert((0, shape(&finding.message)));
                entry.0 += 1;
            }
            let total = outcome.errors + outcome.damages + outcome.warnings;
            let count = total - outcome.findings.len() as u64;
            if count > 0 {
                let (log, rule) = (log.clone(), outcome.rule.id.to_owned());
                self.beyond.push(Beyond { log, rule, count });
            }
        }
    }

    /// How many findings were collected.
    #[must_use]
    pub fn total(&self) -> u64 {
        let beyond: u64 = self.beyond.iter().map(|beyond| beyond.count).sum();
        self.known.values().map(|(count, _)| count).sum::<u64>() + beyond
    }

    fn text(self) -> Text {
        let known =
            |((log, fingerprint), (count, message))| Known { log, fingerprint, count, message };
        Text {
            schema: BASELINE_SCHEMA.to_owned(),
            findings: self.known.into_iter().map(known).collect(),
            beyond: self.beyond,
        }
    }

    /// The list as it is stored, and as it is used.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn finish(self, path: &Path) -> serde_json::Result<(Vec<u8>, Baseline)> {
        let text = self.text();
        let mut bytes = serde_json::to_vec_pretty(&text)?;
        bytes.push(b'\n');
        Ok((bytes, Baseline::from_text(path, text)))
    }
}
