//! How many requests are alive at a decision, by their arrivals and ends.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::view::IterationView;
use crate::log::ids::RequestKey;
use crate::log::reader::Located;
use crate::log::schema::EventRow;
use crate::log::values::EventType;
use crate::units::Nanos;

/// Who is alive, and who of them is preempted, step by step.
#[derive(Debug, Default)]
pub struct Living {
    alive: BTreeSet<RequestKey>,
    /// Ends that stand before the arrival: where stamps vary, of requests that were rejected.
    over: BTreeMap<RequestKey, Nanos>,
    away: BTreeSet<RequestKey>,
    arrivals: Passed,
    ends: Passed,
}

/// What is known of the requests in the queues of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// At least so many are alive, if arrivals are noticed by the next step.
    pub least: u64,
    /// At most so many are.
    pub most: u64,
    /// At least so many have run before and are preempted.
    pub away: u64,
}

/// Moments of which those before a step are counted.
#[derive(Debug, Default)]
struct Passed {
    count: u64,
    ahead: Vec<Nanos>,
}

impl Passed {
    /// How many have passed when a step begins for certain, and perhaps by its decision.
    fn by(&mut self, start: Nanos, decided: Nanos, slack: Nanos) -> (u64, u64) {
        let before = self.ahead.len();
        self.ahead.retain(|at| at.saturating_add(slack) >= start);
        self.count += (before - self.ahead.len()) as u64;
        let latest = decided.saturating_add(slack);
        let open = self.ahead.iter().filter(|at| **at <= latest).count() as u64;
        (self.count, self.count + open)
    }
}

impl Living {
    /// Takes in events in the order of the file.
    pub fn see(&mut self, events: &[Located<EventRow>]) {
        for event in events {
            let Some(key) = event.row.request_id else { continue };
            // What is told twice is X002's business.
            match event.row.event_type {
                EventType::RequestArrived => {
                    if let Some(end) = self.over.remove(&key) {
                        self.arrivals.ahead.push(event.row.timestamp);
                        self.ends.ahead.push(end);
                    } else if self.alive.insert(key) {
                        self.arrivals.ahead.push(event.row.timestamp);
                    }
                }
                EventType::RequestCompleted if self.alive.remove(&key) => {
                    self.ends.ahead.push(event.row.timestamp);
                }
                EventType::RequestCompleted => {
                    self.over.insert(key, event.row.timestamp);
                }
                _ => {}
            }
        }
    }

    /// Who is alive at the decision of a step, whose events have been seen; steps come in order.
    pub fn at(&mut self, view: &IterationView<'_>, slack: Nanos) -> Option<Alive> {
        let moments = view.moments?;
        let latest = moments.decided.saturating_add(slack);
        let mut later = Vec::new();
        for event in view.events {
            let Some(key) = event.row.request_id else { continue };
            match event.row.event_type {
                // Where steps overlap, the output that ends it may be read before its preemption.
                EventType::RequestPreempted if self.alive.contains(&key) => {
                    self.away.insert(key);
                }
                EventType::RequestScheduled | EventType::RequestResumed => {
                    self.away.remove(&key);
                }
                EventType::RequestCompleted if event.row.timestamp <= latest => {
                    self.away.remove(&key);
                }
                EventType::RequestCompleted => later.push(key),
                _ => {}
            }
        }
        let away = self.away.len() as u64;
        later.iter().for_each(|key| {
            self.away.remove(key);
        });
        let (arrived, perhaps) = self.arrivals.by(moments.start, moments.decided, slack);
        let (over, perhaps_over) = self.ends.by(moments.start, moments.decided, slack);
        Some(Alive {
            least: arrived.saturating_sub(perhaps_over),
            most: perhaps.saturating_sub(over),
            away,
        })
    }
}
