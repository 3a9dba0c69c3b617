//! Whether requests have drafts, where no setting tells.

use crate::check::settings::LogSettings;
use crate::check::view::IterationView;

/// Outputs of one token, after which there are no drafts: some of them would have been accepted.
const SEVERAL: u64 = 32;

/// How many tokens requests get at once, by the rows.
#[derive(Debug, Default)]
pub struct Speculation {
    single: u64,
    accepted: bool,
}

impl Speculation {
    /// Takes in the rows of a step.
    pub fn see(&mut self, view: &IterationView<'_>) {
        self.single += view.steady() as u64;
        for row in view.changed() {
            let Some(before) = row.before else { continue };
            match row.tokens_generated.0.saturating_sub(before.row.tokens_generated.0) {
                0 => {}
                1 => self.single += 1,
                _ => self.accepted = true,
            }
        }
    }

    /// Whether there are none for certain, by the settings or by all rows of the log.
    #[must_use]
    pub fn is_off(&self, settings: &LogSettings) -> bool {
        match settings.num_speculative_tokens {
            Some(drafts) => drafts == 0,
            None => !self.accepted && self.single >= SEVERAL,
        }
    }
}
