//! Logs of which the beginning is missing, as of files that are rotated.
//!
//! What stands in the part that is gone is told nowhere, and what is left contradicts itself only where it goes
//! on from there: in the first step, and in all that is told of requests that arrived before it. That is
//! damage, and no mistake of the logger.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::check::finding::{Finding, Severity};
use crate::check::report::CheckReport;
use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{Item, Located, LogDir, LogDirError};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, TransitionRow,
};
use crate::log::values::EventType;
use crate::units::{IterationId, Nanos};

/// What is left of a log.
struct Rest {
    /// The first step that is there.
    first: IterationId,
    /// The requests that arrived before it.
    old: HashSet<String, FxBuildHasher>,
    /// The last step that has rows of them.
    last: IterationId,
}

impl Rest {
    /// Whether a finding may be of what is missing.
    fn explains(&self, rule: &str, finding: &Finding) -> bool {
        let of_old = |id: &String| self.old.contains(id);
        match (&finding.request, finding.iteration) {
            (Some(request), _) => of_old(request) || finding.named.iter().any(of_old),
            // Sums over all blocks so far go on from those that were taken before.
            (None, Some(step)) => step <= self.last || rule == "C010",
            (None, None) => rule.starts_with('C'),
        }
    }
}

/// Makes damage of what follows from the missing beginning, and says so.
pub(super) fn excuse(dir: &LogDir, report: &mut CheckReport) -> Result<(), LogDirError> {
    let begins_late =
        |finding: &Finding| finding.expected.as_deref() == Some("0") && finding.severity.is_none();
    let steps = report.rule("M011").filter(|rule| rule.errors > 0);
    if !steps.is_some_and(|rule| rule.findings.first().is_some_and(begins_late)) {
        return Ok(());
    }
    let Some(rest) = rest(dir)? else { return Ok(()) };
    report.begins_late = true;
    for rule in &mut report.rules {
        let id = rule.rule.id;
        let is_error =
            |finding: &Finding| finding.severity.unwrap_or(rule.rule.severity) == Severity::Error;
        let kept = rule.findings.iter().filter(|finding| is_error(finding)).count() as u64;
        let explained: Vec<usize> = (0..rule.findings.len())
            .filter(|at| is_error(&rule.findings[*at]) && rest.explains(id, &rule.findings[*at]))
            .collect();
        let mut count = explained.len() as u64;
        if count == kept && count > 0 {
            // Those that are not kept are of the same kinds.
            count = rule.errors;
        }
        rule.errors -= count;
        rule.damages += count;
        for at in explained {
            rule.findings[at].severity = Some(Severity::Damage);
        }
    }
    report.notes.push(format!(
        "the beginning of the log is missing, as of files that are rotated: it begins with iteration {}, and {} \
         requests arrived before. What the missing part would tell is not held against the log",
        rest.first,
        rest.old.len()
    ));
    Ok(())
}

/// Calls for each row of a file that can be read.
fn each<R: Row>(
    dir: &LogDir,
    mut see: impl FnMut(&Located<R>, &IdTable),
) -> Result<bool, LogDirError> {
    let Some(mut reader) = dir.reader::<R>()? else { return Ok(false) };
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        if let Item::Row(row) = item {
            see(&row, &ids);
        }
    }
    Ok(true)
}

/// What is left, if all files begin with the same later step.
fn rest(dir: &LogDir) -> Result<Option<Rest>, LogDirError> {
    let mut first: Option<(IterationId, Nanos)> = None;
    each::<IterationRow>(dir, |step, _| {
        first.get_or_insert((step.row.iteration_id, step.row.start_time));
    })?;
    let Some((first, start)) = first.filter(|(id, _)| *id > IterationId::ZERO) else {
        return Ok(None);
    };
    let (mut earliest, mut arrived) =
        (Nanos(u64::MAX), HashSet::<String, FxBuildHasher>::default());
    let mut old = HashSet::<String, FxBuildHasher>::default();
    let has_events = each::<EventRow>(dir, |event, ids| {
        let arrives = event.row.event_type == EventType::RequestArrived;
        // One that the first step takes in comes before it.
        if !arrives {
            earliest = earliest.min(event.row.timestamp);
        }
        let Some(id) = event.row.request_id.map(|key| ids.id(key)) else { return };
        if arrives {
            arrived.insert(id.to_owned());
        } else if !arrived.contains(id) {
            old.insert(id.to_owned());
        }
    })?;
    let mut rows_from = first;
    let mut last_rows: HashMap<String, IterationId, FxBuildHasher> = HashMap::default();
    each::<IterationRequestRow>(dir, |row, ids| {
        let (id, step) = (ids.id(row.row.request_id), row.row.iteration_id);
        rows_from = rows_from.min(step);
        if !arrived.contains(id) {
            last_rows.insert(id.to_owned(), step);
        }
    })?;
    let mut are_older = true;
    each::<RequestRow>(dir, |row, ids| {
        let id = ids.id(row.row.request_id);
        if !arrived.contains(id) {
            are_older &= row.row.arrival_time < start;
            old.insert(id.to_owned());
        }
    })?;
    each::<TransitionRow>(dir, |row, ids| {
        let id = ids.id(row.row.request_id);
        if !arrived.contains(id) {
            old.insert(id.to_owned());
        }
    })?;
    old.extend(last_rows.keys().cloned());
    let begins_there = has_events && earliest >= start && rows_from >= first;
    let last = last_rows.into_values().max().unwrap_or(first);
    Ok((begins_there && are_older && !old.is_empty()).then_some(Rest { first, old, last }))
}
