//! The order of the priority policy where the clock is so coarse that the log does not tell it: of requests that
//! arrived within one unit the rows tell who comes first.

use crate::config::Policy;
use crate::conform::log::group::Group;
use crate::conform::log::replay::Replay;
use crate::log::dialect::COARSE;
use crate::log::values::State;
use crate::scheduler::Slot;
use crate::units::{Nanos, Priority};

impl Replay<'_> {
    /// Whether the reference would order by moments that the clock does not tell apart.
    pub(super) fn lacks_keys(&self) -> bool {
        self.config.policy == Policy::Priority && self.tape.dialect.is_coarse
    }

    /// The arrival by which the reference is to order a request: behind those that came before it within one unit.
    pub(super) fn key(&mut self, arrival: Nanos) -> Nanos {
        if !self.lacks_keys() {
            return arrival;
        }
        let (last, before) = self.last_arrival;
        let before = if last == arrival { before + 1 } else { 0 };
        self.last_arrival = (arrival, before);
        arrival.saturating_add(Nanos(before.min(COARSE.0 - 1)))
    }

    /// What the log tells of the order of a request.
    pub(super) fn told_key(&self, slot: Slot) -> (Priority, Nanos) {
        let request = self.scheduler.request(slot);
        let arrival = request.arrival_time();
        if self.lacks_keys() {
            return (request.priority(), Nanos(arrival.0 / COARSE.0 * COARSE.0));
        }
        (Priority(0), arrival)
    }

    /// Whom a step preempts came last of those that arrived within one unit.
    pub(super) fn settle_victims(&mut self, group: &Group) {
        if !self.lacks_keys() {
            return;
        }
        let stays = |slot: &Slot| {
            let row = group.queued_row(self.owners[slot.index()]);
            row.is_some_and(|row| row.row.state == State::Running)
        };
        let (mut stay, leave): (Vec<_>, Vec<_>) =
            self.scheduler.running().iter().copied().partition(stays);
        let arrival = |replay: &Self, slot: Slot| replay.scheduler.request(slot).arrival_time();
        for victim in leave {
            let told = self.told_key(victim);
            stay.sort_by_key(|slot| arrival(self, *slot));
            let last = stay.iter().rev().copied().find(|slot| self.told_key(*slot) == told);
            let Some(last) = last else { continue };
            let (its, own) = (arrival(self, last), arrival(self, victim));
            if its > own {
                self.scheduler.arrive_at(last, own);
                self.scheduler.arrive_at(victim, its);
            }
        }
    }
}
