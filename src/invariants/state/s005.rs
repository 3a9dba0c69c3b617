//! S005: preemptions are counted alike.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A request has as many `preempted` changes as its preemption_count and as
    /// `request_preempted` events.
    ///
    /// The three are written by the same decision. Where one file is missing, the other two are
    /// compared.
    ///
    /// Blind spot: a preemption that no file tells of; the rows of the steps show it (S007).
    ///
    /// Example: preemption_count 0 of a request with a `preempted` change: the counter was reset.
    pub static S005 = {
        name: "preemptions-agree",
        reads: [PerRequest(preemption_count)],
        also: [StateTransitions(state), Events(event_type)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let counted = record.row.preemption_count.0 as usize;
        let alive = record.row.completion_time.is_none();
        // The end of a request in a file says that all before is there too. What a file does not
        // know at all is X001's business, what it may have lost at its end X005's.
        let ended = request.changes_to(State::Completed).next().is_some();
        let known = alive && !request.transitions.is_empty() && !request.changes_cut;
        if ended || known && cx.facts.complete(Table::StateTransitions) {
            let changes = request.changes_to(State::Preempted);
            let at = changes.map(Located::at).collect::<Vec<_>>();
            compare(request, record.at(), counted, &at, "state", cx);
        }
        let ended = request.event(EventType::RequestCompleted).is_some();
        let known = alive && !request.events.is_empty();
        if ended || known && cx.facts.complete(Table::Events) {
            let events = request.events_of(EventType::RequestPreempted);
            let at = events.map(Located::at).collect::<Vec<_>>();
            compare(request, record.at(), counted, &at, "event_type", cx);
        }
    }
}

fn compare(
    request: &RequestHistory,
    record: Location,
    counted: usize,
    found: &[Location],
    column: &'static str,
    cx: &mut Cx<'_>,
) {
    cx.expect(counted == found.len(), |ids| {
        let what = if column == "state" { "preempted changes" } else { "request_preempted events" };
        let finding = Finding::new(format!(
            "preemption_count is {counted}, but there are {} {what}",
            found.len()
        ))
        .at(record, "preemption_count")
        .of(request.key, ids)
        .values(found.len(), counted);
        found.iter().take(3).fold(finding, |finding, at| finding.with(*at, column, "a preemption"))
    });
}
