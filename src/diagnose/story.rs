//! What the log says of a finding's request around the finding, in bounded memory.

use std::collections::BTreeMap;

use crate::diagnose::MOST_ROWS;
use crate::log::reader::Location;
use crate::log::values::{FinishReason, State};
use crate::units::{IterationId, Nanos};

/// Entries that are kept while files are read.
const KEPT_ENTRIES: usize = 24;
/// Entries that are told.
const TOLD_ENTRIES: usize = 9;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It reached the server.
    Arrived,
    /// It entered a state.
    Entered(State),
    /// It found its blocks evicted.
    Evicted,
    /// Its first output token was there.
    FirstToken,
}

impl Kind {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Entered(state) => state.as_str(),
            Self::Evicted => "evicted",
            Self::FirstToken => "first token",
        }
    }
}

/// One moment of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The step, if the log says so.
    pub iteration: Option<IterationId>,
    /// Why it ended.
    pub finish: Option<FinishReason>,
    /// The rows that say so.
    pub places: Vec<Location>,
    /// Whether entries before it are left out.
    pub gap: bool,
}

/// A request's timeline around a finding, and the rows that complete the finding.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The moment of the finding, if it has one.
    pub focus: Option<Nanos>,
    /// What happened, in order of time.
    pub timeline: BTreeMap<(Nanos, Kind), Entry>,
    /// Whether entries at the end are left out.
    pub cut: bool,
    /// Rows that the contradicted value is made of, at most a few.
    pub rows: Vec<Location>,
    /// Their column.
    pub rows_column: &'static str,
    /// How many such rows there are beyond those.
    pub more_rows: u64,
    /// If the value is made of all changes of the request: how many the finding shows already.
    pub(super) changes_shown: Option<usize>,
}

impl Story {
    /// Adds a moment; what is far from the finding makes room.
    pub(super) fn note(&mut self, at: Nanos, kind: Kind, entry: Entry) {
        let known = self.timeline.entry((at, kind)).or_default();
        known.iteration = known.iteration.or(entry.iteration);
        known.finish = known.finish.or(entry.finish);
        known.places.extend(entry.places);
        self.shrink(KEPT_ENTRIES);
    }

    /// Adds a row that the contradicted value is made of.
    pub(super) fn add_row(&mut self, at: Location) {
        if self.rows.len() < MOST_ROWS {
            self.rows.push(at);
        } else {
            self.more_rows += 1;
        }
    }

    /// Leaves what is told.
    pub(super) fn finish(&mut self) {
        self.shrink(TOLD_ENTRIES);
    }

    fn shrink(&mut self, most: usize) {
        while self.timeline.len() > most {
            let focus = self.focus;
            // The arrival stays; without a focus the middle goes.
            let middle = self.timeline.len() / 2;
            let far = self.timeline.keys().enumerate().skip(1).max_by_key(|(index, (at, _))| {
                let distance = focus.map_or(0, |focus| at.0.abs_diff(focus.0));
                (distance, std::cmp::Reverse(index.abs_diff(middle)))
            });
            let Some(key) = far.map(|(_, key)| *key) else { return };
            self.timeline.remove(&key);
            match self.timeline.range_mut(key..).next() {
                Some((_, next)) => next.gap = true,
                None => self.cut = true,
            }
        }
    }
}

/// How long a request was in each state, from its changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// In `waiting`.
    pub waiting: u64,
    /// In `running`.
    pub running: u64,
    /// In `preempted`.
    pub preempted: u64,
    /// In the last `running` state only.
    pub last_running: u64,
    /// How often it was preempted.
    pub preemptions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(focus: Option<u64>) -> Story {
        let mut story = Story { focus: focus.map(Nanos), ..Story::default() };
        story.note(Nanos(0), Kind::Arrived, Entry::default());
        for change in 1..=200 {
            let state = if change % 2 == 1 { State::Running } else { State::Preempted };
            story.note(Nanos(change * 10), Kind::Entered(state), Entry::default());
        }
        story.finish();
        story
    }

    #[test]
    fn a_long_life_is_told_around_the_finding() {
        let story = story(Some(1000));
        let moments: Vec<_> = story.timeline.keys().map(|(at, _)| at.0).collect();
        assert_eq!(moments, [0, 960, 970, 980, 990, 1000, 1010, 1020, 1030]);
        assert!(story.timeline[&(Nanos(960), Kind::Entered(State::Preempted))].gap);
        assert!(story.cut);
    }

    #[test]
    fn without_a_moment_the_middle_is_left_out() {
        let story = story(None);
        let moments: Vec<_> = story.timeline.keys().map(|(at, _)| at.0).collect();
        assert_eq!(moments.first(), Some(&0));
        assert_eq!(moments.last(), Some(&2000));
        assert!(!story.cut);
    }
}
