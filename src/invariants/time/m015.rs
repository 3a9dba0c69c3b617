//! M015: the moments of events and changes.

use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::units::IterationId;

declare_invariant! {
    /// Events, changes and rows of one fact carry one moment.
    ///
    /// `request_arrived` is at arrival_time, `request_completed` at completion_time; the preemptions
    /// and resumptions of a request are at its changes. In a log with the reference columns decisions
    /// and allocations are at the `D` of their step, a first token and an end at its `E`, and blocks
    /// are freed at either, or with an abort.
    ///
    /// A request is over while the output of the step of its `completed` row is processed: in any log not
    /// before the output has arrived, and not with the end of a later step.
    ///
    /// In logs without the reference columns a decision may be stamped by a reading of its own; it is not
    /// exactly at another moment of its step.
    ///
    /// Blind spot: logs that lack all but one of the files; where in their step decisions fall that are
    /// stamped by readings of their own (M014); arrivals that all files note when a step takes them up, as a
    /// server does that hands them over then.
    ///
    /// Example: a change to `preempted` at 800 and a `request_preempted` event at 804.
    pub static M015 = {
        name: "one-moment-per-fact",
        reads: [Events(timestamp, event_type)],
        also: [
            PerRequest(arrival_time, completion_time),
            StateTransitions(timestamp, state),
            PerIteration(start_time, end_time, scheduling_overhead),
            PerIterationRequests(state),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Freeings that name no step, with aborts, while no step is known that they fall in.
    freed: Vec<Located<EventRow>>,
}

/// Freeings that are remembered; more than fall between two steps.
const MOST_FREED: usize = 1024;

/// An event of blocks that names a step which ended long before.
fn long_over(event: &Located<EventRow>, step: IterationId, by: Nanos, cx: &Cx<'_>) -> Finding {
    let message = "the event of blocks names a step that was over long before";
    let finding = Finding::new(message)
        .at(event.at(), "details")
        .in_iteration(step)
        .values(format!("a moment up to {by}"), event.row.timestamp);
    match event.row.request_id {
        Some(key) => finding.of(key, cx.ids),
        None => finding,
    }
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        let alone = |event: &&Located<EventRow>| {
            event.row.event_type == EventType::KvCacheFreed
                && event.row.details.iteration_id.is_none()
                && !cx.facts.dialect.has(Habit::NoDetails)
        };
        let room = MOST_FREED.saturating_sub(self.freed.len());
        self.freed.extend(events.iter().filter(alone).take(room));
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if !cx.facts.dialect.is_exact() {
            rows_of_ends(view, cx);
            decisions_elsewhere(view, cx);
            return;
        }
        if let Some(moments) = view.moments {
            // The step judges what falls in it or before.
            self.freed.retain(|event| event.row.timestamp > moments.end);
        }
        use EventType as T;
        for event in view.events {
            let named = match event.row.details.iteration_id {
                Some(id) => id == view.id,
                None => !cx.facts.overlapping || event.row.event_type == T::KvCacheFreed,
            };
            let now = event.row.timestamp;
            let kind = event.row.event_type;
            let blocks = matches!(kind, T::KvCacheAllocated | T::KvCacheFreed);
            let step = event.row.details.iteration_id.filter(|_| blocks).unwrap_or(view.id);
            let Some(moments) = view.moments_of(step) else {
                let over = view.over_by(step).filter(|by| now > by.saturating_add(cx.slack()));
                if let Some(by) = over {
                    cx.found(long_over(event, step, by, cx));
                }
                continue;
            };
            let named = named || step != view.id;
            let slack = cx.slack();
            let outside = now.saturating_add(slack) < moments.start
                || now > moments.end.saturating_add(slack);
            // A decision outside the step is M014's business.
            if !named || outside && !blocks {
                continue;
            }
            let (moment, name) = match event.row.event_type {
                T::RequestScheduled
                | T::RequestPreempted
                | T::RequestResumed
                | T::RequestEvicted
                | T::KvCacheAllocated => (moments.decided, "decision"),
                T::FirstTokenGenerated => (moments.end, "end"),
                T::KvCacheFreed if event.row.details.iteration_id.is_some() => {
                    let at_end = now > moments.decided.saturating_add(slack);
                    if at_end { (moments.end, "end") } else { (moments.decided, "decision") }
                }
                // With an abort.
                T::KvCacheFreed => {
                    match event.row.request_id.and_then(|key| left(key, now, view)) {
                        Some(end) => (end, "end"),
                        None => continue,
                    }
                }
                _ => continue,
            };
            let holds = cx.agree(moment, now, 1, event.at());
            cx.expect(holds, |ids| {
                let finding = Finding::new(format!(
                    "the {kind} event is not at the {name} that it belongs to"
                ))
                .at(event.at(), "timestamp")
                .with_row(view.iteration.map(Located::at), "the step")
                .in_iteration(view.id)
                .values(moment, now);
                match event.row.request_id {
                    Some(key) => finding.of(key, ids),
                    None => finding,
                }
            });
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if request.damaged {
            return;
        }
        if let Some(record) = &request.record {
            let at = record.at();
            let row = &record.row;
            let arrived = request.event(EventType::RequestArrived);
            let told = (Compared::ArrivalAndEvent, "arrival_time");
            same(request, arrived, Some(row.arrival_time), at, told, cx);
            let ended = request.event(EventType::RequestCompleted);
            let told = (Compared::CompletionAndEvent, "completion_time");
            same(request, ended, row.completion_time, at, told, cx);
            self.last_step(request, cx);
            self.freed_last(request, cx);
        }
        if request.changes_cut {
            return;
        }
        let preempted: Vec<_> = request.changes_to(State::Preempted).collect();
        let events = request.events_of(EventType::RequestPreempted);
        let events: Vec<_> = events.collect();
        pairs(request, Compared::PreemptionAndChange, &events, &preempted, cx);
        if !cx.facts.dialect.has(Habit::ResumedAtFirst) {
            let resumed: Vec<_> = request.changes_to(State::Running).skip(1).collect();
            let events = request.events_of(EventType::RequestResumed);
            let events: Vec<_> = events.collect();
            pairs(request, Compared::ResumptionAndChange, &events, &resumed, cx);
        }
    }
}

impl Check {
    /// Blocks that were freed behind the last step, with an abort.
    fn freed_last(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if self.freed.is_empty() || !cx.facts.dialect.is_exact() {
            return;
        }
        let own = |event: &&Located<EventRow>| event.row.request_id == Some(request.key);
        let Some(freed) = self.freed.iter().find(own) else { return };
        let Some(end) = request.completion() else { return };
        let holds = cx.agree(end, freed.row.timestamp, 1, freed.at());
        cx.expect(holds, |ids| {
            Finding::new("the blocks are freed at another moment than that of the abort")
                .at(freed.at(), "timestamp")
                .with_row(request.event(EventType::RequestCompleted).map(Located::at), "the end")
                .of(request.key, ids)
                .values(end, freed.row.timestamp)
        });
    }

    /// The `completed` row is of the step that ended at the completion.
    fn last_step(&self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let span = request.spans.iter().find(|span| span.state == State::Completed);
        let (Some(record), Some(span)) = (&request.record, span) else { return };
        let moment = span.first_moment.filter(|_| cx.facts.dialect.is_exact());
        let (Some(end), Some(moment)) = (record.row.completion_time, moment) else { return };
        let holds = cx.agree(moment, end, 1, record.at());
        cx.expect(holds, |ids| {
            Finding::new("completion_time is not the end of the step that finished the request")
                .at(record.at(), "completion_time")
                .with(span.first_at, "state", "finished here")
                .of(request.key, ids)
                .in_iteration(span.first)
                .values(moment, end)
        });
    }
}

/// Units of the clock that rounding cannot explain.
const FAR: u64 = 10;

/// Decisions that are exactly at another moment of their step, where they may be stamped anywhere in it.
fn decisions_elsewhere(view: &IterationView<'_>, cx: &mut Cx<'_>) {
    use EventType as T;
    let (Some(moments), Some(unit)) = (view.moments, cx.facts.dialect.output_unit) else { return };
    let decisions =
        [T::RequestScheduled, T::RequestPreempted, T::RequestResumed, T::RequestEvicted];
    let far = unit.0.saturating_mul(FAR).max(cx.slack().0.saturating_add(1));
    let others = [("S", moments.start), ("O", moments.output), ("E", moments.end)];
    for event in view.events.iter().filter(|event| decisions.contains(&event.row.event_type)) {
        let now = event.row.timestamp;
        let named =
            event.row.details.iteration_id.map_or(!cx.facts.overlapping, |id| id == view.id);
        if !named || moments.decided.0.abs_diff(now.0) < far {
            continue;
        }
        let met = others.iter().find(|(_, at)| *at == now);
        cx.expect(met.is_none(), |ids| {
            let kind = event.row.event_type;
            let at = met.map_or("", |(name, _)| name);
            let finding =
                Finding::new(format!("the {kind} event is at the {at} of its step, not at the D"))
                    .at(event.at(), "timestamp")
                    .with_row(view.iteration.map(Located::at), "the step")
                    .in_iteration(view.id)
                    .values(moments.decided, now);
            match event.row.request_id {
                Some(key) => finding.of(key, ids),
                None => finding,
            }
        });
    }
}

/// Whether `completed` rows stand in the steps that finished their requests, where ends may be stamped
/// anywhere in their steps.
fn rows_of_ends(view: &IterationView<'_>, cx: &mut Cx<'_>) {
    let Some(moments) = view.moments.filter(|_| !cx.facts.dialect.hides_ends()) else { return };
    for row in view.changed().filter(|row| !row.queued() && !row.past_lost) {
        let Some(end) = view.history(row.request_id).and_then(RequestHistory::completion) else {
            continue;
        };
        let holds = cx.follows(moments.output, end, row.row.at());
        cx.expect(holds, |ids| {
            Finding::new("the request was over before the output of this step arrived")
                .at(row.row.at(), "state")
                .of(row.request_id, ids)
                .in_iteration(view.id)
                .values(format!("a completion from {} on", moments.output), end)
        });
    }
    for event in view.events.iter().filter(|event| {
        event.row.event_type == EventType::RequestCompleted && event.row.timestamp >= moments.end
    }) {
        let Some(request) = event.row.request_id.and_then(|key| view.history(key)) else {
            continue;
        };
        let Some(row) = request.completed.filter(|row| row.row.iteration_id < view.id) else {
            continue;
        };
        // The stamp of a short step's predecessor may stand behind both.
        let end = request.spans.iter().find(|span| span.state == State::Completed);
        let told = end.and_then(|span| span.first_moment);
        if told.is_some_and(|told| cx.agree(told, event.row.timestamp, 1, event.at())) {
            continue;
        }
        cx.found(
            Finding::new("the completed row stands before the step that finished the request")
                .at(row.at(), "state")
                .with(event.at(), "timestamp", "the end")
                .of(request.key, cx.ids)
                .in_iteration(row.row.iteration_id)
                .values(view.id, row.row.iteration_id),
        );
    }
}

/// When a request gave up its place, by its events: the time nearest to `now`.
fn left(key: RequestKey, now: Nanos, view: &IterationView<'_>) -> Option<Nanos> {
    let kinds = [EventType::RequestPreempted, EventType::RequestCompleted];
    let events = view.history(key)?.events.iter();
    let moments = events.filter(|event| kinds.contains(&event.row.event_type));
    moments.map(|event| event.row.timestamp).min_by_key(|moment| moment.0.abs_diff(now.0))
}

/// An event at the moment in the request's row.
fn same(
    request: &RequestHistory,
    event: Option<&Located<EventRow>>,
    moment: Option<Nanos>,
    at: Location,
    (what, column): (Compared, &'static str),
    cx: &mut Cx<'_>,
) {
    let (Some(event), Some(moment)) = (event, moment) else { return };
    let holds = cx.agree_on(what, event.row.timestamp, moment, 1, event.at());
    cx.expect(holds, |ids| {
        Finding::new(format!("{column} is not the moment of the {} event", event.row.event_type))
            .at(at, column)
            .with(event.at(), "timestamp", "the event")
            .of(request.key, ids)
            .values(event.row.timestamp, moment)
    });
}

/// Events and changes of one kind, one by one. Other numbers of them are S005's and X002's business.
fn pairs(
    request: &RequestHistory,
    what: Compared,
    events: &[&Located<EventRow>],
    changes: &[&Located<crate::log::schema::TransitionRow>],
    cx: &mut Cx<'_>,
) {
    if events.len() != changes.len() {
        return;
    }
    for (event, change) in events.iter().zip(changes) {
        let holds = cx.agree_on(what, event.row.timestamp, change.row.timestamp, 1, change.at());
        cx.expect(holds, |ids| {
            Finding::new(format!(
                "the {} event and the change to {} are not of one moment",
                event.row.event_type, change.row.state
            ))
            .at(change.at(), "timestamp")
            .with(event.at(), "timestamp", "the event")
            .of(request.key, ids)
            .values(event.row.timestamp, change.row.timestamp)
        });
    }
}
