//! The sums of a summary, request by request.

use super::summary::Ties;
use super::{Arrival, PRIVATE, TraceRequest};
use crate::units::{Nanos, Tokens};

/// What has been seen of a trace so far, in arrival order.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) turns: u64,
    pub(super) aborts: u64,
    pub(super) hashed: u64,
    pub(super) first: Option<Nanos>,
    pub(super) last: Nanos,
    pub(super) input_tokens_max: Tokens,
    pub(super) sequence_tokens_max: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    distinct: u64,
    largest: u64,
    on_last: u64,
    grid: u64,
}

impl Tally {
    pub(super) fn add(&mut self, request: &TraceRequest) {
        self.requests += 1;
        self.failed += u64::from(request.failed);
        self.aborts += u64::from(request.abort_after.is_some());
        let given = request.prompt.first().is_some_and(|run| run.first.0 < PRIVATE);
        self.hashed += u64::from(given);
        let input = request.input_tokens;
        let output = request.output_tokens.min(request.max_tokens);
        self.input_tokens_max = self.input_tokens_max.max(input);
        self.sequence_tokens_max =
            self.sequence_tokens_max.max(u64::from(input.0) + u64::from(request.max_tokens.0));
        self.input_tokens = self.input_tokens.saturating_add(u64::from(input.0));
        self.output_tokens = self.output_tokens.saturating_add(u64::from(output.0));
        match request.arrival {
            Arrival::AfterTurn { .. } => self.turns += 1,
            Arrival::At(time) => self.arrive(time),
        }
    }

    fn arrive(&mut self, time: Nanos) {
        if self.first.is_some() && time == self.last {
            self.on_last += 1;
        } else {
            self.distinct += 1;
            self.on_last = 1;
        }
        let first = *self.first.get_or_insert(time);
        self.grid = gcd(self.grid, time.saturating_sub(first).0);
        self.largest = self.largest.max(self.on_last);
        self.last = time;
    }

    pub(super) fn ties(&self) -> Ties {
        let arrivals = self.requests - self.turns;
        Ties {
            distinct: self.distinct,
            largest: self.largest,
            grid: Nanos(self.grid),
            bucketed: self.distinct > 1 && arrivals >= 2 * self.distinct,
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
