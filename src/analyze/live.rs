//! What is gathered of one request while the pass is on, and its figures at the end.

use crate::analyze::figures::{Ending, QUEUE_POINTS, QueuePoint, RequestFigures, Wait};
use crate::analyze::spans::Life;
use crate::log::schema::{EventRow, IterationRequestRow, RequestRow, Table, TransitionRow};
use crate::log::values::{EventType, FinishReason, State, WaitingReason};
use crate::units::{Nanos, Priority, Tokens};

/// What the log tells of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tells {
    /// The file that tells best when states changed.
    pub(super) changes: Option<Table>,
    /// Whether there are rows of steps.
    pub(super) rows: bool,
}

/// A request that has not been shown yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    arrival: Option<Nanos>,
    input_tokens: Option<Tokens>,
    priority: Option<Priority>,
    first_scheduled: Option<Nanos>,
    first_token: Option<Nanos>,
    ended: Option<Nanos>,
    reason: Option<FinishReason>,
    output_tokens: Tokens,
    preemptions: u64,
    evictions: u64,
    /// When its state changed, by the file that tells it best.
    changes: Vec<(Nanos, State)>,
    /// The state that it entered last, by state_transitions.csv.
    changed_to: Option<State>,
    recomputing: Vec<(Nanos, Nanos)>,
    /// Since when it recomputes.
    catching_up: Option<Nanos>,
    /// Tokens that had been computed at its last preemption.
    peak: u32,
    /// What the last row before a preemption had computed and scheduled.
    reached: u32,
    /// Since when it has been waiting for this reason.
    waiting: Option<(Nanos, Option<WaitingReason>)>,
    waits: Vec<Wait>,
    queue: Vec<QueuePoint>,
    queue_last: Option<i32>,
    queue_stride: u32,
    queue_skipped: u32,
    row_state: Option<State>,
}

impl Live {
    /// Takes a row of state_transitions.csv in; returns the state that it left.
    pub(super) fn transition(&mut self, row: &TransitionRow, tells: Tells) -> State {
        let left = row.prev_state.or(self.changed_to).unwrap_or(State::Waiting);
        self.changed_to = Some(row.state);
        if tells.changes == Some(Table::StateTransitions) {
            self.changes.push((row.timestamp, row.state));
        }
        left
    }

    /// Takes an event in.
    pub(super) fn event(&mut self, event: &EventRow, tells: Tells) {
        let changes = tells.changes == Some(Table::Events);
        let at = event.timestamp;
        let details = &event.details;
        let mut change = |state| {
            if changes && self.changes.last().map(|(_, last)| *last) != Some(state) {
                self.changes.push((at, state));
            }
        };
        match event.event_type {
            EventType::RequestArrived => {
                self.arrival = Some(at);
                self.input_tokens = details.input_tokens;
                self.priority = details.priority;
            }
            EventType::RequestScheduled => {
                change(State::Running);
                self.first_scheduled.get_or_insert(at);
            }
            EventType::RequestPreempted => {
                change(State::Preempted);
                self.preemptions += 1;
                self.preempted_at(details.computed_tokens.map(|tokens| tokens.0));
            }
            EventType::RequestEvicted => self.evictions += 1,
            EventType::RequestResumed => change(State::Running),
            EventType::FirstTokenGenerated => self.first_token = Some(at),
            EventType::RequestCompleted => {
                change(State::Completed);
                self.ended = Some(at);
                self.reason = details.finish_reason;
            }
            EventType::KvCacheAllocated | EventType::KvCacheFreed => {}
        }
    }

    fn preempted_at(&mut self, computed: Option<u32>) {
        let lost = computed.unwrap_or(self.reached);
        self.peak = self.peak.max(lost);
        self.reached = 0;
    }

    /// Takes its row of a step in, which decided at `decided` and ended at `end`.
    pub(super) fn row(
        &mut self,
        row: &IterationRequestRow,
        decided: Nanos,
        end: Nanos,
        tells: Tells,
    ) {
        let changes = tells.changes == Some(Table::PerIterationRequests);
        if changes && self.row_state.unwrap_or(State::Waiting) != row.state {
            let at = if row.state == State::Completed { end } else { decided };
            self.changes.push((at, row.state));
        }
        self.output_tokens = row.tokens_generated;
        match row.state {
            State::Waiting | State::Preempted => {
                if row.state == State::Preempted && self.row_state == Some(State::Running) {
                    // The event, where there is one, came first and knows better.
                    if self.peak == 0 {
                        self.preempted_at(None);
                    }
                    self.stop_catching_up(decided);
                }
                self.wait_on(decided, Some(row.waiting_reason));
                self.queue_at(decided, row.queue_position.map(|position| position.0));
            }
            State::Running => {
                self.wait_on(decided, None);
                self.queue_last = None;
                self.progress(row, decided, end);
            }
            State::Completed => {}
        }
        self.row_state = Some(row.state);
    }

    /// Ends the wait that was on, and begins the next one.
    fn wait_on(&mut self, at: Nanos, next: Option<Option<WaitingReason>>) {
        match self.waiting.take() {
            Some((since, reason)) => self.book_wait(reason, at.saturating_sub(since)),
            None if self.row_state.is_none() => {
                let unseen = self.arrival.map_or(Nanos::ZERO, |since| at.saturating_sub(since));
                self.book_wait(None, unseen);
            }
            None => {}
        }
        self.waiting = next.map(|reason| (at, reason));
    }

    fn book_wait(&mut self, reason: Option<WaitingReason>, time_ns: Nanos) {
        if time_ns == Nanos::ZERO {
            return;
        }
        match self.waits.iter_mut().find(|wait| wait.reason == reason) {
            Some(wait) => wait.time_ns = wait.time_ns.saturating_add(time_ns),
            None => self.waits.push(Wait { reason, time_ns }),
        }
    }

    /// Notes a change of its place in the queue; past the bound, of every second, fourth, … one.
    fn queue_at(&mut self, at_ns: Nanos, position: Option<i32>) {
        let Some(position) = position.filter(|place| Some(*place) != self.queue_last) else {
            return;
        };
        self.queue_last = Some(position);
        self.queue_skipped += 1;
        if self.queue_skipped <= self.queue_stride {
            return;
        }
        self.queue_skipped = 0;
        if self.queue.len() == QUEUE_POINTS {
            let mut index = 0;
            self.queue.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.queue_stride = self.queue_stride * 2 + 1;
        }
        self.queue.push(QueuePoint { at_ns, position });
    }

    fn progress(&mut self, row: &IterationRequestRow, decided: Nanos, end: Nanos) {
        let (Some(computed), Some(scheduled)) = (row.computed_tokens, row.scheduled_tokens) else {
            return;
        };
        let after = computed.saturating_add(scheduled).0;
        self.reached = after;
        // It decodes once all but its newest token is computed, whatever was promised before.
        let known = self.input_tokens.unwrap_or(Tokens::MAX);
        let decodes_at = known.saturating_add(row.tokens_generated).saturating_sub(Tokens(1)).0;
        let goal = self.peak.min(decodes_at);
        if self.catching_up.is_none() && self.peak > 0 && computed.0 < goal {
            self.catching_up = Some(decided);
        }
        if after >= goal {
            self.stop_catching_up(end);
            self.peak = 0;
        }
    }

    fn stop_catching_up(&mut self, at: Nanos) {
        if let Some(since) = self.catching_up.take() {
            self.recomputing.push((since, at));
        }
    }

    /// Its figures; `log_end` is where the log stops.
    pub(super) fn figures(
        mut self,
        request_id: String,
        record: Option<&RequestRow>,
        log_end: Nanos,
        tells: Tells,
    ) -> RequestFigures {
        let arrival = record.map(|row| row.arrival_time).or(self.arrival);
        let completion = record.map_or(self.ended, |row| row.completion_time);
        let ending = match record {
            None => Ending::CutOff,
            Some(row) => Ending::of(completion.is_some(), row.finish_reason.or(self.reason)),
        };
        // A request that was never seen to arrive has no life to cut.
        let known = arrival.is_some();
        let arrival = arrival.unwrap_or(log_end);
        let end = completion.unwrap_or(log_end.max(arrival));
        self.stop_catching_up(end);
        match self.waiting.take() {
            Some((since, reason)) => self.book_wait(reason, end.saturating_sub(since)),
            None if self.row_state.is_none() && tells.rows && known => {
                self.book_wait(None, end.saturating_sub(arrival));
            }
            None => {}
        }
        let ttft = record.and_then(|row| row.ttft);
        let first_token = ttft.map(|ttft| arrival.saturating_add(ttft)).or(self.first_token);
        let life = Life {
            arrival,
            end,
            first_token,
            changes: &self.changes,
            recomputing: &self.recomputing,
        };
        let spans = if tells.changes.is_some() && known { life.spans() } else { Vec::new() };
        let mut figures = RequestFigures {
            request_id,
            ordinal: 0,
            ending,
            arrival_ns: arrival,
            first_scheduled_ns: self.first_scheduled,
            first_token_ns: first_token,
            completion_ns: completion,
            ttft_ns: ttft.or_else(|| first_token.map(|at| at.saturating_sub(arrival))),
            tpot_ns: None,
            e2e_ns: None,
            waiting_ns: Nanos::ZERO,
            execution_ns: Nanos::ZERO,
            input_tokens: self.input_tokens.map(|tokens| u64::from(tokens.0)),
            output_tokens: u64::from(self.output_tokens.0),
            preemptions: self.preemptions,
            evictions: self.evictions,
            cached_tokens: None,
            recomputed_tokens: None,
            scheduled_tokens: None,
            priority: self.priority,
            spans,
            waits: self.waits,
            queue: self.queue,
        };
        match record {
            Some(row) => figures.take_record(row),
            None => figures.sum_spans(),
        }
        figures
    }
}

impl RequestFigures {
    fn take_record(&mut self, row: &RequestRow) {
        let tokens = |tokens: Option<Tokens>| tokens.map(|tokens| u64::from(tokens.0));
        self.first_scheduled_ns = row.first_scheduled_time.or(self.first_scheduled_ns);
        self.ttft_ns = row.ttft;
        self.tpot_ns = row.tpot.map(|tpot| tpot.as_f64());
        self.e2e_ns = row.e2e_latency;
        self.waiting_ns = row.waiting_time;
        self.execution_ns = row.execution_time;
        self.input_tokens = Some(u64::from(row.input_tokens.0));
        self.output_tokens = u64::from(row.output_tokens.0);
        self.preemptions = u64::from(row.preemption_count.0);
        self.evictions = u64::from(row.eviction_count.0);
        self.cached_tokens = tokens(row.cached_tokens);
        self.recomputed_tokens = tokens(row.recomputed_tokens);
        self.scheduled_tokens = tokens(row.scheduled_tokens);
        self.priority = row.priority_score.or(self.priority);
    }

    /// Without a row in per_request.csv, the spans tell how long it waited and ran.
    fn sum_spans(&mut self) {
        for span in &self.spans {
            let time = match span.activity.state() {
                State::Running | State::Completed => &mut self.execution_ns,
                State::Waiting | State::Preempted => &mut self.waiting_ns,
            };
            *time = time.saturating_add(span.duration());
        }
    }
}
