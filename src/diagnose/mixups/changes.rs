//! Changes of state that tell of the wrong state, or are measured from the wrong line.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::CHANGES;
use crate::diagnose::mixups::MISPLACED_CHANGES;
use crate::diagnose::pass::{Ahead, of_requests};
use crate::log::reader::LogDir;
use crate::log::schema::TransitionRow;
use crate::log::values::State;

/// Requests whose arrivals are kept.
const MOST: usize = 1 << 14;
/// Changes that are no chance.
const SEVERAL: u64 = 2;

/// What every change could be.
struct Fits {
    /// Changes with one behind them, of the same request.
    followed: u64,
    /// Whether each lasts as long as the state that it begins.
    until_next: bool,
    /// Changes behind one of another request.
    strangers: u64,
    /// Whether each is as far from the line before as it says, whosever that is.
    since_line: bool,
    /// Whether any is not as far from the change before as it says.
    wrong: bool,
    rows: u64,
    /// Whether each names the state that it leads to as the one before.
    names_next: bool,
    /// Whether the first of each request names `waiting` so, in which all begin.
    begins_waiting: bool,
    /// Changes that happened at another moment than that in the line before.
    moved: u64,
    /// Whether each has the stamp of the one in the line before, by what all say that they lasted.
    stamp_before: bool,
    /// Whether each has the moment at which the state that is left began, by what all say that they lasted.
    stamp_of_entry: bool,
    /// Changes of which that is another moment.
    lasting: u64,
    /// Whether each leads, by the state before it, to the state that the next of its request is in.
    exchanged: bool,
    /// Whether each lasts since the arrival of its request.
    since_arrival: bool,
    /// Whether nothing says which state is left, and no change leads to the end.
    begins_left: bool,
    /// Whether the first of each request leads to `waiting`, in which all begin.
    begins_waiting_again: bool,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M004", "S001", "S003"]) {
        return Some(());
    }
    let fits = look(dir)?;
    if fits.wrong && fits.stamp_before && fits.moved >= SEVERAL {
        let text = "the timestamp of each line in state_transitions.csv is the moment of the change in the \
                    line before, whosever that is: what the changes lasted adds up to the right ones"
            .to_owned();
        let lead = &["S003", "M006", "M004"];
        board.claim(Claim { cause: MISPLACED_CHANGES, text, lead, explains: Box::new(of_stamps) });
    }
    if fits.stamp_of_entry && fits.lasting >= SEVERAL && board.has(&["M006", "S003"]) {
        let text = "the timestamp of each line in state_transitions.csv is the moment at which the state that is \
                    left began, not that of the change: timestamp + duration_in_prev_state is the right one"
            .to_owned();
        let lead = &["M006", "S003", "M004"];
        board.claim(Claim { cause: MISPLACED_CHANGES, text, lead, explains: Box::new(of_stamps) });
        return Some(());
    }
    let durations = |seen: &Seen<'_>| seen.is(&["M004", "M003", "M002"]);
    // Where other files contradict the stamps, durations may be right.
    let stamped = !board.has(&["S003", "M006"]);
    if fits.wrong && fits.since_arrival && fits.followed >= SEVERAL {
        let text = "duration_in_prev_state is the time since the arrival, not since the change before: it does \
                    not begin anew with each state"
            .to_owned();
        claim(board, text, durations);
    } else if fits.wrong && fits.until_next && fits.followed >= SEVERAL && stamped {
        let text = "duration_in_prev_state is the time in the state that is entered, not in the one that is \
                    left: each is that of the next line of its request"
            .to_owned();
        claim(board, text, durations);
    } else if fits.wrong && fits.since_line && fits.strangers >= SEVERAL {
        let text = "duration_in_prev_state is the time since the line before, whosever that is, not since \
                    the change before of the same request"
            .to_owned();
        claim(board, text, durations);
    }
    if fits.exchanged && fits.rows >= SEVERAL {
        let text = "state and prev_state are exchanged in each line: state is the one that is left";
        claim(board, text.to_owned(), of_stamps);
    }
    // Without prev_state it shows in that each begins with the state that all begin in, and none ends.
    if fits.begins_left && fits.begins_waiting_again && fits.rows >= SEVERAL {
        let text = "state is in each line the state that is left: it is read before it is set";
        claim(board, text.to_owned(), |seen| seen.is(CHANGES) && seen.rule != "X001");
    }
    if fits.names_next && fits.rows >= SEVERAL {
        let text = if fits.begins_waiting {
            "state is in each line the state that is left: it is read before it is set"
        } else {
            "prev_state is in each line the state that is entered: it is read after it was set"
        };
        let explains: fn(&Seen<'_>) -> bool = match fits.begins_waiting {
            true => |seen| seen.is(CHANGES) && seen.rule != "X001",
            false => |seen| seen.is(&["S001", "M003", "S002", "S005"]),
        };
        claim(board, text.to_owned(), explains);
    }
    Some(())
}

/// What goes by the stamps of changes.
fn of_stamps(seen: &Seen<'_>) -> bool {
    seen.is(CHANGES) && seen.rule != "X001" || seen.is(&["M015", "M005", "M007"])
}

fn claim(board: &mut Board<'_, '_>, text: String, explains: fn(&Seen<'_>) -> bool) {
    let lead = &["M004", "S001", "S003"];
    board.claim(Claim { cause: MISPLACED_CHANGES, text, lead, explains: Box::new(explains) });
}

fn look(dir: &LogDir) -> Option<Fits> {
    // The arrival of each request; and when its last change was, by what all of them lasted.
    let mut lives = of_requests(dir, MOST, |row| Some((row.arrival_time, row.arrival_time.0)))?;
    let mut fits = Fits {
        followed: 0,
        until_next: true,
        strangers: 0,
        since_line: true,
        wrong: false,
        rows: 0,
        names_next: true,
        begins_waiting: true,
        moved: 0,
        stamp_before: true,
        stamp_of_entry: true,
        lasting: 0,
        exchanged: true,
        since_arrival: true,
        begins_left: true,
        begins_waiting_again: true,
    };
    let mut state_of: BTreeMap<String, State> = BTreeMap::new();
    let mut rows = Ahead::<TransitionRow>::open(dir, |row| Some(row.request_id))?;
    let mut before: Option<(TransitionRow, String)> = None;
    let mut moment_before = None;
    let mut first_of = BTreeSet::new();
    while let Some((row, id)) = rows.next_if(|_| true) {
        fits.rows += 1;
        fits.names_next &= row.prev_state == Some(row.state);
        let lasted = row.duration_in_prev_state.0;
        fits.since_arrival &= lives
            .get(&id)
            .is_some_and(|(arrival, _)| row.timestamp.0.checked_sub(arrival.0) == Some(lasted));
        if let Some((last, owner)) = &before {
            let since = row.timestamp.0.abs_diff(last.timestamp.0);
            fits.since_line &= since == lasted;
            if *owner == id {
                fits.followed += 1;
                let until = row.timestamp.0.checked_sub(last.timestamp.0);
                fits.until_next &= until == Some(last.duration_in_prev_state.0);
                fits.wrong |= since != lasted;
            } else {
                fits.strangers += 1;
            }
        }
        if before.as_ref().is_none_or(|(_, owner)| *owner != id)
            && let Some((arrival, _)) = lives.get(&id)
        {
            fits.wrong |= row.timestamp.0.abs_diff(arrival.0) != lasted;
        }
        let state = row.prev_state.and_then(|next| state_of.insert(id.clone(), next));
        fits.exchanged &= row.prev_state.is_some()
            && row.state == state.unwrap_or(State::Waiting)
            && row.prev_state != Some(row.state);
        fits.begins_left &= row.prev_state.is_none() && row.state != State::Completed;
        if first_of.insert(id.clone()) {
            fits.begins_waiting_again &= row.state == State::Waiting;
            fits.begins_waiting &= row.prev_state == Some(State::Waiting);
        }
        let moment = lives.get_mut(&id).map(|(_, moment)| {
            fits.stamp_of_entry &= row.timestamp.0 == *moment;
            fits.lasting += u64::from(lasted > 0);
            *moment = moment.saturating_add(lasted);
            *moment
        });
        if let Some(earlier) = std::mem::replace(&mut moment_before, moment) {
            fits.stamp_before &= row.timestamp.0 == earlier;
            fits.moved += u64::from(moment.is_some_and(|moment| moment != earlier));
        }
        before = Some((row, id));
    }
    Some(fits)
}
