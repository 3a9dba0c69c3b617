//! Kinds of rows that a file does not have, and rows that it lacks here and there.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::count::{Counts, Life, Told};
use crate::diagnose::losses::explain::{
    CHANGES, EVENT_COUNTS, EVENTS_OF_REQUEST, EVENTS_OF_STEP, GAPS, ROW_COUNTS, ROWS_OF_REQUEST,
    ROWS_OF_STEP,
};
use crate::diagnose::losses::{LOST_KIND, LOST_ROWS, has_unread, is_of};
use crate::log::schema::Table;
use crate::log::values::{EventType, State};

/// Rows that are missing of a file that loses some here and there.
const SEVERAL: u64 = 2;

pub(super) fn find(board: &mut Board<'_, '_>, counts: &Counts) {
    if !has_unread(board, Table::PerIterationRequests) {
        of_steps(board, counts);
    }
    if !has_unread(board, Table::Events) {
        of_events(board, counts);
    }
    if !has_unread(board, Table::StateTransitions) {
        of_changes(board, counts);
    }
}

impl Counts {
    /// How many events of a kind are missing.
    pub(super) fn lacks_events(&self, kind: EventType) -> u64 {
        self.events.get(&kind).map_or(0, |told| told.missing())
    }

    /// How often requests entered the running queue, as far as the files tell.
    fn entered_running(&self, told: Told) -> u64 {
        let preemptions = self.changes.get(&State::Preempted).map_or(0, |told| told.expected);
        let most = told.expected + preemptions;
        let resumed = self.events.get(&EventType::RequestResumed).map_or(0, |told| told.found);
        let resumed = if self.resumed_at_first { 0 } else { resumed };
        told.found.max(told.expected + resumed).min(most)
    }
}

impl Told {
    fn missing(self) -> u64 {
        self.expected.saturating_sub(self.found)
    }

    /// As far as another file counts so many, too.
    fn at_most(self, found: u64) -> Self {
        Self { expected: self.expected.min(found), ..self }
    }
}

/// Rows of per_iteration_requests.csv.
fn of_steps(board: &mut Board<'_, '_>, counts: &Counts) {
    let rows = &counts.rows;
    // Where no request lacks a row, it is the counts that are wrong.
    let regular = rows.strides.as_ref().is_some_and(|strides| strides.found().is_some());
    let gaps = board.has(GAPS) || board.has(&["S008"]) || regular && board.has(&["X004"]);
    // Nor where steps stand twice or out of order.
    if rows.over > 0 || rows.missing < SEVERAL || !gaps || board.has(&["M011"]) {
        return;
    }
    let (missing, expected) = (rows.missing, rows.expected);
    let stride = rows.strides.as_ref().and_then(|strides| strides.found());
    let lacks = format!("per_iteration_requests.csv lacks {missing} of {expected} rows");
    let text = match stride.filter(|_| missing > SEVERAL) {
        Some(stride) if stride.keeps => {
            format!(
                "{lacks}: only one in {} is written; log every one to have them checked",
                stride.every
            )
        }
        Some(stride) => format!("{lacks}, one in {}: {DROPPED}", stride.every),
        None => format!("{lacks}: {DROPPED}"),
    };
    let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
        (Some(_), _) => seen.is(ROWS_OF_REQUEST),
        (None, Some(_)) => {
            let counted = seen.rule != "Q001"
                || seen.column().is_some_and(|column| ROW_COUNTS.contains(&column));
            seen.rule == "C010" || seen.is(ROWS_OF_STEP) && counted && seen.lacks()
        }
        (None, None) => seen.rule == "X005" && is_of(seen, Table::PerIterationRequests),
    };
    board.claim(Claim {
        cause: LOST_ROWS,
        text,
        lead: &["Q004", "X004", "S008", "Q001"],
        explains: Box::new(explains),
    });
}

const DROPPED: &str = "rows are dropped as they are written, or sampled";

/// What is missing of the kinds of a file.
struct Missing {
    /// The kinds of which there is none, and how many there should be.
    absent: Vec<(String, u64)>,
    /// The kinds of which some are there and some are not.
    partly: usize,
    over: bool,
    rows: u64,
    /// Rows of facts of which there is one per request; that a count is wrong is as likely as a loss.
    facts: u64,
    of: u64,
}

impl Missing {
    /// Of each kind: its name, whether it is a count, what is told of it.
    fn of(kinds: impl Iterator<Item = (String, bool, Told)>) -> Self {
        let mut missing =
            Self { absent: Vec::new(), partly: 0, over: false, rows: 0, facts: 0, of: 0 };
        for (kind, counted, told) in kinds {
            missing.over |= told.found > told.expected;
            missing.rows += told.missing();
            missing.facts += if counted { 0 } else { told.missing() };
            missing.of += told.expected;
            if told.found == 0 && told.expected > 0 {
                missing.absent.push((kind, told.expected));
            } else if told.missing() > 0 {
                missing.partly += 1;
            }
        }
        missing
    }

    /// If only ends are missing, and exactly those of requests that ended for one reason, or that no row
    /// of a step shows completed.
    fn of_one_ending(
        &self,
        table: Table,
        kind: &str,
        told: Told,
        board: &Board<'_, '_>,
        counts: &Counts,
        lacks: impl Fn(&Seen<'_>) -> bool,
    ) -> Option<(&'static str, String)> {
        if self.over || self.rows == 0 || self.rows != told.missing() || told.found == 0 {
            return None;
        }
        let named = board.open().filter(|seen| lacks(seen)).filter_map(|seen| seen.request());
        let lives: Option<Vec<&Life>> = named.map(|id| counts.lives.get(id)).collect();
        let lives = lives.filter(|lives| !lives.is_empty())?;
        let reason = lives[0].reason.filter(|reason| {
            let of_all = counts.endings.get(reason).copied() == Some(self.rows);
            of_all && lives.iter().all(|life| life.reason == Some(*reason))
        });
        let unseen = counts.shown_ends > 0
            && counts.ends - counts.shown_ends.min(counts.ends) == self.rows
            && lives.iter().all(|life| !life.shown_ended);
        let which = match reason {
            Some(reason) => format!("with finish_reason {reason}"),
            None if unseen => "that have no completed row, as after an abort,".to_owned(),
            None => return None,
        };
        let text = format!(
            "{table} has no {kind} of any of the {} requests {which} and those of all others: they end on \
             another path, which writes none",
            self.rows
        );
        Some((LOST_KIND, text))
    }

    fn cause(&self, table: Table) -> Option<(&'static str, String)> {
        if self.over || self.rows == 0 {
            return None;
        }
        if self.partly == 0 {
            let kinds: Vec<_> = self.absent.iter().map(|(kind, _)| kind.as_str()).collect();
            let how = if self.facts > 0 { "" } else { ", or the counts are of something else" };
            return Some((
                LOST_KIND,
                format!(
                    "{table} has no {} at all, although per_request.csv counts {}: it is never written{how}",
                    kinds.join(" and no "),
                    self.rows
                ),
            ));
        }
        let (rows, of) = (self.rows, self.of);
        (self.facts > 0).then(|| {
            let text =
                format!("{table} lacks {rows} of {of} rows that per_request.csv counts: {DROPPED}");
            (LOST_ROWS, text)
        })
    }
}

fn of_events(board: &mut Board<'_, '_>, counts: &Counts) {
    if !board.has(&["X001", "X002", "S005", "C006", "Q001", "C008", "Q009"]) {
        return;
    }
    let changes = counts.changes.get(&State::Preempted).filter(|_| !counts.changes.is_empty());
    let kinds = counts.events.iter().map(|(kind, told)| match (kind, changes) {
        // What only one file counts may be counted wrongly there.
        (EventType::RequestPreempted, Some(changes)) => (kind, false, told.at_most(changes.found)),
        (EventType::RequestPreempted | EventType::RequestEvicted, _) => (kind, true, *told),
        _ => (kind, false, *told),
    });
    let counted = kinds.filter(|(.., told)| told.expected > 0);
    let missing =
        Missing::of(counted.map(|(kind, counted, told)| (kind.to_string(), counted, told)));
    let of_ending = || {
        let told = counts.events.get(&EventType::RequestCompleted)?;
        let lacks = |seen: &Seen<'_>| {
            let of_kind = seen.finding.message.contains(EventType::RequestCompleted.as_str());
            seen.rule == "X002" && of_kind && seen.lacks()
        };
        missing.of_one_ending(Table::Events, "request_completed", *told, board, counts, lacks)
    };
    let resumed = unwritten(board, counts).filter(|(kind, _)| *kind == EventType::RequestResumed);
    let unwritten = || unwritten(board, counts).map(|(_, text)| (LOST_KIND, text));
    let cause = of_ending().or_else(|| missing.cause(Table::Events)).or_else(unwritten);
    let Some((cause, text)) = cause else { return };
    let explains = |seen: &Seen<'_>| match (seen.request(), seen.iteration()) {
        _ if resumed.is_some() && is_of_resumptions(seen) => true,
        (Some(_), _) => seen.is(EVENTS_OF_REQUEST),
        (None, Some(_)) => {
            let counted = seen.rule != "Q001"
                || seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column))
                    && seen.lacks();
            seen.is(EVENTS_OF_STEP) && counted
        }
        (None, None) => seen.rule == "X005" && is_of(seen, Table::Events),
    };
    board.claim(Claim {
        cause,
        text,
        lead: &["X002", "X001", "S005", "Q001", "C006", "C008", "Q009", "M003"],
        explains: Box::new(explains),
    });
}

/// Whether a finding goes by the resumptions: without them a request never came back, or came first twice.
fn is_of_resumptions(seen: &Seen<'_>) -> bool {
    match seen.rule {
        "Q001" => matches!(seen.column(), Some("resumed_count" | "admitted_count")),
        _ => seen.is(&["Q009", "M003", "M004", "M015", "K009", "C006"]),
    }
}

/// Kinds of events that per_request.csv does not count.
fn unwritten(board: &Board<'_, '_>, counts: &Counts) -> Option<(EventType, String)> {
    let found = |kind: EventType| counts.events.get(&kind).map_or(0, |told| told.found);
    let preempted = found(EventType::RequestPreempted);
    let resumes = |seen: Seen<'_>| {
        let action = seen.rule == "Q009" && seen.finding.actual.as_deref() == Some("resume");
        action || seen.column() == Some("resumed_count")
    };
    let resumed = board.open().any(resumes);
    let blocks = board.has(&["C008"]);
    let kinds = [
        (EventType::RequestResumed, resumed && preempted > 0),
        (EventType::KvCacheAllocated, blocks && found(EventType::KvCacheFreed) > 0),
        (EventType::KvCacheFreed, blocks && found(EventType::KvCacheAllocated) > 0),
    ];
    let (kind, _) = kinds.into_iter().find(|(kind, wanted)| *wanted && found(*kind) == 0)?;
    let scheduled = counts.events.get(&EventType::RequestScheduled).copied().unwrap_or_default();
    let how = if kind == EventType::RequestResumed && scheduled.found > scheduled.expected {
        format!(
            "and {} request_scheduled more than requests were scheduled first: resumptions are written \
             as those",
            scheduled.found - scheduled.expected
        )
    } else {
        "at all: it is never written".to_owned()
    };
    Some((kind, format!("events.csv has no {kind} {how}")))
}

fn of_changes(board: &mut Board<'_, '_>, counts: &Counts) {
    if !board.has(&["S001", "S003", "X001"]) {
        return;
    }
    let preempted = counts.events.get(&EventType::RequestPreempted).copied().unwrap_or_default();
    let kinds = counts.changes.iter().map(|(state, told)| {
        let told = match state {
            // Each resumption is another change to running; not every preemption has one.
            State::Running => Told { expected: counts.entered_running(*told), ..*told },
            State::Preempted => told.at_most(preempted.found),
            State::Waiting | State::Completed => *told,
        };
        (format!("change to {state}"), false, told)
    });
    let missing = Missing::of(kinds);
    let of_ending = || {
        let told = counts.changes.get(&State::Completed)?;
        let lacks = |seen: &Seen<'_>| seen.is(&["S001", "S003", "X001"]);
        missing.of_one_ending(
            Table::StateTransitions,
            "change to completed",
            *told,
            board,
            counts,
            lacks,
        )
    };
    let of_resumption = || {
        let first = counts.changes.get(&State::Running)?;
        let resumed = counts.entered_running(*first) - first.expected.min(first.found);
        let only = missing.rows == resumed && first.found == first.expected;
        (only && resumed >= SEVERAL && counts.resumptions == 0).then(|| {
            let text = format!(
                "state_transitions.csv has no change from preempted to running, although events.csv has \
                 {resumed} request_resumed: it is never written"
            );
            (LOST_KIND, text)
        })
    };
    let cause =
        of_ending().or_else(of_resumption).or_else(|| missing.cause(Table::StateTransitions));
    let Some((cause, text)) = cause else { return };
    let explains = |seen: &Seen<'_>| match seen.request() {
        Some(_) => seen.is(CHANGES),
        None => seen.rule == "X005" && is_of(seen, Table::StateTransitions),
    };
    board.claim(Claim {
        cause,
        text,
        lead: &["S001", "S003", "X001", "S005"],
        explains: Box::new(explains),
    });
}
