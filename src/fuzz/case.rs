//! A case of a run: how it is made from the seed, its number and what is covered so far.

use crate::fuzz::coverage::Coverage;
use crate::fuzz::dice::Dice;
use crate::fuzz::generate::{Limits, variation, workload};
use crate::fuzz::hostile::hostile;
use crate::fuzz::sequence::EventSequence;
use crate::fuzz::workload::Workload;

/// Which sequences a run makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// What the reference scheduler does.
    Legal,
    /// What no scheduler does.
    Hostile,
    /// Both in turn.
    #[default]
    Both,
}

/// A case and where it came from.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number in the run.
    pub number: u64,
    /// What it was recorded from.
    pub workload: Workload,
    /// The calls.
    pub sequence: EventSequence,
}

/// How often a workload that the engine refuses is drawn again.
const ATTEMPTS: u32 = 50;

/// Makes case `number`. `None` if no workload that the engine takes was drawn.
#[must_use]
pub fn make(
    seed: u64,
    number: u64,
    mode: Mode,
    limits: &Limits,
    coverage: &Coverage,
) -> Option<Case> {
    let mut dice = Dice::new(seed, number);
    let origin = format!("seed {seed}, case {number}");
    for _ in 0..ATTEMPTS {
        let parent = if dice.chance(50) { coverage.parent(&mut dice) } else { None };
        let workload = match parent {
            Some(parent) => variation(&mut dice, limits, parent),
            None => workload(&mut dice, limits),
        };
        let Ok(sequence) = workload.record(&origin) else { continue };
        let is_hostile = match mode {
            Mode::Legal => false,
            Mode::Hostile => true,
            Mode::Both => number % 2 == 1,
        };
        let sequence = if is_hostile { hostile(&mut dice, sequence) } else { sequence };
        return Some(Case { number, workload, sequence });
    }
    None
}
