//! M004: the duration of a change.

use crate::invariants::prelude::*;

declare_invariant! {
    /// duration_in_prev_state is the difference to the change before, or to the arrival.
    ///
    /// Both timestamps are in the file, so the difference is exact. It is wrong where the start of a
    /// state is kept in a variable that some change forgets to set.
    ///
    /// Blind spot: the first change of a request whose arrival no file tells.
    ///
    /// Example: `running` at 300 with duration 250 of a request that arrived at 100.
    pub static M004 = {
        name: "change-durations",
        reads: [StateTransitions(timestamp, duration_in_prev_state)],
        also: [PerRequest(arrival_time), Events(timestamp)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if request.damaged {
            return;
        }
        let mut before = request.arrival();
        let record = request.record.as_ref().map(Located::at);
        let mut before_at =
            record.or_else(|| request.event(EventType::RequestArrived).map(Located::at));
        let mut compared = Compared::FirstChange;
        for change in &request.transitions {
            let now = change.row.timestamp;
            if let Some(before) = before {
                let expected = now.checked_sub(before);
                let holds = match expected {
                    Some(expected) => cx.agree_on(
                        compared,
                        expected,
                        change.row.duration_in_prev_state,
                        1,
                        change.at(),
                    ),
                    None => cx.follows(before, now, change.at()),
                };
                cx.expect(holds, |ids| {
                    let expected = match expected {
                        Some(expected) => expected.to_string(),
                        None => format!("{now} - {before}, which is negative"),
                    };
                    Finding::new("duration_in_prev_state is not the time since the change before")
                        .at(change.at(), "duration_in_prev_state")
                        .with_row(before_at, "the beginning")
                        .of(request.key, ids)
                        .values(expected, change.row.duration_in_prev_state)
                });
            }
            before = Some(now);
            compared = Compared::Change;
            before_at = Some(change.at());
        }
    }
}
