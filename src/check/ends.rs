//! The end of a step in a log whose steps end at their decisions: what happened at it tells.

use crate::log::dialect::Dialect;
use crate::log::ids::IdTable;
use crate::log::moments::Moments;
use crate::log::reader::{Input, Item, LogDir, LogDirError, TableReader};
use crate::log::schema::{EventRow, IterationRow};
use crate::log::values::{EventType, FinishReason};
use crate::units::Nanos;

/// A second look at events.csv, ahead of the pass, for the moments at which outputs were processed.
pub(super) struct Ends {
    events: TableReader<EventRow, Input>,
    ids: IdTable,
    next: Option<Nanos>,
}

impl Ends {
    /// None if per_iteration.csv tells the ends itself, or nothing does.
    pub(super) fn open(dir: &LogDir, dialect: &Dialect) -> Result<Option<Self>, LogDirError> {
        if !dialect.hides_ends() {
            return Ok(None);
        }
        let events = dir.reader::<EventRow>()?;
        Ok(events.map(|events| Self { events, ids: IdTable::default(), next: None }))
    }

    /// The moments of a step, its end taken from its first output event. A step without one, of
    /// which nothing depends on the end, ends as its output arrives.
    pub(super) fn refine(
        &mut self,
        mut moments: Moments,
        next: Option<&IterationRow>,
        overlapping: bool,
        dialect: &Dialect,
        slack: Nanos,
    ) -> Moments {
        let bound = next.map(|row| Moments::of(row, dialect)).map(|next| match overlapping {
            true => next.output,
            false => next.start,
        });
        while self.next.is_none_or(|at| at < moments.output) {
            match self.advance() {
                Some(at) => self.next = Some(at),
                None => return moments,
            }
        }
        // A stamp of its own reading may be behind the next step's beginning, the end is not.
        let latest = bound.map(|bound| bound.saturating_add(slack));
        if let Some(at) = self.next.filter(|at| latest.is_none_or(|latest| *at <= latest)) {
            moments.end = bound.map_or(at, |bound| at.min(bound));
        }
        moments
    }

    fn advance(&mut self) -> Option<Nanos> {
        loop {
            let Item::Row(event) = self.events.next(&mut self.ids)? else { continue };
            if let Some(key) = event.row.request_id {
                self.ids.release(key);
            }
            let reason = event.row.details.finish_reason;
            let aborted = reason.is_some_and(FinishReason::is_drop);
            let output = match event.row.event_type {
                EventType::FirstTokenGenerated => true,
                EventType::RequestCompleted => !aborted,
                _ => false,
            };
            if output {
                return Some(event.row.timestamp);
            }
        }
    }
}
