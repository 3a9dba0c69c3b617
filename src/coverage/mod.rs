//! What a log exercised: states, changes, reasons, events, actions, endings, rules.
//!
//! A check that finds nothing proves little if nothing happened in the log. Coverage says what
//! happened, and what did not, so that a suite of golden logs can show that it is not vacuous.

mod scan;

pub use scan::of_log;

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::log::values::{EventType, FinishReason, SchedulerAction, State, WaitingReason};
use crate::state_graph::LEGAL;

/// One kind of thing that can be exercised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Dimension {
    /// States of requests.
    States,
    /// Legal changes of state.
    Edges,
    /// Waiting reasons.
    Reasons,
    /// Types of events.
    Events,
    /// Scheduler actions.
    Actions,
    /// Finish reasons.
    FinishReasons,
    /// Rules.
    Rules,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 7] = [
        Self::States,
        Self::Edges,
        Self::Reasons,
        Self::Events,
        Self::Actions,
        Self::FinishReasons,
        Self::Rules,
    ];

    /// Its name in reports and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Edges => "edges",
            Self::Reasons => "reasons",
            Self::Events => "events",
            Self::Actions => "actions",
            Self::FinishReasons => "finish-reasons",
            Self::Rules => "rules",
        }
    }

    /// What a complete suite exercises of it: all that the reference logger can write.
    #[must_use]
    pub fn expected(self) -> Vec<String> {
        fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<String> {
            all.iter().map(|value| word(*value).to_owned()).collect()
        }
        match self {
            Self::States => words(State::ALL, State::as_str),
            Self::Edges => LEGAL.iter().map(|edge| edge_name(edge.from, edge.to)).collect(),
            Self::Reasons => words(&REFERENCE_REASONS, WaitingReason::as_str),
            Self::Events => words(EventType::ALL, EventType::as_str),
            Self::Actions => words(SchedulerAction::ALL, SchedulerAction::as_str),
            Self::FinishReasons => words(FinishReason::ALL, FinishReason::as_str),
            Self::Rules => crate::invariants::ALL.iter().map(|rule| rule.id.to_owned()).collect(),
        }
    }
}

/// The reasons that the reference logger writes; the others are other loggers'.
const REFERENCE_REASONS: [WaitingReason; 4] = [
    WaitingReason::MaxNumSeqs,
    WaitingReason::MaxNumBatchedTokens,
    WaitingReason::MemoryInsufficient,
    WaitingReason::Preempted,
];

/// The name of a change of state.
#[must_use]
pub fn edge_name(from: State, to: State) -> String {
    format!("{from}->{to}")
}

/// How often each thing was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<Dimension, BTreeMap<String, u64>>,
}

impl Coverage {
    /// Counts something.
    pub fn add(&mut self, dimension: Dimension, what: &str, count: u64) {
        if count == 0 {
            return;
        }
        let counts = self.counts.entry(dimension).or_default();
        match counts.get_mut(what) {
            Some(seen) => *seen += count,
            None => {
                counts.insert(what.to_owned(), count);
            }
        }
    }

    /// Counts what the rules of a report compared.
    pub fn add_rules(&mut self, report: &CheckReport) {
        for rule in &report.rules {
            self.add(Dimension::Rules, rule.rule.id, rule.exercised);
        }
    }

    /// Adds what another log exercised.
    pub fn merge(&mut self, other: &Self) {
        for (dimension, counts) in &other.counts {
            for (what, count) in counts {
                self.add(*dimension, what, *count);
            }
        }
    }

    /// How often something was seen.
    #[must_use]
    pub fn count(&self, dimension: Dimension, what: &str) -> u64 {
        self.counts.get(&dimension).and_then(|counts| counts.get(what)).copied().unwrap_or(0)
    }

    /// What was seen and how often, expected things first in their order, then the others.
    #[must_use]
    pub fn seen(&self, dimension: Dimension) -> Vec<(String, u64)> {
        let expected = dimension.expected();
        let seen = expected.iter().map(|what| (what.clone(), self.count(dimension, what)));
        let mut all: Vec<_> = seen.filter(|(_, count)| *count > 0).collect();
        let counts = self.counts.get(&dimension).into_iter().flatten();
        let others = counts.filter(|(what, _)| !expected.contains(what));
        all.extend(others.map(|(what, count)| (what.clone(), *count)));
        all
    }

    /// What was expected and not seen.
    #[must_use]
    pub fn missing(&self, dimension: Dimension) -> Vec<String> {
        let unseen = |what: &String| self.count(dimension, what) == 0;
        dimension.expected().into_iter().filter(unseen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_logs_cover_what_either_does() {
        let mut first = Coverage::default();
        first.add(Dimension::States, "waiting", 2);
        first.add(Dimension::Edges, "completed->running", 1);
        let mut second = Coverage::default();
        second.add(Dimension::States, "waiting", 1);
        second.add(Dimension::States, "running", 5);
        first.merge(&second);
        let seen = |what: &str, count| (what.to_owned(), count);
        assert_eq!(first.seen(Dimension::States), [seen("waiting", 3), seen("running", 5)]);
        assert_eq!(first.missing(Dimension::States), ["preempted", "completed"]);
        assert_eq!(first.seen(Dimension::Edges), [seen("completed->running", 1)]);
        assert_eq!(first.missing(Dimension::Edges).len(), LEGAL.len());
    }
}
