//! M012: the order of events.

use crate::invariants::prelude::*;

declare_invariant! {
    /// events.csv is in order of time.
    ///
    /// Readers merge it with the other files in one pass. An event out of order was buffered apart
    /// from the others, or stamped by another clock.
    ///
    /// Blind spot: the order of events of one moment.
    ///
    /// Example: an arrival at 100 behind a completion at 900.
    pub static M012 = {
        name: "events-in-order",
        reads: [Events(timestamp)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    latest: Option<(Nanos, Location)>,
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        for event in events {
            let now = event.row.timestamp;
            if let Some((latest, at)) = self.latest {
                let holds = cx.follows(latest, now, event.at());
                cx.expect(holds, |ids| {
                    let finding = Finding::new("the event is earlier than one before it")
                        .at(event.at(), "timestamp")
                        .with(at, "timestamp", "the later one")
                        .values(format!("at least {latest}"), now);
                    match event.row.request_id {
                        Some(key) => finding.of(key, ids),
                        None => finding,
                    }
                });
            }
            if self.latest.is_none_or(|(latest, _)| now > latest) {
                self.latest = Some((now, event.at()));
            }
        }
    }
}
