//! F009: the members of `details`.

use std::collections::BTreeSet;

use crate::invariants::prelude::*;
use crate::log::details::Members;
use crate::log::ids::RequestKey;

declare_invariant! {
    /// The details of an event have the members of its type, as far as the log writes them at all,
    /// and no others.
    ///
    /// A member that other events of the type have is a lost value; one of another type or of none is
    /// read by nobody, and often a value in the wrong place. A missing one is an error, one too many a
    /// warning. A log without any details is a known dialect.
    ///
    /// A member that no event of its type has is a note of the report.
    ///
    /// Blind spot: a member that the log never writes.
    ///
    /// Example: a `request_preempted` event with `cached_tokens`, where computed_tokens was meant.
    pub static F009 = {
        name: "details-members",
        reads: [Events(event_type, details)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    types: [Seen; EventType::ALL.len()],
    /// A `request_resumed` that stands beside the first scheduling resumes nothing, and is an event of
    /// its own.
    beside_first: Seen,
    /// The requests that were preempted and are not back, in a log with such events.
    away: BTreeSet<RequestKey>,
    frees: Frees,
}

/// Whether events of freed blocks name the step, as those of a request that a step ended do.
#[derive(Clone, Copy, Debug, Default)]
struct Frees {
    any: bool,
    named: bool,
    by_step: bool,
}

impl Frees {
    fn see(&mut self, event: &EventRow) {
        match event.event_type {
            EventType::KvCacheFreed => {
                self.any = true;
                self.named |= event.details.iteration_id.is_some();
            }
            EventType::RequestCompleted => {
                let dropped = event.details.finish_reason.is_none_or(FinishReason::is_drop);
                self.by_step |= !dropped;
            }
            _ => {}
        }
    }
}

/// What was seen of the events of a type.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    filled: Members,
    /// The first event without a member, and what it lacked, while no event was seen to have it.
    lacking: Option<(Members, Location)>,
    strangers_told: bool,
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        cx.exercised(events.len());
        let resumed_at_first = cx.facts.dialect.has(Habit::ResumedAtFirst);
        for event in events {
            let kind = event.row.event_type;
            self.frees.see(&event.row);
            let seen = if resumed_at_first && !self.resumes(&event.row) {
                &mut self.beside_first
            } else {
                &mut self.types[kind as usize]
            };
            let members = event.row.details.members();
            let wanted = Members::wanted(kind);
            let missing = wanted.without(members);
            let foreign = members.without(Members::allowed(kind));
            let usual = missing.is_empty() && foreign.is_empty() && !event.row.details.unknown;
            if !usual || seen.lacking.is_some() || !members.without(seen.filled).is_empty() {
                seen.look(event, missing, foreign, cx);
            }
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if cx.facts.dialect.has(Habit::NoDetails) {
            return;
        }
        for (kind, seen) in EventType::ALL.iter().zip(&self.types) {
            if let Some((lacked, _)) = seen.lacking {
                let names: Vec<_> = lacked.names().collect();
                let names = names.join(" and no ");
                cx.note(format!("no {kind} event has {names}: nothing was compared with it"));
            }
        }
        if self.frees.any && self.frees.by_step && !self.frees.named {
            let kind = EventType::KvCacheFreed;
            cx.note(format!("no {kind} event has iteration_id: nothing was compared with it"));
        }
    }
}

impl Check {
    /// Whether the event is of its type in the sense that events of this type have elsewhere.
    fn resumes(&mut self, event: &EventRow) -> bool {
        use EventType as T;
        let Some(key) = event.request_id else { return true };
        match event.event_type {
            T::RequestPreempted => {
                self.away.insert(key);
                true
            }
            T::RequestArrived | T::RequestCompleted => {
                self.away.remove(&key);
                true
            }
            T::RequestResumed => self.away.remove(&key),
            _ => true,
        }
    }
}

impl Seen {
    #[cold]
    fn look(
        &mut self,
        event: &Located<EventRow>,
        missing: Members,
        foreign: Members,
        cx: &mut Cx<'_>,
    ) {
        let kind = event.row.event_type;
        self.filled = self.filled.or(event.row.details.members());
        if let Some((lacked, at)) = self.lacking
            && !lacked.and(self.filled).is_empty()
        {
            report(kind, lacked.and(self.filled), at, cx);
            self.lacking = None;
        }
        if !missing.and(self.filled).is_empty() {
            report(kind, missing.and(self.filled), event.at(), cx);
        } else if !missing.is_empty() && self.lacking.is_none() {
            self.lacking = Some((missing, event.at()));
        }
        if !foreign.is_empty() {
            let names: Vec<_> = foreign.names().collect();
            let message = format!("a {kind} event has no {}", names.join(" and no "));
            cx.found(
                Finding::new(message).at(event.at(), "details").as_severity(Severity::Warning),
            );
        }
        if event.row.details.unknown && !self.strangers_told {
            self.strangers_told = true;
            let message = format!("the {kind} event has members that no event has, or empty ones");
            cx.found(
                Finding::new(message).at(event.at(), "details").as_severity(Severity::Warning),
            );
        }
    }
}

fn report(kind: EventType, missing: Members, at: Location, cx: &mut Cx<'_>) {
    let names: Vec<_> = missing.names().collect();
    let names = names.join(" and ");
    cx.found(
        Finding::new(format!("the {kind} event lacks {names}, which others have"))
            .at(at, "details"),
    );
}
