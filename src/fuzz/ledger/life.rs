//! One request in the ledger.

use crate::fuzz::ledger::facts::{ChangeFact, RequestFact};
use crate::log::values::{FinishReason, State};
use crate::units::{Blocks, Nanos, Priority, Tokens};

/// What has happened to a live request.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) order: u64,
    pub(super) id: String,
    arrival: Nanos,
    input_tokens: Tokens,
    priority: Priority,
    pub(super) state: State,
    pub(super) since: Nanos,
    waited: Nanos,
    ran: Nanos,
    first_scheduled: Option<Nanos>,
    pub(super) first_token: Option<Nanos>,
    pub(super) output_tokens: Tokens,
    preemptions: u32,
    evictions: u32,
    pub(super) scheduled_tokens: Tokens,
    computed_when_preempted: Tokens,
    changes: Vec<ChangeFact>,
}

impl Life {
    pub(super) fn new(
        order: u64,
        id: &str,
        now: Nanos,
        input_tokens: Tokens,
        priority: Priority,
    ) -> Self {
        Self {
            order,
            id: id.to_owned(),
            arrival: now,
            input_tokens,
            priority,
            state: State::Waiting,
            since: now,
            waited: Nanos::ZERO,
            ran: Nanos::ZERO,
            first_scheduled: None,
            first_token: None,
            output_tokens: Tokens::ZERO,
            preemptions: 0,
            evictions: 0,
            scheduled_tokens: Tokens::ZERO,
            computed_when_preempted: Tokens::ZERO,
            changes: Vec::new(),
        }
    }

    /// Books the time up to now to the state it was spent in.
    pub(super) fn book(&mut self, now: Nanos) {
        let spent = now.saturating_sub(self.since);
        if self.state == State::Running {
            self.ran += spent;
        } else {
            self.waited += spent;
        }
        self.since = now;
    }

    pub(super) fn enter(&mut self, now: Nanos, state: State) {
        let spent = now.saturating_sub(self.since);
        self.book(now);
        self.state = state;
        self.changes.push(ChangeFact { request_id: self.id.clone(), at: now, state, spent });
    }

    pub(super) fn admit(&mut self, now: Nanos, _cached: Tokens) {
        self.enter(now, State::Running);
        self.first_scheduled = Some(now);
    }

    pub(super) fn preempt(&mut self, now: Nanos, computed: Tokens) {
        self.enter(now, State::Preempted);
        self.preemptions += 1;
        self.computed_when_preempted = computed;
    }

    /// Whether it had lost blocks.
    pub(super) fn resume(&mut self, now: Nanos, cached: Tokens) -> bool {
        self.enter(now, State::Running);
        let lost = cached < self.computed_when_preempted;
        self.evictions += u32::from(lost);
        lost
    }

    pub(super) fn fact(self, finish_reason: FinishReason, blocks: Blocks) -> RequestFact {
        let completion = (self.state == State::Completed).then_some(self.since);
        RequestFact {
            request_id: self.id,
            arrival: self.arrival,
            first_scheduled: self.first_scheduled,
            completion,
            waiting_time: self.waited,
            execution_time: self.ran,
            e2e: completion.map(|at| at.saturating_sub(self.arrival)),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            ttft: self.first_token.map(|at| at.saturating_sub(self.arrival)),
            preemptions: self.preemptions,
            evictions: self.evictions,
            blocks,
            priority: self.priority,
            finish_reason,
            scheduled_tokens: self.scheduled_tokens,
            changes: self.changes,
        }
    }
}
