//! Preemptions of which state_transitions.csv has neither the change to preempted nor the one back.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::LOST_KIND;
use crate::diagnose::losses::count::{Counts, Told};
use crate::diagnose::losses::explain::CHANGES;
use crate::log::values::{EventType, State};

pub(super) fn find(board: &mut Board<'_, '_>, counts: &Counts) {
    if !board.has(&["S005"]) || board.has(&["X001", "X003", "S001", "S003"]) {
        return;
    }
    let told = |state: State| counts.changes.get(&state).copied();
    let (Some(preempted), Some(running)) = (told(State::Preempted), told(State::Running)) else {
        return;
    };
    let Told { found: events, .. } =
        counts.events.get(&EventType::RequestPreempted).copied().unwrap_or_default();
    let first_only = running.found == running.expected && counts.resumptions == 0;
    // What per_request.csv and events.csv count alike has happened.
    if preempted.found > 0 || !first_only || events == 0 || events != preempted.expected {
        return;
    }
    let text = format!(
        "state_transitions.csv has no change to preempted and none back to running, although events.csv has \
         {events} request_preempted, as many as per_request.csv counts: they are never written"
    );
    let explains = |seen: &Seen<'_>| seen.request().is_some() && seen.is(CHANGES);
    let lead = &["S005", "S004"];
    board.claim(Claim { cause: LOST_KIND, text, lead, explains: Box::new(explains) });
}
