//! What a step left of its token budgets.

use crate::check::facts::LogFacts;
use crate::check::settings::{DraftMethod, LogSettings};
use crate::config::SpeculativeMethod;
use crate::log::dialect::Habit;
use crate::log::schema::IterationRow;

/// The tokens that one more request could have got in a step: of the budget of scheduled tokens, and of
/// the input budget, to which slots for drafts are charged too.
///
/// Where the log does not say what those cost, there are two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// At least this many.
    pub least: u32,
    /// At most this many.
    pub most: u32,
}

impl Room {
    /// The room that a step left. None where no budget is known.
    #[must_use]
    pub fn of(step: &IterationRow, facts: &LogFacts) -> Option<Self> {
        let settings = &facts.settings;
        let scheduled = settings.max_num_scheduled_tokens.or(settings.max_num_batched_tokens)?;
        let total = step.total_tokens.0;
        let tokens = scheduled.saturating_sub(total);
        let Some(input) = settings.max_num_batched_tokens else {
            return Some(Self { least: tokens, most: tokens });
        };
        let left = |slots: u32, batch: u32| {
            let charged = slots.saturating_mul(batch.saturating_add(1));
            tokens.min(input.saturating_sub(total).saturating_sub(charged))
        };
        let (fewest, most) = draft_slots(settings, facts.modelled);
        let batch = step.batch_size.0;
        // Running requests that got nothing are charged nothing.
        let told = !facts.dialect.has(Habit::BatchIsRunning);
        Some(Self { least: left(most, batch), most: left(fewest, if told { batch } else { 0 }) })
    }
}

/// The slots for drafts that each scheduled request is charged, at least and at most.
fn draft_slots(settings: &LogSettings, modelled: bool) -> (u32, u32) {
    use SpeculativeMethod as M;
    let drafts = settings.drafts();
    match settings.speculative_method {
        _ if drafts == 0 => (0, 0),
        Some(DraftMethod::Known(M::Ngram | M::NgramGpu)) => (0, 0),
        Some(DraftMethod::Known(M::DraftModel)) if modelled => (1, 1),
        Some(DraftMethod::Known(_)) if modelled => (0, 0),
        // A drafter that makes all drafts at once is charged for each of them.
        _ => (0, drafts),
    }
}
