//! Known findings: a file of fingerprints or of kinds, so that only new ones fail.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::{CheckReport, Declaration, Finding, RuleOutcome};
use crate::diagnose::{fingerprint, kind, shape};
use crate::policy::Accepted;

/// The version of the file.
pub const BASELINE_SCHEMA: &str = "schedlog.baseline/2";

/// The version before it, which has fingerprints only.
const FINGERPRINTS_ONLY: &str = "schedlog.baseline/1";

/// What a finding must share with a listed one to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// The request or iteration, too, and as often as listed: for a run that is recorded again with the same
    /// ids and steps.
    #[default]
    Exact,
    /// Rule, file, column and message but its values, however often: for any run of the same logger.
    Kind,
}

impl Match {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Kind => "kind",
        }
    }

    /// What a finding is known by.
    fn key(self, rule: &Declaration, finding: &Finding) -> String {
        match self {
            Self::Exact => fingerprint(rule, finding),
            Self::Kind => kind(rule, finding),
        }
    }
}

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

/// One known finding, or several that cannot be told apart; or all of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// The name of the log's directory.
    log: String,
    fingerprint: String,
    /// How many there were.
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

/// What every version has.
#[derive(Deserialize)]
#[serde(expecting = "an object with `schema` and `findings`")]
struct Head {
    schema: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `schema` and `findings`")]
struct Text {
    schema: String,
    #[serde(default, rename = "match")]
    matching: Match,
    findings: Vec<Known>,
    #[serde(default)]
    beyond: Vec<Beyond>,
}

/// A list of known findings.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    path: PathBuf,
    matching: Match,
    /// Whether logs are told apart by the names of their directories.
    several: bool,
    /// How often each was not found yet.
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
        let form = |source| BaselineError::Form { path: path.to_owned(), source };
        // The version first: another may have other members.
        let Head { schema } = serde_json::from_slice(&bytes).map_err(form)?;
        if ![BASELINE_SCHEMA, FINGERPRINTS_ONLY].contains(&schema.as_str()) {
            return Err(BaselineError::Version { path: path.to_owned(), found: schema });
        }
        Ok(Self::from_text(path, serde_json::from_slice(&bytes).map_err(form)?))
    }

    fn from_text(path: &Path, text: Text) -> Self {
        let logs = text.findings.iter().map(|known| &known.log);
        let mut logs: Vec<_> = logs.chain(text.beyond.iter().map(|beyond| &beyond.log)).collect();
        logs.sort_unstable();
        logs.dedup();
        let mut baseline = Self {
            path: path.to_owned(),
            matching: text.matching,
            several: logs.len() > 1,
            ..Self::default()
        };
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
        let mut accepted =
            Accepted { path: self.path.clone(), matching: self.matching, ..Accepted::default() };
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

    /// How many findings, or kinds of them, are listed for a log and in none of those of its name that were
    /// looked at.
    #[must_use]
    pub fn left(&self, report: &CheckReport) -> u64 {
        let log = self.key(&log_name(report));
        let left = self.known.iter().filter(|((of, _), left)| *of == log && **left > 0);
        match self.matching {
            Match::Exact => left.map(|(_, left)| *left).sum(),
            Match::Kind => left.count() as u64,
        }
    }

    /// How many findings of a rule are known: those that were told apart, and those by number.
    fn apply_to(&mut self, log: &str, outcome: &mut RuleOutcome) -> (u64, u64) {
        let (rule, own) = (outcome.rule, outcome.rule.severity);
        let kept = outcome.findings.len() as u64;
        let total = outcome.errors + outcome.damages + outcome.warnings;
        let mut accepted = 0;
        for finding in std::mem::take(&mut outcome.findings) {
            if self.is_known(log, rule, &finding) {
                accepted += 1;
                *outcome.count_mut(finding.severity.unwrap_or(own)) -= 1;
            } else {
                outcome.findings.push(finding);
            }
        }
        // Findings that were counted and not kept are known as a number only.
        let known = match self.matching {
            Match::Exact => {
                self.beyond.get(&(log.to_owned(), rule.id.to_owned())).copied().unwrap_or(0)
            }
            Match::Kind if accepted == kept => u64::MAX,
            Match::Kind => 0,
        };
        let beyond = known.min(total - kept).min(*outcome.count_mut(own));
        *outcome.count_mut(own) -= beyond;
        (accepted, beyond)
    }

    /// Whether a finding is listed; of an exact list each entry serves as often as it was found then.
    fn is_known(&mut self, log: &str, rule: &Declaration, finding: &Finding) -> bool {
        let key = (log.to_owned(), self.matching.key(rule, finding));
        let Some(left) = self.known.get_mut(&key) else { return false };
        match self.matching {
            Match::Exact if *left == 0 => return false,
            Match::Exact => *left -= 1,
            Match::Kind => *left = 0,
        }
        true
    }
}

/// The name by which a log is known: that of its directory.
fn log_name(report: &CheckReport) -> String {
    report.directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Collects the findings of one or more reports for a list.
#[derive(Debug, Default)]
pub struct Collector {
    matching: Match,
    known: BTreeMap<(String, String), (u64, String)>,
    beyond: Vec<Beyond>,
}

impl Collector {
    /// For a list of findings, or of kinds of them.
    #[must_use]
    pub fn new(matching: Match) -> Self {
        Self { matching, ..Self::default() }
    }

    /// Adds the findings of a report.
    pub fn add(&mut self, report: &CheckReport) {
        let log = log_name(report);
        for outcome in &report.rules {
            for finding in &outcome.findings {
                let key = (log.clone(), self.matching.key(outcome.rule, finding));
                let entry = self.known.entry(key).or_insert((0, shape(finding)));
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

    /// How many kinds of findings were collected, for a list of kinds.
    #[must_use]
    pub fn kinds(&self) -> Option<usize> {
        (self.matching == Match::Kind).then_some(self.known.len())
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
            matching: self.matching,
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
