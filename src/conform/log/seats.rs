//! Where the log has each request of a step, also those that only one side knows of.
//!
//! A request with rows that the reference does not have is taken in, with what per_request.csv says
//! of it. For one without a row the step's counts tell: if they count it, the row is lost or the
//! dialect has none, and it stands where the reference has it; if they do not, it is gone.

use crate::conform::log::group::Group;
use crate::conform::log::replay::{Replay, Track};
use crate::conform::log::tape::Arrived;
use crate::conform::log::verdict::Void;
use crate::log::values::State;
use crate::scheduler::adopt::Seat;
use crate::scheduler::{Pass, Slot, Status};
use crate::units::Tokens;

/// Requests of the reference without a row, each with its place in the queue.
type Missing = Vec<(usize, Slot)>;

impl Replay<'_> {
    /// Takes in the requests that have rows and of which no arrival was told in time.
    pub(super) fn bring_in(&mut self, group: &Group) -> Result<(), Void> {
        for row in &group.queued {
            let key = row.row.request_id;
            if self.live.contains_key(&key) {
                continue;
            }
            let told = self.tape.mail.iter().position(|arrived| arrived.key == key);
            let told = told.and_then(|at| self.tape.mail.remove(at));
            let at = group.moments.start;
            self.arrive(&told.unwrap_or(Arrived { key, at, input: None, priority: None }))?;
            if told.is_none() && self.live.contains_key(&key) {
                self.early.insert(key);
            }
            // Without a place for it the log is lost anyhow.
            self.has_stranger = false;
        }
        Ok(())
    }

    /// The queues of the log; `None` if somebody's place is open, or how far they got.
    pub(super) fn seats(&mut self, group: &Group, pass: &Pass) -> Option<Vec<Seat>> {
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        let behind = self.track != Track::Following;
        if behind && group.queued.len() != group.alive() {
            return None;
        }
        let amounts = self.amounts(group, pass)?;
        for row in &group.queued {
            let row = &row.row;
            let amount = amounts.get(&row.request_id).copied().unwrap_or_default();
            let seat = Seat {
                slot: self.live.get(&row.request_id)?.slot,
                runs: row.state == State::Running,
                blocks: row.kv_cache_blocks.0,
                computed: amount.computed,
                scheduled: amount.scheduled,
                generated: row.tokens_generated,
                alone: behind.then_some(match row.state {
                    State::Preempted => Status::Preempted,
                    _ => Status::Waiting,
                }),
            };
            if seat.runs { running.push(seat) } else { waiting.push(seat) }
        }
        let step = &group.step.row;
        let counted = |count: u32, seats: &[Seat]| (count as usize).saturating_sub(seats.len());
        let run_without = counted(step.running_count.0, &running);
        let wait_without = counted(step.waiting_count.0, &waiting);
        let missing =
            |(_, slot): &(usize, Slot)| group.queued_row(self.owners[slot.index()]).is_none();
        let in_running = self.scheduler.running().iter().copied().enumerate();
        let run_here: Missing = in_running.filter(missing).collect();
        let wait_here: Missing = self.scheduler.waiting().enumerate().filter(missing).collect();
        // Who runs in the reference and not in the log waits there, if so many are counted.
        let moved = if run_without == 0 && wait_without >= run_here.len() + wait_here.len() {
            run_here.clone()
        } else {
            Missing::new()
        };
        let run_here = if moved.is_empty() { run_here } else { Missing::new() };
        let run_gone = self.gone(&run_here, run_without)?;
        let wait_gone = self.gone(&wait_here, wait_without.saturating_sub(moved.len()))?;
        if !run_gone {
            for (at, slot) in run_here {
                running.insert(at.min(running.len()), self.seat_of(slot, true, pass));
            }
        }
        let ahead = moved.len();
        let wait_here = if wait_gone { Missing::new() } else { wait_here };
        let moved = moved.into_iter().enumerate().map(|(at, (_, slot))| (at, slot));
        for (at, slot) in moved.chain(wait_here.into_iter().map(|(at, slot)| (ahead + at, slot))) {
            waiting.insert(at.min(waiting.len()), self.seat_of(slot, false, pass));
        }
        running.append(&mut waiting);
        Some(running)
    }

    /// Whether the missing are gone, as none of them is counted; then they are so in the reference, too.
    /// `None` if some are counted and some are not.
    fn gone(&mut self, missing: &[(usize, Slot)], counted: usize) -> Option<bool> {
        if missing.len() <= counted {
            return Some(false);
        }
        if counted > 0 {
            return None;
        }
        for (_, slot) in missing {
            self.scheduler.abort(*slot);
            self.live.remove(&self.owners[slot.index()]);
        }
        Some(true)
    }

    /// The place that a request has in the reference.
    fn seat_of(&self, slot: Slot, runs: bool, pass: &Pass) -> Seat {
        let request = self.scheduler.request(slot);
        let generated = request.output_tokens();
        if !runs {
            let (computed, scheduled) = (Tokens::ZERO, Tokens::ZERO);
            return Seat { slot, runs, blocks: 0, computed, scheduled, generated, alone: None };
        }
        let entry = pass.entries.iter().find(|entry| entry.slot == slot);
        Seat {
            slot,
            runs,
            blocks: request.held_blocks().0,
            computed: entry.map_or(request.computed_tokens(), |entry| entry.computed),
            scheduled: entry.map_or(Tokens::ZERO, |entry| entry.tokens),
            generated,
            alone: None,
        }
    }
}
