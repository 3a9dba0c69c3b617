//! What the logger knows of one live request.

use crate::log::decimal::Decimal;
use crate::log::field::Count;
use crate::log::ids::{Ids, RequestKey};
use crate::log::packed::IdPlace;
use crate::log::schema::{RequestRow, Row, TransitionRow};
use crate::log::values::{FinishReason, State, WaitingReason};
use crate::units::{Blocks, Bytes, IterationId, Nanos, Priority, Tokens};

/// A change of state that was seen, kept until the request's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Transition {
    at: Nanos,
    from: State,
    to: State,
    spent: Nanos,
}

/// The life of one request so far: where its time went and what was done for it.
///
/// Memory: a few words, and four per change of state. What every step touches of a running request comes
/// first, so that it is in one cache line.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct RequestMetrics {
    state_since: Nanos,
    /// Where its id stands in the rows that wait for a flush.
    pub(super) id_place: IdPlace,
    /// The last step whose output gave it tokens.
    pub(super) last_output: Option<IterationId>,
    output_tokens: Tokens,
    scheduled_tokens: Tokens,
    /// Tokens from the start that were computed at some time before the last preemption: what is
    /// scheduled below this line is recomputation.
    computed_before: Tokens,
    state: State,
    pub(super) waiting_reason: WaitingReason,
    /// Position in the order of arrival among all requests of the run.
    pub(super) ordinal: u64,
    arrival: Nanos,
    waiting_time: Nanos,
    execution_time: Nanos,
    first_scheduled: Option<Nanos>,
    first_token: Option<Nanos>,
    input_tokens: Tokens,
    priority: Priority,
    preemptions: Count,
    evictions: Count,
    cached_tokens: Tokens,
    recomputed_tokens: Tokens,
    /// `num_computed_tokens` when it was last preempted.
    computed_at_preemption: Tokens,
    transitions: Vec<Transition>,
}

impl RequestMetrics {
    pub(super) fn new(ordinal: u64, now: Nanos, input_tokens: Tokens, priority: Priority) -> Self {
        Self {
            state_since: now,
            id_place: IdPlace::default(),
            last_output: None,
            output_tokens: Tokens::ZERO,
            scheduled_tokens: Tokens::ZERO,
            computed_before: Tokens::ZERO,
            state: State::Waiting,
            waiting_reason: WaitingReason::InitialWaiting,
            ordinal,
            arrival: now,
            waiting_time: Nanos::ZERO,
            execution_time: Nanos::ZERO,
            first_scheduled: None,
            first_token: None,
            input_tokens,
            priority,
            preemptions: Count(0),
            evictions: Count(0),
            cached_tokens: Tokens::ZERO,
            recomputed_tokens: Tokens::ZERO,
            computed_at_preemption: Tokens::ZERO,
            transitions: Vec::new(),
        }
    }

    /// The state it is in.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// When it reached the server.
    #[must_use]
    pub fn arrival(&self) -> Nanos {
        self.arrival
    }

    /// When it entered its state.
    #[must_use]
    pub fn state_since(&self) -> Nanos {
        self.state_since
    }

    /// Tokens generated so far.
    #[must_use]
    pub fn output_tokens(&self) -> Tokens {
        self.output_tokens
    }

    /// How often it was preempted.
    #[must_use]
    pub fn preemptions(&self) -> Count {
        self.preemptions
    }

    /// The constraint that kept it out of the last step that looked at it.
    #[must_use]
    pub fn waiting_reason(&self) -> WaitingReason {
        self.waiting_reason
    }

    /// Books the time since the last change to the state it was spent in. `now` is not before it.
    fn enter(&mut self, state: State, now: Nanos) {
        let spent = now.saturating_sub(self.state_since);
        match self.state {
            State::Waiting | State::Preempted => self.waiting_time += spent,
            State::Running => self.execution_time += spent,
            State::Completed => {}
        }
        self.transitions.push(Transition { at: now, from: self.state, to: state, spent });
        self.state = state;
        self.state_since = now;
    }

    pub(super) fn scheduled(&mut self, now: Nanos, cached: Tokens) {
        self.enter(State::Running, now);
        self.first_scheduled = Some(now);
        self.cached_tokens = cached;
    }

    pub(super) fn preempted(&mut self, now: Nanos, computed: Tokens) {
        self.enter(State::Preempted, now);
        self.preemptions.0 += 1;
        self.computed_at_preemption = computed;
        self.computed_before = self.computed_before.max(computed);
    }

    /// Resumes it; the tokens that had been computed and are no longer cached, if any.
    pub(super) fn resumed(&mut self, now: Nanos, cached: Tokens) -> Option<Tokens> {
        self.enter(State::Running, now);
        let more = cached.saturating_sub(self.computed_before);
        self.cached_tokens = self.cached_tokens.saturating_add(more);
        let lost = self.computed_at_preemption.saturating_sub(cached);
        (lost > Tokens::ZERO).then_some(lost)
    }

    pub(super) fn evicted(&mut self) {
        self.evictions.0 += 1;
    }

    /// Books `tokens` scheduled from position `computed` on.
    pub(super) fn computed(&mut self, computed: Tokens, tokens: Tokens) {
        self.scheduled_tokens = self.scheduled_tokens.saturating_add(tokens);
        if computed < self.computed_before {
            let again = (self.computed_before - computed).min(tokens);
            self.recomputed_tokens = self.recomputed_tokens.saturating_add(again);
        }
    }

    /// Books the outcome of a step: tokens that were kept, and drafts that were not. Whether this
    /// brought the first token.
    pub(super) fn generated(
        &mut self,
        step: IterationId,
        tokens: Tokens,
        rejected: Tokens,
    ) -> bool {
        let first = self.output_tokens == Tokens::ZERO && tokens > Tokens::ZERO;
        self.output_tokens = self.output_tokens.saturating_add(tokens);
        if tokens > Tokens::ZERO {
            self.last_output = Some(step);
        }
        if self.state == State::Preempted {
            // The preemption counted drafts in flight as computed; these were not.
            self.computed_before = self.computed_before.saturating_sub(rejected);
        }
        first
    }

    pub(super) fn first_token(&mut self, now: Nanos) {
        self.first_token = Some(now);
    }

    pub(super) fn completed(&mut self, now: Nanos) {
        self.enter(State::Completed, now);
    }

    /// The row of per_request.csv, for a request that completed, or at shutdown.
    pub(super) fn row(
        &self,
        key: RequestKey,
        reason: FinishReason,
        blocks: Blocks,
        bytes_per_block: Option<Bytes>,
    ) -> RequestRow {
        let completion = (self.state == State::Completed).then_some(self.state_since);
        let e2e = completion.map(|at| at.saturating_sub(self.arrival));
        let ttft = self.first_token.map(|at| at.saturating_sub(self.arrival));
        RequestRow {
            request_id: key,
            arrival_time: self.arrival,
            first_scheduled_time: self.first_scheduled,
            completion_time: completion,
            waiting_time: self.waiting_time,
            execution_time: self.execution_time,
            e2e_latency: e2e,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            ttft,
            tpot: time_per_output_token(e2e, ttft, self.output_tokens),
            throughput: e2e.and_then(|e2e| tokens_per_second(self.output_tokens, e2e)),
            preemption_count: self.preemptions,
            eviction_count: self.evictions,
            kv_cache_blocks: Some(blocks),
            kv_cache_memory_bytes: bytes_per_block
                .map(|bytes| Bytes(u64::from(blocks.0).saturating_mul(bytes.0))),
            priority_score: Some(self.priority),
            finish_reason: Some(reason),
            cached_tokens: Some(self.cached_tokens),
            recomputed_tokens: Some(self.recomputed_tokens),
            scheduled_tokens: Some(self.scheduled_tokens),
        }
    }

    /// Books the time up to shutdown to the state of a request that is still alive.
    pub(super) fn close(&mut self, now: Nanos) {
        let spent = now.saturating_sub(self.state_since);
        match self.state {
            State::Waiting | State::Preempted => self.waiting_time += spent,
            State::Running => self.execution_time += spent,
            State::Completed => {}
        }
    }

    /// Appends the rows of state_transitions.csv.
    pub(super) fn write_transitions<I: Ids + ?Sized>(
        &self,
        key: RequestKey,
        ids: &I,
        out: &mut Vec<u8>,
    ) {
        for change in &self.transitions {
            let row = TransitionRow {
                request_id: key,
                timestamp: change.at,
                state: change.to,
                duration_in_prev_state: change.spent,
                prev_state: Some(change.from),
            };
            row.write(ids, out);
        }
    }
}

/// `floor((e2e - ttft) / (tokens - 1))`, from two tokens on.
fn time_per_output_token(
    e2e: Option<Nanos>,
    ttft: Option<Nanos>,
    tokens: Tokens,
) -> Option<Decimal> {
    let decode = e2e?.checked_sub(ttft?)?;
    let gaps = u64::from(tokens.0).checked_sub(1).filter(|gaps| *gaps > 0)?;
    Some(Decimal::whole(decode.0 / gaps))
}

/// Tokens per second with six decimals, the nearest (ties up); `None` where no time passed.
fn tokens_per_second(tokens: Tokens, e2e: Nanos) -> Option<Decimal> {
    const MICROTOKENS: u128 = 1_000_000;
    let e2e = u128::from(e2e.0);
    if e2e == 0 {
        return None;
    }
    let scaled = u128::from(tokens.0) * u128::from(Nanos::SECOND.0) * MICROTOKENS;
    let mantissa = u64::try_from((scaled + e2e / 2) / e2e).ok()?;
    Some(Decimal { mantissa, scale: 6 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestMetrics {
        RequestMetrics::new(0, Nanos(10), Tokens(40), Priority(0))
    }

    #[test]
    fn time_is_booked_to_the_state_it_was_spent_in() {
        let mut metrics = request();
        metrics.scheduled(Nanos(15), Tokens(0));
        metrics.preempted(Nanos(18), Tokens(40));
        assert_eq!(metrics.resumed(Nanos(25), Tokens(32)), Some(Tokens(8)));
        metrics.completed(Nanos(30));
        let row = metrics.row(RequestKey(0), FinishReason::Stop, Blocks(3), Some(Bytes(2)));
        assert_eq!((row.waiting_time, row.execution_time), (Nanos(12), Nanos(8)));
        assert_eq!(row.e2e_latency, Some(Nanos(20)));
        assert_eq!(row.kv_cache_memory_bytes, Some(Bytes(6)));
    }

    #[test]
    fn only_what_is_scheduled_below_the_old_line_is_recomputed() {
        let mut metrics = request();
        metrics.scheduled(Nanos(10), Tokens(16));
        metrics.computed(Tokens(16), Tokens(24));
        metrics.preempted(Nanos(12), Tokens(40));
        metrics.resumed(Nanos(14), Tokens(32));
        metrics.computed(Tokens(32), Tokens(9));
        let row = metrics.row(RequestKey(0), FinishReason::Stop, Blocks(0), None);
        assert_eq!(row.recomputed_tokens, Some(Tokens(8)));
        assert_eq!(row.cached_tokens, Some(Tokens(16)));
        assert_eq!(row.scheduled_tokens, Some(Tokens(33)));
        assert_eq!(row.kv_cache_memory_bytes, None);
    }

    #[test]
    fn rates_are_rounded_as_documented() {
        assert_eq!(
            tokens_per_second(Tokens(1), Nanos(3 * 1_000_000_000)).unwrap().to_string(),
            "0.333333"
        );
        assert_eq!(
            tokens_per_second(Tokens(2), Nanos(3 * 1_000_000_000)).unwrap().to_string(),
            "0.666667"
        );
        assert_eq!(tokens_per_second(Tokens(2), Nanos(0)), None);
        assert_eq!(
            time_per_output_token(Some(Nanos(20)), Some(Nanos(9)), Tokens(3)),
            Some(Decimal::whole(5))
        );
        assert_eq!(time_per_output_token(Some(Nanos(20)), Some(Nanos(9)), Tokens(1)), None);
    }
}
