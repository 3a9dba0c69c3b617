//! Whether first tokens and ends are stamped with moments of steps, or by readings of their own.

use crate::log::dialect::Dialect;
use crate::log::moments::Moments;
use crate::log::schema::{EventRow, IterationRow};
use crate::log::values::{EventType, FinishReason};
use crate::units::Nanos;

/// The least number of clock units that a step must take on average. In fewer, the moments of steps are
/// so few that any stamp may meet one by chance.
const FEWEST_UNITS: u64 = 100;

/// The unit of the clock, if outputs are stamped with moments of steps and that can be told from chance.
pub(super) fn unit(
    iterations: &[IterationRow],
    events: &[EventRow],
    dialect: &Dialect,
) -> Option<Nanos> {
    clock_unit(iterations, dialect).filter(|_| are_stamped_by_steps(iterations, events, dialect))
}

/// The unit of the clock that the steps are stamped by: the largest that divides all of their moments.
/// None if it is too coarse beside the steps to tell their moments apart.
fn clock_unit(iterations: &[IterationRow], dialect: &Dialect) -> Option<Nanos> {
    let mut unit = 0;
    for row in iterations {
        let Moments { start, decided, output, end } = Moments::of(row, dialect);
        unit = [start, decided, output, end].iter().fold(unit, |unit, at| divisor(unit, at.0));
    }
    let (first, last) = (iterations.first()?, iterations.last()?);
    let span = Moments::of(last, dialect).end.checked_sub(first.start_time)?;
    let mean = span.0 / iterations.len() as u64;
    (unit > 0 && mean / unit >= FEWEST_UNITS).then_some(Nanos(unit))
}

/// The greatest common divisor; 0 is divisible by anything.
pub(super) const fn divisor(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Whether most outputs are stamped with one of the four moments of some step, be it the wrong one.
fn are_stamped_by_steps(
    iterations: &[IterationRow],
    events: &[EventRow],
    dialect: &Dialect,
) -> bool {
    let steps = || iterations.iter().map(|row| Moments::of(row, dialect));
    let Some(last) = steps().map(|moments| moments.end).max() else { return false };
    let mut moments: Vec<_> =
        steps().flat_map(|step| [step.start, step.decided, step.output, step.end]).collect();
    moments.sort_unstable();
    let output = |event: &&EventRow| {
        let drop = || event.details.finish_reason.is_some_and(FinishReason::is_drop);
        let kind = event.event_type;
        kind == EventType::FirstTokenGenerated || kind == EventType::RequestCompleted && !drop()
    };
    let known = events.iter().filter(output).filter(|event| event.timestamp <= last);
    let met: Vec<_> = known.map(|event| moments.binary_search(&event.timestamp).is_ok()).collect();
    met.iter().filter(|met| **met).count() * 2 > met.len()
}
