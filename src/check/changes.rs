//! The changes of a request's state where state_transitions.csv does not tell them.

use crate::check::history::RequestHistory;
use crate::log::reader::{Located, Location};
use crate::log::values::{EventType, State};
use crate::units::Nanos;

/// A change of state that an event tells.
#[derive(Clone, Copy, Debug)]
pub struct ToldChange {
    /// The state that was entered.
    pub state: State,
    /// When.
    pub at: Nanos,
    /// The event.
    pub event: Location,
}

impl RequestHistory {
    /// The changes of its state by its events, from `waiting` on. None if they tell no legal story: an
    /// event is missing, or out of place.
    #[must_use]
    pub fn changes_by_events(&self) -> Option<Vec<ToldChange>> {
        use EventType as T;
        use State as S;
        let (mut state, mut last, mut changes) = (S::Waiting, Nanos::ZERO, Vec::new());
        for event in &self.events {
            let at = event.row.timestamp;
            let next = match (event.row.event_type, state) {
                (T::RequestScheduled, S::Waiting) | (T::RequestResumed, S::Preempted) => S::Running,
                // Some logs note a resumption at the first scheduling too.
                (T::RequestResumed, S::Running) if at == last => continue,
                (T::RequestPreempted, S::Running) => S::Preempted,
                (T::RequestCompleted, S::Waiting | S::Running | S::Preempted) => S::Completed,
                (T::RequestScheduled | T::RequestResumed | T::RequestPreempted, _)
                | (T::RequestCompleted, S::Completed) => return None,
                _ => continue,
            };
            if at < last {
                return None;
            }
            changes.push(ToldChange { state: next, at, event: Located::at(event) });
            (state, last) = (next, at);
        }
        Some(changes)
    }
}
