//! A pass of the reference in the place of a step of the log.

use crate::conform::explain::explain;
use crate::conform::log::cache::Cache;
use crate::conform::log::compare::Sight;
use crate::conform::log::counted::{Admitted, Told};
use crate::conform::log::group::Group;
use crate::conform::log::replay::{Flying, Judged, Replay};
use crate::conform::log::sides::{self, is_of_reference};
use crate::conform::log::verdict::{Difference, KEPT, LogDivergence, LogMoment, Void};
use crate::log::reader::Located;
use crate::log::schema::{IterationRequestRow, Table};
use crate::log::values::{EventType, State, WaitingReason};
use crate::scheduler::{Kind, Pass, Status};
use crate::units::{Blocks, Tokens};

impl Replay<'_> {
    /// Runs a pass and compares it with the step; the file that ends before it has told enough of it.
    pub(super) fn decide(&mut self, group: Group) -> Result<Option<Table>, Void> {
        self.counts.compared += 1;
        let mut pass = self.spare.pop().unwrap_or_default();
        let depth = self.config.max_concurrent_batches as usize;
        if self.in_flight.len() >= depth {
            let flying = self.in_flight.len();
            let difference = Difference {
                field: "batches in flight",
                request: None,
                logged: format!("the step begins while {flying} batches are in flight"),
                reference: format!(
                    "at most {depth} may be, this one included (max_concurrent_batches)"
                ),
                at: group.step.at(),
            };
            pass = Pass::default();
            self.diverge(&group, &pass, LogMoment::Decision, &[difference]);
            self.counts.different += 1;
            self.lose();
            return Ok(None);
        }
        self.learn_from_rows(&group);
        self.tell_the_cache(&group);
        let may_have_given_up = self.hidden_may_have_given_up();
        // Who is resumed is known before the pass.
        let drafts_told = !self.drafts_are_summed() || self.are_drafts_told(&group);
        let Some(outcome) = self.run_pass(&group, &mut pass) else {
            self.counts.compared -= 1;
            return Ok(Some(Table::PerRequest));
        };
        if let Err(assertion) = outcome {
            let difference = Difference {
                field: "assertion",
                request: None,
                logged: "the step goes on".to_owned(),
                reference: format!("vLLM's scheduler fails an assertion: {assertion}"),
                at: group.step.at(),
            };
            self.diverge(&group, &Pass::default(), LogMoment::Decision, &[difference]);
            self.counts.different += 1;
            self.lose();
            return Ok(None);
        }
        if self.lacks_keys() {
            // Whom the step preempted is in the queue now.
            self.order_ties(&group);
        }
        let sight = self.sight(&group, &pass);
        let (differences, evictions) = (sight.differences(), sight.evictions());
        if differences.is_empty() {
            self.count(&pass);
            self.count_evictions(evictions);
            if let Cache::Counted(cache) = self.scheduler.kv_cache_mut() {
                cache.settle(group.step.row.kv_cache_used);
            }
            let pass =
                if self.always_take_over { self.rebuild(&group, &pass)? } else { Some(pass) };
            self.tape.forget_decisions(&group);
            match pass {
                Some(pass) => {
                    self.in_flight.push_back(Flying { group, pass, judged: Judged::Same });
                }
                None => self.lose(),
            }
            return Ok(None);
        }
        if may_have_given_up {
            self.counts.compared -= 1;
            return Ok(Some(Table::Events));
        }
        let guessed =
            matches!(self.scheduler.kv_cache_mut(), Cache::Counted(cache) if cache.guessed);
        let other_drafts = Self::may_be_other_drafts(drafts_told, &pass);
        let judged = if guessed || other_drafts {
            self.counts.compared -= 1;
            *if guessed { &mut self.undecided } else { &mut self.undrafted } += 1;
            Judged::Open
        } else {
            self.diverge(&group, &pass, LogMoment::Decision, &differences);
            self.counts.different += 1;
            self.count_evictions(evictions);
            Judged::Different
        };
        let taken = self.take_over(&group, pass, &differences)?;
        self.tape.forget_decisions(&group);
        if let Some(pass) = taken {
            self.in_flight.push_back(Flying { group, pass, judged });
        }
        Ok(None)
    }

    pub(super) fn sight<'a>(&'a self, group: &'a Group, pass: &'a Pass) -> Sight<'a> {
        Sight {
            group,
            pass,
            scheduler: &self.scheduler,
            tape: &self.tape,
            live: &self.live,
            owners: &self.owners,
        }
    }

    fn count(&mut self, pass: &Pass) {
        let counts = &mut self.counts;
        let of_kind = |kind| pass.entries.iter().filter(|entry| entry.kind == kind).count() as u64;
        counts.same += 1;
        counts.scheduled += pass.entries.len() as u64;
        counts.admitted += of_kind(Kind::New);
        counts.resumed += of_kind(Kind::Resumed);
        counts.preempted += pass.preempted.len() as u64;
        counts.waiting += self.scheduler.waiting_len() as u64;
    }

    fn count_evictions(&mut self, evictions: Option<(Blocks, Blocks)>) {
        match evictions {
            Some((fewest, most)) if fewest == most => self.counts.evictions += 1,
            Some(_) => self.counts.evictions_bounded += 1,
            None => {}
        }
    }

    /// What the rows tell of inputs that the log does not state: how many drafts were proposed, and
    /// which limit a request had that ended otherwise.
    fn learn_from_rows(&mut self, group: &Group) {
        let drafting = self.config.speculative.is_some() && !self.config.async_scheduling;
        if self.drafts_are_summed() {
            self.learn_drafts(group);
        } else if drafting {
            for row in group.running() {
                let Some(live) = self.live.get(&row.row.request_id) else { continue };
                let request = self.scheduler.request(live.slot);
                let known = request.total_tokens().saturating_sub(request.computed_tokens());
                if let Some(tokens) = row.row.scheduled_tokens.filter(|n| *n > Tokens::ZERO) {
                    self.scheduler.keep_drafts(live.slot, tokens.saturating_sub(known));
                }
            }
        } else if self.config.async_scheduling && self.tape.tells_tokens {
            self.learn_limits(group);
        }
    }

    /// What a cache without contents has to be told of the step.
    pub(super) fn tell_the_cache(&mut self, group: &Group) {
        let caching = self.config.enable_prefix_caching;
        let told = if caching { self.told(group) } else { Told::default() };
        if let Cache::Counted(cache) = self.scheduler.kv_cache_mut() {
            cache.told = told;
            cache.taken = Blocks::ZERO;
            cache.guessed = false;
        }
    }

    /// What an admission of a step found in the prefix cache, by its row or its event.
    pub(super) fn hit_of(
        &self,
        group: &Group,
        row: &Located<IterationRequestRow>,
    ) -> Option<Tokens> {
        let by_event = |kind| {
            let event = self.tape.decision(group.id(), kind, row.row.request_id)?;
            event.details.cached_tokens
        };
        let events = [EventType::RequestScheduled, EventType::RequestResumed];
        row.row.computed_tokens.or_else(|| events.into_iter().find_map(by_event))
    }

    /// Whether an admission of a step has no event that tells what it found, although only that would.
    pub(super) fn lacks_hits(&self, group: &Group) -> bool {
        let counted = matches!(self.scheduler.kv_cache(), Cache::Counted(_));
        let open = self.config.enable_prefix_caching && counted && !self.tape.tells_tokens;
        open && group.running().any(|row| {
            let live = self.live.get(&row.row.request_id);
            live.is_some_and(|it| self.scheduler.request(it.slot).status() != Status::Running)
                && self.hit_of(group, row).is_none()
        })
    }

    fn told(&self, group: &Group) -> Told {
        let mut told = Told::default();
        for row in group.running() {
            let Some(live) = self.live.get(&row.row.request_id) else { continue };
            let request = self.scheduler.request(live.slot);
            if request.status() != Status::Running {
                let hit = self.hit_of(group, row).unwrap_or(Tokens::ZERO);
                let admitted = Admitted { hit, blocks: row.row.kv_cache_blocks };
                told.to_come += admitted.blocks;
                told.admitted.insert(request.id().clone(), admitted);
            }
        }
        let whole = group.running().count() == group.step.row.running_count.0 as usize;
        told.used = whole.then_some(group.step.row.kv_cache_used);
        let mut scheduled_behind = false;
        for &slot in self.scheduler.running().iter().rev() {
            let row = group.queued_row(self.owners[slot.index()]);
            let id = self.scheduler.request(slot).id();
            match row {
                Some(row) if row.row.state == State::Running => {
                    let scheduled = row.row.scheduled_tokens;
                    scheduled_behind |= scheduled.is_none_or(|tokens| tokens > Tokens::ZERO);
                }
                _ => {
                    told.preempted.insert(id.clone());
                    if !scheduled_behind {
                        told.last.insert(id.clone());
                    }
                }
            }
        }
        told.preemptions = told.preempted.len();
        let reasons = group.waiting().filter_map(|row| row.row.waiting_reason);
        let of_one = |reason| {
            matches!(reason, WaitingReason::Preempted | WaitingReason::WaitingForOutput)
                || !is_of_reference(reason)
        };
        told.stop = reasons.into_iter().find(|reason| !of_one(*reason));
        told.stop_hidden = told.stop.is_none() && self.tape.dialect.hides_waiting();
        told
    }

    /// Notes a divergence.
    pub(super) fn diverge(
        &mut self,
        group: &Group,
        pass: &Pass,
        moment: LogMoment,
        differences: &[Difference],
    ) {
        self.diverged += 1;
        self.first = self.first.or(Some(group.id()));
        if self.divergences.len() < KEPT {
            let rows = group.queued.first().map(|row| row.at());
            let ended = group.completed.last().map(|done| done.at);
            let ended = ended.filter(|at| at.table == Table::PerIterationRequests);
            let last = ended.or(group.queued.last().map(|row| row.at()));
            self.divergences.push(LogDivergence {
                iteration: group.id(),
                moment,
                differences: differences.to_vec(),
                iteration_row: group.step.at(),
                rows: rows.zip(last),
                logged: sides::logged(group, &self.tape.ids, self.config.max_num_scheduled_tokens),
                reference: sides::reference(&self.scheduler, pass),
                reasons: explain(&self.scheduler, pass),
            });
        }
    }
}
