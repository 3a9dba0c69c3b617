//! Events of two kinds under one another's names.

use std::collections::BTreeMap;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENT_COUNTS, EVENTS_OF_REQUEST};
use crate::diagnose::mixups::EXCHANGED_NAMES;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::EventRow;
use crate::log::values::EventType as E;
use crate::units::{IterationId, Nanos};

/// When something was noted.
#[derive(Clone, Copy, Debug)]
struct When(Nanos, Option<IterationId>);

impl When {
    fn is(self, other: Self) -> bool {
        match (self.1, other.1) {
            (Some(one), Some(other)) => one == other,
            _ => self.0 == other.0,
        }
    }
}

/// What was noted last of a request.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    preempted: Option<When>,
    evicted: Option<When>,
    resumed: Option<When>,
}

/// Events of a kind, and those of them that come with a resumption.
#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    all: u64,
    resuming: u64,
}

/// A request finds its blocks evicted as it is resumed, and is preempted in a step that resumes nobody.
pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["Q001", "X002", "S005", "M015", "C006"]) {
        return Some(());
    }
    let mut last: BTreeMap<String, Last> = BTreeMap::new();
    let (mut preempted, mut evicted) = (Noted::default(), Noted::default());
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, id| {
            if !matches!(
                row.event_type,
                E::RequestPreempted | E::RequestEvicted | E::RequestResumed | E::RequestCompleted
            ) {
                return;
            }
            let now = When(row.timestamp, row.details.iteration_id);
            let with = |other: Option<When>| u64::from(other.is_some_and(|other| other.is(now)));
            let own = last.entry(id.to_owned()).or_default();
            match row.event_type {
                E::RequestPreempted => {
                    preempted.all += 1;
                    preempted.resuming += with(own.resumed);
                    own.preempted = Some(now);
                }
                E::RequestEvicted => {
                    evicted.all += 1;
                    evicted.resuming += with(own.resumed);
                    own.evicted = Some(now);
                }
                E::RequestResumed => {
                    preempted.resuming += with(own.preempted);
                    evicted.resuming += with(own.evicted);
                    own.resumed = Some(now);
                }
                _ => {
                    last.remove(id);
                }
            }
        },
    )?;
    let exchanged = preempted.all > 0
        && preempted.resuming == preempted.all
        && evicted.all > 0
        && evicted.resuming == 0;
    if !exchanged {
        return Some(());
    }
    let explains = |seen: &Seen<'_>| match seen.request() {
        Some(_) => {
            seen.is(EVENTS_OF_REQUEST)
                || seen.is(&["F009", "M003", "M004", "M014", "M015", "S001", "S004", "S005"])
        }
        None => match seen.rule {
            "Q001" => seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column)),
            _ => seen.is(&["F009", "M014", "Q007", "Q009", "C010"]),
        },
    };
    let text = format!(
        "request_preempted and request_evicted are exchanged: every event of the first name ({}) comes \
         with a resumption, as an eviction does, and no event of the other ({})",
        preempted.all, evicted.all
    );
    let lead = &["M015", "Q001", "S005", "X002"];
    board.claim(Claim { cause: EXCHANGED_NAMES, text, lead, explains: Box::new(explains) });
    Some(())
}
