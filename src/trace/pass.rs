//! One reading of a trace in file order: which rows become requests, and what each follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashSet;

use super::error::{Problem, TraceError};
use super::format::{TimeUnit, TraceFormat};
pub(super) use super::ids::Names;
use super::ids::{Verdict, name_hash};
use super::input::Input;
use super::options::ReadOptions;
use super::parse::{Draft, Reading, parse};
use super::rows::{RowError, Rows};
use super::summary::DropReason;
use super::{Arrival, TraceRequest};
use crate::units::Nanos;

/// Everything that decides how a trace is read.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) input: Input,
    pub(super) format: TraceFormat,
    pub(super) unit: Option<TimeUnit>,
    pub(super) block: u32,
    /// Whether time is counted from the first arrival.
    pub(super) rebased: bool,
    pub(super) options: ReadOptions,
}

/// What a pass counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) dropped: BTreeMap<DropReason, u64>,
    /// Requests whose times had digits below a nanosecond.
    pub(super) rounded: u64,
}

impl Counts {
    pub(super) fn drop_row(&mut self, reason: DropReason) {
        *self.dropped.entry(reason).or_default() += 1;
    }
}

/// Which rows have names that are taken.
#[derive(Debug)]
pub(super) enum Ids {
    /// To be found out.
    Check(Names),
    /// These, as an earlier pass found out.
    Known(Arc<BTreeSet<u32>>),
}

/// How turns find the turn before them.
#[derive(Debug)]
pub(super) enum Sessions {
    /// It is the row before: constant memory. The session of that row, and whether a request came
    /// of it.
    Adjacent(Option<(String, bool)>),
    /// It is anywhere before: every session with the group of its last request.
    Anywhere(BTreeMap<String, Option<u32>>),
}

/// A request in file order.
#[derive(Debug)]
pub(super) struct Placed {
    /// The request; an [`Arrival::At`] is not set yet.
    pub(super) request: TraceRequest,
    /// The arrival in the trace's own time; `None` for a turn that follows another.
    pub(super) time: Option<i64>,
    /// The arrival that it belongs to: its own, or that of the turn it follows at last.
    pub(super) group: u32,
}

/// What a step of a pass gave.
#[derive(Debug)]
pub(super) enum Step {
    Request(Box<Placed>),
    /// A turn does not follow the row before it, so that file order is not arrival order.
    Reorder,
    End,
}

enum Place {
    At(i64),
    Turn { group: u32, session: String, delay: Nanos },
    Dropped,
    Elsewhere,
}

/// One reading of a trace.
pub(super) struct Pass {
    plan: Arc<Plan>,
    rows: Rows,
    ids: Ids,
    sessions: Sessions,
    next: u64,
    kept: u64,
    groups: u32,
    base: Option<i64>,
    /// Rows whose names were taken.
    pub(super) duplicates: BTreeSet<u32>,
    pub(super) counts: Counts,
}

impl Pass {
    pub(super) fn open(plan: &Arc<Plan>, ids: Ids, sessions: Sessions) -> Result<Self, TraceError> {
        let rows = Rows::open(&plan.input, plan.format, plan.options.ignore_unknown)?;
        Ok(Self {
            plan: Arc::clone(plan),
            rows,
            ids,
            sessions,
            next: 0,
            kept: 0,
            groups: 0,
            base: None,
            duplicates: BTreeSet::new(),
            counts: Counts::default(),
        })
    }

    /// The next request of the file.
    pub(super) fn step(&mut self) -> Result<Step, TraceError> {
        loop {
            if self.plan.options.limit.is_some_and(|limit| self.kept >= limit)
                || !self.rows.advance()?
            {
                return Ok(Step::End);
            }
            match self.row() {
                Ok(Some(Step::Request(placed))) => {
                    self.kept += 1;
                    return Ok(Step::Request(placed));
                }
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {}
                Err(error) => {
                    let reason = error.problem.drop_reason();
                    match reason.filter(|_| self.plan.options.skip_invalid) {
                        Some(reason) => self.counts.drop_row(reason),
                        None => return Err(self.rows.place(error)),
                    }
                }
            }
        }
    }

    /// Makes a request of the current row; `None` where the row is left out.
    fn row(&mut self) -> Result<Option<Step>, RowError> {
        let ordinal = u32::try_from(self.next).map_err(|_| Problem::TooManyRows)?;
        self.next += 1;
        self.counts.rows += 1;
        let reading = self.plan.reading();
        let mut draft = self.rows.with_row(|row| parse(row, reading, ordinal))?;
        if let Some(problem) = self.check_name(ordinal, &draft)? {
            self.duplicates.insert(ordinal);
            return Err(problem.into());
        }
        if let (true, Some(time)) = (self.plan.rebased, draft.time) {
            let base = *self.base.get_or_insert(time);
            let range = || Problem::TooLarge { found: time.to_string(), max: i64::MAX as u64 };
            draft.time = Some(time.checked_sub(base).ok_or_else(range)?);
        }
        let failed = draft.output.0 == 0;
        let kept = !failed || self.plan.options.keep_failed;
        let place = self.place(&draft, kept)?;
        if !kept {
            self.counts.drop_row(DropReason::NoOutput);
            return Ok(None);
        }
        let (time, arrival, group) = match place {
            Place::Elsewhere => return Ok(Some(Step::Reorder)),
            Place::Dropped => {
                self.counts.drop_row(DropReason::AfterLeftOut);
                return Ok(None);
            }
            Place::At(time) => (Some(time), Arrival::At(Nanos::ZERO), self.groups - 1),
            Place::Turn { group, session, delay } => {
                (None, Arrival::AfterTurn { session, delay }, group)
            }
        };
        self.counts.rounded += u64::from(draft.rounded);
        let request = request(draft, ordinal, arrival, failed);
        Ok(Some(Step::Request(Box::new(Placed { request, time, group }))))
    }

    fn check_name(&mut self, ordinal: u32, draft: &Draft) -> Result<Option<Problem>, RowError> {
        let names = match &mut self.ids {
            Ids::Known(taken) => {
                let taken = taken.contains(&ordinal);
                return Ok(taken.then(|| duplicate(draft, 0)));
            }
            Ids::Check(names) => names,
        };
        let mut verdict = names.add(draft.id.as_str());
        if verdict == Verdict::OutOfOrder {
            let mut earlier = HashSet::default();
            self.plan.earlier(ordinal, |_, id| {
                earlier.insert(name_hash(id));
                false
            })?;
            names.remember(earlier);
            verdict = names.add(draft.id.as_str());
        }
        if verdict == Verdict::New {
            return Ok(None);
        }
        let mut first = 0;
        if !self.plan.options.skip_invalid {
            self.plan.earlier(ordinal, |line, id| {
                first = line;
                id == draft.id.as_str()
            })?;
        }
        Ok(Some(duplicate(draft, first)))
    }

    /// Finds what the request follows, and remembers it as what others may follow.
    fn place(&mut self, draft: &Draft, kept: bool) -> Result<Place, RowError> {
        let Some(session) = &draft.session else {
            if draft.delay.is_some() {
                return Err(Problem::DelayWithoutSession.into());
            }
            let time = draft.time.ok_or(Problem::NoArrival)?;
            if let (true, Sessions::Adjacent(last)) = (kept, &mut self.sessions) {
                *last = None;
            }
            self.groups += u32::from(kept);
            return Ok(Place::At(time));
        };
        let earlier = match &self.sessions {
            Sessions::Adjacent(Some((last, came))) if last == session => {
                Some(came.then(|| self.groups.saturating_sub(1)))
            }
            Sessions::Adjacent(_) => None,
            Sessions::Anywhere(groups) => groups.get(session).copied(),
        };
        let place = match (draft.delay, draft.time, earlier) {
            (Some(delay), _, Some(Some(group))) => {
                Place::Turn { group, session: session.clone(), delay }
            }
            (Some(_), _, Some(None)) => return Ok(Place::Dropped),
            (Some(_), _, None) if matches!(self.sessions, Sessions::Adjacent(_)) => {
                return Ok(Place::Elsewhere);
            }
            (Some(_), None, None) => {
                return Err(Problem::FirstTurnHasDelay { session: session.clone() }.into());
            }
            (_, Some(time), _) => {
                self.groups += u32::from(kept);
                Place::At(time)
            }
            (None, None, _) => return Err(Problem::NoArrival.into()),
        };
        let group = match &place {
            Place::Turn { group, .. } => *group,
            _ => self.groups.saturating_sub(1),
        };
        if kept || earlier.is_none() {
            match &mut self.sessions {
                Sessions::Adjacent(Some((last, came))) if last == session => *came = kept,
                Sessions::Adjacent(last) => *last = Some((session.clone(), kept)),
                Sessions::Anywhere(groups) => {
                    groups.insert(session.clone(), kept.then_some(group));
                }
            }
        }
        Ok(place)
    }
}

impl Plan {
    fn reading(&self) -> Reading {
        Reading { unit: self.unit, block: self.block, rebased: self.rebased }
    }

    /// Reads the names of the rows before `ordinal` again, with their lines, until `stop`.
    fn earlier(
        &self,
        ordinal: u32,
        mut stop: impl FnMut(u64, &str) -> bool,
    ) -> Result<(), RowError> {
        let again = |error: TraceError| RowError::from(error.problem);
        let mut rows =
            Rows::open(&self.input, self.format, self.options.ignore_unknown).map_err(again)?;
        for earlier in 0..ordinal {
            if !rows.advance().map_err(again)? {
                return Err(Problem::Changed.into());
            }
            let draft = rows.with_row(|row| parse(row, self.reading(), earlier));
            if draft.is_ok_and(|draft| stop(rows.line(), draft.id.as_str())) {
                break;
            }
        }
        Ok(())
    }
}

fn duplicate(draft: &Draft, first: u64) -> Problem {
    Problem::DuplicateId { id: super::rows::excerpt(draft.id.as_str()), first }
}

fn request(draft: Draft, ordinal: u32, arrival: Arrival, failed: bool) -> TraceRequest {
    TraceRequest {
        ordinal,
        id: draft.id,
        arrival,
        session: draft.session,
        input_tokens: draft.input,
        output_tokens: draft.output,
        max_tokens: draft.max_tokens,
        priority: draft.priority,
        abort_after: draft.abort_after,
        prompt: draft.prompt,
        failed,
    }
}
