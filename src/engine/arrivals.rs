//! Who arrives next: the trace's requests, and the turns that wait for an earlier answer.

use std::collections::{BTreeMap, VecDeque};

use crate::trace::{Arrival, TraceRequest};
use crate::units::Nanos;

/// Requests in the order of arrival, closed-loop turns included.
///
/// Memory: the turns whose predecessor has not completed, and one request of the trace.
#[derive(Debug)]
pub struct ArrivalQueue<I> {
    trace: I,
    /// The next request of the trace that has a time of its own.
    head: Option<(Nanos, TraceRequest)>,
    /// Turns whose time is known, by (time, order in which it became known).
    turns: BTreeMap<(Nanos, u64), TraceRequest>,
    turn_ordinal: u64,
    /// By session: turns that wait for the one before them.
    blocked: BTreeMap<String, VecDeque<(Nanos, TraceRequest)>>,
}

impl<E, I: Iterator<Item = Result<TraceRequest, E>>> ArrivalQueue<I> {
    /// A queue over a trace in order of arrival.
    ///
    /// # Errors
    /// As reading the trace.
    pub fn new(trace: I) -> Result<Self, E> {
        let mut queue = Self {
            trace,
            head: None,
            turns: BTreeMap::new(),
            turn_ordinal: 0,
            blocked: BTreeMap::new(),
        };
        queue.refill()?;
        Ok(queue)
    }

    /// Reads on to the next request with a time of its own; turns on the way wait.
    fn refill(&mut self) -> Result<(), E> {
        while self.head.is_none() {
            let Some(request) = self.trace.next().transpose()? else { break };
            match request.arrival.clone() {
                Arrival::At(at) => self.head = Some((at, request)),
                Arrival::AfterTurn { session, delay } => {
                    self.blocked.entry(session).or_default().push_back((delay, request));
                }
            }
        }
        Ok(())
    }

    /// When the next request arrives, as far as is known now.
    #[must_use]
    pub fn next_time(&self) -> Option<Nanos> {
        let turn = self.turns.keys().next().map(|(at, _)| *at);
        let head = self.head.as_ref().map(|(at, _)| *at);
        match (turn, head) {
            (Some(turn), Some(head)) => Some(turn.min(head)),
            (turn, head) => turn.or(head),
        }
    }

    /// The next request, if it arrives by `now`.
    ///
    /// # Errors
    /// As reading the trace.
    pub fn pop_by(&mut self, now: Nanos) -> Result<Option<(Nanos, TraceRequest)>, E> {
        let head = self.head.as_ref().map(|(at, _)| *at);
        if let Some(entry) = self.turns.first_entry() {
            let at = entry.key().0;
            if at <= now && head.is_none_or(|head| at < head) {
                return Ok(Some((at, entry.remove())));
            }
        }
        if head.is_none_or(|at| at > now) {
            return Ok(None);
        }
        let next = self.head.take();
        self.refill()?;
        Ok(next)
    }

    /// A turn of `session` ended at `now`: the one after it gets its time.
    pub fn turn_ended(&mut self, session: &str, now: Nanos) {
        let Some(waiting) = self.blocked.get_mut(session) else { return };
        if let Some((delay, request)) = waiting.pop_front() {
            let at = now.saturating_add(delay);
            self.turns.insert((at, self.turn_ordinal), request);
            self.turn_ordinal += 1;
        }
        if waiting.is_empty() {
            self.blocked.remove(session);
        }
    }
}
