//! M019: one clock.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::check::Moments;
use crate::invariants::prelude::*;
use crate::units::IterationId;

declare_invariant! {
    /// All files are of one clock, which is 0 when the scheduler starts.
    ///
    /// A file whose moments are all off by the same amount from those of the others was written with
    /// another clock, or with another beginning. Moments of years (more than 10^17 ns) are those of the
    /// calendar, such as nanoseconds since 1970; run.json holds the beginning, the files do not.
    ///
    /// events.csv and state_transitions.csv are compared with per_request.csv, request by request, and
    /// per_iteration.csv with the events that name their steps.
    ///
    /// Blind spot: a whole log that began later than 0 by less than years; logs of fewer than three
    /// requests; a clock that runs faster.
    ///
    /// Example: request_arrived, request_scheduled and request_completed of every request 300000 ns
    /// later than per_request.csv says.
    pub static M019 = {
        name: "one-clock",
        reads: [],
        also: [
            PerRequest(arrival_time, first_scheduled_time, completion_time),
            PerIteration(start_time, scheduling_overhead),
            Events(timestamp),
            StateTransitions(timestamp),
        ],
        severity: Error,
    } => Check
}

/// No scheduler runs for so long: three years.
const YEARS: Nanos = Nanos(100_000_000_000_000_000);

/// Steps, and events that name them, that are compared.
const COMPARED: usize = 2_000;

/// Facts of one kind that must be there.
const FEWEST: u64 = 3;

/// By how much the moments of one file are later than those of another, as long as that is the same.
#[derive(Default)]
struct Offset {
    by: Option<i128>,
    varies: bool,
    /// Comparisons of either kind of fact: what begins and what ends.
    facts: [u64; 2],
    first: Option<(Location, Location)>,
}

impl Offset {
    fn compare(&mut self, kind: usize, own: (Nanos, Location), other: (Nanos, Location)) {
        let by = i128::from(own.0.0) - i128::from(other.0.0);
        self.varies |= *self.by.get_or_insert(by) != by;
        self.facts[kind] += 1;
        self.first = self.first.or(Some((own.1, other.1)));
    }

    /// Whether there is none.
    fn agrees(&self) -> bool {
        self.by == Some(0) && !self.varies
    }

    /// The offset, if all facts of both kinds have it.
    fn constant(&self) -> Option<i128> {
        let enough = self.facts.iter().all(|count| *count >= FEWEST);
        self.by.filter(|by| *by != 0 && !self.varies && enough)
    }
}

#[derive(Default)]
struct Check {
    /// The first row of each file with a moment of the calendar.
    calendar: [Option<(Location, &'static str, Nanos)>; 5],
    events: Offset,
    changes: Offset,
    steps: Offset,
    /// The first steps.
    seen: HashMap<IterationId, (Moments, Location), FxBuildHasher>,
    /// The first schedulings and first tokens that name their step.
    named: Vec<Located<EventRow>>,
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], _: &mut Cx<'_>) {
        for event in events {
            self.see(event.at(), "timestamp", event.row.timestamp);
            let named = event.row.details.iteration_id.is_some()
                && matches!(
                    event.row.event_type,
                    EventType::RequestScheduled | EventType::FirstTokenGenerated
                );
            if named && self.named.len() < COMPARED {
                self.named.push(*event);
            }
        }
    }

    fn iteration(&mut self, view: &IterationView<'_>, _: &mut Cx<'_>) {
        let (Some(step), Some(moments)) = (view.iteration, view.moments) else { return };
        self.see(step.at(), "start_time", moments.start);
        if self.seen.len() < COMPARED {
            self.seen.entry(view.id).or_insert((moments, step.at()));
        }
    }

    fn request(&mut self, request: &RequestHistory, _: &mut Cx<'_>) {
        if let Some(change) = request.transitions.first() {
            self.see(change.at(), "timestamp", change.row.timestamp);
        }
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let (row, at) = (&record.row, record.at());
        self.see(at, "arrival_time", row.arrival_time);
        let event = |kind| request.event(kind).map(|event| (event.row.timestamp, event.at()));
        let change = |state| {
            request.changes_to(state).next().map(|change| (change.row.timestamp, change.at()))
        };
        let told = [
            (0, event(EventType::RequestArrived), None, Some(row.arrival_time)),
            (
                0,
                event(EventType::RequestScheduled),
                change(State::Running),
                row.first_scheduled_time,
            ),
            (1, event(EventType::RequestCompleted), change(State::Completed), row.completion_time),
        ];
        for (kind, event, change, own) in told {
            let Some(own) = own else { continue };
            if let Some(event) = event {
                self.events.compare(kind, event, (own, at));
            }
            if let Some(change) = change {
                self.changes.compare(kind, change, (own, at));
            }
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        // Elsewhere a decision may be stamped at any moment of its step.
        if cx.facts.dialect.is_exact() {
            self.compare_steps();
        }
        let facts: u64 =
            [&self.events, &self.changes, &self.steps].iter().flat_map(|it| it.facts).sum();
        cx.exercised(facts as usize);
        let mut calendar = self.calendar.into_iter().flatten();
        if let Some((at, column, moment)) = calendar.next() {
            let others: Vec<_> = calendar.collect();
            let mut files = at.table.to_string();
            for (index, (other, ..)) in others.iter().enumerate() {
                files.push_str(if index + 1 == others.len() { " and " } else { ", " });
                files.push_str(other.table.file_name());
            }
            let have = if others.is_empty() { "has" } else { "have" };
            let mut finding = Finding::new(format!(
                "{files} {have} times of the calendar, not since the scheduler started"
            ))
            .at(at, column)
            .values("nanoseconds since the start", moment);
            for (at, column, _) in others {
                finding = finding.with(at, column, "");
            }
            cx.found(finding);
        }
        for (by, own, other) in self.other_clocks() {
            if self.calendar[own.table as usize].or(self.calendar[other.table as usize]).is_some() {
                continue;
            }
            let way = if by > 0 { "later" } else { "earlier" };
            cx.found(
                Finding::new(format!(
                    "{} runs on another clock: its moments are all {} ns {way} than those of {}",
                    own.table,
                    by.unsigned_abs(),
                    other.table,
                ))
                .at_row(own)
                .with_row(Some(other), "the same fact"),
            );
        }
    }
}

impl Check {
    fn see(&mut self, at: Location, column: &'static str, moment: Nanos) {
        if moment > YEARS {
            self.calendar[at.table as usize].get_or_insert((at, column, moment));
        }
    }

    fn compare_steps(&mut self) {
        for event in std::mem::take(&mut self.named) {
            let step = event.row.details.iteration_id.and_then(|id| self.seen.get(&id));
            let Some((moments, at)) = step else { continue };
            let (kind, moment) = match event.row.event_type {
                EventType::FirstTokenGenerated => (1, moments.end),
                _ => (0, moments.decided),
            };
            self.steps.compare(kind, (moment, *at), (event.row.timestamp, event.at()));
        }
    }

    /// The files that are off: by how much, a row of theirs and one that it is off from.
    fn other_clocks(&self) -> Vec<(i128, Location, Location)> {
        let told = |offset: &Offset| {
            let (own, other) = offset.first?;
            Some((offset.constant()?, own, other))
        };
        let (events, changes) = (told(&self.events), told(&self.changes));
        // What the events are off from, all others are.
        let alone = match (&events, &changes) {
            (Some((by, ..)), Some((other, ..))) => by == other && self.steps.constant().is_none(),
            (Some(_), None) => self.steps.agrees(),
            _ => false,
        };
        if let Some((by, own, other)) = events.filter(|_| alone) {
            return vec![(-by, other, own)];
        }
        // Where the events are off from the requests, or partly so, the others say nothing of theirs.
        let changes = changes.filter(|_| !self.events.varies);
        let steps = told(&self.steps).filter(|_| self.events.agrees());
        [events, changes, steps].into_iter().flatten().collect()
    }
}
