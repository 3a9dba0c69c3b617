//! C008: block events.

use crate::config::Policy;
use crate::invariants::prelude::*;
use crate::log::values::LogLevel;
use crate::units::IterationId;

declare_invariant! {
    /// What the events say was allocated, found in the cache and freed makes the blocks that a request
    /// holds.
    ///
    /// At log level `full` every allocation and every freeing is noted. Blocks taken since the request
    /// entered the running queue, with those found in the cache then, are its kv_cache_blocks; a
    /// freeing gives back all of them.
    ///
    /// Blind spot: log levels without block events; what follows a prefix found in the cache where
    /// block_size is not known; which step gave blocks back where that is not named, as at an abort.
    ///
    /// Example: a `kv_cache_freed` of 6 blocks by a request that holds 7.
    pub static C008 = {
        name: "block-events-add-up",
        reads: [Events(event_type, details), PerIterationRequests(state, kv_cache_blocks)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Events that are read and not counted yet: those of the next step may be of the very moment at
    /// which this one ends.
    ahead: Vec<Located<EventRow>>,
    /// Blocks held by key, by the events.
    held: Vec<i64>,
    /// The step of the last allocation by key.
    allocated: Vec<Option<Allocation>>,
    /// The first allocation since it held none, by key.
    entered: Vec<Option<Allocation>>,
    /// The step that the last block event names, by key.
    latest: Vec<Option<IterationId>>,
    /// Whether the request was preempted and has not given back its blocks yet, by key.
    preempted: Vec<bool>,
    /// Whether the request was preempted and has not come back, by key.
    away: Vec<bool>,
    /// Whether there are block events, and all with their details.
    seen: bool,
    untold: bool,
    /// Whether blocks were found in the cache whose number is not known, so that what is held by the events
    /// is a lower bound.
    loose: bool,
}

/// The allocations of one request in one step.
#[derive(Clone, Copy, Debug)]
struct Allocation {
    step: Option<IterationId>,
    at: Nanos,
    /// What it held before.
    before: i64,
}

impl Allocation {
    /// Whether an event is of the same step. Two events of one moment may stand in either order, and
    /// so may those that are stamped by different readings of the clock.
    fn is_with(&self, event: &EventRow, slack: Nanos) -> bool {
        match (self.step, event.details.iteration_id) {
            (Some(step), Some(other)) => step == other,
            _ => self.at.0.abs_diff(event.timestamp.0) <= slack.0,
        }
    }
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], _: &mut Cx<'_>) {
        self.ahead.extend_from_slice(events);
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let end = view.moments.filter(|_| !cx.facts.overlapping).map(|moments| moments.end);
        // Those that name a later step long before it are of a wrong step.
        self.count(
            |event| event.details.iteration_id > Some(view.id) && end == Some(event.timestamp),
            cx,
        );
        if !self.seen && cx.facts.log_level != Some(LogLevel::Full) {
            cx.vacuous("the log has no block events");
            return;
        }
        let told = view.moments.is_some_and(|m| cx.facts.covers(Table::Events, m.decided));
        // Where steps overlap, the events may be ahead of the rows; only the freeings are compared.
        if !told
            || self.untold
            || self.loose
            || !cx.facts.whole(Table::Events)
            || cx.facts.overlapping
        {
            return;
        }
        let mut exercised = 0;
        for row in view.rows.iter().filter(|row| row.state == State::Running && !row.past_lost) {
            let key = row.request_id;
            if self.held.len() <= key.index() {
                self.held.resize(key.index() + 1, 0);
            }
            // Blocks of a request that this step has finished are given back already.
            if view.event(key, EventType::KvCacheFreed).is_some() {
                continue;
            }
            // Where the end of a step is read late, events of the next one stand before it.
            let latest = self.latest.get(key.index()).copied().flatten();
            if latest.is_some_and(|latest| Some(latest.0) == view.id.0.checked_add(1)) {
                continue;
            }
            exercised += 1;
            let held =
                std::mem::replace(&mut self.held[key.index()], i64::from(row.kv_cache_blocks.0));
            if held != i64::from(row.kv_cache_blocks.0) {
                cx.found(
                    Finding::new("the events do not add up to the blocks of the request")
                        .at(row.row.at(), "kv_cache_blocks")
                        .of(key, cx.ids)
                        .in_iteration(view.id)
                        .values(held, row.kv_cache_blocks),
                );
            }
        }
        cx.exercised(exercised);
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        self.count(|event| event.request_id != Some(request.key), cx);
        let held = self.held.get_mut(request.key.index()).map(std::mem::take).unwrap_or(0);
        let Some(end) = request.completion().filter(|_| self.seen && !request.damaged) else {
            return;
        };
        let known = !self.untold && !self.loose && cx.facts.whole(Table::Events);
        if !known || !cx.facts.reaches(Table::Events, end) {
            return;
        }
        let covered = cx.facts.covers(Table::Events, end);
        cx.expect(held == 0, |ids| {
            let at = request.event(EventType::RequestCompleted).map(Located::at);
            let finding = Finding::new("the request is over and has not given back its blocks")
                .of(request.key, ids)
                .values(0, held);
            // At its last moment the file may have been cut between two rows.
            let finding = if covered { finding } else { finding.as_severity(Severity::Damage) };
            match at {
                Some(at) => finding.at(at, "event_type"),
                None => finding,
            }
        });
    }
}

impl Check {
    /// Counts the events that were read, but those that are to be left for later.
    fn count(&mut self, is_later: impl Fn(&EventRow) -> bool, cx: &mut Cx<'_>) {
        let block_size = cx.facts.settings.block_size.filter(|size| *size > 0);
        for event in std::mem::take(&mut self.ahead) {
            if is_later(&event.row) {
                self.ahead.push(event);
            } else {
                self.note(&event, block_size, cx);
            }
        }
    }

    fn note(&mut self, event: &Located<EventRow>, block_size: Option<u32>, cx: &mut Cx<'_>) {
        use EventType as T;
        let Some(key) = event.row.request_id else { return };
        if self.held.len() <= key.index() {
            self.held.resize(key.index() + 1, 0);
        }
        self.preempted.resize(self.held.len(), false);
        self.away.resize(self.held.len(), false);
        self.allocated.resize(self.held.len(), None);
        self.latest.resize(self.held.len(), None);
        self.entered.resize(self.held.len(), None);
        if let (T::KvCacheAllocated | T::KvCacheFreed, Some(step)) =
            (event.row.event_type, event.row.details.iteration_id)
        {
            self.latest[key.index()] = Some(step);
        }
        let slack = cx.slack();
        let last = &mut self.allocated[key.index()];
        let with_last = last.filter(|last| last.is_with(&event.row, slack));
        let details = &event.row.details;
        let held = &mut self.held[key.index()];
        let blocks = details.blocks.map(|blocks| i64::from(blocks.0));
        match event.row.event_type {
            // Where stamps vary, the arrival may be noted behind the first allocation.
            T::RequestArrived if with_last.is_some() && slack > Nanos::ZERO => {}
            T::RequestArrived => {
                (*held, *last, self.away[key.index()]) = (0, None, false);
            }
            T::RequestPreempted => {
                (self.preempted[key.index()], self.away[key.index()]) = (true, true);
            }
            // Noted at the first scheduling too.
            T::RequestResumed
                if !self.away[key.index()] && cx.facts.dialect.has(Habit::ResumedAtFirst) => {}
            T::RequestScheduled | T::RequestResumed => {
                let tokens = details.cached_tokens.unwrap_or_default().0;
                let untold = details.cached_tokens.is_none()
                    && cx.facts.settings.enable_prefix_caching != Some(false);
                self.loose |= untold || tokens > 0 && block_size.is_none();
                let found = block_size.map_or(0, |size| tokens / size);
                // Where steps overlap and stamps vary, the allocations of the step behind may be noted
                // before the decision, too.
                let entered = self.entered[key.index()];
                let entered =
                    entered.filter(|it| slack > Nanos::ZERO && it.is_with(&event.row, slack));
                let had = entered.or(with_last).map_or(*held, |last| last.before);
                *held += i64::from(found) - had;
                (self.preempted[key.index()], self.away[key.index()]) = (false, false);
                if self.seen {
                    self.expect(had, 0..=0, 0, event, cx);
                }
            }
            T::KvCacheAllocated => {
                self.seen = true;
                self.untold |= blocks.is_none();
                let (step, at) = (details.iteration_id, event.row.timestamp);
                let allocation = Allocation { step, at, before: *held };
                if *held == 0 {
                    self.entered[key.index()] = Some(allocation);
                }
                if with_last.is_none() {
                    *last = Some(allocation);
                }
                *held += blocks.unwrap_or(0);
            }
            T::KvCacheFreed => {
                self.seen = true;
                self.untold |= blocks.is_none();
                let had = std::mem::take(held);
                // Where stamps vary, the preemption may be noted behind it.
                let preempted =
                    std::mem::take(&mut self.preempted[key.index()]) || slack > Nanos::ZERO;
                // A victim that this very step had served gives back those blocks too; only the
                // last to be served is preempted under FCFS.
                let settings = &cx.facts.settings;
                let served = preempted && settings.policy != Some(Policy::Fcfs);
                let budget = settings.token_budget().zip(block_size);
                let more = budget
                    .map_or(i64::from(u32::MAX), |(tokens, size)| i64::from(tokens.div_ceil(size)));
                let most = if served { had + more + 1 } else { had };
                self.expect(had, had..=most, blocks.unwrap_or(0), event, cx);
            }
            _ => {}
        }
    }

    fn expect(
        &self,
        had: i64,
        allowed: std::ops::RangeInclusive<i64>,
        blocks: i64,
        event: &Located<EventRow>,
        cx: &mut Cx<'_>,
    ) {
        let freed = event.row.event_type == EventType::KvCacheFreed;
        if self.untold || self.loose && !freed || !cx.facts.whole(Table::Events) {
            return;
        }
        let fits = if self.loose { *allowed.start() <= blocks } else { allowed.contains(&blocks) };
        cx.expect(fits && (blocks > 0 || had == 0), |ids| {
            let message = match event.row.event_type {
                EventType::KvCacheFreed => "the request gives back other blocks than it holds",
                _ => "the request enters the running queue and has not given back its blocks",
            };
            let finding = Finding::new(message).at(event.at(), "details").values(had, blocks);
            let finding = match event.row.request_id {
                Some(key) => finding.of(key, ids),
                None => finding,
            };
            match event.row.details.iteration_id {
                Some(id) => finding.in_iteration(id),
                None => finding,
            }
        });
    }
}
