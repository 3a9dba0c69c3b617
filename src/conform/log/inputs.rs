//! What reaches the engine from outside: arrivals and aborts.
//!
//! Moments that may be one (they are equal, or in a log with clock skew nearly so) do not tell what
//! came first; then the rows of the step do.

use crate::config::Policy;
use crate::conform::log::ends::End;
use crate::conform::log::group::Group;
use crate::conform::log::replay::{Live, Replay};
use crate::conform::log::tape::{Arrived, Dropped};
use crate::conform::log::verdict::Void;
use crate::log::ids::{Ids, RequestKey};
use crate::log::values::FinishReason;
use crate::scheduler::{NewRequest, Pass, Slot, Status};
use crate::units::{Nanos, Priority, RequestId, Requests, TokenId, TokenRun, Tokens};

/// Before what aborts are carried out.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    /// The pass of a step.
    Pass(&'a Group),
    /// The output of a step.
    Output(&'a Group, &'a Pass),
}

impl Replay<'_> {
    /// Hands in the requests that arrived before a step. One that arrived at the very moment at which
    /// the step begins came before or after it (a step may take no time at all): the step's rows tell.
    pub(super) fn hand_in(&mut self, group: &Group) -> Result<(), Void> {
        let start = group.moments.start;
        let mut due = Vec::new();
        let mut at = 0;
        let latest = self.tape.latest(start);
        while let Some(arrived) = self.tape.mail.get(at).copied().filter(|next| next.at <= latest) {
            let may_be_later = self.tape.latest(arrived.at) >= start;
            if may_be_later && group.queued_row(arrived.key).is_none() {
                at += 1;
                continue;
            }
            let _ = self.tape.mail.remove(at);
            due.push(arrived);
        }
        let mut due: Vec<_> = due
            .into_iter()
            .filter(|arrived| !self.early.remove(&arrived.key))
            .map(|arrived| (arrived, self.tape.end_of(arrived.key)))
            .collect();
        if self.tape.slack > Nanos::ZERO {
            // Of stamps that are so near, per_request.csv tells which is the earlier moment, and of what
            // arrived at once how it queues up.
            let near = |one: &(Arrived, Option<End>), other: &(Arrived, Option<End>)| {
                self.tape.may_be_at(one.0.at, other.0.at)
            };
            for batch in due.chunk_by_mut(near) {
                if batch.iter().all(|(_, end)| end.is_some()) {
                    batch.sort_by_key(|(arrived, end)| {
                        let place = group.position(arrived.key).unwrap_or(usize::MAX);
                        (end.map(|end| end.arrival), place)
                    });
                }
            }
        }
        if self.tells_order_of_ties() {
            let ties = |one: &(Arrived, Option<End>), other: &(Arrived, Option<End>)| {
                self.are_at_once((one.0.at, one.1), (other.0.at, other.1))
            };
            sort_ties(&mut due, ties, |(arrived, end)| place_in(group, arrived.key, *end));
        }
        due.into_iter().try_for_each(|(arrived, end)| self.add(&arrived, end))
    }

    /// Whether the rows tell in which order requests of one moment came: under `priority` the reference orders them
    /// by their ids, but where the moment is one of a coarse clock only.
    fn tells_order_of_ties(&self) -> bool {
        self.config.policy == Policy::Fcfs || self.lacks_keys()
    }

    /// Whether nothing tells which of two requests arrived first.
    fn are_at_once(&self, one: (Nanos, Option<End>), other: (Nanos, Option<End>)) -> bool {
        match (one.1, other.1) {
            (Some(one), Some(other)) if self.tape.slack > Nanos::ZERO => {
                one.arrival == other.arrival
            }
            _ => self.tape.may_be_at(one.0, other.0),
        }
    }

    /// In a dialect without rows of those that wait, who arrived at once stands in the order in which they
    /// are admitted: that tells how they queued up. Of those that one step admits later, the events do. Where the
    /// clock does not tell in which order `priority` serves them, the rows do, too.
    pub(super) fn order_ties(&mut self, group: &Group) {
        let by_rows = self.config.policy == Policy::Fcfs && self.tape.hides(Status::Waiting);
        if !by_rows && !self.lacks_keys() {
            return;
        }
        let queue: Vec<_> = self.scheduler.waiting().collect();
        let mut sorted = queue.clone();
        let waits = |slot: Slot| self.scheduler.request(slot).status() == Status::Waiting;
        let arrival = |slot: Slot| {
            let end = self.live.get(&self.owners[slot.index()]).and_then(|live| live.end);
            let (urgency, arrival) = self.told_key(slot);
            (urgency, (arrival, end))
        };
        let ties = |one: &Slot, other: &Slot| {
            let ((urgency, at), (other_urgency, other_at)) = (arrival(*one), arrival(*other));
            let wait = self.lacks_keys() || waits(*one) && waits(*other);
            urgency == other_urgency && wait && self.are_at_once(at, other_at)
        };
        let place = |slot: &Slot| {
            let key = self.owners[slot.index()];
            // When it was scheduled first says nothing of one that was preempted.
            let end = self.live.get(&key).and_then(|live| live.end).filter(|_| waits(*slot));
            place_in(group, key, end)
        };
        sort_ties(&mut sorted, ties, place);
        if sorted != queue {
            self.scheduler.queue_up(&sorted);
        }
    }

    /// Hands in those that arrived as a step began and have no row in it because they wait, in a
    /// dialect without such rows: as many as the step counts.
    pub(super) fn hand_in_hidden(&mut self, group: &Group) -> Result<(), Void> {
        if !self.tape.hides(Status::Waiting) {
            return Ok(());
        }
        let latest = self.tape.latest(group.moments.start);
        while self.live.len() < group.alive() {
            let Some(arrived) = self.tape.mail.front().copied().filter(|next| next.at <= latest)
            else {
                break;
            };
            self.tape.mail.pop_front();
            self.arrive(&arrived)?;
        }
        Ok(())
    }

    /// Takes in one request.
    pub(super) fn arrive(&mut self, arrived: &Arrived) -> Result<(), Void> {
        if self.early.remove(&arrived.key) {
            return Ok(());
        }
        let end = self.tape.end_of(arrived.key);
        self.add(arrived, end)
    }

    fn add(&mut self, arrived: &Arrived, end: Option<End>) -> Result<(), Void> {
        let Some(input) = arrived.input.or(end.map(|end| end.input)) else {
            self.has_stranger = true;
            return Ok(());
        };
        if input == Tokens::ZERO || input >= self.config.max_model_len {
            // Such a prompt never reaches the scheduler.
            return Ok(());
        }
        let priority = arrived.priority.or(end.and_then(|end| end.priority));
        if priority.is_none() && end.is_some() && self.config.policy == Policy::Priority {
            return Err(Void::NoPriority);
        }
        // The stamp of the event may be late; two requests are told apart by the moment itself.
        let exact = end.map(|end| end.arrival).filter(|_| self.tape.slack > Nanos::ZERO);
        let arrival_time = self.key(exact.unwrap_or(arrived.at));
        let id = self.tape.ids.id(arrived.key);
        let traced = match &mut self.prompts {
            Some(prompts) => Some(prompts.take(id, input)?),
            None => None,
        };
        let length = |end: End| (end.reason == Some(FinishReason::Length)).then_some(end.output);
        let (ordinal, max_tokens) = match &traced {
            Some(request) => (Some(request.ordinal), request.max_tokens),
            None => (None, end.and_then(length).unwrap_or(self.config.max_model_len)),
        };
        let unknown = || vec![TokenRun { first: TokenId(0), len: input }];
        let slot = self.scheduler.add_request(NewRequest {
            id: RequestId::from(id),
            prompt: traced.map_or_else(unknown, |request| request.prompt),
            max_tokens,
            priority: priority.unwrap_or(Priority(0)),
            arrival_time,
            cache_salt: None,
            skip_reading_prefix_cache: false,
        });
        if self.owners.len() <= slot.index() {
            self.owners.resize(slot.index() + 1, arrived.key);
        }
        self.owners[slot.index()] = arrived.key;
        self.live.insert(arrived.key, Live { slot, end, ordinal });
        Ok(())
    }

    /// Carries out the aborts that are due.
    pub(super) fn abort_due(&mut self, before: Before<'_>) {
        let mut at = 0;
        while let Some(dropped) = self.tape.dropped.get(at).copied() {
            let live = self.live.get(&dropped.key).copied();
            if !self.is_due(dropped, live, before) {
                at += 1;
                continue;
            }
            let _ = self.tape.dropped.remove(at);
            let reason = live.and_then(|live| live.end).and_then(|end| end.reason);
            // If nothing says why it ended, no output did: that would have left a row.
            let no_row = reason.is_none() && !self.tape.ends_by_event();
            if !dropped.sure && !reason.is_some_and(FinishReason::is_drop) && !no_row {
                continue;
            }
            match live {
                Some(live) => {
                    self.scheduler.abort(live.slot);
                    self.live.remove(&dropped.key);
                }
                // It never got as far as the scheduler.
                None => self.tape.mail.retain(|arrived| arrived.key != dropped.key),
            }
        }
    }

    fn is_due(&self, dropped: Dropped, live: Option<Live>, before: Before<'_>) -> bool {
        let (Before::Pass(group) | Before::Output(group, _)) = before;
        let known = dropped.sure || live.is_some();
        // Why it ended is asked once it has arrived.
        let to_come = !known && self.tape.mail.iter().any(|arrived| arrived.key == dropped.key);
        if to_come || !dropped.sure && self.is_completed(dropped.key, before) {
            return false;
        }
        match before {
            Before::Pass(_) => {
                let start = group.moments.start;
                if !self.tape.may_be_at(dropped.at, start) {
                    return dropped.at < start;
                }
                let Some(live) = live else { return true };
                let status = self.scheduler.request(live.slot).status();
                let hidden = self.tape.hides(status) && self.live.len() <= group.alive();
                group.queued_row(dropped.key).is_none() && !hidden
            }
            Before::Output(_, pass) => {
                let sampled = |live: Live| {
                    pass.entries.iter().any(|entry| entry.slot == live.slot && entry.samples)
                };
                // One that is to get more tokens than it has was given this output.
                let gets = live.filter(|live| sampled(*live)).and_then(|live| {
                    let known = self.scheduler.request(live.slot).output_tokens();
                    live.end.map(|end| end.output > known)
                });
                let output = group.moments.output;
                match gets {
                    Some(gets) => !gets && dropped.at <= self.tape.latest(output),
                    // Whether it is an abort at all is seen from the rows of the next step.
                    None if !dropped.sure && !is_told(live) => false,
                    None => dropped.at <= output,
                }
            }
        }
    }

    /// Whether a step whose output is not processed has the request's `completed` row.
    fn is_completed(&self, key: RequestKey, before: Before<'_>) -> bool {
        let of_output = match before {
            Before::Pass(_) => None,
            Before::Output(group, _) => Some(group),
        };
        let in_flight = self.in_flight.iter().map(|flying| &flying.group);
        in_flight.chain(of_output).any(|group| group.completed_by(key).is_some())
    }

    /// Behind the end of events.csv nothing tells of aborts: who may have given up and has no row any
    /// more has done so. Where preempted requests have no rows, a step that preempts may have preempted it.
    pub(super) fn abort_untold(&mut self, group: &Group) {
        if !self.tape.events_ended() {
            return;
        }
        let preempts =
            self.tape.hides(Status::Preempted) && group.step.row.preempted_count > Requests::ZERO;
        let mut gone: Vec<_> = self
            .without_row(group)
            .filter(|(_, live)| {
                let runs = self.scheduler.request(live.slot).status() == Status::Running;
                live.may_give_up() && !(preempts && runs)
            })
            .map(|(key, live)| (key, live.slot))
            .collect();
        gone.sort_unstable();
        for (key, slot) in gone {
            self.scheduler.abort(slot);
            self.live.remove(&key);
        }
    }

    /// Whether somebody who waits without rows may have given up behind the end of events.csv. Their number
    /// does not tell, as others may have come.
    pub(super) fn hidden_may_have_given_up(&self) -> bool {
        let hidden = |live: &Live| self.tape.hides(self.scheduler.request(live.slot).status());
        self.tape.events_ended()
            && self.live.values().any(|live| live.may_give_up() && hidden(live))
    }

    /// The requests of the reference that have no row in a step and should have.
    pub(super) fn without_row(&self, group: &Group) -> impl Iterator<Item = (RequestKey, Live)> {
        let shown = |live: &Live| !self.tape.hides(self.scheduler.request(live.slot).status());
        self.live
            .iter()
            .filter(move |(key, live)| group.queued_row(**key).is_none() && shown(live))
            .map(|(key, live)| (*key, *live))
    }
}

/// Where a request stands in the queues of a step, those without a row behind the others in the order in which
/// they are scheduled later. Of one that has no row and is never scheduled nothing tells.
fn place_in(group: &Group, key: RequestKey, end: Option<End>) -> Option<(usize, Nanos)> {
    let scheduled = end.and_then(|end| end.scheduled).filter(|at| *at > Nanos::ZERO);
    let position = group.position(key);
    let is_told = position.is_some() || scheduled.is_some();
    is_told.then_some((position.unwrap_or(usize::MAX), scheduled.unwrap_or(Nanos(u64::MAX))))
}

/// Brings those that are ties into the order of their places; none passes one that it is no tie with, or that has
/// no place.
fn sort_ties<T, P: Ord>(
    items: &mut [T],
    ties: impl Fn(&T, &T) -> bool,
    place: impl Fn(&T) -> Option<P>,
) {
    for end in 1..items.len() {
        for at in (1..=end).rev() {
            let (one, other) = (&items[at - 1], &items[at]);
            let behind = place(one).zip(place(other)).is_some_and(|(one, other)| one > other);
            if !behind || !ties(one, other) {
                break;
            }
            items.swap(at - 1, at);
        }
    }
}

impl Live {
    /// Whether nothing says that an output ends it.
    fn may_give_up(self) -> bool {
        self.end.is_none_or(|end| end.reason.is_none_or(FinishReason::is_drop))
    }
}

/// Whether per_request.csv says why a request ended.
fn is_told(live: Option<Live>) -> bool {
    live.and_then(|live| live.end).is_some_and(|end| end.reason.is_some())
}
