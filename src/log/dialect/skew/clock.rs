//! The moments of the sampled steps.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::log::dialect::Dialect;
use crate::log::dialect::outputs::divisor;
use crate::log::moments::Moments;
use crate::log::schema::IterationRow;
use crate::units::{IterationId, Nanos};

/// A difference that is no reading of the clock: both moments are those of a step.
pub(super) const OTHER_MOMENT: u64 = u64::MAX;

/// The moments of the sampled steps, each kind ascending.
pub(super) struct Clock {
    decided: Vec<Nanos>,
    ended: Vec<Nanos>,
    every: Vec<Nanos>,
    steps: HashMap<IterationId, Moments, FxBuildHasher>,
}

impl Clock {
    pub(super) fn of(iterations: &[IterationRow], dialect: &Dialect) -> Self {
        let moments = |row: &IterationRow| Moments::of(row, dialect);
        let sorted = |moments: &mut dyn Iterator<Item = Nanos>| {
            let mut all: Vec<Nanos> = moments.collect();
            all.sort_unstable();
            all
        };
        let steps = || iterations.iter().map(moments);
        let ends = if dialect.hides_ends() { 0 } else { iterations.len() };
        Self {
            decided: sorted(&mut steps().map(|step| step.decided)),
            ended: sorted(&mut steps().map(|step| step.end).take(ends)),
            every: sorted(&mut steps().flat_map(|m| [m.start, m.decided, m.output, m.end])),
            steps: iterations.iter().map(|row| (row.iteration_id, moments(row))).collect(),
        }
    }

    /// The median of the times from one decision to the next.
    pub(super) fn usual_step(&self) -> Option<Nanos> {
        let gaps = self.decided.windows(2).filter_map(|pair| pair[1].checked_sub(pair[0]));
        let mut gaps: Vec<Nanos> = gaps.collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    }

    /// The moments of a step.
    pub(super) fn step(&self, id: IterationId) -> Option<Moments> {
        self.steps.get(&id).copied()
    }

    /// Whether it is a moment of some step, to the nanosecond.
    pub(super) fn knows(&self, at: Nanos) -> bool {
        self.every.binary_search(&at).is_ok()
    }

    /// Whether both are moments of steps, to the nanosecond.
    pub(super) fn are_of_steps(&self, one: Nanos, other: Nanos) -> bool {
        self.knows(one) && self.knows(other)
    }

    /// The unit of the clock: the largest that divides all moments of steps.
    pub(super) fn unit(&self) -> Nanos {
        Nanos(self.every.iter().fold(0, |unit, at| divisor(unit, at.0)).max(1))
    }

    /// From a stamp to the nearest `D`. None behind the last of them: of such a step there may be no
    /// row in the sample.
    pub(super) fn off_decision(&self, at: Nanos) -> Option<u64> {
        self.off_nearest(&self.decided, at)
    }

    /// How far a stamp is behind the nearest `D`, 0 if it is before that.
    pub(super) fn behind_decision(&self, at: Nanos) -> Option<u64> {
        let off = self.off_decision(at)?;
        let before = off < at.0 && self.decided.binary_search(&Nanos(at.0 - off)).is_ok();
        Some(if before || off == OTHER_MOMENT { off } else { 0 })
    }

    /// From a stamp to the nearest `E`.
    pub(super) fn off_end(&self, at: Nanos) -> Option<u64> {
        self.off_nearest(&self.ended, at)
    }

    fn off_nearest(&self, moments: &[Nanos], at: Nanos) -> Option<u64> {
        moments.last().filter(|last| at <= **last)?;
        let index = moments.partition_point(|other| *other < at);
        let around = [index.checked_sub(1), Some(index)].into_iter().flatten();
        let nearest = around.filter_map(|i| moments.get(i)).map(|m| m.0.abs_diff(at.0)).min()?;
        // A stamp that is exactly some other moment of a step was taken from there.
        Some(if nearest > 0 && self.knows(at) { OTHER_MOMENT } else { nearest })
    }

    /// From one stamp of a fact to another.
    pub(super) fn between(&self, one: Nanos, other: Nanos) -> u64 {
        match one.0.abs_diff(other.0) {
            0 => 0,
            _ if self.are_of_steps(one, other) => OTHER_MOMENT,
            difference => difference,
        }
    }
}
