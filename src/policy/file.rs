//! `schedlog.toml`: what is always wanted of the logs of one place.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::check::{LogSettings, Setting, Severity};
use crate::policy::select::{SelectError, matching};

/// The name of the file.
pub const CONFIG_FILE: &str = "schedlog.toml";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}; it has to be a file of settings in TOML")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no TOML, or has members that nothing reads.
    #[error("{path}: {text}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        text: String,
    },
    /// It names a rule that there is not.
    #[error("{path}: {member}: {source}")]
    Rule {
        /// The file.
        path: PathBuf,
        /// The member.
        member: &'static str,
        /// What is wrong.
        source: SelectError,
    },
    /// A severity that there is not.
    #[error("{path}: severity.{rule}: {found:?} is neither \"error\" nor \"warning\"")]
    Severity {
        /// The file.
        path: PathBuf,
        /// The rule.
        rule: String,
        /// The word.
        found: String,
    },
    /// A setting that the checks do not use.
    #[error("{path}: settings.{key} is no setting that a rule uses; these are: {known}")]
    UnknownSetting {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The keys that there are.
        known: String,
    },
    /// A value that the setting cannot have.
    #[error("{path}: settings.{key} cannot be {value} ({doc})")]
    Setting {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What the setting means.
        doc: &'static str,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    select: Vec<String>,
    ignore: Vec<String>,
    baseline: Option<PathBuf>,
    severity: BTreeMap<String, String>,
    settings: BTreeMap<String, serde_json::Value>,
}

/// The content of a `schedlog.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigFile {
    /// Where it was.
    pub path: Option<PathBuf>,
    /// Rules to run, by id or prefix; none is all.
    pub select: Vec<String>,
    /// Rules not to run.
    pub ignore: Vec<String>,
    /// The file of known findings; a relative path is one beside this file.
    pub baseline: Option<PathBuf>,
    /// Severities by rule.
    pub severity: BTreeMap<&'static str, Severity>,
    /// Settings of the scheduler.
    pub settings: LogSettings,
}

impl ConfigFile {
    /// The file of a working directory or, if there is none, of the log directory.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn find(working: &Path, log: &Path) -> Result<Option<Self>, ConfigError> {
        let places = [working.join(CONFIG_FILE), log.join(CONFIG_FILE)];
        places.iter().find(|path| path.exists()).map(|path| Self::read(path)).transpose()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or says something that nothing understands.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let owned = || path.to_owned();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: owned(), source })?;
        let text: Text = toml::from_str(&text).map_err(|error| ConfigError::Form {
            path: owned(),
            text: error.to_string().trim_end().to_owned(),
        })?;
        for (member, patterns) in [("select", &text.select), ("ignore", &text.ignore)] {
            for pattern in patterns {
                matching(pattern).map_err(|source| ConfigError::Rule {
                    path: owned(),
                    member,
                    source,
                })?;
            }
        }
        Ok(Self {
            severity: severities(path, &text.severity)?,
            settings: settings(path, &text.settings)?,
            path: Some(owned()),
            select: text.select,
            ignore: text.ignore,
            baseline: text.baseline.map(|file| path.with_file_name("").join(file)),
        })
    }
}

fn severities(
    path: &Path,
    text: &BTreeMap<String, String>,
) -> Result<BTreeMap<&'static str, Severity>, ConfigError> {
    let mut severities = BTreeMap::new();
    for (pattern, word) in text {
        let severity = match word.as_str() {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            _ => {
                let (rule, found) = (pattern.clone(), word.clone());
                return Err(ConfigError::Severity { path: path.to_owned(), rule, found });
            }
        };
        let rules = matching(pattern).map_err(|source| ConfigError::Rule {
            path: path.to_owned(),
            member: "severity",
            source,
        })?;
        severities.extend(rules.iter().map(|rule| (rule.id, severity)));
    }
    Ok(severities)
}

fn settings(
    path: &Path,
    values: &BTreeMap<String, serde_json::Value>,
) -> Result<LogSettings, ConfigError> {
    for key in values.keys() {
        if !Setting::ALL.iter().any(|setting| setting.key() == key) {
            let known: Vec<_> = Setting::ALL.iter().map(|setting| setting.key()).collect();
            let (path, key) = (path.to_owned(), key.clone());
            return Err(ConfigError::UnknownSetting { path, key, known: known.join(", ") });
        }
    }
    if let Some(setting) = LogSettings::impossible(values).first() {
        return Err(ConfigError::Setting {
            path: path.to_owned(),
            key: setting.key(),
            value: values[setting.key()].to_string(),
            doc: setting.doc().trim(),
        });
    }
    Ok(LogSettings::from_values(values))
}
