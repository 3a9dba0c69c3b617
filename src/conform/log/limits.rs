//! Which limit a request had that ended otherwise. An asynchronous scheduler passes a request over once the
//! outputs in flight are certain to reach its limit, so it matters one pass before the end.
//!
//! Where rows tell tokens, they tell who is passed over. Where they do not, the step as a whole does:
//! the reference tries who it may be, and any way in which it decides as logged is as good as
//! another, as those requests end with what is in flight.

use crate::conform::log::ends::End;
use crate::conform::log::group::Group;
use crate::conform::log::replay::Replay;
use crate::log::dialect::Habit;
use crate::log::reader::Located;
use crate::log::schema::IterationRequestRow;
use crate::log::values::FinishReason;
use crate::scheduler::asynchronous::is_sure_to_end;
use crate::scheduler::{Pass, Request, SchedulerAssertion, Slot};
use crate::units::Tokens;

/// A running request that is passed over if its limit is this one, as it may be.
#[derive(Clone, Copy, Debug)]
struct OpenLimit {
    slot: Slot,
    limit: Tokens,
    /// Whether it lacks a block for another token and got none.
    likely: bool,
}

impl Replay<'_> {
    /// Whether the step could have scheduled another running request.
    pub(super) fn has_room(&self, group: &Group) -> bool {
        let step = &group.step.row;
        let slots = self.config.draft_slots();
        let batch = match self.tape.tells_tokens {
            true => group.batch_size(),
            false => step.batch_size.0,
        };
        let charged = u64::from(step.total_tokens.0) + u64::from(slots.0) * (1 + u64::from(batch));
        step.preempted_count.0 == 0
            && step.total_tokens < self.config.max_num_scheduled_tokens
            && charged < u64::from(self.config.max_num_batched_tokens.0)
    }

    /// A running request with output in flight that is passed over although there is room: that output
    /// is certain to be its last one, so its limit is known, be it that it ends otherwise.
    pub(super) fn learn_limits(&mut self, group: &Group) {
        let has_room = self.has_room(group);
        let scheduled =
            |row: &Located<IterationRequestRow>| row.row.scheduled_tokens > Some(Tokens::ZERO);
        // Up to the last that is scheduled there was room, whatever came then.
        let last = group.running().filter(|row| scheduled(row)).last().map(|row| row.line);
        // And for the first of all there is, whatever the step preempts behind it.
        let first = self.scheduler.running().first().copied();
        for row in group.running() {
            let Some(live) = self.live.get(&row.row.request_id) else { continue };
            let request = self.scheduler.request(live.slot);
            // Nearly every request has its limit for an end; so one of which nothing tells it.
            let untold = live.end.is_some_and(|end| {
                end.reason.is_none() && end.output == request.output_tokens() + Tokens(1)
            });
            let certain = has_room || Some(row.line) < last || first == Some(live.slot);
            if !certain && !untold {
                continue;
            }
            let passed_over = row.row.scheduled_tokens == Some(Tokens::ZERO)
                && request.output_placeholders() > Tokens::ZERO
                && request.computed_tokens() + Tokens(1) < self.config.max_model_len;
            if !passed_over || live.ordinal.is_some() {
                continue;
            }
            let limit = request.output_tokens() + Tokens(1);
            if live.end.is_none_or(|end| may_have_had(end, limit)) {
                self.scheduler.lower_max_tokens(live.slot, limit);
            }
        }
    }

    /// Runs the reference's pass; `None` where per_request.csv, which has ended, would have to tell who
    /// is passed over.
    pub(super) fn run_pass(
        &mut self,
        group: &Group,
        pass: &mut Pass,
    ) -> Option<Result<(), SchedulerAssertion>> {
        let (open, untold) = self.open_limits(group);
        if open.is_empty() && !untold {
            return Some(self.scheduler.schedule(pass));
        }
        let before = self.scheduler.clone();
        for passed_over in 0..=open.len() {
            if passed_over > 0 {
                self.scheduler = before.clone();
            }
            for it in &open[..passed_over] {
                self.scheduler.lower_max_tokens(it.slot, it.limit);
            }
            let decided = self.scheduler.schedule(pass).is_ok();
            if decided && self.sight(group, pass).differences().is_empty() {
                return Some(Ok(()));
            }
        }
        self.scheduler = before;
        (!untold).then(|| self.scheduler.schedule(pass))
    }

    /// The requests of which only the step as a whole tells whether they are passed over, the likely ones
    /// first, and whether there are others of which nothing tells how they end.
    fn open_limits(&self, group: &Group) -> (Vec<OpenLimit>, bool) {
        let (mut open, mut untold) = (Vec::new(), false);
        if !self.config.async_scheduling {
            return (open, untold);
        }
        if self.tape.tells_tokens {
            return (self.passed_over_at_the_end(group), untold);
        }
        if self.nobody_else_is_passed_over(group) {
            return (open, untold);
        }
        for &slot in self.scheduler.running() {
            let key = self.owners[slot.index()];
            let request = self.scheduler.request(slot);
            let Some(live) = self.live.get(&key).filter(|live| live.ordinal.is_none()) else {
                continue;
            };
            let Some(limit) = limit_in_flight(request) else { continue };
            let Some(end) = live.end else {
                untold = true;
                continue;
            };
            let grown = group
                .queued_row(key)
                .map_or(0, |row| row.row.kv_cache_blocks.0)
                .checked_sub(request.held_blocks().0);
            if !may_have_had(end, limit) || limit >= request.max_tokens() || grown > Some(0) {
                continue;
            }
            let reached = request.computed_tokens() + Tokens(1);
            let lacks = reached.blocks_ceil(self.config.block_size) > request.held_blocks();
            open.push(OpenLimit { slot, limit, likely: lacks });
        }
        open.sort_by_key(|it| !it.likely);
        (open, untold)
    }

    /// The requests that per_request.csv, which has ended, does not tell of and that a step without room
    /// passes over: for want of room, or because they are about to end. Those that stand first had more room.
    fn passed_over_at_the_end(&self, group: &Group) -> Vec<OpenLimit> {
        let mut open = Vec::new();
        for &slot in self.scheduler.running() {
            let key = self.owners[slot.index()];
            let request = self.scheduler.request(slot);
            let live = self.live.get(&key);
            let told = live.is_none_or(|live| live.end.is_some() || live.ordinal.is_some());
            let row = group.queued_row(key);
            let got = row.is_none_or(|row| row.row.scheduled_tokens != Some(Tokens::ZERO));
            if told || got {
                continue;
            }
            let Some(limit) = limit_in_flight(request) else { continue };
            if limit < request.max_tokens() {
                open.push(OpenLimit { slot, limit, likely: true });
            }
        }
        open
    }

    /// Whether a step that had room for more scheduled all running requests but those that are known to
    /// be passed over.
    fn nobody_else_is_passed_over(&self, group: &Group) -> bool {
        let step = &group.step.row;
        if self.tape.dialect.has(Habit::BatchIsRunning) || !self.has_room(group) {
            return false;
        }
        let running = self.scheduler.running().iter();
        let known = running.filter(|slot| is_sure_to_end(self.scheduler.request(**slot))).count();
        step.batch_size.0 as usize + known == step.running_count.0 as usize
    }
}

/// Whether a request that ends so may have had this limit, which it need not have reached.
fn may_have_had(end: End, limit: Tokens) -> bool {
    match end.reason {
        Some(FinishReason::Length) => false,
        Some(FinishReason::Stop) | None => end.output <= limit,
        _ => end.output < limit,
    }
}

/// The limit that the outputs in flight are certain to reach, even if all their drafts are rejected.
fn limit_in_flight(request: &Request) -> Option<Tokens> {
    let promised = request.output_placeholders();
    let reached = request.computed_tokens() + Tokens(2);
    let limit = reached.saturating_sub(promised).saturating_sub(request.prompt_tokens());
    (promised > Tokens::ZERO && limit > request.output_tokens()).then_some(limit)
}
