//! What the cases so far have exercised, and which case to vary next.

use std::collections::{BTreeMap, BTreeSet};

use crate::fuzz::dice::Dice;
use crate::fuzz::sequence::{Call, EventSequence, RequestIndex};
use crate::fuzz::workload::Workload;
use crate::log::values::{
    EventType, FinishReason, LogLevel, SchedulerAction, State, WaitingReason,
};
use crate::units::Tokens;

/// Something that a case can exercise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A change of state.
    Edge(State, State),
    /// A waiting reason in a state.
    Reason(State, WaitingReason),
    /// An event.
    Event(EventType),
    /// Two actions in a row.
    Actions(SchedulerAction, SchedulerAction),
    /// The end of a request, from a state.
    Finish(State, FinishReason),
    /// How many steps were under way at the shutdown.
    Shutdown(usize),
    /// Killed.
    Kill,
    /// A log level.
    Level(LogLevel),
    /// A rule of the checks compared something.
    Rule(&'static str),
}

/// The changes of state that a scheduler can make.
pub const EDGES: [(State, State); 6] = [
    (State::Waiting, State::Running),
    (State::Running, State::Preempted),
    (State::Preempted, State::Running),
    (State::Running, State::Completed),
    (State::Waiting, State::Completed),
    (State::Preempted, State::Completed),
];

/// Counts by point, and for each point the first workload that got there.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<Point, u64>,
    parents: BTreeMap<Point, Workload>,
}

impl Coverage {
    /// Adds what a case exercised.
    pub fn add(&mut self, points: &BTreeSet<Point>, workload: &Workload) {
        for &point in points {
            *self.counts.entry(point).or_default() += 1;
            self.parents.entry(point).or_insert_with(|| workload.clone());
        }
    }

    /// A workload that reached one of the rarest points so far.
    #[must_use]
    pub fn parent(&self, dice: &mut Dice) -> Option<&Workload> {
        let mut rarest: Vec<_> =
            self.counts.iter().map(|(point, count)| (*count, *point)).collect();
        rarest.sort_unstable();
        let candidates = rarest.len().div_ceil(4);
        let (_, point) = rarest.get(dice.index(candidates.max(1)))?;
        self.parents.get(point)
    }

    /// How many points were reached.
    #[must_use]
    pub fn points(&self) -> usize {
        self.counts.len()
    }

    /// How many legal changes of state were reached.
    #[must_use]
    pub fn edges(&self) -> usize {
        EDGES.iter().filter(|(from, to)| self.counts.contains_key(&Point::Edge(*from, *to))).count()
    }

    /// How many waiting reasons were reached.
    #[must_use]
    pub fn reasons(&self) -> usize {
        let reached: BTreeSet<_> = self
            .counts
            .keys()
            .filter_map(|point| match point {
                Point::Reason(_, reason) => Some(*reason),
                _ => None,
            })
            .collect();
        reached.len()
    }

    /// The rules that compared something.
    pub fn rules(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.counts.keys().filter_map(|point| match point {
            Point::Rule(id) => Some(*id),
            _ => None,
        })
    }

    /// How often a point was reached.
    #[must_use]
    pub fn count(&self, point: Point) -> u64 {
        self.counts.get(&point).copied().unwrap_or_default()
    }
}

/// What the calls of a sequence exercise by themselves.
#[must_use]
pub fn points(sequence: &EventSequence) -> BTreeSet<Point> {
    let mut walk = Walk::default();
    for call in &sequence.calls {
        walk.call(call);
    }
    if !sequence.is_shut_down() {
        walk.points.insert(Point::Kill);
    }
    walk.points.insert(Point::Level(sequence.run.log_level));
    walk.points
}

#[derive(Default)]
struct Walk {
    points: BTreeSet<Point>,
    states: BTreeMap<RequestIndex, State>,
    action: Option<SchedulerAction>,
    before: Option<SchedulerAction>,
    open: usize,
}

impl Walk {
    fn call(&mut self, call: &Call) {
        use EventType as E;
        use SchedulerAction as A;
        use State as S;
        match *call {
            Call::Arrival { request, .. } => {
                self.states.insert(request, S::Waiting);
                self.points.insert(Point::Event(E::RequestArrived));
            }
            Call::Begin { .. } => self.open += 1,
            Call::Schedule { .. } => self.action = Some(A::Idle),
            Call::Preempted { request, .. } => {
                self.change(request, S::Preempted, E::RequestPreempted);
                self.act(A::Preempt);
            }
            Call::Scheduled { request, .. } => {
                self.change(request, S::Running, E::RequestScheduled);
                self.act(A::AdmitNew);
            }
            Call::Resumed { request, .. } => {
                self.change(request, S::Running, E::RequestResumed);
                self.act(A::Resume);
            }
            Call::Running { scheduled_tokens, .. } if scheduled_tokens > Tokens::ZERO => {
                self.act(A::Continue);
            }
            Call::Waiting { request, reason } => {
                let state = self.state(request);
                self.points.insert(Point::Reason(state, reason));
            }
            Call::Output { .. } => self.decided(),
            Call::Completed { request, finish_reason, .. }
            | Call::Dropped { request, finish_reason, .. } => {
                let state = self.state(request);
                self.points.insert(Point::Finish(state, finish_reason));
                self.change(request, S::Completed, E::RequestCompleted);
            }
            Call::End { .. } => self.open = self.open.saturating_sub(1),
            Call::Shutdown { .. } => drop(self.points.insert(Point::Shutdown(self.open.min(3)))),
            _ => {}
        }
    }

    fn state(&self, request: RequestIndex) -> State {
        self.states.get(&request).copied().unwrap_or(State::Completed)
    }

    fn change(&mut self, request: RequestIndex, to: State, event: EventType) {
        let from = self.state(request);
        self.states.insert(request, to);
        self.points.insert(Point::Edge(from, to));
        self.points.insert(Point::Event(event));
    }

    /// The weightiest action of a step wins; they are declared in that order.
    fn act(&mut self, action: SchedulerAction) {
        self.action = self.action.map(|other| other.min(action));
    }

    fn decided(&mut self) {
        if let Some(action) = self.action.take()
            && let Some(before) = self.before.replace(action)
        {
            self.points.insert(Point::Actions(before, action));
        }
    }
}
