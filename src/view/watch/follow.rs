//! Following the files of one engine.
//!
//! A logger writes its files one after the other, so a step may have its row in per_iteration.csv
//! before its other rows are there. Two habits keep that from looking like a contradiction: a step is
//! looked at only once its row was there at the look before, and only once the files have stood still
//! for two looks or have been growing for some.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::check::{CheckError, CheckOptions, LiveCheck, NewFinding};
use crate::log::dialect::Dialect;
use crate::log::reader::{Horizon, LogDir, LogDirError};
use crate::log::schema::{IterationRow, Table};
use crate::view::watch::pulse::Pulse;

/// Looks that files may grow for before they are read all the same: logs without flushes.
const PATIENCE: u32 = 3;
/// Looks at unchanged files after which they are read.
const STILL: u32 = 2;
/// Findings that are kept for display.
const KEPT: usize = 200;
/// Steps from which a log's dialect is told; with fewer it is asked again.
const DIALECT_STEPS: u64 = 2_000;

/// What one look found.
#[derive(Debug, Default)]
pub struct News {
    /// Whether there were new steps.
    pub steps: u64,
    /// What the rules found in them.
    pub findings: Vec<NewFinding>,
    /// Whether everything was read anew, because the log turned out to be another one.
    pub restarted: bool,
}

/// One engine's log.
pub struct Engine {
    /// Its name: the directory's.
    pub name: String,
    /// How it does.
    pub pulse: Pulse,
    /// The latest findings.
    pub findings: VecDeque<NewFinding>,
    /// Findings of severity error, damage and warning.
    pub counts: (u64, u64, u64),
    /// Why the log cannot be read at present.
    pub trouble: Option<String>,
    path: PathBuf,
    options: CheckOptions,
    horizon: Horizon,
    check: Option<LiveCheck>,
    nature: Option<Nature>,
    sizes: [u64; 5],
    still: u32,
    growing: u32,
}

/// What a check depends on from its beginning.
#[derive(Clone, Debug, PartialEq)]
struct Nature {
    dialect: Dialect,
    files: [bool; 5],
    told: bool,
}

impl Engine {
    /// Begins to follow a directory, which need not be there yet.
    #[must_use]
    pub fn new(path: &Path, options: &CheckOptions) -> Self {
        let name = path
            .file_name()
            .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        Self {
            name,
            pulse: Pulse::default(),
            findings: VecDeque::new(),
            counts: (0, 0, 0),
            trouble: Some("no log yet".to_owned()),
            path: path.to_owned(),
            options: options.clone(),
            horizon: Horizon::default(),
            check: None,
            nature: None,
            sizes: [0; 5],
            still: 0,
            growing: 0,
        }
    }

    /// Looks at what is new. To be called a few times per second.
    pub fn look(&mut self) -> News {
        match self.try_look() {
            Ok(news) => {
                self.trouble = None;
                news
            }
            Err(CheckError::Log(
                LogDirError::NotADirectory { .. } | LogDirError::NoFiles { .. },
            )) => {
                self.trouble = Some("no log yet".to_owned());
                News::default()
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                News::default()
            }
        }
    }

    /// Reads everything that is there, without waiting for more.
    pub fn catch_up(&mut self) -> News {
        let mut news = self.look();
        for _ in 0..=STILL {
            let more = self.look();
            news.steps += more.steps;
            news.findings.extend(more.findings);
        }
        news
    }

    /// Why no step can be seen in what is there, if none was: there is no log, or the file of its steps
    /// cannot be read. None where that file has no row yet.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if self.pulse.step.is_some() {
            return None;
        }
        let dir = match LogDir::open(&self.path) {
            Ok(dir) => dir,
            Err(error) => return Some(error.to_string()),
        };
        let Some(file) = dir.file(Table::PerIteration) else {
            let name = Table::PerIteration.file_name();
            return Some(format!("{}: {name} is not there", self.path.display()));
        };
        let path = file.path.display();
        if file.compressed {
            return Some(format!(
                "{path}: a compressed log is a finished one; use `schedlog check`"
            ));
        }
        match dir.reader::<IterationRow>() {
            Err(error) => Some(error.to_string()),
            Ok(None) => None,
            Ok(Some(reader)) if reader.header().usable => self.trouble.clone(),
            Ok(Some(reader)) => {
                let problem = reader.header().problems.iter().find(|it| it.kind.is_fatal());
                let problem = problem.map_or_else(String::new, |problem| {
                    let column = problem.column.map(|column| format!("{column}: "));
                    format!(": {}{}", column.unwrap_or_default(), problem.kind)
                });
                let check = "`schedlog check` says more";
                Some(format!("{path}: its header cannot be used{problem}; {check}"))
            }
        }
    }

    fn try_look(&mut self) -> Result<News, CheckError> {
        let dir = LogDir::open_growing(&self.path, &self.horizon)?;
        let sizes = Table::ALL.map(|table| dir.file(table).map_or(0, |file| file.stored_bytes()));
        let mut news = News::default();
        if sizes.iter().zip(&self.sizes).any(|(now, before)| now < before) {
            // Another run writes here now.
            *self = Self::new(&self.path, &self.options);
            news.restarted = true;
            return Ok(news);
        }
        if !self.ready(&sizes) {
            return Ok(news);
        }
        self.move_horizon(&dir, &sizes)?;
        if self.pulse.steps < DIALECT_STEPS {
            news.restarted = self.consider_nature(&dir)?;
        }
        let Some(check) = &mut self.check else { return Ok(news) };
        let steps = self.pulse.steps;
        news.findings = check.advance(&mut self.pulse);
        news.steps = self.pulse.steps - steps;
        self.counts = check.counts();
        for finding in &news.findings {
            if self.findings.len() == KEPT {
                self.findings.pop_front();
            }
            self.findings.push_back(finding.clone());
        }
        Ok(news)
    }

    /// Whether the files have stood still for some looks, or have not for too long.
    fn ready(&mut self, sizes: &[u64; 5]) -> bool {
        if *sizes == self.sizes {
            self.still += 1;
            // Once is enough: nothing is new until they grow again.
            return self.still == STILL;
        }
        self.still = 0;
        self.growing += 1;
        if self.growing > PATIENCE {
            return true;
        }
        self.sizes = *sizes;
        false
    }

    fn move_horizon(&mut self, dir: &LogDir, sizes: &[u64; 5]) -> Result<(), LogDirError> {
        for table in Table::ALL {
            let Some(file) = dir.file(table) else { continue };
            // Steps as of the look before; what belongs to them was written since at the latest.
            let known = if table == Table::PerIteration { &self.sizes } else { sizes };
            let bytes = known[table as usize];
            if bytes > self.horizon.of(table) {
                let unreadable =
                    |source| LogDirError::Unreadable { path: file.path.clone(), source };
                let mut open = File::open(&file.path).map_err(unreadable)?;
                self.horizon.advance(table, &mut open, bytes).map_err(unreadable)?;
            }
        }
        self.sizes = *sizes;
        self.growing = 0;
        Ok(())
    }

    /// Begins the check, or begins it again if the log is not what it seemed to be.
    fn consider_nature(&mut self, dir: &LogDir) -> Result<bool, CheckError> {
        if self.horizon.of(Table::PerIteration) == 0 {
            return Ok(false);
        }
        let nature = Nature {
            dialect: Dialect::detect(dir, self.options.skew_bound)?,
            files: Table::ALL.map(|table| self.horizon.of(table) > 0),
            told: dir.run_info.is_some(),
        };
        if self.nature.as_ref() == Some(&nature) {
            return Ok(false);
        }
        let again = self.nature.replace(nature).is_some();
        self.check = Some(LiveCheck::open(dir, &self.options)?);
        self.pulse = Pulse::default();
        self.findings.clear();
        Ok(again)
    }
}
