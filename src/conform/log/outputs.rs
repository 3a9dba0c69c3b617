//! What the model returned, as far as the log tells, and what became of it.

use crate::conform::log::replay::{Flying, Judged, Live, Replay, STOP_TOKEN};
use crate::conform::log::tape::{End, Group, Moments, is_drop};
use crate::conform::log::verdict::{Difference, LogMoment};
use crate::log::ids::{Ids, RequestKey};
use crate::log::values::FinishReason;
use crate::scheduler::{BatchEntry, Pass, Update};
use crate::trace::private_token;
use crate::units::{Nanos, TokenId, Tokens};

impl Replay<'_> {
    /// Processes the outputs that were processed before `next`, or all that are left.
    pub(super) fn outputs_before(&mut self, next: Option<&Group>) {
        self.tape.read_events(next.map_or(Nanos::MAX, |next| next.moments().start));
        while let Some(front) = self.in_flight.front() {
            let moments = front.group.moments();
            if next.is_some_and(|next| !self.is_processed(moments, next.moments())) {
                return;
            }
            let Some(flying) = self.in_flight.pop_front() else { return };
            self.process(flying, next);
        }
    }

    /// Whether the output of the oldest step was processed before a step began.
    fn is_processed(&self, oldest: Moments, next: Moments) -> bool {
        if oldest.end != next.start || oldest.output < oldest.end {
            return oldest.end <= next.start;
        }
        // Everything happened at one moment: the order is that of the engine loop, which waits for
        // an output when no further batch may be in flight, or there is none to build.
        let full = self.in_flight.len() >= self.config.max_concurrent_batches as usize;
        let empty = self.in_flight.back().is_some_and(|newest| newest.pass.is_empty());
        full || empty && !self.scheduler.has_requests()
    }

    fn process(&mut self, flying: Flying, next: Option<&Group>) {
        let Flying { group, pass, judged } = flying;
        let moments = group.moments();
        self.abort_due(moments.output, Some(&pass));
        self.fill_output(&group, &pass, next);
        let mut update = std::mem::take(&mut self.update);
        self.scheduler.update_from_output(&pass, &self.output, &mut update);
        let differences = self.update_differences(&group, &update);
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
        if differences.is_empty() {
            self.spare.push(pass);
            return;
        }
        self.diverge(&group, &pass, LogMoment::Output, &differences);
        match judged {
            Judged::Same => {
                self.counts.same -= 1;
                self.counts.different += 1;
            }
            Judged::Different | Judged::Open => {}
        }
        self.end_as_logged(&group);
    }

    /// After a divergence: who is over in the log is over in the reference, too. If the reference
    /// finished somebody who goes on in the log, it has lost the log.
    fn end_as_logged(&mut self, group: &Group) {
        let finished = self.update.finished.iter().map(|done| self.owners[done.slot.index()]);
        if finished.into_iter().any(|key| group.completed_row(key).is_none()) {
            self.lose();
            return;
        }
        for row in &group.completed {
            if let Some(live) = self.live.remove(&row.row.request_id) {
                self.scheduler.abort(live.slot);
            }
        }
    }

    fn fill_output(&mut self, group: &Group, pass: &Pass, next: Option<&Group>) {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        for entry in &pass.entries {
            let key = self.owners[entry.slot.index()];
            let request = self.scheduler.request(entry.slot);
            let live = self.live.get(&key).filter(|live| live.slot == entry.slot);
            let Some(live) = live.filter(|_| entry.samples && !request.is_finished()) else {
                output.push([]);
                continue;
            };
            let (done, length) = (request.output_tokens(), request.total_tokens());
            let count = self.returned(group, next, key, live, entry, done);
            let ends = group.completed_row(key).is_some() && !ends_by_length(live);
            let token = |offset: u32| match live.ordinal {
                _ if ends && offset + 1 == count.0 => STOP_TOKEN,
                Some(ordinal) => private_token(ordinal, length.0 + offset),
                None => TokenId(u64::from(length.0 + offset)),
            };
            output.push((0..count.0).map(token));
        }
        self.output = output;
    }

    /// How many tokens the model returned for an entry: one, and with drafts as many as the request is
    /// known to have gained.
    fn returned(
        &self,
        group: &Group,
        next: Option<&Group>,
        key: RequestKey,
        live: &Live,
        entry: &BatchEntry,
        done: Tokens,
    ) -> Tokens {
        if entry.drafts == Tokens::ZERO {
            return Tokens(1);
        }
        let most = 1 + entry.drafts.0;
        if let Some(row) = group.completed_row(key) {
            let gained = row.row.tokens_generated.saturating_sub(done);
            return Tokens(gained.0.clamp(1, most));
        }
        // The next that is told of the request may come after further outputs, each of which gave it
        // a token at least.
        let row = next.and_then(|next| next.queued_row(key));
        let aborted = self.tape.dropped.iter().find(|dropped| dropped.key == key);
        let until = aborted.map_or(Nanos::MAX, |dropped| dropped.at);
        let mut after = row.map(|row| row.row.tokens_generated);
        let mut further = 0;
        for flying in &self.in_flight {
            let moments = flying.group.moments();
            let told = next.is_none_or(|next| self.is_processed(moments, next.moments()));
            if row.is_some() && !told || moments.output >= until {
                break;
            }
            let batch = &flying.pass.entries;
            further +=
                u32::from(batch.iter().any(|other| other.slot == entry.slot && other.samples));
            if let Some(last) = flying.group.completed_row(key) {
                after = Some(last.row.tokens_generated);
                break;
            }
        }
        // Who does not end with this output, nor gave up, still has a token to come.
        let to_come = |end: End| {
            let stays = group.ends_told && !end.reason.is_some_and(is_drop);
            end.output.saturating_sub(Tokens(u32::from(stays)))
        };
        let after = after.or(live.end.map(to_come)).unwrap_or(done);
        let gained = after.saturating_sub(done).0.saturating_sub(further);
        Tokens(gained.clamp(1, most))
    }

    /// What the log's `completed` rows and the reference's finished requests do not agree on.
    fn update_differences(&self, group: &Group, update: &Update) -> Vec<Difference> {
        let at = group.step.at();
        let mut differences = Vec::new();
        let mut untold = 0;
        let mut differ = |field, key: RequestKey, logged: String, reference: String, at| {
            let request = Some(self.tape.ids.id(key).to_owned());
            differences.push(Difference { field, request, logged, reference, at });
        };
        for done in &update.finished {
            let key = self.owners[done.slot.index()];
            let request = self.scheduler.request(done.slot);
            let Some(row) = group.completed_row(key) else {
                // Behind the end of events.csv nothing tells that it was aborted before.
                let reason = self.live.get(&key).and_then(|live| live.end?.reason);
                let gave_up = self.tape.events_ended() && reason.is_none_or(is_drop);
                if !group.ends_told || gave_up {
                    untold += 1;
                    continue;
                }
                let reference =
                    format!("{} after {}", done.reason.as_str(), request.output_tokens());
                differ("completed", key, "goes on".to_owned(), reference, at);
                continue;
            };
            let values = [
                ("tokens_generated", row.row.tokens_generated.0, request.output_tokens().0),
                ("kv_cache_blocks", row.row.kv_cache_blocks.0, done.blocks.0),
            ];
            for (field, logged, reference) in values {
                if logged != reference {
                    differ(field, key, logged.to_string(), reference.to_string(), row.at());
                }
            }
        }
        for row in &group.completed {
            let key = row.row.request_id;
            let finished = update.finished.iter().any(|done| self.owners[done.slot.index()] == key);
            if !finished {
                let logged = format!("completed after {}", row.row.tokens_generated);
                let reference =
                    if self.live.contains_key(&key) { "goes on" } else { "is not there" };
                differ("completed", key, logged, reference.to_owned(), row.at());
            }
        }
        let compared = differences.is_empty() && group.ends_told;
        let counted = group.step.row.completed_count.filter(|_| compared);
        if let Some(counted) =
            counted.filter(|count| count.0 as usize + untold != update.finished.len())
        {
            differences.push(Difference {
                field: "completed_count",
                request: None,
                logged: counted.to_string(),
                reference: update.finished.len().to_string(),
                at,
            });
        }
        differences
    }
}

fn ends_by_length(live: &Live) -> bool {
    live.end.is_some_and(|end| end.reason == Some(FinishReason::Length))
}
