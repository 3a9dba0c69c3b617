//! A member of details that has one value in all events, although each has its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::EVENT_COUNTS;
use crate::diagnose::mixups::ALWAYS_THE_SAME;
use crate::diagnose::mixups::numbering::BY_DETAILS;
use crate::diagnose::pass::each;
use crate::log::details::Details;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, Table};
use crate::log::values::EventType;

/// Events that are no chance.
const SEVERAL: u64 = 3;

/// A member: how the rule's finding that compares it begins, that rule, and what goes by the member.
struct Member {
    name: &'static str,
    value: fn(&Details) -> Option<String>,
    lead: &'static [&'static str],
    says: &'static str,
    follows: &'static [&'static str],
}

static MEMBERS: [Member; 6] = [
    Member {
        name: "iteration_id",
        value: |it| Some(it.iteration_id?.0.to_string()),
        lead: &["M014", "M015", "M020", "M018", "Q001"],
        says: "",
        follows: BY_DETAILS,
    },
    Member {
        name: "input_tokens",
        value: |it| Some(it.input_tokens?.0.to_string()),
        lead: &["X007"],
        says: "input_tokens is not what ",
        follows: &["K002", "K004", "K006", "K010", "K012", "Q008", "Q010", "C009", "C010", "L003"],
    },
    Member {
        name: "finish_reason",
        value: |it| Some(it.finish_reason?.as_str().to_owned()),
        lead: &["X007"],
        says: "finish_reason is not what ",
        follows: &["S008", "X008"],
    },
    Member {
        name: "output_tokens",
        value: |it| Some(it.output_tokens?.0.to_string()),
        lead: &["K005"],
        says: "output_tokens is not what the completion ",
        follows: &["K012"],
    },
    Member {
        name: "computed_tokens",
        value: |it| Some(it.computed_tokens?.0.to_string()),
        lead: &["K011"],
        says: "",
        follows: &["C006", "K007", "K010"],
    },
    Member {
        name: "blocks",
        value: |it| Some(it.blocks?.0.to_string()),
        lead: &["C008", "C009", "C003"],
        says: "",
        follows: &["C008", "C009", "C010", "C011", "K009"],
    },
];

/// What events say of a member.
#[derive(Default)]
struct Values {
    first: Option<String>,
    differ: bool,
    events: u64,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    members(dir, board)?;
    steps_of_kinds(dir, board)
}

/// What the events of one kind say of their steps.
#[derive(Default)]
struct Steps {
    named: BTreeSet<u64>,
    stamps: BTreeSet<u64>,
    events: u64,
}

/// Kinds of events of which all name one step, whenever they are.
fn steps_of_kinds(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M014", "M015", "M020"]) {
        return Some(());
    }
    let mut kinds: BTreeMap<EventType, Steps> = BTreeMap::new();
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, _| {
            let Some(step) = row.details.iteration_id else { return };
            let kind = kinds.entry(row.event_type).or_default();
            kind.events += 1;
            for (seen, now) in [(&mut kind.named, step.0), (&mut kind.stamps, row.timestamp.0)] {
                if (seen.len() as u64) < SEVERAL {
                    seen.insert(now);
                }
            }
        },
    )?;
    let stuck = |kind: &Steps| kind.named.len() == 1 && kind.stamps.len() as u64 >= SEVERAL;
    for (kind, steps) in kinds.iter().filter(|(_, steps)| stuck(steps)) {
        let Some(step) = steps.named.first() else { continue };
        let blocks = matches!(kind, EventType::KvCacheAllocated | EventType::KvCacheFreed);
        let name = format!("the {kind} event ");
        let of_kind = |seen: &Seen<'_>| {
            let of_blocks = blocks && seen.finding.message.starts_with("the event of blocks ");
            seen.is(&["M014", "M015", "M020"])
                && seen.table() == Some(Table::Events)
                && (of_blocks || seen.finding.message.starts_with(&name) || !blocks)
        };
        if (board.open().filter(of_kind).count() as u64) < SEVERAL {
            continue;
        }
        let text = format!(
            "iteration_id is {step} in details of all {} {kind} events, whenever they are: it is always the same, \
             not that of the event",
            steps.events
        );
        let explains = |seen: &Seen<'_>| match seen.rule {
            "Q001" => !blocks && seen.column().is_some_and(|it| EVENT_COUNTS.contains(&it)),
            _ if blocks => of_kind(seen) || seen.is(&["C008", "C009", "C010", "C011"]),
            _ => seen.is(BY_DETAILS),
        };
        let lead = &["M015", "M014", "M020"];
        board.claim(Claim { cause: ALWAYS_THE_SAME, text, lead, explains: Box::new(explains) });
    }
    Some(())
}

/// Members that have one value in all events.
fn members(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !MEMBERS.iter().any(|member| board.has(member.lead)) {
        return Some(());
    }
    let mut all: BTreeMap<&'static str, Values> = BTreeMap::new();
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, _| {
            for member in &MEMBERS {
                let Some(value) = (member.value)(&row.details) else { continue };
                let values = all.entry(member.name).or_default();
                values.events += 1;
                match &values.first {
                    Some(first) => values.differ |= *first != value,
                    None => values.first = Some(value),
                }
            }
        },
    )?;
    for member in &MEMBERS {
        let Some(values) = all.get(member.name) else { continue };
        let Some(first) = values.first.as_ref().filter(|_| !values.differ) else { continue };
        // Some other number may be that of each of them.
        if member.name == "computed_tokens" && first != "0" {
            continue;
        }
        let of_member =
            |seen: &Seen<'_>| seen.is(member.lead) && seen.finding.message.starts_with(member.says);
        // Where most have the value anyway, those that should not are told of one by one.
        let wrong = board.open().filter(|seen| of_member(seen)).count() as u64;
        // Where the other side says one thing of all as well, either may be right.
        let told: BTreeSet<&str> = board
            .open()
            .filter(|seen| of_member(seen))
            .filter_map(|seen| seen.finding.actual.as_deref())
            .collect();
        let other = told.first().filter(|_| !member.says.is_empty() && told.len() == 1);
        // What is not filled in is told of there.
        if other.is_some_and(|other| *other == "empty" || wrong < values.events) {
            continue;
        }
        if values.events < SEVERAL || wrong < 2 || wrong * 4 < values.events {
            continue;
        }
        let (name, events) = (member.name, values.events);
        let text = match other {
            Some(other) => format!(
                "{name} is {first} in details of all {events} events that have it, and {other} in all of their rows in \
                 per_request.csv: one of the two is always the same, whatever happened"
            ),
            None => format!(
                "{name} is {first} in details of all {events} events that have it: it is always the same, not that \
                 of the event"
            ),
        };
        let explains = |seen: &Seen<'_>| match seen.rule {
            "Q001" => {
                let counts = seen.column().is_some_and(|column| EVENT_COUNTS.contains(&column));
                member.name == "iteration_id" && counts
            }
            _ => of_member(seen) || seen.is(member.follows),
        };
        board.claim(Claim {
            cause: ALWAYS_THE_SAME,
            text,
            lead: member.lead,
            explains: Box::new(explains),
        });
    }
    Some(())
}
