//! How a word of a vocabulary stands in a field that has another one.

use crate::log::field::Field;
use crate::log::schema::Column;
use crate::log::values::{ActionSet, EventType, FinishReason, State, WaitingReason};

/// How a known word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelled {
    /// As Python prints a member of an enum.
    Enum,
    /// In capitals, or with others between its parts.
    Otherwise,
    /// As vLLM names the status of a request.
    Status,
    /// Several, with something else between them than they have in a log.
    Joined,
}

/// What vLLM calls the status of a request that is over: its state, and why it ended.
const STATUSES: [(&str, FinishReason); 5] = [
    ("finished_stopped", FinishReason::Stop),
    ("finished_length_capped", FinishReason::Length),
    ("finished_ignored", FinishReason::Length),
    ("finished_aborted", FinishReason::Abort),
    ("finished_error", FinishReason::Error),
];

fn is_known(kind: &str, word: &str) -> bool {
    let word = word.as_bytes();
    match kind {
        State::KIND => State::from_bytes(word).is_some(),
        WaitingReason::KIND => WaitingReason::from_bytes(word).is_some(),
        EventType::KIND => EventType::from_bytes(word).is_some(),
        FinishReason::KIND => FinishReason::from_bytes(word).is_some(),
        ActionSet::KIND => ActionSet::from_bytes(word).is_some(),
        _ => false,
    }
}

/// The word of the column that is meant, and how it is written.
pub(super) fn word(column: &Column, text: &str) -> Option<(Spelled, String)> {
    // `<State.RUNNING: 'running'>`
    let inner = text.strip_prefix('<').and_then(|text| text.split_once(':'));
    let name = inner.map_or(text, |(name, _)| name);
    let member = name.rsplit_once('.').map(|(_, member)| member);
    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let own = plain(member.unwrap_or(name));
    if is_known(column.kind, &own) {
        let how = if member.is_some() { Spelled::Enum } else { Spelled::Otherwise };
        return Some((how, own));
    }
    if let Some((_, reason)) = STATUSES.iter().find(|(status, _)| *status == own) {
        let word = match column.kind {
            State::KIND => State::Completed.as_str(),
            FinishReason::KIND => reason.as_str(),
            _ => return None,
        };
        return Some((Spelled::Status, word.to_owned()));
    }
    let between = |it: char| !it.is_ascii_alphabetic() && it != '_';
    let words: Vec<_> = text.split(between).filter(|word| !word.is_empty()).collect();
    let joined = words.join(";");
    let several = column.kind == ActionSet::KIND && words.len() > 1;
    (several && is_known(column.kind, &joined)).then_some((Spelled::Joined, joined))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::schema::Table;

    #[test]
    fn words_are_told_and_undone() {
        let column = |table: Table, name: &str| {
            let schema = table.schema();
            &schema.columns[schema.column(name).unwrap()]
        };
        let state = column(Table::PerIterationRequests, "state");
        let finish = column(Table::PerRequest, "finish_reason");
        let action = column(Table::PerIteration, "scheduler_action");
        for (column, text, how, meant) in [
            (state, "RequestState.RUNNING", Spelled::Enum, "running"),
            (state, "<RequestState.RUNNING: 'running'>", Spelled::Enum, "running"),
            (state, "RUNNING", Spelled::Otherwise, "running"),
            (state, "FINISHED_STOPPED", Spelled::Status, "completed"),
            (finish, "RequestStatus.FINISHED_LENGTH_CAPPED", Spelled::Status, "length"),
            (action, "admit-new", Spelled::Otherwise, "admit_new"),
            (action, "preempt; continue", Spelled::Joined, "preempt;continue"),
            (action, "['preempt', 'admit_new']", Spelled::Joined, "preempt;admit_new"),
        ] {
            assert_eq!(word(column, text), Some((how, meant.to_owned())), "{text}");
        }
        for (column, text) in
            [(state, "swapped"), (state, "2"), (state, "running;waiting"), (action, "preempt; go")]
        {
            assert_eq!(word(column, text), None, "{text}");
        }
    }
}
