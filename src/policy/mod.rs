//! What a user wants of a check: which rules, how severe, which findings are known already.
//!
//! A [`Policy`] comes from flags and a `schedlog.toml`. It never makes a finding disappear without a
//! word: what was not run, lowered or accepted is in [`Applied`], and every form of the report says it.

mod baseline;
mod file;
mod select;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use baseline::{BASELINE_SCHEMA, Baseline, BaselineError, Collector, Match};
pub use file::{CONFIG_FILE, ConfigError, ConfigFile};
use select::is_joined;
pub use select::{SelectError, select};

use crate::check::{
    CheckError, CheckOptions, CheckReport, Declaration, LogSettings, Setting, Severity,
    check_dir_with,
};
use crate::log::dialect::DEFAULT_SKEW_BOUND;
use crate::log::reader::LogDir;
use crate::units::Nanos;

/// What the flags of a check say.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Rules to run, by id or prefix; none is the file's, or all.
    pub select: Vec<String>,
    /// Rules not to run, beside those of the file.
    pub ignore: Vec<String>,
    /// Whether the log is to be compared with the reference scheduler, too.
    pub conform: bool,
    /// Known findings.
    pub baseline: Option<PathBuf>,
    /// Settings of the scheduler.
    pub settings: LogSettings,
    /// The most by which two readings of one moment may differ; the default where not given.
    pub skew_bound: Option<Nanos>,
}

/// What a user wants of a check.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The file that it is from, if any.
    pub config: Option<PathBuf>,
    /// The rules of the pass to run, in the order of the registry.
    pub rules: Vec<&'static Declaration>,
    /// Whether the log is to be compared with the reference scheduler, for the rule that says so.
    pub conform: bool,
    /// The rules not to run.
    pub deselected: Vec<&'static Declaration>,
    /// Severities that differ from the rules' own.
    pub severities: BTreeMap<&'static str, Severity>,
    /// Settings of the scheduler.
    pub settings: LogSettings,
    /// Settings of the scheduler for a log that does not tell them.
    pub fallback: LogSettings,
    /// The file of known findings.
    pub baseline: Option<PathBuf>,
    /// The most by which two readings of one moment may differ; the default where not given.
    pub skew_bound: Option<Nanos>,
}

/// A rule with another severity than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The rule.
    pub rule: &'static str,
    /// Its own severity.
    pub from: Severity,
    /// The one it has in this check.
    pub to: Severity,
}

/// Findings that were known already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Where they are listed.
    pub path: PathBuf,
    /// What makes them known.
    pub matching: Match,
    /// How many of each rule were found again.
    pub by_rule: BTreeMap<&'static str, u64>,
    /// How many of these, per rule, are known as a number only: of each rule the first thousand
    /// findings are kept, and only those are told apart.
    pub by_number: BTreeMap<&'static str, u64>,
    /// How many listed ones, or kinds of them, were not found again.
    pub stale: u64,
}

impl Accepted {
    /// How many findings were known.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_rule.values().sum()
    }
}

/// What a policy did to a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The file that the policy is from.
    pub config: Option<PathBuf>,
    /// Rules that were not run.
    pub deselected: Vec<(&'static str, &'static str)>,
    /// Damage that rules found which do not count, of each how much.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Rules whose severity was changed.
    pub severities: Vec<Changed>,
    /// Known findings, if there is a list of them.
    pub accepted: Option<Accepted>,
}

impl Policy {
    /// Joins flags and file: flags win, except that both may ignore rules.
    ///
    /// # Errors
    /// If a rule is named that there is none of, or no rule is left.
    pub fn new(flags: Flags, file: Option<ConfigFile>) -> Result<Self, SelectError> {
        let file = file.unwrap_or_default();
        let selected = if flags.select.is_empty() { file.select } else { flags.select };
        let ignored = [flags.ignore, file.ignore].concat();
        let (rules, deselected) = select(&selected, &ignored, flags.conform)?;
        let (joined, rules): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| is_joined(rule));
        Ok(Self {
            config: file.path,
            rules,
            conform: !joined.is_empty(),
            deselected,
            severities: file.severity,
            settings: flags.settings,
            fallback: file.settings,
            baseline: flags.baseline.or(file.baseline),
            skew_bound: flags.skew_bound,
        })
    }

    /// Checks a log with the policy's rules.
    ///
    /// # Errors
    /// As [`check_dir_with`].
    pub fn check(&self, dir: &Path) -> Result<CheckReport, CheckError> {
        let options = CheckOptions {
            settings: self.settings.clone(),
            fallback: self.fallback.clone(),
            skew_bound: self.skew_bound.unwrap_or(DEFAULT_SKEW_BOUND),
            every_row: false,
        };
        // What is ignored is looked for all the same if it says that parts of the log are missing, so that it
        // can be said that it was ignored.
        let damage = self.deselected.iter().filter(|rule| rule.severity == Severity::Damage);
        let rules: Vec<_> = self.rules.iter().chain(damage).copied().collect();
        let mut report = check_dir_with(dir, &options, &rules)?;
        report.notes.extend(self.overridden(dir)?);
        Ok(report)
    }

    /// Says which settings of the file do not count, as the log tells another value.
    fn overridden(&self, dir: &Path) -> Result<Option<String>, CheckError> {
        if self.fallback == LogSettings::default() {
            return Ok(None);
        }
        let Some(info) = LogDir::open(dir)?.run_info else { return Ok(None) };
        // A flag is above both.
        let told = self.settings.clone().or_run_info(&info);
        let other = self.fallback.contradicting(&told).into_iter();
        let told = |setting: Setting| match info.config.get(setting.key()) {
            Some(value) => format!("{setting} ({value})"),
            None => setting.to_string(),
        };
        let other: Vec<_> =
            other.filter(|setting| !self.settings.knows(*setting)).map(told).collect();
        let file = self.config.as_deref().unwrap_or(Path::new(CONFIG_FILE)).display();
        Ok((!other.is_empty()).then(|| {
            format!(
                "run.json tells another value than [settings] of {file}, and that of run.json was used: \
                 {}; to judge by another value give it as a flag",
                other.join(", ")
            )
        }))
    }

    /// Applies the policy to a report that has every rule's part; known findings are not looked at yet.
    pub fn apply(&self, report: &mut CheckReport) -> Applied {
        Applied {
            config: self.config.clone(),
            deselected: self.deselected.iter().map(|rule| (rule.id, rule.name)).collect(),
            ignored: self.ignore(report),
            severities: self.reclassify(report),
            accepted: None,
        }
    }

    /// Takes the parts of deselected rules out of a report, and says how much damage they found.
    fn ignore(&self, report: &mut CheckReport) -> BTreeMap<&'static str, u64> {
        let mut ignored = BTreeMap::new();
        report.rules.retain(|outcome| {
            let counts = !self.deselected.iter().any(|rule| rule.id == outcome.rule.id);
            if !counts && outcome.damages > 0 {
                ignored.insert(outcome.rule.id, outcome.damages);
            }
            counts
        });
        ignored
    }

    /// Gives findings of a rule's own severity the one that the policy wants.
    fn reclassify(&self, report: &mut CheckReport) -> Vec<Changed> {
        let mut changed = Vec::new();
        for outcome in &mut report.rules {
            let (own, rule) = (outcome.rule.severity, outcome.rule.id);
            let Some(&wanted) = self.severities.get(rule).filter(|wanted| **wanted != own) else {
                continue;
            };
            for finding in &mut outcome.findings {
                if finding.severity.unwrap_or(own) == own {
                    finding.severity = Some(wanted);
                }
            }
            let count = std::mem::take(outcome.count_mut(own));
            *outcome.count_mut(wanted) += count;
            changed.push(Changed { rule, from: own, to: wanted });
        }
        changed
    }
}
