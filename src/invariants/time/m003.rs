//! M003: the times of a request are those of its changes.

use crate::invariants::prelude::*;
use crate::log::schema::RequestRow;

declare_invariant! {
    /// waiting_time and execution_time are the sums of the durations of the request's changes:
    /// `waiting` and `preempted` to one side, `running` to the other.
    ///
    /// Of a request that is unfinished the time in its last state is not in the changes yet, so there
    /// the sums are lower bounds.
    ///
    /// Where there is no state_transitions.csv the events of a request that was preempted tell the same
    /// changes; how long it waited for its first scheduling is M017's business.
    ///
    /// Blind spot: durations that are wrong themselves; M004 recomputes them. Events that are stamped by
    /// readings of their own.
    ///
    /// Example: waiting_time without the time between `preempted` and the next `running`.
    pub static M003 = {
        name: "times-are-sums-of-changes",
        reads: [PerRequest(waiting_time, execution_time, completion_time)],
        also: [
            StateTransitions(state, duration_in_prev_state),
            PerRequest(arrival_time, preemption_count),
            Events(timestamp, event_type),
        ],
        severity: Error,
    } => Check
}

/// Why nothing may be there to add up.
const UNTOLD: &str = "state_transitions.csv is not there or cannot be read, and the events tell of no \
                      request that was preempted when it was";

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let sums = match cx.facts.has(Table::StateTransitions) {
            true => by_changes(request, cx),
            false => {
                cx.vacuous(UNTOLD);
                by_events(request, &record.row, cx)
            }
        };
        let finished = record.row.completion_time.is_some();
        // A missing end is S003's business.
        let Some(sums) = sums.filter(|sums| sums.ended == finished) else { return };
        let row = &record.row;
        for (column, value, sum) in [
            ("waiting_time", row.waiting_time, sums.waited),
            ("execution_time", row.execution_time, sums.ran),
        ] {
            let readings = sums.parts.len() as u64;
            let holds = if finished {
                cx.agree(sum, value, readings, record.at())
            } else {
                cx.follows(sum, value, record.at())
            };
            cx.expect(holds, |ids| {
                let finding = Finding::new(format!("{column} is not the sum of the changes"))
                    .at(record.at(), column)
                    .of(request.key, ids)
                    .values(sum, value);
                sums.parts
                    .iter()
                    .take(4)
                    .fold(finding, |finding, part| finding.with(*part, sums.column, sums.label))
            });
        }
    }
}

/// The times of a request in both kinds of states.
struct Sums {
    waited: Nanos,
    ran: Nanos,
    ended: bool,
    /// The rows that tell the changes.
    parts: Vec<Location>,
    column: &'static str,
    label: &'static str,
}

impl Sums {
    const fn new(column: &'static str, label: &'static str) -> Self {
        Self {
            waited: Nanos::ZERO,
            ran: Nanos::ZERO,
            ended: false,
            parts: Vec::new(),
            column,
            label,
        }
    }

    /// Adds the time in a state that a row says was left.
    fn add(&mut self, left: State, time: Nanos, part: Location) {
        let side = if left == State::Running { &mut self.ran } else { &mut self.waited };
        *side = side.saturating_add(time);
        self.parts.push(part);
    }
}

fn by_changes(request: &RequestHistory, cx: &Cx<'_>) -> Option<Sums> {
    if !cx.facts.complete(Table::StateTransitions) {
        return None;
    }
    let mut sums = Sums::new("duration_in_prev_state", "adds to the sums");
    let mut state = State::Waiting;
    for change in &request.transitions {
        sums.add(state, change.row.duration_in_prev_state, change.at());
        state = change.row.state;
    }
    sums.ended = state == State::Completed;
    Some(sums)
}

fn by_events(request: &RequestHistory, row: &RequestRow, cx: &Cx<'_>) -> Option<Sums> {
    let dialect = &cx.facts.dialect;
    let one_clock = dialect.decisions_at_d || dialect.has(Habit::ClockSkew);
    let preempted = request.events_of(EventType::RequestPreempted).count() as u64;
    // Other numbers of them are X002's business.
    let told = one_clock && preempted > 0 && preempted == u64::from(row.preemption_count.0);
    if !told || !cx.facts.complete(Table::Events) {
        return None;
    }
    let mut sums = Sums::new("timestamp", "the state changes");
    let (mut state, mut since) = (State::Waiting, row.arrival_time);
    for change in request.changes_by_events()? {
        sums.add(state, change.at.checked_sub(since)?, change.event);
        (state, since) = (change.state, change.at);
    }
    sums.ended = state == State::Completed;
    Some(sums)
}
