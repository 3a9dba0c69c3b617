//! C010: evicted blocks.

use crate::config::Policy;
use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::units::IterationId;

declare_invariant! {
    /// evicted_blocks is at most the number of blocks that the step took, and 0 without prefix caching;
    /// as long as there are blocks without content none is evicted, and when there are none left, each
    /// block that is taken is evicted.
    ///
    /// A cached block loses its content only when a step takes it for something else (vLLM:
    /// `get_new_blocks`, `_maybe_evict_cached_block`), and blocks without content are taken first. Those
    /// are the ones that were never used and the ones that a request gave back before they were full,
    /// so what was taken beyond them was evicted. At most as many blocks of a request were not full as
    /// its last row in the running queue says: the known tokens of a step are cached as it is scheduled,
    /// and those of an output in flight when it is processed.
    ///
    /// Where there is no per_iteration_requests.csv, a step takes no more blocks than there are, and in a log
    /// of a reference model no more than its tokens may need.
    ///
    /// A step that preempts under another policy than fcfs may have taken blocks for its victims first, as many as
    /// their tokens need.
    ///
    /// Blind spot: at most, in such steps where steps overlap, or the rows of the victims are left out; at least, where
    /// steps overlap, the blocks that a step takes for a request whose end has its row before that; and where events
    /// or rows were lost, or block_size or enable_prefix_caching is not known.
    /// How many blocks have no content is known of a log that begins with step 0, and less well without
    /// computed_tokens.
    ///
    /// Example: a counter of the whole run, which is 40 in a step that takes one block.
    pub static C010 = {
        name: "evictions-take-blocks",
        reads: [
            PerIteration(evicted_blocks, preempted_count),
        ],
        also: [
            Events(event_type, details),
            PerIteration(kv_cache_total, total_tokens, batch_size),
            PerIterationRequests(
                state, kv_cache_blocks, scheduled_tokens, computed_tokens, tokens_generated
            ),
            PerRequest(input_tokens),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Blocks taken and evicted so far.
    taken: u64,
    evicted: u64,
    /// Whether not all taken blocks are told of.
    untold: bool,
    content: Content,
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        use EventType as T;
        for event in events {
            match event.row.event_type {
                T::KvCacheAllocated => match event.row.details.blocks {
                    Some(blocks) => self.taken += u64::from(blocks.0),
                    None => self.untold = true,
                },
                // A victim under the priority policy may have taken blocks that nothing tells of.
                T::RequestPreempted => {
                    self.untold |= cx.facts.settings.policy != Some(Policy::Fcfs);
                }
                _ => {}
            }
        }
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| !view.damaged) else {
            self.content.untold = true;
            return;
        };
        let Some(evicted) = step.row.evicted_blocks else {
            self.content.untold = true;
            return;
        };
        self.evicted += u64::from(evicted.0);
        if view.moments.is_some_and(|moments| cx.facts.covers(Table::Events, moments.decided)) {
            self.unused_first(step, cx);
        }
        let taken = Taken::of(view, cx);
        self.content.note(u64::from(evicted.0), &taken, step, view, cx);
        let caching = cx.facts.settings.enable_prefix_caching != Some(false);
        let rows = cx.facts.has(Table::PerIterationRequests);
        let most = match caching {
            true if rows => taken.most,
            true => by_tokens(&step.row, cx),
            false => Some(0),
        };
        let Some(taken) = most else { return };
        cx.expect(u64::from(evicted.0) <= taken, |_| {
            let (bound, why) = match caching {
                true => (if rows { "" } else { "at most " }, ""),
                false => ("", " without prefix caching"),
            };
            Finding::new(format!(
                "{evicted} blocks are evicted by a step that takes {bound}{taken}{why}"
            ))
            .at(step.at(), "evicted_blocks")
            .in_iteration(view.id)
            .values(format!("at most {taken}"), evicted)
        });
    }
}

impl Check {
    /// Blocks that were never used are taken before cached ones, so that all that is taken beyond the
    /// cache's size may have been evicted, and no more.
    fn unused_first(&self, step: &Located<IterationRow>, cx: &mut Cx<'_>) {
        if self.untold || self.taken == 0 || !cx.facts.whole(Table::Events) {
            return;
        }
        let most = self.taken.saturating_sub(u64::from(step.row.kv_cache_total.0));
        cx.expect(self.evicted <= most, |_| {
            Finding::new(format!(
                "{} blocks were evicted so far, but only {} were taken in all",
                self.evicted, self.taken
            ))
            .at(step.at(), "evicted_blocks")
            .in_iteration(step.row.iteration_id)
            .values(format!("at most {most} up to here"), self.evicted)
        });
    }
}

/// How many blocks the tokens of a step may need, beside those that its requests have.
fn by_tokens(step: &IterationRow, cx: &Cx<'_>) -> Option<u64> {
    let settings = &cx.facts.settings;
    // A victim may have taken blocks in the same step, unless those are served last that came last.
    if step.preempted_count > Requests::ZERO && settings.policy != Some(Policy::Fcfs) {
        return None;
    }
    let total = u64::from(step.kv_cache_total.0);
    // A real engine may take blocks for tokens that it does not compute.
    let known = settings.block_size.filter(|size| cx.facts.modelled && *size > 0);
    let (Some(size), Some(drafts)) = (known, settings.num_speculative_tokens) else {
        return Some(total);
    };
    // Each request may begin a block with its first token, and has slots ahead of its last one.
    let ahead = u64::from(settings.num_lookahead_tokens.unwrap_or(drafts));
    let size = u64::from(size);
    let slots = u64::from(step.batch_size.0) * (ahead + size - 1);
    Some(total.min((u64::from(step.total_tokens.0) + slots) / size))
}

/// Blocks that a step took from the free ones, by the rows of its running queue.
struct Taken {
    least: u64,
    /// None if the rows do not tell.
    most: Option<u64>,
}

impl Taken {
    fn of(view: &IterationView<'_>, cx: &Cx<'_>) -> Self {
        let block_size = cx.facts.settings.block_size.filter(|size| *size > 0);
        let begun = view.blocks_of_steady();
        let (mut least, mut most, mut lost) = (begun, begun, false);
        for row in view.changed().filter(|row| row.state == State::Running) {
            let held = row.kv_cache_blocks.0;
            lost |= row.past_lost;
            match row.earlier() {
                Some(before) if before.row.state == State::Running => {
                    let taken = held.saturating_sub(before.row.kv_cache_blocks.0);
                    least += u64::from(taken);
                    most += u64::from(taken);
                }
                // Where steps overlap, behind the row of its end, which has the blocks of this one.
                Some(before) if before.row.state == State::Completed => most += u64::from(held),
                _ => {
                    let history = view.history(row.request_id);
                    let hit = history.and_then(|history| history.totals.hit);
                    let blocks = |tokens: Option<Tokens>| {
                        tokens.zip(block_size).map(|(tokens, size)| tokens.0 / size)
                    };
                    let (told, found) = (blocks(hit), blocks(row.computed_tokens));
                    // Where the event and the row do not agree, other rules say so.
                    let surely = told.map_or(0, |told| told.min(found.unwrap_or(told)));
                    most += u64::from(held.saturating_sub(surely));
                    let found = told.max(found).unwrap_or(held);
                    least += u64::from(held.saturating_sub(found));
                }
            }
        }
        let preempted = view.iteration.map_or(Requests::ZERO, |step| step.row.preempted_count);
        // Under fcfs the victim is the one that comes last, which has taken nothing yet.
        let served_first = match cx.facts.settings.policy {
            Some(Policy::Fcfs) => Some(0),
            _ if preempted == Requests::ZERO => Some(0),
            _ => served_before_preempted(view, preempted, cx),
        };
        let untold = view
            .iteration
            .is_none_or(|step| view.rows.is_empty() && step.row.running_count > Requests::ZERO);
        let most = served_first.filter(|_| !untold && !lost).map(|served| most + served);
        Self { least, most }
    }
}

/// Blocks that a step may have taken for requests that it then preempted, at most.
fn served_before_preempted(view: &IterationView<'_>, count: Requests, cx: &Cx<'_>) -> Option<u64> {
    let settings = &cx.facts.settings;
    let size = settings.block_size.filter(|size| *size > 0 && !cx.facts.overlapping)?;
    let drafts = settings.num_speculative_tokens?;
    // Drafts are scheduled, and have slots ahead.
    let beyond = drafts.saturating_add(settings.num_lookahead_tokens.unwrap_or(drafts));
    let mut victims = 0;
    let mut most = 0;
    for row in view.changed().filter(|row| row.state == State::Preempted) {
        let Some(ran) = row.earlier().filter(|before| before.row.state == State::Running) else {
            continue;
        };
        let input = view.history(row.request_id)?.input_tokens()?;
        let known = input.0.saturating_add(row.tokens_generated.0);
        let held = known.saturating_add(beyond).div_ceil(size);
        most += u64::from(held.saturating_sub(ran.row.kv_cache_blocks.0));
        victims += 1;
    }
    (victims == count.0).then_some(most)
}

/// A request that leaves the running queue at a moment. Where steps overlap, some of the steps decided
/// before it may be still to come.
#[derive(Clone, Copy)]
struct Leaving {
    key: RequestKey,
    at: Nanos,
    /// Its last row in the running queue that was seen since.
    ran: Option<IterationRequestRow>,
}

/// Which blocks have content: whoever takes more than those without any evicts.
#[derive(Default)]
struct Content {
    /// Blocks taken so far, at least.
    taken: u64,
    /// Blocks given back without content so far, at most.
    emptied: u64,
    evicted: u64,
    leaving: Vec<Leaving>,
    /// Free blocks without content, at least; none before the first step.
    empty: Option<u64>,
    /// Blocks that were given back without content by the step before, at least. A clock that is off by a
    /// little does not tell whether that step could take them already.
    returned: u64,
    /// Whether something is not told of, so that nothing can be said from there on.
    untold: bool,
}

impl Content {
    fn note(
        &mut self,
        evicted: u64,
        taken: &Taken,
        step: &Located<IterationRow>,
        view: &IterationView<'_>,
        cx: &mut Cx<'_>,
    ) {
        let settings = &cx.facts.settings;
        let known = settings.enable_prefix_caching == Some(true)
            && settings.block_size.is_some_and(|size| size > 0)
            && cx.facts.whole(Table::Events)
            && cx.facts.whole(Table::PerIterationRequests)
            && view.moments.is_some_and(|at| cx.facts.covers(Table::Events, at.decided));
        self.untold |= !known;
        if self.untold {
            return;
        }
        let given_back = self.empty_first(evicted, taken, step, view, cx);
        self.taken += taken.least;
        self.evicted += evicted;
        self.leave(view, cx);
        self.returned = self.returned.saturating_sub(given_back);
        let without_content = u64::from(step.row.kv_cache_total.0).saturating_add(self.emptied);
        let least = self.taken.saturating_sub(without_content);
        let before = self.evicted - evicted;
        cx.expect(self.evicted >= least, |_| {
            Finding::new(format!(
                "blocks without content are used up, and {} of them were evicted so far, not {least}",
                self.evicted
            ))
            .at(step.at(), "evicted_blocks")
            .in_iteration(view.id)
            .values(format!("at least {}", least - before), evicted)
        });
        // One finding for what one step leaves out.
        self.evicted = self.evicted.max(least);
    }

    /// What a step takes beyond the free blocks without content may be evicted, and no more. How many may be
    /// of those that were given back since the step before.
    fn empty_first(
        &mut self,
        evicted: u64,
        taken: &Taken,
        step: &Located<IterationRow>,
        view: &IterationView<'_>,
        cx: &mut Cx<'_>,
    ) -> u64 {
        let returned = std::mem::take(&mut self.returned);
        let empty = match self.empty {
            Some(empty) => empty.saturating_add(returned),
            None if view.id == IterationId::ZERO => u64::from(step.row.kv_cache_total.0),
            None => 0,
        };
        let Some(taken) = taken.most else {
            self.empty = Some(0);
            return u64::MAX;
        };
        let most = taken.saturating_sub(empty);
        // Those beyond what was taken are reported as that.
        cx.expect(evicted <= most || evicted > taken, |_| {
            Finding::new(format!(
                "{evicted} blocks are evicted by a step that takes {taken}, while at least {empty} free ones \
                 have no content"
            ))
            .at(step.at(), "evicted_blocks")
            .in_iteration(view.id)
            .values(format!("at most {most}"), evicted)
        });
        let without_content = taken - evicted.min(most);
        self.empty = Some(empty.saturating_sub(without_content));
        without_content.saturating_sub(empty)
    }

    /// Takes in what the requests that have left the running queue since the step before gave back.
    fn leave(&mut self, view: &IterationView<'_>, cx: &Cx<'_>) {
        let hidden = cx.facts.dialect.has(Habit::NoPreemptedRows);
        for event in view.events {
            let left = match event.row.event_type {
                EventType::RequestCompleted => true,
                EventType::RequestPreempted => hidden,
                _ => false,
            };
            let key = event.row.request_id.filter(|_| left);
            let at = event.row.timestamp;
            self.leaving.extend(key.map(|key| Leaving { key, at, ran: None }));
        }
        let decided = view.moments.map_or(Nanos::MAX, |moments| moments.decided);
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain_mut(|Leaving { key, at, ran }| {
            let Some(history) = view.history(*key) else {
                self.untold = true;
                return false;
            };
            let may_run = decided <= at.saturating_add(cx.slack());
            let Some(last) = view.last_queued(*key).map(|last| last.row) else { return may_run };
            let stays = last.iteration_id == view.id;
            if last.state != State::Running {
                return stays || may_run;
            }
            *ran = Some(last);
            let has_left = !stays && *at <= decided.saturating_add(cx.slack());
            if has_left {
                self.emptied += without_content(&last, history, cx);
                // One that ended while it was preempted gave back nothing with its end, and one that ends twice
                // nothing the second time.
                if !hidden && history.events_of(EventType::RequestCompleted).nth(1).is_none() {
                    self.returned += surely_without_content(&last, cx);
                }
            }
            !has_left
        });
        self.leaving = leaving;
        if hidden || view.iteration.is_none_or(|s| s.row.preempted_count == Requests::ZERO) {
            return;
        }
        for row in view.changed().filter(|row| row.state == State::Preempted) {
            let Some(history) = view.history(row.request_id).filter(|_| !row.past_lost) else {
                self.untold = true;
                continue;
            };
            let ran = row.earlier().and_then(|before| match before.row.state {
                State::Running => Some(before.row),
                // An output in flight ended it.
                State::Completed => self.leaving.iter().find(|it| it.key == row.request_id)?.ran,
                _ => None,
            });
            if let Some(ran) = ran {
                self.emptied += without_content(&ran, history, cx);
                // Under another policy it may have been scheduled by this step before it was preempted.
                if cx.facts.settings.policy == Some(Policy::Fcfs) {
                    self.returned += surely_without_content(&ran, cx);
                }
            }
        }
    }
}

/// Blocks of the request without content as it left the running queue, whose last row of it this is,
/// at least: those that its tokens did not fill.
fn surely_without_content(row: &IterationRequestRow, cx: &Cx<'_>) -> u64 {
    let tokens = row.computed_tokens.zip(row.scheduled_tokens);
    let size = cx.facts.settings.block_size.filter(|size| *size > 0);
    tokens.zip(size).map_or(0, |((computed, scheduled), size)| {
        let full = computed.0.saturating_add(scheduled.0) / size;
        u64::from(row.kv_cache_blocks.0.saturating_sub(full))
    })
}

/// Blocks of the request without content as it left the running queue, whose last row of it this is,
/// at most.
///
/// What a step schedules is cached by it as far as its tokens are known; drafts and outputs in flight
/// are not. A step that scheduled nothing for it cached nothing, and the last one that did, or the
/// output of it, may have left out that many.
fn without_content(row: &IterationRequestRow, history: &RequestHistory, cx: &Cx<'_>) -> u64 {
    let settings = &cx.facts.settings;
    let known = history.input_tokens().map(|input| input.0.saturating_add(row.tokens_generated.0));
    let all_known = settings.num_speculative_tokens == Some(0) && !cx.facts.overlapping;
    let cached = || {
        let scheduled = row.scheduled_tokens?.0;
        let reached = row.computed_tokens?.0.saturating_add(scheduled);
        let cached = match known {
            Some(known) => reached.min(known),
            None if all_known => reached,
            None => return None,
        };
        match scheduled {
            0 => Some(cached.saturating_sub(settings.num_speculative_tokens?.saturating_add(1))),
            _ => Some(cached),
        }
    };
    let full = settings.block_size.filter(|size| *size > 0).zip(cached());
    let full = full.map_or(0, |(size, cached)| cached / size);
    u64::from(row.kv_cache_blocks.0.saturating_sub(full))
}
