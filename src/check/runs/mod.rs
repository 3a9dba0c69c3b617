//! Finds where a second run was appended to the files of a first one, so that the first is checked.
//!
//! per_iteration.csv is looked through once; only if its ids start again, or if it or a header cannot be
//! read, are the other files, too. A run that was killed leaves files that end at different moments, so
//! each file has a joint of its own. It is taken where it may be at the earliest: rows of the first run
//! that are not read are as if they were cut off, rows of the second would be held against the first.

mod events;
mod joint;
mod requests;
mod rows;
mod steps;

use crate::check::doubled::second_half;
use crate::check::runs::events::Told;
use crate::log::dialect::StepCounts;
use crate::log::ids::IdTable;
use crate::log::reader::{FormKind, Item, Location, LogDir, LogDirError};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};
use crate::units::Nanos;

/// Per table: where the rows of the first run end.
pub(crate) type Cuts = [Option<Location>; 5];

/// Where a second run begins in each file; none if there is one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Runs {
    /// Where nothing more is read.
    pub(crate) cuts: Cuts,
    /// Whether that is because of a second run, and not of a file that holds its own rows twice.
    pub(crate) is_second: bool,
}

impl Runs {
    /// Where the second run begins: in per_iteration.csv, or in the first file that tells.
    pub(crate) fn second(&self) -> Option<Location> {
        let steps = self.cuts[Table::PerIteration as usize];
        steps.or(self.cuts.into_iter().flatten().next()).filter(|_| self.is_second)
    }
}

/// What is found out by looking at all steps.
pub(crate) struct Found {
    pub(crate) runs: Runs,
    /// The counts of the steps, if there is one run.
    pub(crate) counts: Option<StepCounts>,
}

/// Finds the joints as far as per_iteration.csv or a header tells of any. Where there is one run, where a
/// file that was appended to itself begins again.
pub(crate) fn find(dir: &LogDir) -> Result<Found, LogDirError> {
    let mut counts = StepCounts::default();
    let restart = steps::restart(dir, &mut counts)?;
    let cuts = match restart {
        Some((at, end)) => Some(behind(dir, at, end)?),
        None if !dir.is_growing() && headers(dir)?.hide_the_steps() => without_steps(dir)?,
        None => None,
    };
    if let Some(cuts) = cuts {
        return Ok(Found { runs: Runs { cuts, is_second: true }, counts: None });
    }
    let mut cuts = Cuts::default();
    for file in Table::ALL.iter().filter_map(|table| dir.file(*table)) {
        // The steps would start again.
        if file.table != Table::PerIteration && !dir.is_growing() {
            cuts[file.table as usize] = second_half(file);
        }
    }
    Ok(Found { runs: Runs { cuts, is_second: false }, counts: Some(counts) })
}

/// Finds the joints that other files tell of, where per_iteration.csv tells of one run alone: that of a
/// run that was killed before it was written.
pub(crate) fn search(dir: &LogDir) -> Result<Option<Runs>, LogDirError> {
    let is_asked = !dir.is_growing() && !steps::are_mixed(dir)?;
    let cuts = if is_asked { without_steps(dir)? } else { None };
    Ok(cuts.map(|cuts| Runs { cuts, is_second: true }))
}

/// The joints of all files, given that of the steps and, if the clock went on, the end of the first run.
fn behind(dir: &LogDir, at: Location, end: Option<Nanos>) -> Result<Cuts, LogDirError> {
    let mut cuts = headers(dir)?.joints();
    cuts[Table::PerIteration as usize] = Some(at);
    let mut events = events::read(dir, end)?;
    let fit = |slack: Nanos| steps::fit(dir, at, &events.decided, slack);
    if fit(Nanos::ZERO)? {
        // Its clock is read once.
        events.slack = Nanos::ZERO;
    } else if !events.is_sure && !fit(events.slack)? {
        // All of it, or all but a few rows, is of the second run.
        events = Told::nothing(joint::first_row::<EventRow>(dir)?);
    }
    let rows = match rows::joint(dir)? {
        None if !rows::fit(dir, at)? => joint::first_row::<IterationRequestRow>(dir)?,
        found => found,
    };
    place(dir, &mut cuts, &events, rows)?;
    Ok(cuts)
}

/// The joints where the steps cannot tell, or tell of one run alone.
fn without_steps(dir: &LogDir) -> Result<Option<Cuts>, LogDirError> {
    let headers = headers(dir)?;
    let rows = rows::joint(dir)?;
    let events = events::read(dir, None)?;
    let steps_do = steps::begin_in_a_torn_row(dir)? || steps::begin_twice(dir)?;
    let others_do = steps_do || events.is_certain;
    let begin_again = [
        headers.odd.contains(&true),
        steps_do,
        rows.is_some(),
        events.is_certain,
        requests::ends_begin_again(dir, others_do)?,
        events.is_certain && requests::ends_are_of_the_second(dir, &events)?,
        requests::changes_begin_again(dir, others_do)?,
    ];
    // A file that begins again alone holds rows twice.
    if begin_again.into_iter().filter(|again| *again).count() < 2 {
        return Ok(None);
    }
    let mut cuts = headers.joints();
    let steps = match steps::again(dir)? {
        None => joint::first_row::<IterationRow>(dir)?,
        found => found,
    };
    let cut = &mut cuts[Table::PerIteration as usize];
    *cut = cut.or(steps);
    let rows = rows.or(joint::first_row::<IterationRequestRow>(dir)?);
    let events = match events.is_sure {
        true => events,
        false => Told::nothing(joint::first_row::<EventRow>(dir)?),
    };
    place(dir, &mut cuts, &events, rows)?;
    Ok(Some(cuts))
}

/// Notes the joints of the files but per_iteration.csv.
fn place(
    dir: &LogDir,
    cuts: &mut Cuts,
    events: &Told,
    rows: Option<Location>,
) -> Result<(), LogDirError> {
    let found = [
        (Table::PerIterationRequests, rows),
        (Table::Events, events.joint),
        (Table::PerRequest, requests::ends(dir, events)?),
        (Table::StateTransitions, requests::changes(dir, events)?),
    ];
    for (table, at) in found {
        let cut = &mut cuts[table as usize];
        *cut = cut.or(at);
    }
    Ok(())
}

/// Which files have a header that cannot be read, or has more than one.
#[derive(Clone, Copy, Debug, Default)]
struct Headers {
    odd: [bool; 5],
    has_steps: bool,
}

impl Headers {
    /// Whether per_iteration.csv is no witness of how many runs there are.
    fn hide_the_steps(self) -> bool {
        !self.has_steps || self.odd.contains(&true)
    }

    /// A header that a run was killed in is none of the first run's: nothing of the file is.
    fn joints(self) -> Cuts {
        let mut cuts = Cuts::default();
        for table in Table::ALL.into_iter().filter(|table| self.odd[*table as usize]) {
            cuts[table as usize] = Some(Location { table, line: 1, offset: 0 });
        }
        cuts
    }
}

fn headers(dir: &LogDir) -> Result<Headers, LogDirError> {
    let mut headers = Headers::default();
    is_odd::<RequestRow>(dir, &mut headers)?;
    is_odd::<IterationRow>(dir, &mut headers)?;
    is_odd::<IterationRequestRow>(dir, &mut headers)?;
    is_odd::<EventRow>(dir, &mut headers)?;
    is_odd::<TransitionRow>(dir, &mut headers)?;
    headers.has_steps = joint::first_row::<IterationRow>(dir)?.is_some();
    Ok(headers)
}

fn is_odd<R: Row>(dir: &LogDir, headers: &mut Headers) -> Result<(), LogDirError> {
    let Some(mut reader) = dir.reader::<R>()? else { return Ok(()) };
    let table = R::SCHEMA.table as usize;
    let has = |odd: fn(&FormKind) -> bool| {
        reader.header().problems.iter().any(|problem| odd(&problem.kind))
    };
    headers.odd[table] = has(|kind| {
        matches!(kind, FormKind::DuplicateColumn | FormKind::MissingColumn { fatal: true })
    });
    if has(|kind| matches!(kind, FormKind::UnknownColumn)) {
        // The header or the first row of the second run stands behind the torn header.
        let first = reader.next(&mut IdTable::default());
        headers.odd[table] |= matches!(
            first,
            Some(Item::Problem(problem)) if matches!(problem.kind, FormKind::FieldCount { .. })
        );
    }
    Ok(())
}
