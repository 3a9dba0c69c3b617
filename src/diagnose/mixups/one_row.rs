//! Single values of per_request.csv that are wrong, against which two other files agree, or two other sums.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::ONE_WRONG_VALUE;
use crate::diagnose::pass::each;
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRow, RequestRow, Table};

/// Requests that are named.
const NAMED: usize = 4;
/// Where it is more than one row in so many, the logger has another habit.
const ONE_IN: u64 = 4;

/// What a request should have, and what it has.
type Values = (i128, i128);

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    ends(dir, report, board)?;
    found_tokens(dir, board)
}

/// The findings of a rule about a column of per_request.csv, by request.
fn of_column<'a>(
    board: &Board<'_, 'a>,
    rule: &str,
    column: &str,
    says: &str,
) -> BTreeMap<&'a str, Values> {
    board
        .open()
        .filter(|seen| {
            seen.rule == rule
                && seen.table() == Some(Table::PerRequest)
                && seen.column() == Some(column)
                && seen.finding.message.contains(says)
        })
        .filter_map(|seen| Some((seen.request()?, seen.values()?)))
        .collect()
}

/// Whether so many rows are some, and few of all.
fn are_few(dir: &LogDir, wrong: usize) -> Option<bool> {
    if wrong == 0 {
        return Some(false);
    }
    let mut all = 0_u64;
    each::<RequestRow>(dir, |_| None, |_, _| all += 1)?;
    Some(wrong as u64 * ONE_IN <= all.max(ONE_IN))
}

/// Whether any of these is a moment of a step, of which more is told by that.
fn at_others(dir: &LogDir, report: &CheckReport, wrong: &BTreeMap<&str, Values>) -> Option<bool> {
    let told: BTreeSet<i128> = wrong.values().map(|(_, told)| *told).collect();
    let mut some = false;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let at = Moments::of(row, &report.dialect);
            let moments = [at.start, at.decided, at.output, at.end];
            some |= moments.iter().any(|moment| told.contains(&i128::from(moment.0)));
        },
    )?;
    Some(some)
}

/// completion_time, where the change and the event have another one.
fn ends(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let changes = of_column(board, "S003", "completion_time", "completed change");
    let events = of_column(board, "M015", "completion_time", "request_completed event");
    let wrong: BTreeMap<&str, Values> =
        changes.into_iter().filter(|(id, values)| events.get(id) == Some(values)).collect();
    if !are_few(dir, wrong.len())? || at_others(dir, report, &wrong)? {
        return Some(());
    }
    let Some((first, (right, told))) = wrong.first_key_value() else { return Some(()) };
    let text = format!(
        "completion_time of {first} in per_request.csv is {told}, and its change and its event have {right}{}",
        others(&wrong)
    );
    let ids: BTreeSet<&str> = wrong.keys().copied().collect();
    let explains = |seen: &Seen<'_>| match seen.rule {
        // The row behind it is earlier than it, whosever that is.
        "X006" | "X008" => seen.table() == Some(Table::PerRequest),
        _ => {
            seen.request().is_some_and(|id| ids.contains(id))
                && seen.is(&["S003", "M001", "M005", "M015", "M020", "S004"])
        }
    };
    let lead = &["S003"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// cached_tokens, where events and rows have another number, which all that was scheduled agrees with.
fn found_tokens(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let told = of_column(board, "K011", "cached_tokens", "cached_tokens");
    let balance = of_column(board, "K007", "scheduled_tokens", "cached");
    let off = |(expected, actual): Values| expected - actual;
    let wrong: BTreeMap<&str, Values> = told
        .into_iter()
        .filter(|(id, values)| balance.get(id).is_some_and(|it| off(*it) == off(*values)))
        .collect();
    if !are_few(dir, wrong.len())? {
        return Some(());
    }
    let Some((first, (right, told))) = wrong.first_key_value() else { return Some(()) };
    let text = format!(
        "cached_tokens of {first} in per_request.csv is {told}, and {right} by its events, which make its \
         scheduled_tokens{}",
        others(&wrong)
    );
    let ids: BTreeSet<&str> = wrong.keys().copied().collect();
    let explains = |seen: &Seen<'_>| {
        seen.request().is_some_and(|id| ids.contains(id)) && seen.is(&["K007", "K011", "K009"])
    };
    let lead = &["K011"];
    board.claim(Claim { cause: ONE_WRONG_VALUE, text, lead, explains: Box::new(explains) });
    Some(())
}

/// What a text ends with: of which requests it is true as well.
fn others(wrong: &BTreeMap<&str, Values>) -> String {
    let ids: Vec<&str> = wrong.keys().copied().collect();
    match ids.as_slice() {
        [_] => ": it is the row that is wrong".to_owned(),
        ids => format!(
            ", and so it is with {}: it is the rows that are wrong",
            listed(&ids[1..], NAMED)
        ),
    }
}
