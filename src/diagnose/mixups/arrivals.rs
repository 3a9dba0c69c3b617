//! Arrivals of per_request.csv that are other moments than those of the events.

use std::collections::BTreeMap;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::{ARRIVALS_AT_STEPS, SHIFTED_MOMENT};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRow;

/// Arrivals that are no chance.
const SEVERAL: usize = 2;
/// Rules that count from the arrival that per_request.csv has.
const FROM_ARRIVAL: &[&str] =
    &["M001", "M002", "M003", "M004", "M005", "M006", "M007", "M008", "M009", "M013", "M017"];

fn is_arrival(seen: &Seen<'_>) -> bool {
    seen.rule == "M015" && seen.column() == Some("arrival_time")
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let wrong: BTreeMap<&str, (i128, i128)> = board
        .open()
        .filter(is_arrival)
        .filter_map(|seen| seen.request().zip(seen.values()))
        .collect();
    // Where no other file agrees with the event, it is the event that may be wrong.
    let mut others = board.open().filter(|seen| seen.is(&["M001", "M004", "M013"]));
    if !others.any(|seen| seen.request().is_some_and(|id| wrong.contains_key(id))) {
        return Some(());
    }
    drop(others);
    let explains = |seen: &Seen<'_>| {
        is_arrival(seen)
            || seen.is(FROM_ARRIVAL) && seen.request().is_some_and(|id| wrong.contains_key(id))
    };
    // The first step that begins at or behind each arrival.
    let mut next: BTreeMap<i128, Option<i128>> =
        wrong.values().map(|(arrived, _)| (*arrived, None)).collect();
    let mut before = -1;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let start = i128::from(row.start_time.0);
            if start > before {
                for (_, first) in next.range_mut(before + 1..=start) {
                    first.get_or_insert(start);
                }
                before = start;
            }
        },
    )?;
    let mut offs = wrong.values().map(|(arrived, told)| told - arrived);
    let same = offs.next().filter(|first| offs.all(|off| off == *first));
    let noticed = |(arrived, told): &(i128, i128)| next.get(arrived) == Some(&Some(*told));
    if wrong.len() >= SEVERAL && wrong.values().all(noticed) {
        let text =
            "arrival_time is the start_time of the first step behind the arrival: it is when the \
                    scheduler notices the request, not when that reached the server"
                .to_owned();
        let lead = &["M015"];
        board.claim(Claim { cause: ARRIVALS_AT_STEPS, text, lead, explains: Box::new(explains) });
    } else if let Some(by) = same.filter(|_| wrong.len() >= SEVERAL) {
        let way = if by > 0 { "later" } else { "earlier" };
        let text = format!(
            "arrival_time of per_request.csv is {} ns {way} in each of {} requests than the request_arrived event, from \
             which all else is counted: it is arrival_time that is off",
            by.abs(),
            wrong.len()
        );
        let lead = &["M015"];
        board.claim(Claim { cause: SHIFTED_MOMENT, text, lead, explains: Box::new(explains) });
    } else {
        board.fold(&["M015"], explains);
    }
    Some(())
}
