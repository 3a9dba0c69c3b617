//! The facts of an event sequence, worked out from its calls alone.
//!
//! This is the other opinion on what a log must say: it shares no code with the logger or the
//! checks, keeps everything in memory, and is as plain as can be. A call that no scheduler makes
//! there and then is left out, as the hooks promise.

mod compare;
mod facts;
mod life;

pub use compare::{Difference, differences};
pub use facts::Facts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::fuzz::sequence::{Call, RequestIndex};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::{Blocks, Nanos, Requests, Tokens};
use facts::{EventFact, QueueFact, StepFact};
use life::Life;

/// A step without a processed output.
#[derive(Debug, Default)]
struct Step {
    fact: StepFact,
    decided: bool,
    has_output: bool,
    queues: Vec<QueueFact>,
    running: i64,
    waiting: i64,
    first_tokens: Vec<u64>,
    got_tokens: BTreeSet<u64>,
    done: Vec<(u64, FinishReason, Blocks, Tokens)>,
}

/// Reads calls one by one.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By order of arrival.
    live: BTreeMap<u64, Life>,
    /// What the calls mean by an index: its latest arrival.
    names: BTreeMap<RequestIndex, u64>,
    steps: VecDeque<Step>,
    next_step: u64,
    clock: Nanos,
    facts: Facts,
}

impl Facts {
    /// What the log of these calls must say.
    #[must_use]
    pub fn of(calls: &[Call]) -> Self {
        let mut ledger = Ledger::default();
        for (index, call) in calls.iter().enumerate() {
            if ledger.read(call).is_none() {
                ledger.facts.left_out.push(index);
            }
            if matches!(call, Call::Shutdown { .. }) {
                break;
            }
        }
        ledger.facts
    }
}

impl Ledger {
    /// `None` if the call cannot be made here.
    fn read(&mut self, call: &Call) -> Option<()> {
        match call {
            Call::Arrival { now, request, request_id, input_tokens, priority } => {
                let taken = self.live.values().any(|life| life.id == *request_id);
                if request_id.is_empty() || taken {
                    return None;
                }
                self.advance(*now)?;
                self.facts.event(*now, EventType::RequestArrived, request_id);
                let order = self.facts.arrivals;
                self.facts.arrivals += 1;
                let life = Life::new(order, request_id, *now, *input_tokens, *priority);
                self.live.insert(order, life);
                self.names.insert(*request, order);
                Some(())
            }
            Call::Begin { now } => self.begin(*now),
            Call::Schedule { now, kv_cache_used, kv_cache_total, evicted_blocks } => {
                self.steps.back().filter(|step| !step.decided)?;
                self.advance(*now)?;
                let step = self.steps.back_mut()?;
                step.decided = true;
                step.fact.decided = *now;
                step.fact.kv_cache_used = *kv_cache_used;
                step.fact.kv_cache_total = *kv_cache_total;
                step.fact.evicted_blocks = *evicted_blocks;
                Some(())
            }
            Call::Output { now } => self.output(*now),
            Call::End { now } => {
                self.processing()?;
                self.advance(*now)?;
                self.end(*now)
            }
            Call::Shutdown { now } => self.shutdown(*now),
            Call::Generated { request, tokens, .. } => {
                self.generated(self.named(*request)?, *tokens)
            }
            Call::Completed { request, finish_reason, blocks, computed_tokens } => {
                self.completed(self.named(*request)?, *finish_reason, *blocks, *computed_tokens)
            }
            Call::Dropped { now, request, finish_reason, blocks } => {
                self.dropped(*now, self.named(*request)?, *finish_reason, *blocks)
            }
            _ => self.decision(call),
        }
    }

    fn named(&self, request: RequestIndex) -> Option<u64> {
        self.names.get(&request).copied()
    }

    fn advance(&mut self, now: Nanos) -> Option<()> {
        if now < self.clock {
            return None;
        }
        self.clock = now;
        Some(())
    }

    fn begin(&mut self, now: Nanos) -> Option<()> {
        if self.steps.back().is_some_and(|step| !step.decided)
            || self.steps.front().is_some_and(|step| step.has_output)
        {
            return None;
        }
        self.advance(now)?;
        let mut step = Step::default();
        step.fact.iteration_id = self.next_step;
        step.fact.start = now;
        self.next_step += 1;
        self.steps.push_back(step);
        Some(())
    }

    /// The newest step, decided and still without output.
    fn deciding(&mut self) -> Option<&mut Step> {
        self.steps.back_mut().filter(|step| step.decided && !step.has_output)
    }

    /// The oldest step, with its output.
    fn processing(&mut self) -> Option<&mut Step> {
        self.steps.front_mut().filter(|step| step.has_output)
    }

    fn decision(&mut self, call: &Call) -> Option<()> {
        let request = self.named(call.request()?)?;
        let now = self.deciding()?.fact.decided;
        let life = self.live.get_mut(&request)?;
        let state = life.state;
        match *call {
            Call::Preempted { computed_tokens, .. } if state == State::Running => {
                life.preempt(now, computed_tokens);
                self.facts.event(now, EventType::RequestPreempted, &life.id);
                self.deciding()?.fact.preempted.0 += 1;
            }
            Call::Scheduled { cached_tokens, .. } if state == State::Waiting => {
                life.admit(now, cached_tokens);
                self.facts.event(now, EventType::RequestScheduled, &life.id);
                self.deciding()?.fact.admitted.0 += 1;
            }
            Call::Resumed { cached_tokens, .. } if state == State::Preempted => {
                let evicted = life.resume(now, cached_tokens);
                self.facts.event(now, EventType::RequestResumed, &life.id);
                if evicted {
                    self.facts.event(now, EventType::RequestEvicted, &life.id);
                }
                self.deciding()?.fact.resumed.0 += 1;
            }
            Call::Allocated { .. } => {}
            Call::Running { .. } if state == State::Running => return self.running(call, request),
            Call::Waiting { .. } if state != State::Running => return self.waiting(call, request),
            _ => return None,
        }
        Some(())
    }

    fn running(&mut self, call: &Call, request: u64) -> Option<()> {
        let Call::Running { kv_cache_blocks, scheduled_tokens, computed_tokens, prefill, .. } =
            *call
        else {
            return None;
        };
        let life = self.live.get_mut(&request)?;
        life.scheduled_tokens = life.scheduled_tokens.saturating_add(scheduled_tokens);
        let (id, generated, since) = (life.id.clone(), life.output_tokens, life.since);
        let step = self.deciding()?;
        if scheduled_tokens > Tokens::ZERO {
            step.fact.batch.0 += 1;
            let sum = if prefill { &mut step.fact.prefill } else { &mut step.fact.decode };
            *sum = sum.saturating_add(scheduled_tokens);
        }
        step.queues.push(QueueFact {
            iteration_id: step.fact.iteration_id,
            request_id: id,
            state: State::Running,
            position: Some(step.running),
            reason: None,
            generated,
            blocks: kv_cache_blocks,
            time_in_state: step.fact.decided.saturating_sub(since),
            scheduled: scheduled_tokens,
            computed: computed_tokens,
        });
        step.running += 1;
        step.fact.running.0 += 1;
        Some(())
    }

    fn waiting(&mut self, call: &Call, request: u64) -> Option<()> {
        let Call::Waiting { reason, .. } = *call else { return None };
        let life = self.live.get_mut(&request)?;
        let (id, state, generated, since) =
            (life.id.clone(), life.state, life.output_tokens, life.since);
        let step = self.deciding()?;
        step.queues.push(QueueFact {
            iteration_id: step.fact.iteration_id,
            request_id: id,
            state,
            position: Some(step.waiting),
            reason: Some(reason),
            generated,
            blocks: Blocks::ZERO,
            time_in_state: step.fact.decided.saturating_sub(since),
            scheduled: Tokens::ZERO,
            computed: Tokens::ZERO,
        });
        step.waiting += 1;
        step.fact.waiting.0 += 1;
        Some(())
    }

    fn output(&mut self, now: Nanos) -> Option<()> {
        self.steps.front().filter(|step| step.decided && !step.has_output)?;
        self.steps.back().filter(|step| step.decided)?;
        self.advance(now)?;
        let step = self.steps.front_mut()?;
        step.has_output = true;
        step.fact.output = now;
        Some(())
    }

    fn generated(&mut self, request: u64, tokens: Tokens) -> Option<()> {
        self.processing()?;
        let life = self.live.get_mut(&request)?;
        if life.state == State::Waiting {
            return None;
        }
        let first = life.output_tokens == Tokens::ZERO && tokens > Tokens::ZERO;
        life.output_tokens = life.output_tokens.saturating_add(tokens);
        let step = self.processing()?;
        if first {
            step.first_tokens.push(request);
        }
        if tokens > Tokens::ZERO {
            step.got_tokens.insert(request);
        }
        Some(())
    }

    fn completed(
        &mut self,
        request: u64,
        reason: FinishReason,
        blocks: Blocks,
        computed: Tokens,
    ) -> Option<()> {
        let step = self.processing()?;
        if step.done.iter().any(|(other, ..)| *other == request) {
            return None;
        }
        // An answer ends by its last token; nothing else ends inside an output but by failing.
        let by_token = matches!(reason, FinishReason::Stop | FinishReason::Length);
        let has_token = step.got_tokens.contains(&request);
        if !(by_token && has_token || reason == FinishReason::Error) {
            return None;
        }
        let life = self.live.get(&request)?;
        if life.state == State::Waiting {
            return None;
        }
        self.processing()?.done.push((request, reason, blocks, computed));
        Some(())
    }

    fn dropped(
        &mut self,
        now: Nanos,
        request: u64,
        reason: FinishReason,
        blocks: Blocks,
    ) -> Option<()> {
        self.live.get(&request)?;
        if !reason.is_drop() {
            return None;
        }
        let finishing = self.steps.iter().any(|step| {
            step.got_tokens.contains(&request)
                || step.done.iter().any(|(other, ..)| *other == request)
        });
        if finishing {
            return None;
        }
        self.advance(now)?;
        self.finish(now, request, reason, blocks)
    }

    fn end(&mut self, now: Nanos) -> Option<()> {
        let mut step = self.steps.pop_front()?;
        for request in &step.first_tokens {
            let life = self.live.get_mut(request)?;
            life.first_token = Some(now);
            self.facts.event(now, EventType::FirstTokenGenerated, &life.id);
        }
        for &(request, reason, blocks, computed) in &step.done {
            let life = self.live.get(&request)?;
            step.queues.push(QueueFact {
                iteration_id: step.fact.iteration_id,
                request_id: life.id.clone(),
                state: State::Completed,
                position: None,
                reason: None,
                generated: life.output_tokens,
                blocks,
                time_in_state: Nanos::ZERO,
                scheduled: Tokens::ZERO,
                computed,
            });
            self.finish(now, request, reason, blocks)?;
        }
        step.fact.end = now;
        step.fact.completed = Requests(u32::try_from(step.done.len()).unwrap_or(u32::MAX));
        self.facts.steps.push(step.fact);
        self.facts.queues.append(&mut step.queues);
        Some(())
    }

    fn finish(
        &mut self,
        now: Nanos,
        request: u64,
        reason: FinishReason,
        blocks: Blocks,
    ) -> Option<()> {
        let mut life = self.live.remove(&request)?;
        life.enter(now, State::Completed);
        self.facts.event(now, EventType::RequestCompleted, &life.id);
        self.facts.requests.push(life.fact(reason, blocks));
        Some(())
    }

    /// Steps under way end with the scheduler, without an output; a step that had decided nothing
    /// yet leaves no trace.
    fn shutdown(&mut self, now: Nanos) -> Option<()> {
        let now = now.max(self.clock);
        while let Some(step) = self.steps.front_mut() {
            if !step.decided {
                break;
            }
            if !step.has_output {
                step.fact.output = now;
            }
            self.end(now)?;
        }
        let mut left: Vec<_> = std::mem::take(&mut self.live).into_values().collect();
        left.sort_by_key(|life| life.order);
        for mut life in left {
            life.book(now);
            self.facts.requests.push(life.fact(FinishReason::Unfinished, Blocks::ZERO));
        }
        self.facts.is_complete = true;
        Some(())
    }
}

impl Facts {
    fn event(&mut self, at: Nanos, event: EventType, id: &str) {
        self.events.push(EventFact { at, event, request_id: id.to_owned() });
    }
}
