//! The end of a step in a log whose steps end at their decisions: what happened at it tells.

use std::collections::VecDeque;

use crate::log::dialect::Dialect;
use crate::log::ids::IdTable;
use crate::log::moments::Moments;
use crate::log::reader::{Input, Item, Location, LogDir, LogDirError, TableReader};
use crate::log::schema::{EventRow, IterationRow};
use crate::log::values::{EventType, FinishReason};
use crate::units::Nanos;

/// How many times as long as in any other step the output of the last one may take to process, as it may
/// have a larger batch.
const SEVERAL: u64 = 8;

/// A second look at events.csv, ahead of the pass, for the moments at which outputs were processed.
pub(super) struct Ends {
    events: TableReader<EventRow, Input>,
    cut: Option<Location>,
    ids: IdTable,
    /// Those behind the output of the step before, as far as they were looked at.
    ahead: VecDeque<Output>,
    /// The longest time from an output to the end of its step so far.
    longest: Option<Nanos>,
    /// The latest decision so far, and the one of another moment before it.
    decided: [Option<Nanos>; 2],
}

/// A moment at which an output was processed.
#[derive(Clone, Copy, Debug)]
struct Output {
    at: Nanos,
    /// Whether nothing else can have happened then.
    is_certain: bool,
    /// The last decision before that moment.
    decided: Option<Nanos>,
}

impl Ends {
    /// None if per_iteration.csv tells the ends itself, or nothing does.
    /// Events behind `cut` are of another run.
    pub(super) fn open(
        dir: &LogDir,
        dialect: &Dialect,
        cut: Option<Location>,
    ) -> Result<Option<Self>, LogDirError> {
        if !dialect.hides_ends() {
            return Ok(None);
        }
        let events = dir.reader::<EventRow>()?;
        Ok(events.map(|events| Self {
            events,
            cut,
            ids: IdTable::default(),
            ahead: VecDeque::new(),
            longest: None,
            decided: [None; 2],
        }))
    }

    /// The moments of a step, its end taken from its first output event. A step without one, of
    /// which nothing depends on the end, ends as its output arrives. Behind the last step of a file that
    /// is cut, what follows the next decision is of the steps that were lost, unless steps overlap.
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
        // A stamp of its own reading may be behind the next step's beginning, the end is not.
        let latest = bound.map(|bound| bound.saturating_add(slack));
        let within = |at: Nanos| latest.is_none_or(|latest| at <= latest);
        while self.ahead.front().is_some_and(|output| output.at < moments.output) {
            self.ahead.pop_front();
        }
        while self.ahead.back().is_none_or(|output| within(output.at)) {
            let Some(output) = self.advance() else { break };
            if output.at >= moments.output {
                self.ahead.push_back(output);
            }
        }
        let decided = moments.decided.saturating_add(slack);
        let is_last = next.is_none() && !overlapping;
        // Nor does it process its output much longer than the others did.
        let late = self.longest.map(|longest| Nanos(longest.0.saturating_mul(SEVERAL)));
        let late = late.map(|late| moments.output.saturating_add(late).saturating_add(slack));
        let is_of_lost = |output: &Output| {
            is_last && (output.decided > Some(decided) || late.is_some_and(|late| output.at > late))
        };
        let mut outputs =
            self.ahead.iter().filter(|output| within(output.at) && !is_of_lost(output));
        let first = outputs.clone().next();
        // An end of unknown reason may be an abort, which comes at any moment.
        if let Some(output) = outputs.find(|output| output.is_certain).or(first) {
            moments.end = bound.map_or(output.at, |bound| output.at.min(bound));
            self.longest = self.longest.max(moments.end.checked_sub(moments.output));
        }
        moments
    }

    fn advance(&mut self) -> Option<Output> {
        loop {
            let Item::Row(event) = self.events.next(&mut self.ids)? else { continue };
            if self.cut.is_some_and(|cut| event.at() >= cut) {
                return None;
            }
            if let Some(key) = event.row.request_id {
                self.ids.release(key);
            }
            if event.row.event_type.is_decision() {
                self.note_decision(event.row.timestamp);
            }
            let reason = event.row.details.finish_reason;
            let is_certain = match event.row.event_type {
                EventType::FirstTokenGenerated => true,
                EventType::RequestCompleted if reason.is_some_and(FinishReason::is_drop) => {
                    continue;
                }
                EventType::RequestCompleted => reason.is_some(),
                _ => continue,
            };
            let at = event.row.timestamp;
            let decided = self.decided.into_iter().flatten().find(|decided| *decided < at);
            return Some(Output { at, is_certain, decided });
        }
    }

    fn note_decision(&mut self, now: Nanos) {
        if self.decided[0] != Some(now) {
            self.decided = [Some(now), self.decided[0]];
        }
    }
}
