//! After a divergence: the reference takes over what the log decided and goes on from there.
//!
//! The rows of a step tell where each of its requests is, with how many tokens and blocks, which is all
//! that the reference needs to be where the log is; what was in flight before is known. Where
//! that cannot be (a request has what it cannot have, which one is gone is open, a row was not read), the
//! reference falls behind. It goes on taking in who arrives and who is over, and takes every step's
//! decision over without comparing it, until it did so with all that is in flight. Where even that
//! cannot be, it has lost the log until the log's engine is empty.

use crate::conform::log::cache::Cache;
use crate::conform::log::counted::CountedCache;
use crate::conform::log::group::Group;
use crate::conform::log::inputs::Before;
use crate::conform::log::replay::{Flying, Judged, Replay, Track};
use crate::conform::log::verdict::{Basis, Difference, Void};
use crate::scheduler::adopt::Seat;
use crate::scheduler::{Pass, Status};
use crate::units::RequestId;

/// Fields that say of where requests are what the rows tell, where those tell tokens.
const SUMS: [&str; 4] = ["batch_size", "total_tokens", "prefill_tokens", "decode_tokens"];

/// Fields that say nothing of where a request is: a wrong one leaves both sides in one state.
const REMARKS: [&str; 12] = [
    "kv_cache_total",
    "kv_cache_used",
    "running_count",
    "waiting_count",
    "preempted_count",
    "admitted_count",
    "resumed_count",
    "preempted requests",
    "admitted requests",
    "resumed requests",
    "evicted_blocks",
    "waiting_reason",
];

impl Replay<'_> {
    /// The pass that brings the reference to where the log is; `None` if it has lost the log.
    pub(super) fn take_over(
        &mut self,
        group: &Group,
        pass: Pass,
        differences: &[Difference],
    ) -> Result<Option<Pass>, Void> {
        let is_remark = |it: &Difference| {
            REMARKS.contains(&it.field) || self.tape.tells_tokens && SUMS.contains(&it.field)
        };
        if differences.iter().all(is_remark) {
            return Ok(Some(pass));
        }
        let taken = self.rebuild(group, &pass)?;
        if taken.is_none() {
            self.fall_behind(Some(&pass));
        }
        Ok(taken)
    }

    /// Puts the reference where the rows of a step say.
    pub(super) fn rebuild(&mut self, group: &Group, pass: &Pass) -> Result<Option<Pass>, Void> {
        self.bring_in(group)?;
        Ok(self.seats(group, pass).and_then(|seats| self.sit_down(group, pass, seats)))
    }

    fn sit_down(&mut self, group: &Group, pass: &Pass, seats: Vec<Seat>) -> Option<Pass> {
        let hits = self.most_hits(&seats, pass);
        let flying = self.in_flight.iter().map(|flying| &flying.pass);
        let taken = self.scheduler.adopt(pass, &seats, flying)?;
        let deepest = match self.scheduler.kv_cache_mut() {
            Cache::Content(_) => u32::MAX,
            Cache::Counted(cache) => cache.deepest(),
        };
        let config = self.config.clone();
        let used = group.step.row.kv_cache_used;
        let cache = CountedCache::at(config, hits.into_iter(), deepest, used);
        *self.scheduler.kv_cache_mut() = Cache::Counted(cache);
        self.counts.taken_over += 1;
        self.forget_content();
        Some(taken)
    }

    /// Where the reference is not where the log is any more, although each step's rows tell where that is;
    /// `pass` is what the reference ran instead.
    pub(super) fn fall_behind(&mut self, pass: Option<&Pass>) {
        let hidden = self.tape.hides(Status::Waiting) || self.tape.hides(Status::Preempted);
        // How many drafts are promised stands in no row.
        let promises = self.config.async_scheduling
            && (self.config.speculative.is_some() || !self.tape.tells_tokens);
        if hidden || promises {
            self.lose();
            return;
        }
        self.track = Track::Behind { taken_over: 0 };
        for flying in std::mem::take(&mut self.in_flight) {
            self.return_nothing(&flying.pass);
        }
        if let Some(pass) = pass {
            self.return_nothing(pass);
        }
    }

    /// Forgets a pass.
    fn return_nothing(&mut self, pass: &Pass) {
        self.output.clear();
        self.scheduler.update_from_output(pass, &self.output, &mut self.update);
    }

    /// Takes the decision of a step over without comparing it; `taken_over` of those before it were so.
    pub(super) fn catch_up(&mut self, group: Group, taken_over: u32) -> Result<(), Void> {
        self.hand_in(&group)?;
        self.abort_due(Before::Pass(&group));
        self.has_stranger = false;
        self.tell_the_cache(&group);
        let mut pass = self.spare.pop().unwrap_or_default();
        if self.scheduler.schedule(&mut pass).is_err() {
            self.lose();
            return Ok(());
        }
        let depth = self.config.max_concurrent_batches;
        let known = group.queued.iter().all(|row| self.live.contains_key(&row.row.request_id));
        let told = known && !group.damaged && self.in_flight.len() < depth as usize;
        let taken = if told { self.rebuild(&group, &pass)? } else { None };
        self.tape.forget_decisions(&group);
        match taken {
            Some(pass) => {
                self.in_flight.push_back(Flying { group, pass, judged: Judged::Skipped });
                let taken_over = taken_over + 1;
                self.track = match taken_over < depth {
                    true => Track::Behind { taken_over },
                    false => Track::Following,
                };
            }
            None => {
                self.fall_behind(Some(&pass));
                for done in &group.completed {
                    if let Some(live) = self.live.remove(&done.key) {
                        self.scheduler.abort(live.slot);
                    }
                }
            }
        }
        Ok(())
    }

    /// From here on only the log tells what is found in the prefix cache.
    pub(super) fn forget_content(&mut self) {
        if self.config.enable_prefix_caching {
            self.basis = Basis::HitsFromLog;
        }
    }

    /// Each request's table, and the most blocks of it that may be shared.
    fn most_hits(&self, seats: &[Seat], pass: &Pass) -> Vec<(RequestId, u32, u32)> {
        let caching = self.config.enable_prefix_caching;
        let tables = seats.iter().map(|seat| {
            let request = self.scheduler.request(seat.slot);
            let ran = self.scheduler.status_before(seat.slot, pass) == Status::Running;
            let kept = ran && request.status() == Status::Running;
            let most = match self.scheduler.kv_cache() {
                _ if !caching => 0,
                _ if seat.alone.is_some() => seat.blocks,
                // What an admission found is told by its row, whatever the reference did with it.
                _ if !ran => seat.computed.0 / self.config.block_size,
                Cache::Counted(cache) if kept => cache.hits_of(request.id()),
                // Which of its blocks are shared is not known any more.
                _ => seat.blocks,
            };
            (request.id().clone(), seat.blocks, most.min(seat.blocks))
        });
        tables.collect()
    }
}
