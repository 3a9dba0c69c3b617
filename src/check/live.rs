//! Judging a log while it is written: the same pass, that stops where the files end and goes on when
//! they have grown.
//!
//! Every row is looked at once, and memory is that of a check. What only the end of a log can tell
//! is left out: the log has not ended.

use crate::check::declare::Declaration;
use crate::check::driver::Run;
use crate::check::finding::{Finding, Severity};
use crate::check::runs;
use crate::check::view::IterationView;
use crate::check::{CheckError, CheckOptions};
use crate::log::reader::LogDir;

/// Someone who is shown every step beside the rules.
pub trait Observer {
    /// One step, as the rules saw it.
    fn step(&mut self, view: &IterationView<'_>);
}

/// A finding that was not there before.
#[derive(Clone, Debug)]
pub struct NewFinding {
    /// The rule.
    pub rule: &'static Declaration,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub finding: Finding,
}

/// A check that goes on as its log grows.
pub struct LiveCheck {
    run: Run,
    known: Vec<usize>,
}

impl LiveCheck {
    /// Begins a check of a [growing](LogDir::open_growing) log.
    ///
    /// # Errors
    /// If a file of it cannot be opened.
    pub fn open(dir: &LogDir, options: &CheckOptions) -> Result<Self, CheckError> {
        let mut run = Run::start(dir, options, crate::invariants::ALL, runs::find(dir)?)?;
        run.gather.grow();
        Ok(Self { run, known: Vec::new() })
    }

    /// Looks at everything up to the horizon and returns what is new.
    pub fn advance(&mut self, observer: &mut dyn Observer) -> Vec<NewFinding> {
        self.run.gather.resume();
        while let Some((id, has_row)) = self.run.gather.next_whole_step() {
            self.run.step(id, has_row, Some(observer));
        }
        self.news()
    }

    /// How many findings of severity error, damage and warning there are.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        self.run.tallies().fold((0, 0, 0), |(errors, damages, warnings), (_, tally)| {
            (errors + tally.errors, damages + tally.damages, warnings + tally.warnings)
        })
    }

    /// How many rules are checked.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.run.tallies().count()
    }

    fn news(&mut self) -> Vec<NewFinding> {
        let mut news = Vec::new();
        self.known.resize(self.run.tallies().count(), 0);
        for ((rule, tally), known) in self.run.tallies().zip(&mut self.known) {
            news.extend(tally.findings[*known..].iter().map(|finding| NewFinding {
                rule,
                severity: finding.severity.unwrap_or(rule.severity),
                finding: finding.clone(),
            }));
            *known = tally.findings.len();
        }
        news
    }
}
