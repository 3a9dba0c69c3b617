//! What the model returned, as far as the log tells.

use crate::conform::log::ends::End;
use crate::conform::log::group::Group;
use crate::conform::log::replay::{Live, Replay, STOP_TOKEN};
use crate::log::dialect::Habit;
use crate::log::ids::RequestKey;
use crate::log::values::{EventType, FinishReason};
use crate::scheduler::{BatchEntry, Pass};
use crate::trace::private_token;
use crate::units::{Nanos, TokenId, Tokens};

impl Replay<'_> {
    /// Whether the log tells of every entry how many tokens it got; one is taken where it does not.
    pub(super) fn fill_output(
        &mut self,
        group: &Group,
        pass: &mut Pass,
        next: Option<&Group>,
    ) -> bool {
        let mut told = true;
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        for entry in &mut pass.entries {
            let key = self.owners[entry.slot.index()];
            let request = self.scheduler.request(entry.slot);
            let live = self.live.get(&key).filter(|live| live.slot == entry.slot);
            let Some(live) = live.filter(|_| entry.samples && !request.is_finished()) else {
                output.push([]);
                continue;
            };
            let (done, length) = (request.output_tokens(), request.total_tokens());
            let count = self.returned(group, next, key, live, entry, done);
            told &= count.is_some();
            let count = count.unwrap_or(Tokens(1));
            let ends = group.completed_by(key).is_some() && !ends_by_length(live);
            let ordinal = live.ordinal;
            self.make_room_for(entry, count);
            let token = |offset: u32| match ordinal {
                _ if ends && offset + 1 == count.0 => STOP_TOKEN,
                Some(ordinal) => private_token(ordinal, length.0 + offset),
                None => TokenId(u64::from(length.0 + offset)),
            };
            output.push((0..count.0).map(token));
        }
        self.output = output;
        told
    }

    /// How many tokens the model returned for an entry: one, and with drafts as many as the request is
    /// known to have gained; `None` if nothing tells how many those are.
    pub(super) fn returned(
        &self,
        group: &Group,
        next: Option<&Group>,
        key: RequestKey,
        live: &Live,
        entry: &BatchEntry,
        done: Tokens,
    ) -> Option<Tokens> {
        let summed = self.drafts_are_summed() && !entry.prefill;
        let most = if summed { self.config.num_speculative_tokens() } else { entry.drafts };
        if most == Tokens::ZERO {
            return Some(Tokens(1));
        }
        let most = most.0.saturating_add(1);
        if let Some(ended) = group.completed_by(key) {
            let gained = ended.tokens.map_or(1, |tokens| tokens.saturating_sub(done).0);
            return Some(Tokens(gained.clamp(1, most)));
        }
        // The next that is told of the request may come after further outputs, each of which gave it
        // a token at least.
        let row = next.and_then(|next| next.queued_row(key));
        let aborted = self.tape.dropped.iter().find(|dropped| dropped.key == key);
        let until = aborted.map_or(Nanos::MAX, |dropped| dropped.at);
        let mut after = row.map(|row| row.row.tokens_generated);
        let mut further = 0;
        for flying in &self.in_flight {
            let moments = flying.group.moments;
            let told = next.is_none_or(|next| self.is_processed(moments, next.moments));
            if row.is_some() && !told || moments.output >= until {
                break;
            }
            let batch = &flying.pass.entries;
            further +=
                u32::from(batch.iter().any(|other| other.slot == entry.slot && other.samples));
            if let Some(last) = self.last_tokens(flying, key, live) {
                after = Some(last);
                break;
            }
        }
        // Who does not end with this output, nor gave up, still has a token to come.
        let to_come = |end: End| {
            let stays = group.ends_told && !end.is_drop();
            end.output.saturating_sub(Tokens(u32::from(stays)))
        };
        let hidden =
            after.is_none() && aborted.is_none() && self.tape.dialect.has(Habit::NoPreemptedRows);
        if let Some(next) = next.filter(|_| hidden) {
            after = Some(self.at_preemption(next, key, entry)?);
        }
        let after = after.or(live.end.map(to_come)).unwrap_or(done);
        let gained = after.saturating_sub(done).0.saturating_sub(further);
        Some(Tokens(gained.clamp(1, most)))
    }

    /// The output tokens of a request that a step preempted, in a dialect without rows of it: all but
    /// the newest had been computed, if no other output was in flight.
    fn at_preemption(&self, next: &Group, key: RequestKey, entry: &BatchEntry) -> Option<Tokens> {
        let event = self.tape.decision(next.id(), EventType::RequestPreempted, key)?;
        let computed = event.details.computed_tokens?;
        let request = self.scheduler.request(entry.slot);
        let alone = !self.config.async_scheduling;
        alone.then(|| (computed + Tokens(1)).saturating_sub(request.prompt_tokens()))
    }
}

fn ends_by_length(live: &Live) -> bool {
    live.end.is_some_and(|end| end.reason == Some(FinishReason::Length))
}
