//! Times that are negative because they were held in 32 bits with a sign, in several columns at once.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::listed;
use crate::diagnose::mixups::WRAPPED;
use crate::diagnose::mixups::notation::{Place, field};
use crate::log::field::Field;
use crate::log::schema::Table;
use crate::units::Nanos;

/// Columns that are no chance.
const SEVERAL: usize = 2;
/// Files that are named.
const FILES: usize = 4;
/// Numbers that are negative in such a column, and how near to their least one of them is: half of the way.
const LEAST: i64 = -(1 << 31);

/// The column of a negative time.
fn negative(seen: &Seen<'_>) -> Option<(Place, i64)> {
    let (place, column, text) = field(seen).filter(|_| seen.rule == "F003")?;
    let value = text.parse::<i64>().ok().filter(|value| *value < 0)?;
    (column.kind == Nanos::KIND).then_some((place, value))
}

pub(super) fn find(board: &mut Board<'_, '_>) {
    let all: Vec<(Place, i64)> = board.open().filter_map(|seen| negative(&seen)).collect();
    let columns: BTreeSet<Place> = all.iter().map(|(place, _)| *place).collect();
    let least = all.iter().map(|(_, value)| *value).min();
    // What is negative for another reason is hardly so far below 0, and never further.
    let wraps = least.is_some_and(|least| (LEAST..=LEAST / 2).contains(&least));
    if columns.len() < SEVERAL || !wraps {
        return;
    }
    let files: BTreeSet<Table> = columns.iter().map(|(table, _)| *table).collect();
    let names: Vec<&str> = files.iter().map(|table| table.file_name()).collect();
    let text = format!(
        "times in {} go on below 0 where they would pass 2^31: they are held in whole numbers of 32 bits with a \
         sign, which end there. Write them from 64 bits",
        listed(&names, FILES)
    );
    // Rows that are lost with such a field are missed elsewhere.
    let explains = |seen: &Seen<'_>| match seen.rule {
        "F003" => negative(seen).is_some(),
        "X005" => true,
        rule => rule.starts_with(['X', 'Q', 'S', 'M']) && !seen.is(&["X007"]),
    };
    let lead = &["F003"];
    board.claim(Claim { cause: WRAPPED, text, lead, explains: Box::new(explains) });
}
