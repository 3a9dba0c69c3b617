//! Arrivals that are when a step notices the request.

use std::collections::BTreeSet;

use crate::check::context::Cx;
use crate::check::finding::{Finding, Severity};
use crate::check::view::IterationView;
use crate::log::reader::Located;
use crate::log::schema::EventRow;
use crate::log::values::EventType;
use crate::units::Nanos;

/// Moments that are no chance.
const SEVERAL: usize = 8;
/// A start of a step is one of so many moments, at least, or requests may well arrive at it.
const FINE: u64 = 1_000;

/// Whether requests that arrive while the engine is busy do so at the starts of steps alone.
///
/// A step that ends a rest starts with the arrival that it was waiting for, and a client that asks again when it
/// is answered does so at the end of a step, with which the next one starts. Neither tells anything.
#[derive(Debug, Default)]
pub struct Noticed {
    ahead: Vec<Located<EventRow>>,
    ends: BTreeSet<Nanos>,
    first: Option<Located<EventRow>>,
    at_starts: BTreeSet<Nanos>,
    elsewhere: bool,
    starts: u64,
    last: Nanos,
    /// What all starts are multiples of.
    grid: u64,
}

impl Noticed {
    /// Takes in events, in the order of the file.
    pub fn see(&mut self, events: &[Located<EventRow>]) {
        if self.elsewhere {
            return;
        }
        for event in events {
            match event.row.event_type {
                EventType::RequestArrived => self.ahead.push(*event),
                EventType::RequestCompleted => {
                    self.ends.insert(event.row.timestamp);
                }
                _ => {}
            }
        }
    }

    /// Takes in a step; steps come in order.
    pub fn note(&mut self, view: &IterationView<'_>) {
        let Some(moments) = view.moments.filter(|_| !self.elsewhere) else { return };
        let start = moments.start;
        self.starts += 1;
        self.last = start;
        self.grid = greatest_common_divisor(self.grid, start.0);
        let before = || view.recent_steps().rev().skip(1);
        let busy = before().any(|step| [step.end, step.decided].contains(&start));
        let last = before().next().map(|step| step.decided);
        // A client that asks again may be answered anywhere behind the last decision.
        let answered = self.ends.iter().any(|end| Some(*end) >= last && *end <= start);
        for event in self.ahead.extract_if(.., |event| event.row.timestamp <= start) {
            let at = event.row.timestamp;
            self.elsewhere |= at < start;
            if busy && at == start && !answered {
                self.at_starts.insert(at);
                self.first = self.first.or(Some(event));
            }
        }
        self.ends.retain(|end| *end >= moments.decided);
    }

    /// Says so at the end of the log, if that is how it is.
    pub fn judge(&self, cx: &mut Cx<'_>) {
        // Where the clock is read more than once, answers are not where they were.
        let told = !self.elsewhere && cx.facts.skew.is_none();
        let Some(first) = self.first.filter(|_| told) else { return };
        let moments = self.last.0 / self.starts.max(1) / self.grid.max(1);
        if self.at_starts.len() < SEVERAL || moments < FINE {
            return;
        }
        let message = format!(
            "all requests that arrive while the engine is busy, at {} moments, do so at the very start of a \
             step: that is when the scheduler notices them, not when they reached the server",
            self.at_starts.len()
        );
        let finding = Finding::new(message).at(first.at(), "timestamp");
        cx.found(finding.as_severity(Severity::Warning));
    }
}

const fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}
