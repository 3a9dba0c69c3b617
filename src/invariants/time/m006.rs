//! M006: the first scheduling.

use crate::invariants::prelude::*;

declare_invariant! {
    /// first_scheduled_time is the moment of the first `running` change and of the
    /// `request_scheduled` event.
    ///
    /// All are the `D` of the step that scheduled the request for the first time; a logger that
    /// overwrites the moment at a resumption breaks this.
    ///
    /// Blind spot: logs that have neither of the other two files.
    ///
    /// Example: first_scheduled_time 500, `request_scheduled` at 200, `request_resumed` at 500.
    pub static M006 = {
        name: "first-scheduling-agrees",
        reads: [PerRequest(first_scheduled_time)],
        also: [StateTransitions(timestamp, state), Events(timestamp, event_type)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let change = request.changes_to(State::Running).next();
        let event = request.event(EventType::RequestScheduled);
        let others = [
            change.map(|change| {
                (
                    change.at(),
                    change.row.timestamp,
                    "the first running change",
                    Compared::FirstScheduledAndChange,
                )
            }),
            event.map(|event| {
                (
                    event.at(),
                    event.row.timestamp,
                    "the request_scheduled event",
                    Compared::FirstScheduledAndEvent,
                )
            }),
        ];
        for (at, moment, what, compared) in others.into_iter().flatten() {
            let own = record.row.first_scheduled_time;
            let holds = own.is_some_and(|own| cx.agree_on(compared, moment, own, 1, record.at()));
            cx.expect(holds, |ids| {
                let actual = record.row.first_scheduled_time;
                Finding::new(format!("first_scheduled_time is not the moment of {what}"))
                    .at(record.at(), "first_scheduled_time")
                    .with(at, "timestamp", what)
                    .of(request.key, ids)
                    .values(moment, actual.map_or("empty".to_owned(), |at| at.to_string()))
            });
        }
        if let Some(moment) = record.row.first_scheduled_time {
            let missing = change.is_none()
                && !request.transitions.is_empty()
                && cx.facts.covers(Table::StateTransitions, moment);
            // A missing event is X002's business, an illegal first change S001's.
            if missing && request.transitions[0].row.state == State::Completed {
                cx.found(
                    Finding::new("the request was scheduled but has no running change")
                        .at(record.at(), "first_scheduled_time")
                        .with(request.transitions[0].at(), "state", "its first change")
                        .of(request.key, cx.ids),
                );
            }
        }
    }
}
