//! Putting the scheduler where another one is, as far as that one tells: so that an observer whose
//! scheduler decided otherwise can go on from the other's decision. vLLM has nothing of the kind.

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use crate::config::Policy;
use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::pass::{BatchEntry, Kind, Pass, TokenBound};
use crate::scheduler::request::Status;
use crate::scheduler::slab::Slot;
use crate::scheduler::waiting::WaitingQueue;
use crate::scheduler::{Scheduler, asynchronous};
use crate::units::{BlockId, Blocks, Nanos, Tokens};

/// Where a request is after the other scheduler's pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// The request.
    pub(crate) slot: Slot,
    /// Whether it runs; else it waits.
    pub(crate) runs: bool,
    /// The length of its block table.
    pub(crate) blocks: u32,
    /// Tokens computed before the pass; for an admission, those found in the prefix cache.
    pub(crate) computed: Tokens,
    /// Tokens scheduled by the pass.
    pub(crate) scheduled: Tokens,
    /// Output tokens that it has.
    pub(crate) generated: Tokens,
    /// How it waits if nothing is known of where it was before; else that tells.
    pub(crate) alone: Option<Status>,
}

impl Seat {
    /// The outputs that are promised to a running request of which nothing else is known: all that it
    /// had computed beyond its tokens, but for the newest, is a promise.
    fn promised(&self, prompt: Tokens) -> Tokens {
        let known = prompt.saturating_add(self.generated);
        self.computed.saturating_add(Tokens(1)).saturating_sub(known)
    }
}

/// What the passes in flight hold of a request.
#[derive(Clone, Copy, Debug, Default)]
struct Flight {
    tokens: Tokens,
    stale: Tokens,
    promised: Tokens,
}

impl<K: KvCache> Scheduler<K> {
    /// Takes over what another scheduler decided instead of `pass`, the pass that was just run: the
    /// queues in the order of `seats`, and their tokens. `flying` are the passes that were in flight.
    /// The cache is the caller's, as it depends on what is known of blocks.
    ///
    /// Returns the pass that the other one ran, or `None`, with nothing changed, where it cannot be the
    /// outcome of a pass from here.
    pub(crate) fn adopt<'p>(
        &mut self,
        pass: &Pass,
        seats: &[Seat],
        flying: impl Iterator<Item = &'p Pass> + Clone,
    ) -> Option<Pass> {
        if !self.can_adopt(seats, pass, flying.clone()) {
            return None;
        }
        let befores: Vec<_> =
            seats.iter().map(|seat| self.status_before(seat.slot, pass)).collect();
        let (step, budget, cap) = (pass.step, pass.budget, pass.prefill_cap);
        let mut taken = Pass::default();
        taken.reset(step, budget, cap);
        taken.finished.clone_from(&pass.finished);
        for slot in named(pass) {
            self.requests.unpin(slot);
        }
        self.running.clear();
        self.waiting = WaitingQueue::new(self.config.policy);
        for (seat, before) in seats.iter().zip(befores) {
            let flight = in_flight(seat.slot, flying.clone());
            let untouched = !named(pass).any(|slot| slot == seat.slot);
            self.seat(*seat, before, flight, untouched, &mut taken);
        }
        Some(taken)
    }

    /// Puts the waiting requests into another order. Where their arrivals make the order, those that change
    /// places change these, too.
    pub(crate) fn queue_up(&mut self, order: &[Slot]) {
        if self.config.policy == Policy::Priority {
            let arrival = |slot: Slot| self.requests[slot].arrival_time;
            let arrivals: Vec<_> = self.waiting.iter().map(arrival).collect();
            for (slot, arrival) in order.iter().zip(arrivals) {
                self.requests[*slot].arrival_time = arrival;
            }
        }
        self.waiting = WaitingQueue::new(self.config.policy);
        for slot in order {
            self.waiting.push_back(*slot, &self.requests[*slot]);
        }
    }

    /// Makes the arrival of a running request, by which `priority` chooses whom to preempt, another one.
    pub(crate) fn arrive_at(&mut self, slot: Slot, arrival: Nanos) {
        self.requests[slot].arrival_time = arrival;
    }

    /// Whether the seats name everybody in the queues, and leave nobody with more than it can have.
    fn can_adopt<'p>(
        &self,
        seats: &[Seat],
        pass: &Pass,
        flying: impl Iterator<Item = &'p Pass> + Clone,
    ) -> bool {
        let mut seen: HashSet<Slot, FxBuildHasher> = HashSet::default();
        seats.len() == self.running.len() + self.waiting.len()
            && seats.iter().all(|seat| {
                let request = &self.requests[seat.slot];
                let flight = in_flight(seat.slot, flying.clone());
                let drafts = self.config.num_speculative_tokens();
                let known = request.prompt_len.saturating_add(seat.generated);
                let promised = self.promised(seat, flight);
                let most = known.saturating_add(promised).saturating_add(drafts);
                let resumes_stale = seat.runs
                    && seat.alone.is_none()
                    && self.status_before(seat.slot, pass) == Status::Preempted
                    && flight.stale > Tokens::ZERO;
                seen.insert(seat.slot)
                    && !request.is_finished()
                    && !resumes_stale
                    && Blocks(seat.blocks) <= self.config.usable_blocks()
                    && known <= self.config.max_model_len
                    && seat.computed.saturating_add(seat.scheduled) <= most
            })
    }

    /// What is promised to a request that runs.
    fn promised(&self, seat: &Seat, flight: Flight) -> Tokens {
        match seat.alone {
            Some(_) if !self.config.async_scheduling => Tokens::ZERO,
            Some(_) => seat.promised(self.requests[seat.slot].prompt_len),
            None => flight.promised,
        }
    }

    /// Where a request was before the pass that was just run.
    pub(crate) fn status_before(&self, slot: Slot, pass: &Pass) -> Status {
        if pass.preempted.iter().any(|victim| victim.slot == slot) {
            return Status::Running;
        }
        match pass.entries.iter().find(|entry| entry.slot == slot).map(|entry| entry.kind) {
            Some(Kind::New) => Status::Waiting,
            Some(Kind::Resumed) => Status::Preempted,
            _ => self.requests[slot].status,
        }
    }

    /// Puts one request in its place; `untouched` if the pass that is undone left it alone.
    fn seat(
        &mut self,
        seat: Seat,
        before: Status,
        flight: Flight,
        untouched: bool,
        taken: &mut Pass,
    ) {
        let drafting = self.config.num_speculative_tokens();
        let promised = self.promised(&seat, flight);
        let request = &mut self.requests[seat.slot];
        request.len = request.prompt_len + seat.generated;
        request.blocks.clear();
        request.blocks.resize(seat.blocks as usize, BlockId::default());
        request.cached_blocks = request.cached_blocks.min(seat.blocks);
        request.in_flight = flight.tokens;
        request.stale = flight.stale;
        let proposed = std::mem::replace(&mut request.spec, Tokens::ZERO);
        if !seat.runs {
            request.computed = Tokens::ZERO;
            request.placeholders = Tokens::ZERO;
            request.cached_blocks = 0;
            request.status = seat.alone.unwrap_or(before);
            if seat.alone.is_some() {
                request.stale = request.in_flight;
            } else if before == Status::Running {
                request.status = Status::Preempted;
                request.stale = request.in_flight;
                request.preemptions += 1;
            }
            self.waiting.push_back(seat.slot, &self.requests[seat.slot]);
            return;
        }
        request.status = Status::Running;
        request.placeholders = promised;
        request.computed = seat.computed + seat.scheduled;
        let known = request.len + request.placeholders;
        if seat.scheduled > Tokens::ZERO {
            request.pins += 1;
            request.in_flight += seat.scheduled;
            request.prefilling = request.computed < known;
            let kind = match before {
                Status::Waiting => Kind::New,
                Status::Preempted => Kind::Resumed,
                Status::Running | Status::Finished(_) => Kind::Running,
            };
            let hit = if kind == Kind::Running { Tokens::ZERO } else { seat.computed };
            let drafts = request.computed.saturating_sub(known).min(drafting);
            if self.config.async_scheduling && !request.prefilling {
                asynchronous::promise_output(request, drafts, drafting);
            }
            taken.total_tokens += seat.scheduled;
            taken.entries.push(BatchEntry {
                slot: seat.slot,
                kind,
                bound: TokenBound::Demand,
                prefill: request.prefilling,
                samples: !request.prefilling,
                tokens: seat.scheduled,
                computed: seat.computed,
                hit,
                drafts,
                new_from: 0,
                allocated: Blocks::ZERO,
            });
        } else if untouched {
            request.spec = proposed;
        } else {
            // It keeps what was proposed to it; its next row tells how much of that is used.
            request.prefilling = request.computed + Tokens(1) < known;
            request.spec = if request.prefilling { Tokens::ZERO } else { drafting };
        }
        self.running.push(seat.slot);
    }
}

/// The requests that a pass keeps from being forgotten, but for those whose end it hands out.
fn named(pass: &Pass) -> impl Iterator<Item = Slot> + '_ {
    let entries = pass.entries.iter().map(|entry| entry.slot);
    let preempted = pass.preempted.iter().map(|victim| victim.slot);
    entries.chain(preempted).chain(pass.set_aside.iter().copied()).chain(pass.stopped_at)
}

/// The outputs that passes in flight promise to a request.
pub(crate) fn promised<'p>(slot: Slot, flying: impl Iterator<Item = &'p Pass>) -> Tokens {
    in_flight(slot, flying).promised
}

fn in_flight<'p>(slot: Slot, flying: impl Iterator<Item = &'p Pass>) -> Flight {
    let mut flight = Flight::default();
    for pass in flying {
        if pass.preempted.iter().any(|victim| victim.slot == slot) {
            flight.stale = flight.tokens;
            flight.promised = Tokens::ZERO;
        }
        if let Some(entry) = pass.entries.iter().find(|entry| entry.slot == slot) {
            flight.tokens += entry.tokens;
            if entry.samples {
                flight.promised += Tokens(1) + entry.drafts;
            }
        }
    }
    flight
}
