//! Whom a pass and a step chose: who is there, who is preempted, admitted and resumed.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::conform::log::compare::{Differences, NOT_RUNNING, Sight, sorted, state_of};
use crate::conform::log::verdict::Difference;
use crate::log::ids::{Ids, RequestKey};
use crate::log::reader::Location;
use crate::log::values::{EventType, State};
use crate::scheduler::{Kind, Status};
use crate::units::Nanos;

/// A kind of decision on a request.
struct Choice {
    field: &'static str,
    counter: &'static str,
    event: EventType,
    /// Where a request is before it and behind it.
    before: Status,
    behind: State,
}

const CHOICES: [Choice; 3] = [
    Choice {
        field: "preempted requests",
        counter: "preempted_count",
        event: EventType::RequestPreempted,
        before: Status::Running,
        behind: State::Preempted,
    },
    Choice {
        field: "admitted requests",
        counter: "admitted_count",
        event: EventType::RequestScheduled,
        before: Status::Waiting,
        behind: State::Running,
    },
    Choice {
        field: "resumed requests",
        counter: "resumed_count",
        event: EventType::RequestResumed,
        before: Status::Preempted,
        behind: State::Running,
    },
];

impl Sight<'_> {
    /// Requests that only one side has; returned are those that the log may have where it has no rows.
    pub(super) fn presence(&self, out: &mut Differences) -> Differences {
        for row in &self.group.queued {
            let key = row.row.request_id;
            if !self.live.contains_key(&key) {
                let over = "has not arrived, or is over";
                out.push(self.of_request("requests", key, row.row.state, over));
            }
        }
        let mut hidden = Differences::new();
        let slots = self.scheduler.running().iter().copied().chain(self.scheduler.waiting());
        for slot in slots {
            let key = self.key(slot);
            if self.group.queued_row(key).is_none() && !self.is_hidden(slot) {
                let state = state_of(self.scheduler.request(slot).status());
                let difference = self.of_request("requests", key, "has no row", state);
                let before = self.scheduler.status_before(slot, self.pass);
                let may_wait = self.tape.hides(before)
                    || before == Status::Running && self.tape.hides(Status::Preempted);
                if may_wait { &mut hidden } else { &mut *out }.push(difference);
            }
        }
        hidden
    }

    /// Who is preempted, admitted and resumed, by the events and by the counts.
    pub(super) fn choices(&self, out: &mut Differences) {
        let step = &self.group.step.row;
        for choice in &CHOICES {
            let reference = self.of_reference(choice);
            let mut logged = self.tape.decided(self.group.id(), choice.event);
            if choice.behind == State::Running {
                // Events of one moment stand in any order; that of the queue is told by its rows.
                let place = |key: &RequestKey| self.group.position(*key).unwrap_or(usize::MAX);
                logged.iter_mut().for_each(|keys| keys.sort_by_key(place));
            }
            let in_order = self.tape.slack == Nanos::ZERO
                && (choice.behind == State::Running || self.tape.hides(Status::Preempted));
            let same = |logged: &Vec<RequestKey>| {
                // The file may have been cut between two rows.
                self.tape.events_ended() && logged.iter().all(|key| reference.contains(key))
                    || in_order && *logged == reference
                    || !in_order && sorted(logged) == sorted(&reference)
            };
            if let Some(logged) = logged.filter(|logged| !same(logged)) {
                out.push(self.list(choice, &logged, &reference));
            }
            let count = match choice.event {
                EventType::RequestPreempted => Some(step.preempted_count),
                EventType::RequestScheduled => step.admitted_count,
                _ => step.resumed_count,
            };
            if let Some(count) = count.filter(|count| count.0 as usize != reference.len()) {
                out.push(self.counter(choice.counter, count.0 as usize, reference.len()));
            }
        }
    }

    /// The same by the rows, where no event tells: in what order stands nowhere then.
    pub(super) fn choices_by_rows(&self) -> Differences {
        let untold = CHOICES.iter().filter(|choice| {
            let told = self.tape.decided(self.group.id(), choice.event).is_some();
            let hidden = choice.behind == State::Preempted && self.tape.hides(Status::Preempted);
            !hidden && (!told || self.tape.events_ended())
        });
        let differences = untold.filter_map(|choice| {
            let rows = self.group.queued.iter().map(|row| &row.row);
            let chosen = rows.filter(|row| {
                let slot = self.live.get(&row.request_id).map(|live| live.slot);
                let before = slot.map(|slot| self.scheduler.status_before(slot, self.pass));
                row.state == choice.behind && before == Some(choice.before)
            });
            let logged: Vec<_> = chosen.map(|row| row.request_id).collect();
            let reference = self.of_reference(choice);
            (sorted(&logged) != sorted(&reference)).then(|| self.list(choice, &logged, &reference))
        });
        differences.collect()
    }

    /// Brings the choice to the front that a pass makes first: it goes through the running queue, then admits,
    /// and what one request gets or is denied decides what is left for those behind it.
    pub(super) fn lead_with_the_first_choice(&self, out: &mut [Difference]) {
        let (reference, logged) = (self.running(), self.logged_running());
        let mut turns: HashMap<&str, usize, FxBuildHasher> = HashMap::default();
        for queue in [&reference, &logged] {
            for (turn, key) in queue.iter().enumerate() {
                let known = turns.entry(self.tape.ids.id(*key)).or_insert(turn);
                *known = turn.min(*known);
            }
        }
        let turn = |request: &str| turns.get(request).copied();
        let turn_of = |difference: &Difference| match difference.field {
            "preempted requests" => Some(self.pass.preempted.first().map_or(0, |victim| {
                turn(self.scheduler.request(victim.by).id().as_str()).unwrap_or(reference.len())
            })),
            // In another order: the first that is out of it.
            "admitted requests" | "resumed requests" if difference.request.is_none() => {
                reference.iter().zip(&logged).position(|(one, other)| one != other)
            }
            "admitted requests" | "resumed requests" | "computed_tokens" => {
                difference.request.as_deref().and_then(turn)
            }
            "scheduled_tokens" if difference.logged != NOT_RUNNING => {
                difference.request.as_deref().and_then(turn)
            }
            // Without tokens only blocks show how many each got.
            "kv_cache_blocks" if !self.tape.tells_tokens => {
                difference.request.as_deref().and_then(turn)
            }
            _ => None,
        };
        let made = out.iter().enumerate();
        let made = made.filter_map(|(at, difference)| Some((turn_of(difference)?, at)));
        if let Some((_, at)) = made.min() {
            out[..=at].rotate_right(1);
        }
    }

    /// Whom the reference chose, in order.
    fn of_reference(&self, choice: &Choice) -> Vec<RequestKey> {
        let of_kind = |kind| -> Vec<RequestKey> {
            let entries = self.pass.entries.iter().filter(|entry| entry.kind == kind);
            entries.map(|entry| self.key(entry.slot)).collect()
        };
        match choice.event {
            EventType::RequestPreempted => {
                self.pass.preempted.iter().map(|victim| self.key(victim.slot)).collect()
            }
            EventType::RequestScheduled => of_kind(Kind::New),
            _ => of_kind(Kind::Resumed),
        }
    }

    /// Two lists that are not the same.
    fn list(&self, choice: &Choice, logged: &[RequestKey], reference: &[RequestKey]) -> Difference {
        let mut all = logged.iter().chain(reference).copied();
        let only = all.find(|key| logged.contains(key) != reference.contains(key));
        let at: Location = only.map_or(self.group.step.at(), |key| self.place(key));
        Difference {
            field: choice.field,
            request: only.map(|key| self.name(key)),
            logged: self.names(logged),
            reference: self.names(reference),
            at,
        }
    }
}
