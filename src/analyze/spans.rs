//! What a request did when: its life cut into spans, without a gap and without an overlap.

use serde::Serialize;

use crate::log::values::State;
use crate::units::Nanos;

/// What a request's time went into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Waiting to be scheduled for the first time.
    Queueing,
    /// Running, before its first output token.
    Prefill,
    /// Running, from its first output token on.
    Decode,
    /// Preempted, waiting to be resumed.
    Preempted,
    /// Running, but only computing again what a preemption threw away.
    Recomputation,
}

impl Activity {
    /// Every activity, in the order of a life.
    pub const ALL: [Self; 5] =
        [Self::Queueing, Self::Prefill, Self::Decode, Self::Preempted, Self::Recomputation];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queueing => "queueing",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Preempted => "preempted",
            Self::Recomputation => "recomputation",
        }
    }

    /// The state of the request meanwhile.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::Queueing => State::Waiting,
            Self::Preempted => State::Preempted,
            Self::Prefill | Self::Decode | Self::Recomputation => State::Running,
        }
    }
}

/// A stretch of a request's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// What it did.
    pub activity: Activity,
    /// From when.
    pub from_ns: Nanos,
    /// Until when; the next span begins here.
    pub to_ns: Nanos,
}

impl Span {
    /// How long.
    #[must_use]
    pub const fn duration(&self) -> Nanos {
        self.to_ns.saturating_sub(self.from_ns)
    }
}

/// What is known of a life before it is cut.
#[derive(Clone, Copy, Debug)]
pub struct Life<'a> {
    /// The arrival.
    pub arrival: Nanos,
    /// The completion; of a request that is still alive, the end of the log.
    pub end: Nanos,
    /// The first output token, if there was one.
    pub first_token: Option<Nanos>,
    /// Changes of state, in order of time.
    pub changes: &'a [(Nanos, State)],
    /// Stretches of recomputation, in order of time.
    pub recomputing: &'a [(Nanos, Nanos)],
}

impl Life<'_> {
    /// The spans, from the arrival to the end: their durations sum to exactly `end - arrival`,
    /// whatever the log says; a moment outside of the life is moved to its edge.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let end = self.end.max(self.arrival);
        let mut spans = Vec::with_capacity(self.changes.len() + 2);
        let (mut from, mut state) = (self.arrival, State::Waiting);
        for &(at, next) in self.changes {
            let at = at.clamp(from, end);
            self.stretch(state, from, at, &mut spans);
            (from, state) = (at, next);
        }
        self.stretch(state, from, end, &mut spans);
        spans
    }

    fn stretch(&self, state: State, from: Nanos, to: Nanos, spans: &mut Vec<Span>) {
        match state {
            State::Waiting => push(spans, Activity::Queueing, from, to),
            State::Preempted => push(spans, Activity::Preempted, from, to),
            // A log that goes on after the completion is wrong; the time must go somewhere.
            State::Running | State::Completed => self.running(from, to, spans),
        }
    }

    fn running(&self, from: Nanos, to: Nanos, spans: &mut Vec<Span>) {
        let mut cursor = from;
        for &(begin, end) in self.recomputing {
            let (begin, end) = (begin.clamp(cursor, to), end.clamp(cursor, to));
            self.advancing(cursor, begin, spans);
            push(spans, Activity::Recomputation, begin, end);
            cursor = end.max(begin);
        }
        self.advancing(cursor, to, spans);
    }

    fn advancing(&self, from: Nanos, to: Nanos, spans: &mut Vec<Span>) {
        let first = self.first_token.unwrap_or(to).clamp(from, to);
        push(spans, Activity::Prefill, from, first);
        push(spans, Activity::Decode, first, to);
    }
}

fn push(spans: &mut Vec<Span>, activity: Activity, from: Nanos, to: Nanos) {
    if from >= to {
        return;
    }
    match spans.last_mut() {
        Some(last) if last.activity == activity && last.to_ns == from => last.to_ns = to,
        _ => spans.push(Span { activity, from_ns: from, to_ns: to }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_life_with_everything() {
        let life = Life {
            arrival: Nanos(10),
            end: Nanos(100),
            first_token: Some(Nanos(30)),
            changes: &[
                (Nanos(20), State::Running),
                (Nanos(50), State::Preempted),
                (Nanos(60), State::Running),
                (Nanos(100), State::Completed),
            ],
            recomputing: &[(Nanos(60), Nanos(75))],
        };
        let spans: Vec<_> =
            life.spans().iter().map(|span| (span.activity.as_str(), span.duration().0)).collect();
        let expected = [
            ("queueing", 10),
            ("prefill", 10),
            ("decode", 20),
            ("preempted", 10),
            ("recomputation", 15),
            ("decode", 25),
        ];
        assert_eq!(spans, expected);
    }

    fn moments() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0u64..300, 0u64..300), 0..8)
    }

    proptest! {
        #[test]
        fn spans_partition_any_life(
            arrival in 0u64..200,
            end in 0u64..300,
            first in prop::option::of(0u64..300),
            changes in moments(),
            recomputing in moments(),
        ) {
            let changes: Vec<_> = changes
                .into_iter()
                .map(|(at, state)| (Nanos(at), State::ALL[state as usize % 4]))
                .collect();
            let recomputing: Vec<_> =
                recomputing.into_iter().map(|(from, to)| (Nanos(from), Nanos(to))).collect();
            let life = Life {
                arrival: Nanos(arrival),
                end: Nanos(end),
                first_token: first.map(Nanos),
                changes: &changes,
                recomputing: &recomputing,
            };
            let spans = life.spans();
            let mut cursor = Nanos(arrival);
            for span in &spans {
                prop_assert_eq!(span.from_ns, cursor);
                prop_assert!(span.to_ns > cursor);
                cursor = span.to_ns;
            }
            prop_assert_eq!(cursor, Nanos(end.max(arrival)));
        }
    }
}
