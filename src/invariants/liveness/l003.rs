//! L003: nobody starves.

use std::collections::BTreeMap;

use crate::config::Policy;
use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::units::IterationId;

declare_invariant! {
    /// Under FCFS no request is served for the first time while one that arrived earlier has never
    /// been, by the events alone.
    ///
    /// Q006 sees each overtaking in the rows of its step; this rule needs no rows, and tells of each
    /// request that starves once: where it began and how many were served before it.
    ///
    /// In logs without the reference columns arrivals may be noted out of order; there a request
    /// starves if it is overtaken in two steps or more.
    ///
    /// Blind spot: requests that wait for a grammar or for remote blocks are passed over rightly;
    /// they are excused where the rows tell.
    ///
    /// Example: a long prompt that is passed over by every short one.
    pub static L003 = {
        name: "nobody-starves",
        reads: [Events(timestamp, event_type, request_id)],
        also: [PerIterationRequests(waiting_reason)],
        needs: [Policy],
        severity: Error,
    } => Check
}

/// A request that was never served.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    at: Location,
    overtaken: u64,
    steps: u64,
    /// The first event that overtook it.
    since: Option<(Location, Nanos, Option<IterationId>)>,
    last: Option<Nanos>,
    excused: bool,
}

#[derive(Default)]
struct Check {
    /// By arrival, then key.
    waiting: BTreeMap<(Nanos, RequestKey), Waiting>,
    /// Arrivals by key.
    arrivals: Vec<Nanos>,
    /// When requests were served or over before they had arrived, by key: stamps may vary.
    gone: Vec<Option<Nanos>>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, _: &mut Cx<'_>) {
        use WaitingReason as W;
        for row in view.changed() {
            let blocked = matches!(
                row.waiting_reason,
                Some(W::WaitingForRemoteKvs | W::WaitingForFsm | W::LoraLimit | W::EncoderBudget)
            );
            if blocked {
                let place = self.place(row.request_id);
                if let Some(waiting) = place.and_then(|place| self.waiting.get_mut(&place)) {
                    waiting.excused = true;
                }
            }
        }
    }

    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        if cx.facts.settings.policy != Some(Policy::Fcfs) {
            cx.vacuous("the policy is not fcfs");
            return;
        }
        for event in events {
            let Some(key) = event.row.request_id else { continue };
            match event.row.event_type {
                EventType::RequestArrived if self.is_gone(event, key, cx) => {}
                EventType::RequestArrived => {
                    let waiting = Waiting {
                        at: event.at(),
                        overtaken: 0,
                        steps: 0,
                        since: None,
                        last: None,
                        excused: false,
                    };
                    if self.arrivals.len() <= key.index() {
                        self.arrivals.resize(key.index() + 1, Nanos::ZERO);
                    }
                    self.arrivals[key.index()] = event.row.timestamp;
                    self.waiting.insert((event.row.timestamp, key), waiting);
                }
                EventType::RequestScheduled => self.served(event, key, cx),
                EventType::RequestCompleted => {
                    self.note_gone(event, key, cx);
                    self.leave(key, cx);
                }
                _ => {}
            }
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        self.leave(request.key, cx);
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        for ((_, key), waiting) in std::mem::take(&mut self.waiting) {
            report(key, &waiting, cx);
        }
    }
}

impl Check {
    fn note_gone(&mut self, event: &Located<EventRow>, key: RequestKey, cx: &Cx<'_>) {
        if cx.slack() > Nanos::ZERO && self.place(key).is_none() {
            if self.gone.len() <= key.index() {
                self.gone.resize(key.index() + 1, None);
            }
            self.gone[key.index()] = Some(event.row.timestamp);
        }
    }

    /// Whether the request was served or over so shortly before its arrival that both may be of one
    /// moment.
    fn is_gone(&self, event: &Located<EventRow>, key: RequestKey, cx: &Cx<'_>) -> bool {
        let gone = self.gone.get(key.index()).copied().flatten();
        gone.is_some_and(|gone| event.row.timestamp.saturating_sub(gone).0 <= 2 * cx.slack().0)
    }

    fn served(&mut self, event: &Located<EventRow>, key: RequestKey, cx: &mut Cx<'_>) {
        self.note_gone(event, key, cx);
        let Some(place) = self.place(key) else { return };
        cx.exercised(1);
        let now = event.row.timestamp;
        // Of two arrivals that are nearer than two readings of the clock nobody knows the first.
        let slack = cx.slack();
        let before = Nanos(place.0.0.saturating_sub(2 * slack.0));
        for (_, earlier) in self.waiting.range_mut(..(before, RequestKey(0))) {
            earlier.overtaken += 1;
            let same_step = |last: Nanos| now.0.abs_diff(last.0) <= slack.0;
            earlier.steps += u64::from(!earlier.last.is_some_and(same_step));
            earlier.last = Some(now);
            let since = (event.at(), now, event.row.details.iteration_id);
            earlier.since = earlier.since.or(Some(since));
        }
        // Whoever is served in the same step is not passed over by it: of one moment events stand in any order.
        if let Some(own) = self.waiting.get_mut(&place)
            && own.since.is_some_and(|(_, at, _)| now.0.abs_diff(at.0) <= slack.0)
        {
            (own.since, own.steps) = (None, 0);
        }
        self.leave(key, cx);
    }

    fn place(&self, key: RequestKey) -> Option<(Nanos, RequestKey)> {
        let place = (*self.arrivals.get(key.index())?, key);
        self.waiting.contains_key(&place).then_some(place)
    }

    fn leave(&mut self, key: RequestKey, cx: &mut Cx<'_>) {
        if let Some(waiting) = self.place(key).and_then(|place| self.waiting.remove(&place)) {
            report(key, &waiting, cx);
        }
    }
}

fn report(key: RequestKey, waiting: &Waiting, cx: &mut Cx<'_>) {
    let exact = cx.facts.dialect.is_exact() && cx.slack() == Nanos::ZERO;
    let enough = if exact { 1 } else { 2 };
    let Some((at, moment, iteration)) = waiting.since else { return };
    if waiting.steps < enough || waiting.excused || !cx.facts.whole(Table::Events) {
        return;
    }
    let began = iteration.map_or(format!("{moment}"), |id| format!("iteration {id}"));
    let finding = Finding::new(format!(
        "the request starves from {began} on: {} that arrived later are served before it",
        waiting.overtaken
    ))
    .at(waiting.at, "event_type")
    .with(at, "timestamp", "it began here")
    .of(key, cx.ids);
    cx.found(match iteration {
        Some(id) => finding.in_iteration(id),
        None => finding,
    });
}
