//! A trace as the engine sees it: checked as a whole, then streamed in arrival order.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::detect::detect;
use super::error::{Problem, TraceError};
use super::input::{Input, fail};
use super::options::ReadOptions;
use super::pass::{Counts, Ids, Names, Pass, Placed, Plan, Sessions, Step};
use super::summary::{DropReason, Order, TraceSummary};
use super::tally::Tally;
use super::{Arrival, RateScale, TraceRequest};
use crate::units::Nanos;

/// A trace that has been read once and found sound.
#[derive(Debug)]
pub struct Trace {
    content: Content,
    summary: TraceSummary,
}

#[derive(Debug)]
enum Content {
    /// In arrival order in the file: read again for every run, in constant memory.
    File { plan: Arc<Plan>, taken: Arc<BTreeSet<u32>> },
    /// In memory, in arrival order.
    Loaded(Vec<TraceRequest>),
}

impl Trace {
    /// Reads and checks the trace at `path` (`-` is standard input).
    ///
    /// The trace is not kept in memory unless it must be sorted or comes from a pipe.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its place and a remedy.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, TraceError> {
        Self::read(Input::open(path)?, options)
    }

    /// Reads and checks a trace whose bytes are in memory; `name` is how errors name it.
    ///
    /// # Errors
    /// As for [`Trace::open`].
    pub fn from_bytes(
        name: &str,
        bytes: impl Into<Arc<[u8]>>,
        options: &ReadOptions,
    ) -> Result<Self, TraceError> {
        Self::read(Input::memory(name.to_owned(), bytes.into()), options)
    }

    /// A trace of requests that are in arrival order already, such as generated ones.
    #[must_use]
    pub fn from_requests(name: &str, requests: Vec<TraceRequest>) -> Self {
        let mut tally = Tally::default();
        requests.iter().for_each(|request| tally.add(request));
        let counts = Counts { rows: tally.requests, ..Counts::default() };
        let summary = TraceSummary {
            name: name.to_owned(),
            in_memory: true,
            ..summary(None, &tally, counts, Order::File)
        };
        Self { content: Content::Loaded(requests), summary }
    }

    fn read(input: Input, options: &ReadOptions) -> Result<Self, TraceError> {
        let plan = Arc::new(plan(input, options)?);
        match check(&plan)? {
            Some(trace) => Ok(trace),
            None => load(&plan),
        }
    }

    /// What was read.
    #[must_use]
    pub const fn summary(&self) -> &TraceSummary {
        &self.summary
    }

    /// The requests in arrival order; a turn that follows another comes right after it.
    ///
    /// # Errors
    /// Where the file can no longer be read as it was.
    pub fn requests(&self) -> Result<Requests<'_>, TraceError> {
        let from = match &self.content {
            Content::Loaded(requests) => From::Memory(requests.iter()),
            Content::File { plan, taken } => {
                let ids = Ids::Known(Arc::clone(taken));
                let pass = Pass::open(plan, ids, Sessions::Adjacent(None))?;
                let left = self.summary.requests;
                From::File(Box::new(Stream { plan: Arc::clone(plan), pass, left, last: i64::MIN }))
            }
        };
        Ok(Requests(from))
    }
}

/// The requests of a trace in arrival order. Ends after an error.
#[derive(Debug)]
pub struct Requests<'a>(From<'a>);

#[derive(Debug)]
enum From<'a> {
    Memory(std::slice::Iter<'a, TraceRequest>),
    File(Box<Stream>),
}

struct Stream {
    plan: Arc<Plan>,
    pass: Pass,
    /// Requests that the check counted and that have not been given yet.
    left: u64,
    last: i64,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Iterator for Requests<'_> {
    type Item = Result<TraceRequest, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            From::Memory(requests) => requests.next().cloned().map(Ok),
            From::File(stream) => {
                if stream.left == 0 {
                    return None;
                }
                let next = stream.next();
                stream.left = if next.is_ok() { stream.left - 1 } else { 0 };
                Some(next)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            From::Memory(requests) => requests.size_hint(),
            From::File(stream) => (0, usize::try_from(stream.left).ok()),
        }
    }
}

impl Stream {
    /// The next request, which the check has seen: anything else means that the file changed.
    fn next(&mut self) -> Result<TraceRequest, TraceError> {
        let changed = || fail(&self.plan.input.name, Problem::Changed);
        match self.pass.step()? {
            Step::Request(placed) => {
                if placed.time.is_some_and(|time| time < self.last) {
                    return Err(changed());
                }
                self.last = placed.time.unwrap_or(self.last);
                // Requests past the end come last, so none of them can be met while any is left.
                finish(&self.plan, *placed, 0)?.ok_or_else(changed)
            }
            Step::Reorder | Step::End => Err(changed()),
        }
    }
}

fn plan(input: Input, options: &ReadOptions) -> Result<Plan, TraceError> {
    let format = match options.format {
        Some(format) => format,
        None => detect(&input)?,
    };
    let unit = match (format.time_unit(), options.time_unit) {
        (None, Some(_)) => return Err(fail(&input.name, Problem::UnitOfDates)),
        (own, given) => given.or(own),
    };
    let block = options.hash_block_size.unwrap_or(format.hash_block_size());
    if block == 0 {
        return Err(fail(&input.name, Problem::ZeroHashBlock));
    }
    let rebased = options.rebase || unit.is_none();
    Ok(Plan { input, format, unit, block, rebased, options: options.clone() })
}

/// Reads the whole trace in constant memory; `None` where it is not in arrival order.
fn check(plan: &Arc<Plan>) -> Result<Option<Trace>, TraceError> {
    let mut pass = Pass::open(plan, Ids::Check(Names::new()), Sessions::Adjacent(None))?;
    let mut tally = Tally::default();
    let (mut last, mut ended) = (i64::MIN, false);
    loop {
        let placed = match pass.step()? {
            Step::End => break,
            Step::Reorder => return Ok(None),
            Step::Request(placed) => placed,
        };
        if let Some(time) = placed.time {
            if time < last {
                return Ok(None);
            }
            last = time;
            ended |= past_end(plan, time);
        }
        match finish(plan, *placed, 0)?.filter(|_| !ended) {
            Some(request) => tally.add(&request),
            None => pass.counts.drop_row(DropReason::Until),
        }
    }
    let taken = Arc::new(std::mem::take(&mut pass.duplicates));
    let summary = sound(plan, &tally, pass.counts, Order::File)?;
    Ok(Some(Trace { content: Content::File { plan: Arc::clone(plan), taken }, summary }))
}

/// Loads the whole trace and sorts it by arrival, ties in file order.
fn load(plan: &Arc<Plan>) -> Result<Trace, TraceError> {
    let mut pass =
        Pass::open(plan, Ids::Check(Names::new()), Sessions::Anywhere(Default::default()))?;
    let mut arrivals: Vec<i64> = Vec::new();
    let mut placed_all: Vec<Placed> = Vec::new();
    let mut descents = 0;
    loop {
        match pass.step()? {
            Step::End | Step::Reorder => break,
            Step::Request(placed) => {
                if let Some(time) = placed.time {
                    descents += u64::from(arrivals.last().is_some_and(|last| time < *last));
                    arrivals.push(time);
                }
                placed_all.push(*placed);
            }
        }
    }
    let arrival = |placed: &Placed| arrivals.get(placed.group as usize).copied().unwrap_or(0);
    placed_all.sort_by_key(|placed| (arrival(placed), placed.group));
    let base = if plan.rebased { arrivals.iter().copied().min().unwrap_or(0) } else { 0 };
    let mut tally = Tally::default();
    let mut requests = Vec::with_capacity(placed_all.len());
    for placed in placed_all {
        let ended = past_end(plan, arrival(&placed).saturating_sub(base));
        match finish(plan, placed, base)?.filter(|_| !ended) {
            Some(request) => {
                tally.add(&request);
                requests.push(request);
            }
            None => pass.counts.drop_row(DropReason::Until),
        }
    }
    let order = if descents == 0 { Order::Regrouped } else { Order::Sorted { descents } };
    let summary = TraceSummary { in_memory: true, ..sound(plan, &tally, pass.counts, order)? };
    Ok(Trace { content: Content::Loaded(requests), summary })
}

fn past_end(plan: &Plan, time: i64) -> bool {
    plan.options.until.is_some_and(|until| i128::from(time) >= i128::from(until.0))
}

/// Sets the times of a request; `None` where it arrives past the end.
fn finish(plan: &Plan, placed: Placed, base: i64) -> Result<Option<TraceRequest>, TraceError> {
    let Placed { mut request, time, .. } = placed;
    let scale = plan.options.rate_scale;
    let scaled = |time: Nanos| {
        let too_slow = || fail(&plan.input.name, Problem::TooSlow { time: time.0 });
        scale.apply(time).ok_or_else(too_slow)
    };
    match (&mut request.arrival, time) {
        (Arrival::At(at), Some(time)) => {
            let time = time.saturating_sub(base);
            if past_end(plan, time) {
                return Ok(None);
            }
            // Times below the first row's are met only on the way to sorting.
            *at = scaled(Nanos(u64::try_from(time).unwrap_or(0)))?;
        }
        (Arrival::AfterTurn { delay, .. }, _) => *delay = scaled(*delay)?,
        (Arrival::At(_), None) => {}
    }
    Ok(Some(request))
}

/// The summary of a trace that has requests.
fn sound(
    plan: &Plan,
    tally: &Tally,
    counts: Counts,
    order: Order,
) -> Result<TraceSummary, TraceError> {
    if tally.requests == 0 {
        return Err(fail(&plan.input.name, Problem::Empty { dropped: counts.rows }));
    }
    Ok(summary(Some(plan), tally, counts, order))
}

fn summary(plan: Option<&Plan>, tally: &Tally, counts: Counts, order: Order) -> TraceSummary {
    let scale = plan.map_or(RateScale::ONE, |plan| plan.options.rate_scale);
    TraceSummary {
        name: plan.map(|plan| plan.input.name.clone()).unwrap_or_default(),
        format: plan.map(|plan| plan.format),
        time_unit: plan.and_then(|plan| plan.unit),
        hash_block_size: plan.map_or(0, |plan| plan.block),
        rebased: plan.is_some_and(|plan| plan.rebased),
        rate_scale: scale.to_string(),
        rows: counts.rows,
        requests: tally.requests,
        dropped: counts.dropped,
        failed: tally.failed,
        turns: tally.turns,
        aborts: tally.aborts,
        hashed: tally.hashed,
        rounded: counts.rounded,
        first_arrival: tally.first.unwrap_or_default(),
        last_arrival: tally.last,
        input_tokens_max: tally.input_tokens_max,
        sequence_tokens_max: tally.sequence_tokens_max,
        input_tokens: tally.input_tokens,
        output_tokens: tally.output_tokens,
        order,
        ties: tally.ties(),
        in_memory: plan.is_some_and(|plan| plan.input.in_memory()),
    }
}
