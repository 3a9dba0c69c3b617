//! Whether a log reads its clock more than once for one moment.

mod accounts;
mod clock;
mod facts;
mod stamps;

use std::collections::BTreeSet;

use crate::log::dialect::Dialect;
use crate::log::dialect::outputs::divisor;
use crate::log::dialect::skew::clock::{Clock, OTHER_MOMENT};
use crate::log::schema::{EventRow, IterationRequestRow, IterationRow, RequestRow, TransitionRow};
use crate::units::Nanos;

/// How much two readings of one moment may differ unless told otherwise: the cost of a logger call.
pub const DEFAULT_SKEW_BOUND: Nanos = Nanos(50_000);

/// Differences of one kind that must be there for a habit.
const FEWEST: usize = 3;

/// Whether differences of one kind are a habit: most are not zero, nearly all are small, and they
/// vary. A constant difference is a mistake, and so is a single one.
fn is_habit(differences: &[u64], bound: Nanos) -> bool {
    let nonzero: Vec<u64> = differences.iter().copied().filter(|value| *value > 0).collect();
    let small: BTreeSet<u64> = nonzero.iter().copied().filter(|value| *value <= bound.0).collect();
    let few_large = nonzero.iter().filter(|value| **value > bound.0).count() * 10 <= nonzero.len();
    nonzero.len() >= FEWEST
        && nonzero.len() * 2 >= differences.len()
        && few_large
        && small.len() >= FEWEST
}

/// The unit of a clock that is so coarse that it hides most of a small skew (two readings tell the same, or the next
/// unit) and what came first of things that happened soon after one another.
pub const COARSE: Nanos = Nanos(1_000);

/// Units by which readings of a coarse clock may differ before their differences are many enough to be seen
/// to [vary](is_habit).
const FEW_UNITS: u64 = 3;

/// Whether differences of one kind are what a skew of less than a few units leaves on a coarse clock: some
/// are none, the others of few units. All of one unit would be a mistake.
fn is_below_the_unit(differences: &[u64], unit: Nanos) -> bool {
    let nonzero = || differences.iter().filter(|value| **value > 0);
    let few =
        |value: &u64| value.is_multiple_of(unit.0) && *value <= unit.0.saturating_mul(FEW_UNITS);
    unit >= COARSE
        && nonzero().count() >= FEWEST
        && nonzero().count() * 10 >= differences.len()
        && nonzero().all(few)
        && differences.iter().collect::<BTreeSet<_>>().len() > 1
}

/// Two times of one log that should be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compared {
    /// `e2e_latency`, and the time from arrival to completion.
    Latency,
    /// `waiting_time` + `execution_time`, and `e2e_latency`.
    Sum,
    /// A step's duration, and the time from its beginning to its end.
    Span,
    /// A step's duration, and the sum of its parts.
    Parts,
    /// `time_in_state`, and what it was in the row before with the time since.
    Stay,
    /// `duration_in_prev_state`, and the time since the change before.
    Change,
    /// The first `duration_in_prev_state` of a request, and the time since its arrival.
    FirstChange,
    /// `waiting_time`, and the time from arrival to the first scheduling.
    FirstWait,
    /// `first_scheduled_time`, and the `request_scheduled` event.
    FirstScheduledAndEvent,
    /// `first_scheduled_time`, and the first change to `running`.
    FirstScheduledAndChange,
    /// `ttft`, and the `first_token_generated` event.
    FirstTokenAndEvent,
    /// `completion_time`, and the `request_completed` event.
    CompletionAndEvent,
    /// `arrival_time`, and the `request_arrived` event.
    ArrivalAndEvent,
    /// The `request_preempted` events, and the changes to `preempted`.
    PreemptionAndChange,
    /// The `request_resumed` events, and the later changes to `running`.
    ResumptionAndChange,
}

/// All sampled differences of one kind.
struct Kind {
    /// What is compared, if a rule compares it so.
    what: Option<Compared>,
    differences: Vec<u64>,
}

impl Kind {
    /// What is compared, if nearly all differences are exactly times inside of steps.
    fn mistaken(&self) -> Option<Compared> {
        let nonzero = self.differences.iter().filter(|value| **value > 0).count();
        let inside = self.differences.iter().filter(|value| **value == OTHER_MOMENT).count();
        self.what.filter(|_| inside >= FEWEST && inside * 10 >= nonzero * 9)
    }
}

/// The first rows of each file. Their requests have the same keys in all of them.
pub(super) struct Samples<'a> {
    pub(super) iterations: &'a [IterationRow],
    pub(super) rows: &'a [IterationRequestRow],
    pub(super) requests: &'a [RequestRow],
    pub(super) transitions: &'a [TransitionRow],
    pub(super) events: &'a [EventRow],
}

/// What the samples say of how the log reads its clock.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whether it is read more than once for one moment.
    pub(super) skewed: bool,
    /// Whether decisions are stamped a little off the `D` of their steps.
    pub(super) stamps_vary: bool,
    /// Whether outputs are stamped a little off the `E` of their steps.
    pub(super) ends_vary: bool,
    /// What differs by exactly the times inside of steps, which no readings do.
    pub(super) mistaken: BTreeSet<Compared>,
    /// By how much readings differ at least, if they do by units of a coarse clock.
    pub(super) coarse: Option<Nanos>,
    /// Whether the clock is coarse, be it read once for each moment.
    pub(super) is_coarse: bool,
}

impl Reading {
    pub(super) fn of(samples: &Samples<'_>, dialect: &Dialect) -> Self {
        let (clock, bound) = (Clock::of(samples.iterations, dialect), dialect.skew_bound);
        // Of one kind, or of all that are alike where a short log has few of each.
        let vary = |kinds: &[Vec<u64>]| {
            kinds.iter().any(|kind| is_habit(kind, bound)) || is_habit(&kinds.concat(), bound)
        };
        let accounts = accounts::differences(samples, &clock);
        let facts = facts::differences(samples, dialect, &clock);
        let mistaken = accounts.iter().chain(&facts).filter_map(Kind::mistaken).collect();
        let facts: Vec<_> = facts.into_iter().map(|kind| kind.differences).collect();
        let unit = unit(samples, &clock);
        let below = |kinds: &[Vec<u64>]| kinds.iter().any(|kind| is_below_the_unit(kind, unit));
        let decisions = stamps::decisions(samples, dialect, &clock);
        let ends = stamps::ends(samples, &clock);
        let stays = accounts.iter().filter(|kind| kind.what == Some(Compared::Stay));
        let stays: Vec<_> = stays.map(|kind| kind.differences.clone()).collect();
        let coarse =
            clock.usual_step().is_some_and(|step| unit.0.saturating_mul(FEW_UNITS) <= step.0 / 4)
                && (below(&facts)
                    || below(&stays)
                    || dialect.is_exact() && (below(&decisions) || below(&ends)));
        let coarse = coarse.then(|| Nanos(unit.0.saturating_mul(FEW_UNITS)));
        let (stamps_vary, ends_vary) = (vary(&decisions), vary(&ends));
        // What adds up but from the arrival on is no habit of reading the clock.
        let mut tell = accounts.iter().filter(|kind| kind.what != Some(Compared::FirstChange));
        let skewed = tell.any(|kind| is_habit(&kind.differences, bound))
            || vary(&facts)
            || vary(&stamps::contradictions(samples, &clock))
            || dialect.is_exact() && (stamps_vary || ends_vary)
            || coarse.is_some();
        let is_coarse = unit >= COARSE;
        Self { skewed, stamps_vary, ends_vary, mistaken, coarse, is_coarse }
    }
}

/// How much two readings may differ: what was asked for, but no more than a quarter of a usual step,
/// so that a time of the step before or behind is never taken for a reading of this one.
pub(super) fn bound(iterations: &[IterationRow], dialect: &Dialect, asked: Nanos) -> Nanos {
    let usual = Clock::of(iterations, dialect).usual_step();
    usual.map_or(asked, |step| asked.min(Nanos(step.0 / 4)))
}

/// Whether most events of decisions are stamped with the `D` of a step exactly.
pub(super) fn decisions_are_exact(samples: &Samples<'_>, dialect: &Dialect) -> bool {
    let clock = Clock::of(samples.iterations, dialect);
    let kinds = stamps::decisions(samples, dialect, &clock);
    // Those of requests come first, before the blocks and the other files.
    let differences: Vec<_> = kinds.into_iter().take(3).flatten().collect();
    differences.iter().filter(|difference| **difference == 0).count() * 2 > differences.len()
}

/// The unit of the clock of the steps and the events: the largest that divides all of their moments.
fn unit(samples: &Samples<'_>, clock: &Clock) -> Nanos {
    let stamps = samples.events.iter().map(|event| event.timestamp.0);
    Nanos(stamps.fold(clock.unit().0, divisor).max(1))
}

fn apart(one: Nanos, other: Nanos) -> u64 {
    one.0.abs_diff(other.0)
}
