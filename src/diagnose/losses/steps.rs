//! Steps of which one file has nothing at all.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::count::Counts;
use crate::diagnose::losses::explain::{
    EVENT_COUNTS, EVENTS_OF_REQUEST, EVENTS_OF_STEP, ROWS_OF_REQUEST, ROWS_OF_STEP, iterations,
};
use crate::diagnose::losses::{LOST_STEP, is_of};
use crate::log::schema::Table;
use crate::log::values::EventType;

/// Steps that are missing at one place and are listed.
const LONGEST_GAP: u64 = 1 << 10;

pub(super) fn find(board: &mut Board<'_, '_>, counts: &Counts) {
    of_steps(board);
    of_rows(board, counts);
    of_events(board, counts);
}

/// A log whose first steps are gone although per_request.csv tells of what they scheduled.
pub(super) fn find_beginning(board: &mut Board<'_, '_>, counts: &Counts) {
    let at_first = |seen: &Seen<'_>| {
        seen.rule == "M011" && seen.values().is_some_and(|(next, id)| next == 0 && id > 0)
    };
    let early = counts.begins.zip(counts.first_scheduled);
    let Some(((first, start), _)) = early.filter(|((_, start), early)| early < start) else {
        return;
    };
    // Steps that come later are not missing.
    let goes_back =
        |seen: &Seen<'_>| seen.rule == "M011" && seen.values().is_some_and(|(next, id)| id < next);
    if !board.open().any(|seen| at_first(&seen)) || board.open().any(|seen| goes_back(&seen)) {
        return;
    }
    let explains = |seen: &Seen<'_>| match seen.request() {
        Some(id) => counts.lives.get(id).is_none_or(|life| life.arrival < start),
        // What a row adds is seen by the one before.
        None if seen.rule == "K002" => seen.iteration().is_some_and(|id| id <= first + 1),
        None => at_first(seen) || seen.is(&["C001", "C008", "C010", "X005"]),
    };
    let text = format!(
        "per_iteration.csv begins with iteration {first}, and per_request.csv has requests that were \
         scheduled before that: the beginning of the log is missing, as of files that are rotated"
    );
    board.claim(Claim { cause: LOST_STEP, text, lead: &["M011"], explains: Box::new(explains) });
}

/// The steps that per_iteration.csv leaves out, by its gaps.
fn of_steps(board: &mut Board<'_, '_>) {
    let number = |text: &Option<String>| text.as_ref()?.parse::<u64>().ok();
    let gaps: Vec<(u64, u64)> = board
        .open()
        .filter(|seen| seen.rule == "M011" && seen.column() == Some("iteration_id"))
        .filter_map(|seen| number(&seen.finding.expected).zip(number(&seen.finding.actual)))
        // A log that begins with another id than 0 has lost nothing.
        .filter(|(next, found)| 0 < *next && next < found && found - next <= LONGEST_GAP)
        .collect();
    let back = board.open().any(|seen| {
        let ids = number(&seen.finding.expected).zip(number(&seen.finding.actual));
        seen.rule == "M011" && ids.is_some_and(|(next, found)| next > found)
    });
    // Ids that come later are not missing.
    if gaps.is_empty() || back {
        return;
    }
    let missing: BTreeSet<u64> = gaps.iter().flat_map(|(next, found)| *next..*found).collect();
    let behind: BTreeSet<u64> = gaps.iter().map(|(_, found)| *found).collect();
    let told = board.open().any(|seen| {
        seen.rule == "X004" && seen.iteration().is_some_and(|id| missing.contains(&id))
    });
    let all: Vec<u64> = missing.iter().copied().collect();
    let lacks = match gaps.as_slice() {
        // Many gaps of one length.
        [(next, found), .., _]
            if found - next > 1 && gaps.iter().all(|gap| gap.1 - gap.0 == found - next) =>
        {
            format!("per_iteration.csv has only one iteration in {}", found - next + 1)
        }
        _ => format!("per_iteration.csv has no row of {}", iterations(&all)),
    };
    let several = gaps.len() > 1;
    if !told && !several {
        // One jump of the ids that nothing else tells of may be a wrong id.
        return;
    }
    let why = if told {
        ", although per_iteration_requests.csv has rows of more: rows of steps are dropped, or not every \
         step is written"
    } else {
        ", nor has per_iteration_requests.csv: whole steps are left out of the log, or their ids are \
         counted by something else"
    };
    let explains = |seen: &Seen<'_>| {
        let here = |id: &u64| missing.contains(id) || behind.contains(id);
        match seen.iteration() {
            Some(id) if seen.rule != "M021" => {
                let of_step = ["M011", "X004", "M010", "M014"];
                here(&id)
                    && (seen.is(&of_step) || seen.is(ROWS_OF_REQUEST) || seen.is(EVENTS_OF_STEP))
            }
            // Of many steps the last may be missing, too.
            Some(_) => several,
            None => several && seen.rule == "X005" && is_of(seen, Table::PerIteration),
        }
    };
    board.claim(Claim {
        cause: LOST_STEP,
        text: format!("{lacks}{why}"),
        lead: &["M011"],
        explains: Box::new(explains),
    });
}

/// The steps without any row in per_iteration_requests.csv, unless others lack some.
fn of_rows(board: &mut Board<'_, '_>, counts: &Counts) {
    // A step that stands twice has its rows once.
    if counts.rows.short > 0 || counts.rows.over > 0 || board.has(&["M011"]) {
        return;
    }
    let missing = board.iterations(|seen| {
        let table = seen.finding.primary.as_ref().map(|mark| mark.at.table);
        seen.rule == "X004"
            && table == Some(Table::PerIteration)
            && seen.column() == Some("iteration_id")
    });
    let Some(first) = missing.first().copied() else { return };
    // Where steps have few rows each, one in so many is left of some and none of others.
    let regular = counts.rows.strides.as_ref().is_some_and(|strides| strides.found().is_some());
    if regular && missing.len() > 1 {
        return;
    }
    let ends = |seen: &Seen<'_>| {
        let life = seen.request().and_then(|id| counts.lives.get(id));
        let moments = missing.iter().filter_map(|id| counts.moments.get(id));
        life.is_some_and(|life| moments.clone().any(|at| at.start < life.end && life.end <= at.end))
    };
    let explains = |seen: &Seen<'_>| {
        // Where steps overlap, what a row shows may be that of two steps before.
        let near = |id: u64| (id.saturating_sub(2)..=id).any(|id| missing.contains(&id));
        match (seen.request(), seen.iteration()) {
            (_, Some(step)) if seen.rule == "C010" => first <= step,
            (Some(_), Some(step)) => seen.is(ROWS_OF_REQUEST) && near(step),
            (Some(_), None) => seen.is(&["S008", "C009", "X001", "K011"]) && ends(seen),
            (None, Some(step)) => seen.is(ROWS_OF_STEP) && near(step),
            (None, None) => false,
        }
    };
    let text = format!(
        "per_iteration_requests.csv has no row of {} at all, although per_iteration.csv counts \
         requests there: the rows of whole steps are dropped",
        iterations(&missing)
    );
    board.claim(Claim { cause: LOST_STEP, text, lead: &["X004"], explains: Box::new(explains) });
}

/// The steps of which events.csv has nothing, if all that it lacks is of them.
fn of_events(board: &mut Board<'_, '_>, counts: &Counts) {
    let steps = board.iterations(|seen| {
        seen.rule == "Q001"
            && seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column))
            && seen.lacks()
    });
    let told: Vec<_> = steps.iter().filter_map(|id| counts.step_events.get(id)).collect();
    let silent = told.len() == steps.len() && told.iter().all(|told| told.found == 0);
    let adjacent = steps.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let there: u64 = told.iter().map(|told| told.expected).sum();
    let lacking: u64 = DECISIONS.iter().map(|kind| counts.lacks_events(*kind)).sum();
    let Some(first) =
        steps.first().copied().filter(|_| silent && adjacent && (1..=there).contains(&lacking))
    else {
        return;
    };
    let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
        (Some(_), step) => seen.is(EVENTS_OF_REQUEST) && step.is_none_or(|step| step >= first),
        (None, Some(step)) => seen.is(EVENTS_OF_STEP) && step >= first,
        (None, None) => false,
    };
    let text = format!(
        "events.csv has nothing of {} at all, although per_iteration.csv counts {there} decisions and \
         ends there: the events of a whole step are dropped",
        iterations(&steps)
    );
    let lead = &["Q001", "X002", "C008"];
    board.claim(Claim { cause: LOST_STEP, text, lead, explains: Box::new(explains) });
}

/// Events that both per_iteration.csv and per_request.csv count.
const DECISIONS: [EventType; 3] =
    [EventType::RequestScheduled, EventType::RequestPreempted, EventType::RequestCompleted];
