//! When outputs were processed, and what became of them.

use crate::conform::log::group::Group;
use crate::conform::log::inputs::Before;
use crate::conform::log::replay::{Flying, Judged, Replay};
use crate::conform::log::verdict::{Difference, LogMoment};
use crate::log::ids::{Ids, RequestKey};
use crate::log::moments::Moments;
use crate::log::values::FinishReason;
use crate::scheduler::{Pass, Status, Update};
use crate::units::{Nanos, Tokens};

impl Replay<'_> {
    /// Processes the outputs that were processed before `next`, or all that are left.
    pub(super) fn outputs_before(&mut self, next: Option<&Group>) {
        let until = next.map_or(Nanos::MAX, |next| match self.tape.hides(Status::Preempted) {
            // Who the step preempts is told by its events alone.
            true => next.moments.decided,
            false => next.moments.start,
        });
        self.tape.read_events(self.tape.latest(until));
        while let Some(front) = self.in_flight.front() {
            let moments = front.group.moments;
            if next.is_some_and(|next| !self.is_processed(moments, next.moments)) {
                return;
            }
            let Some(flying) = self.in_flight.pop_front() else { return };
            self.process(flying, next);
        }
    }

    /// Whether the output of the oldest step was processed before a step began.
    ///
    /// Where nothing tells when outputs were processed, when they arrived does: an engine processes one
    /// as soon as it has it, so no step begins in between.
    pub(super) fn is_processed(&self, oldest: Moments, next: Moments) -> bool {
        let hidden = self.tape.dialect.hides_ends();
        let end = if hidden { oldest.output } else { oldest.end };
        let open = if hidden {
            self.tape.may_be_at(end, next.start)
        } else {
            end == next.start && end <= oldest.output
        };
        if !open {
            return end <= next.start;
        }
        // Everything happened at one moment: the order is that of the engine loop, which waits for
        // an output when no further batch may be in flight, or there is none to build.
        let full = self.in_flight.len() >= self.config.max_concurrent_batches as usize;
        let empty = self.in_flight.back().is_some_and(|newest| newest.pass.is_empty());
        full || empty && !self.scheduler.has_requests()
    }

    fn process(&mut self, flying: Flying, next: Option<&Group>) {
        let Flying { mut group, mut pass, judged } = flying;
        self.abort_due(Before::Output(&group, &pass));
        if self.tape.ends_by_event() {
            self.claim_ends(&mut group, &pass, next);
        } else if self.all_over {
            self.claim_recorded_ends(&mut group, &pass, next);
        }
        let told = self.fill_output(&group, &mut pass, next);
        let mut differences = Vec::new();
        self.let_go_on(&group, &pass, next, &mut differences);
        let mut update = std::mem::take(&mut self.update);
        self.scheduler.update_from_output(&pass, &self.output, &mut update);
        self.update_differences(&group, next, &update, &mut differences);
        self.counts.finished += update.finished.len() as u64;
        if self.config.speculative.is_some() && !self.config.async_scheduling && !pass.is_empty() {
            // As many as can be; the next step's row tells how many there were.
            let most = self.config.num_speculative_tokens();
            let drafts = vec![most; pass.entries.len()];
            self.scheduler.update_draft_token_ids(&pass, &drafts);
        }
        for done in &update.finished {
            self.live.remove(&self.owners[done.slot.index()]);
        }
        self.update = update;
        if !told {
            self.untold += 1;
            self.lose();
        }
        if differences.is_empty() {
            self.spare.push(pass);
            return;
        }
        if judged == Judged::Skipped {
            self.end_as_logged(&group, next);
            return;
        }
        self.diverge(&group, &pass, LogMoment::Output, &differences);
        match judged {
            Judged::Same => {
                self.counts.same -= 1;
                self.counts.different += 1;
            }
            Judged::Different | Judged::Open | Judged::Skipped => {}
        }
        self.end_as_logged(&group, next);
    }

    /// A request that reaches its limit with this output and goes on in the log goes on in the
    /// reference, too.
    fn let_go_on(
        &mut self,
        group: &Group,
        pass: &Pass,
        next: Option<&Group>,
        differences: &mut Vec<Difference>,
    ) {
        let Some(next) = next else { return };
        for (index, entry) in pass.entries.iter().enumerate() {
            let tokens = self.output.get(index);
            let key = self.owners[entry.slot.index()];
            let request = self.scheduler.request(entry.slot);
            let after = request.output_tokens() + Tokens(tokens.len() as u32);
            let goes_on = group.completed_by(key).is_none() && next.queued_row(key).is_some();
            if tokens.is_empty() || after < request.max_tokens() || !goes_on {
                continue;
            }
            differences.push(Difference {
                field: "completed",
                request: Some(self.tape.ids.id(key).to_owned()),
                logged: "goes on".to_owned(),
                reference: format!("length after {after}"),
                at: group.step.at(),
            });
            self.scheduler.raise_max_tokens(entry.slot, self.config.max_model_len);
            if let Some(live) = self.live.get_mut(&key) {
                // What per_request.csv says of its end is not so.
                live.end = None;
            }
        }
    }

    /// After a divergence: who is over in the log is over in the reference, too. If the reference
    /// finished somebody who goes on in the log, it has lost the log.
    fn end_as_logged(&mut self, group: &Group, next: Option<&Group>) {
        let finished = self.update.finished.iter().map(|done| self.owners[done.slot.index()]);
        let goes_on = |key| {
            let queued = next.is_some_and(|next| next.queued_row(key).is_some());
            group.completed_by(key).is_none() && queued
        };
        if finished.into_iter().any(goes_on) {
            self.fall_behind(None);
            return;
        }
        for done in &group.completed {
            if let Some(live) = self.live.remove(&done.key) {
                self.scheduler.abort(live.slot);
            }
        }
    }

    /// What the requests that the log says are finished and the reference's do not agree on.
    fn update_differences(
        &self,
        group: &Group,
        next: Option<&Group>,
        update: &Update,
        out: &mut Vec<Difference>,
    ) {
        let at = group.step.at();
        // A step that began before this output and stands behind the end of a cut file may have given
        // its requests more blocks, or preempted them.
        let depth = self.config.max_concurrent_batches as usize;
        let open = next.is_none() && self.in_flight.len() + 1 < depth;
        let mut untold = 0;
        let mut differ = |field, key: RequestKey, logged: String, reference: String, at| {
            let request = Some(self.tape.ids.id(key).to_owned());
            out.push(Difference { field, request, logged, reference, at });
        };
        for done in &update.finished {
            let key = self.owners[done.slot.index()];
            let request = self.scheduler.request(done.slot);
            let Some(ended) = group.completed_by(key) else {
                // Behind the end of events.csv nothing tells that it was aborted before.
                let reason = self.live.get(&key).and_then(|live| live.end?.reason);
                let gave_up = self.tape.events_ended() && reason.is_none_or(FinishReason::is_drop);
                // Where nothing counts ends, who has no row any more is over.
                let uncounted = group.step.row.completed_count.is_none();
                let gone = next.is_none_or(|next| next.queued_row(key).is_none());
                if !group.ends_told || gave_up || uncounted && gone {
                    untold += 1;
                    continue;
                }
                let reference =
                    format!("{} after {}", done.reason.as_str(), request.output_tokens());
                differ("completed", key, "goes on".to_owned(), reference, at);
                continue;
            };
            let values = [
                ("tokens_generated", ended.tokens.map(|n| n.0), request.output_tokens().0),
                ("kv_cache_blocks", ended.blocks.map(|n| n.0), done.blocks.0),
            ];
            for (field, logged, reference) in values {
                let changed = logged > Some(reference) || logged == Some(0);
                let later = field == "kv_cache_blocks" && open && changed;
                if let Some(logged) = logged.filter(|logged| *logged != reference && !later) {
                    differ(field, key, logged.to_string(), reference.to_string(), ended.at);
                }
            }
        }
        for ended in &group.completed {
            let key = ended.key;
            let finished = update.finished.iter().any(|done| self.owners[done.slot.index()] == key);
            if !finished {
                let logged = match ended.tokens {
                    Some(tokens) => format!("completed after {tokens}"),
                    None => "completed".to_owned(),
                };
                let reference =
                    if self.live.contains_key(&key) { "goes on" } else { "is not there" };
                differ("completed", key, logged, reference.to_owned(), ended.at);
            }
        }
        let compared = out.is_empty() && group.ends_told;
        let counted = group.step.row.completed_count.filter(|_| compared);
        if let Some(counted) =
            counted.filter(|count| count.0 as usize + untold != update.finished.len())
        {
            out.push(Difference {
                field: "completed_count",
                request: None,
                logged: counted.to_string(),
                reference: update.finished.len().to_string(),
                at,
            });
        }
    }
}
