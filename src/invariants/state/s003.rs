//! S003: one completion.

use crate::invariants::prelude::*;
use crate::log::schema::{RequestRow, TransitionRow};

declare_invariant! {
    /// A request with a completion_time has exactly one `completed` change, at that moment; one
    /// without has none.
    ///
    /// The change and the row are written from the same fact; if they differ, one of them was taken
    /// at another moment or lost.
    ///
    /// Blind spot: a wrong completion that both files share; M001 and the events see it.
    ///
    /// Example: completion_time 900 and a `completed` row at 950.
    pub static S003 = {
        name: "one-completion",
        reads: [PerRequest(completion_time), StateTransitions(timestamp, state)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let expected = record.row.completion_time;
        let changes: Vec<_> = request.changes_to(State::Completed).collect();
        let ids = cx.ids;
        let finding = |message: String| {
            Finding::new(message).at(record.at(), "completion_time").of(request.key, ids)
        };
        cx.exercised(1);
        match (expected, changes.as_slice()) {
            (Some(expected), [change])
                if cx.agree(expected, change.row.timestamp, 1, change.at()) => {}
            (Some(expected), [change]) => {
                cx.found(elsewhere(request, record, expected, change, cx))
            }
            (Some(expected), []) => {
                // X005 speaks of a file that ends before, X001 of a request that is not in it.
                let covered = cx.facts.covers(Table::StateTransitions, expected);
                let missing =
                    !request.transitions.is_empty() && (covered || request.changes_reach(expected));
                if missing {
                    let last = request.transitions.last().map(Located::at);
                    cx.found(
                        finding("there is no completed change".to_owned())
                            .with_row(last, "the last change"),
                    );
                }
            }
            (Some(_), [first, second, ..]) => cx.found(
                finding("the request is completed more than once".to_owned())
                    .with(first.at(), "state", "first")
                    .with(second.at(), "state", "second")
                    .values(1, changes.len()),
            ),
            (None, []) => {}
            (None, [change, ..]) => cx.found(
                finding("a completed change of a request without completion_time".to_owned())
                    .with(change.at(), "state", "the change")
                    .values("none", change.row.timestamp),
            ),
        }
    }
}

/// A change at another moment than the row's: the one with which the event does not agree is wrong.
fn elsewhere(
    request: &RequestHistory,
    record: &Located<RequestRow>,
    expected: Nanos,
    change: &Located<TransitionRow>,
    cx: &Cx<'_>,
) -> Finding {
    let told = request.event(EventType::RequestCompleted).map(|event| event.row.timestamp);
    let own = change.row.timestamp;
    if told == Some(own) {
        return Finding::new("completion_time is not the moment of the completed change")
            .at(record.at(), "completion_time")
            .with(change.at(), "timestamp", "the change")
            .of(request.key, cx.ids)
            .values(own, expected);
    }
    Finding::new("the completed change is at another moment")
        .at(change.at(), "timestamp")
        .with(record.at(), "completion_time", "the request's row")
        .of(request.key, cx.ids)
        .values(expected, own)
}
