//! In a dialect without `completed` rows: which step's output finished a request, by its event.
//!
//! The event carries the moment of the step's end. Where several steps may have ended at it (moments
//! that are equal, readings that differ by the clock's skew, ends that are not written), the tokens
//! of the request tell which it was; where only one can, the event is believed, whatever they are.

use crate::conform::log::group::{Completed, Group};
use crate::conform::log::replay::{Flying, Live, Replay};
use crate::conform::log::tape::Ended;
use crate::log::ids::RequestKey;
use crate::scheduler::Pass;
use crate::units::{Nanos, Tokens};

/// How an output may be a request's last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// No other token was to come.
    Surely,
    /// If the model accepted enough of its drafts.
    WithDrafts,
}

fn completed(ended: Ended, live: Live) -> Completed {
    Completed {
        key: ended.key,
        tokens: ended.tokens.or(live.end.map(|end| end.output)),
        blocks: live.end.and_then(|end| end.blocks),
        at: ended.location,
    }
}

impl Replay<'_> {
    /// Finds the requests that the output of a step finished, the oldest step in flight, which was
    /// taken from there; `next` is the step that is about to begin.
    pub(super) fn claim_ends(&mut self, group: &mut Group, pass: &Pass, next: Option<&Group>) {
        if self.config.speculative.is_some()
            && let Some(newest) = self.in_flight.back()
        {
            // How many tokens an output brought is seen from how many were still to come.
            self.tape.read_events(self.tape.latest(newest.group.moments.end));
        }
        let until = self.tape.latest(self.latest_end(group, next));
        let counted = group.step.row.completed_count.map(|count| count.0 as usize);
        // Behind the last step of a log that does not say when it ended, drafts may have brought a request
        // to its end with this output or with one that is cut off.
        let open = next.is_none() && self.tape.dialect.hides_ends();
        let mut unsure = Vec::new();
        let mut at = 0;
        while let Some(ended) = self.tape.ended.get(at).copied() {
            let Some(live) = self.live.get(&ended.key).copied() else {
                let waits = self.tape.mail.iter().any(|arrived| arrived.key == ended.key);
                if waits {
                    at += 1;
                } else {
                    let _ = self.tape.ended.remove(at);
                }
                continue;
            };
            let gave_up = live.end.is_some_and(|end| end.is_drop());
            let goes_on = next.is_some_and(|next| next.queued_row(ended.key).is_some());
            let reach = self.reach(pass, ended, live).filter(|_| !goes_on);
            if open && reach == Some(Reach::WithDrafts) && !gave_up {
                unsure.push(completed(ended, live));
                at += 1;
                continue;
            }
            let here =
                ended.at <= until && (reach.is_some() || !self.may_end_later(ended, live, next));
            if !gave_up && !here {
                at += 1;
                continue;
            }
            let _ = self.tape.ended.remove(at);
            if !gave_up {
                group.completed.push(completed(ended, live));
            }
        }
        if counted == Some(group.completed.len() + unsure.len()) {
            self.tape.ended.retain(|ended| unsure.iter().all(|done| done.key != ended.key));
            group.completed.append(&mut unsure);
        }
        group.ends_told = !self.tape.events_ended() || counted == Some(group.completed.len());
    }

    /// Finds the requests that reach with the output of a step as many tokens as per_request.csv says, where
    /// all are over and no row tells of it.
    pub(super) fn claim_recorded_ends(&self, group: &mut Group, pass: &Pass, next: Option<&Group>) {
        group.ends_told = false;
        for entry in pass.entries.iter().filter(|entry| entry.samples) {
            let key = self.owners[entry.slot.index()];
            let live = self.live.get(&key).filter(|live| live.slot == entry.slot);
            let Some((live, end)) = live.and_then(|live| Some((live, live.end?))) else { continue };
            let done = self.scheduler.request(entry.slot).output_tokens();
            let gained = self.returned(group, next, key, live, entry, done);
            let reached = gained.is_some_and(|gained| done + gained >= end.output);
            if reached && !end.is_drop() && group.completed_by(key).is_none() {
                // One that may have given up later may have had more blocks by then.
                let blocks = end.blocks.filter(|_| end.reason.is_some());
                let at = group.step.at();
                group.completed.push(Completed { key, tokens: Some(end.output), blocks, at });
            }
        }
    }

    /// The latest moment at which the output of the oldest step was processed.
    fn latest_end(&self, group: &Group, next: Option<&Group>) -> Nanos {
        if !self.tape.dialect.hides_ends() {
            return group.moments.end;
        }
        let begun = next.map_or(Nanos::MAX, |next| next.moments.start);
        self.in_flight.front().map_or(begun, |flying| begun.min(flying.group.moments.output))
    }

    /// Whether an output of the pass may be the last that a request has to get.
    fn reach(&self, pass: &Pass, ended: Ended, live: Live) -> Option<Reach> {
        let entry = pass.entries.iter().find(|entry| entry.slot == live.slot)?;
        let least = self.scheduler.request(live.slot).output_tokens() + Tokens(1);
        let output = ended.tokens.or(live.end.map(|end| end.output));
        let within = |most| output.is_none_or(|output| output <= most);
        match entry.samples {
            true if within(least) => Some(Reach::Surely),
            true if within(least + entry.drafts) => Some(Reach::WithDrafts),
            _ => None,
        }
    }

    /// Whether the output of a later step that has the request may have ended at that moment.
    fn may_end_later(&self, ended: Ended, live: Live, next: Option<&Group>) -> bool {
        if next.is_none() && self.tape.dialect.hides_ends() {
            // The log may have been cut before that step.
            return true;
        }
        let has = |flying: &&Flying| flying.pass.entries.iter().any(|it| it.slot == live.slot);
        let flying = self.in_flight.iter().filter(has).map(|flying| &flying.group);
        let next = next.filter(|next| next.queued_row(ended.key).is_some());
        flying.chain(next).any(|group| self.earliest_end(group) <= self.tape.latest(ended.at))
    }

    fn earliest_end(&self, group: &Group) -> Nanos {
        if self.tape.dialect.hides_ends() { group.moments.output } else { group.moments.end }
    }

    /// The tokens of a request that the output of a step in flight finishes.
    pub(super) fn last_tokens(
        &self,
        flying: &Flying,
        key: RequestKey,
        live: &Live,
    ) -> Option<Tokens> {
        let output = live.end.map(|end| end.output);
        if !self.tape.ends_by_event() {
            return flying.group.completed_by(key).and_then(|done| done.tokens);
        }
        let exact = !self.tape.dialect.hides_ends();
        let of_step = |ended: &&Ended| {
            let earliest = self.earliest_end(&flying.group);
            ended.key == key
                && earliest <= self.tape.latest(ended.at)
                && (!exact || self.tape.may_be_at(ended.at, earliest))
        };
        self.tape.ended.iter().find(of_step).and_then(|ended| ended.tokens.or(output))
    }
}
