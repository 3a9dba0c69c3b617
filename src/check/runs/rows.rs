//! The joint of per_iteration_requests.csv.

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;

use crate::check::runs::joint;
use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{Item, Location, LogDir, LogDirError};
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::State;
use crate::units::IterationId;

/// Steps that show which run a file is of.
const SEVERAL: usize = 64;

/// Where the steps start again, or the rows of a step within it. The first row of a run may be lost in
/// one that was torn, and with it the first step; or its id may have the digits of a torn one before it.
pub(super) fn joint(dir: &LogDir) -> Result<Option<Location>, LogDirError> {
    let mut ids: Option<(IterationId, IterationId)> = None;
    let mut seen: HashSet<(RequestKey, bool), FxBuildHasher> = HashSet::default();
    let mut odd: Option<Location> = None;
    let mut group: Option<Location> = None;
    joint::joint::<IterationRequestRow>(dir, |row, place, _| {
        let id = row.row.iteration_id;
        let this = (row.row.request_id, row.row.state == State::Completed);
        let (first, last) = ids.unwrap_or((id, id));
        ids = Some((first, id));
        if id == last {
            odd = None;
            return (!seen.insert(this)).then_some(place.at);
        }
        seen.clear();
        seen.insert(this);
        if id < last && id.0 <= first.0.saturating_add(1) {
            // The first step is missing: its row went on where one of the first run was torn.
            let hides_the_first = id > first && !place.torn;
            return odd.or(group.filter(|_| hides_the_first)).or(Some(place.at));
        }
        group = Some(place.at);
        odd = (id < last || id.0 > last.0.saturating_add(1)).then_some(place.at);
        None
    })
}

/// What a step counts.
#[derive(Clone, Copy, Debug)]
struct Counts {
    step: IterationId,
    running: u64,
    tokens: u64,
}

/// Whether the first rows of a file without a joint are those of the first run, which ends at `until`
/// in per_iteration.csv: as many requests run in a step, and get as many tokens, as it counts.
pub(super) fn fit(dir: &LogDir, until: Location) -> Result<bool, LogDirError> {
    let mut counted: Vec<Counts> = Vec::new();
    let Some(mut steps) = dir.reader::<IterationRow>()? else { return Ok(false) };
    let mut ids = IdTable::default();
    while let Some(item) = steps.next(&mut ids) {
        let Item::Row(step) = item else { continue };
        if step.at() >= until || counted.len() == SEVERAL {
            break;
        }
        counted.push(Counts {
            step: step.row.iteration_id,
            running: step.row.running_count.0.into(),
            tokens: step.row.total_tokens.0.into(),
        });
    }
    if counted.is_empty() {
        return Ok(false);
    }
    let Some(mut rows) = dir.reader::<IterationRequestRow>()? else { return Ok(true) };
    // The tokens as far as the rows tell.
    let mut sums = vec![(0, Some(0)); counted.len()];
    // The last group may be one that was cut.
    let (mut last, mut whole) = (None, 0);
    while let Some(item) = rows.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        let id = row.row.iteration_id;
        let Some(step) = counted.iter().position(|counts| counts.step == id) else {
            whole = counted.len();
            break;
        };
        if last.replace(step) != Some(step) {
            whole = step;
        }
        let (running, tokens) = &mut sums[step];
        *running += u64::from(row.row.state == State::Running);
        *tokens = tokens.zip(row.row.scheduled_tokens).map(|(sum, more)| sum + u64::from(more.0));
    }
    let fits = |(counts, (running, tokens)): (&Counts, (u64, Option<u64>))| {
        running == counts.running && tokens.is_none_or(|tokens| tokens == counts.tokens)
    };
    Ok(counted.iter().zip(sums).take(whole).all(fits))
}
