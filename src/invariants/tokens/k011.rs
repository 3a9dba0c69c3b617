//! K011: tokens found in the cache, and lost.

use crate::invariants::prelude::*;
use crate::log::schema::RequestRow;

declare_invariant! {
    /// cached_tokens, recomputed_tokens, computed_tokens and lost_tokens follow from one another.
    ///
    /// cached_tokens is what the first scheduling found, and what each resumption found beyond what had
    /// been computed before; recomputed_tokens is what the rows scheduled again below that line; the
    /// computed_tokens of a preemption are those of the row before it and its step (less rejected
    /// drafts); lost_tokens is what they exceed the tokens found at the resumption by.
    ///
    /// Under speculative decoding where steps overlap, drafts in flight at a preemption may turn out
    /// rejected, which bounds the sums of a request that was preempted, and leaves those of others exact.
    ///
    /// Blind spot: these drafts, by which the sums of preempted requests may be off; recomputed_tokens
    /// where rows do not say their computed_tokens; logs with empty details.
    ///
    /// Example: lost_tokens 96 of a request that had computed 96 tokens and found 64 of them.
    pub static K011 = {
        name: "found-and-lost-tokens",
        reads: [Events(event_type, details)],
        also: [
            PerRequest(cached_tokens, recomputed_tokens),
            PerIterationRequests(state, scheduled_tokens, computed_tokens),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// By key, where steps overlap and nothing is said of drafts: whether the request may have had some.
    drafted: Vec<bool>,
    /// By key, where steps overlap and there may be drafts: tokens that were scheduled again at least.
    again: Vec<u64>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if cx.facts.overlapping && cx.facts.settings.num_speculative_tokens != Some(0) {
            self.note_again(view, cx);
        }
        if cx.facts.overlapping && cx.facts.settings.num_speculative_tokens.is_none() {
            self.note_drafts(view);
        }
        for event in view.events {
            if event.row.event_type == EventType::RequestPreempted {
                preemption(event, view, cx);
            }
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if request.damaged || !cx.facts.complete(Table::Events) {
            return;
        }
        losses(request, cx);
        let Some(record) = &request.record else { return };
        let row = &record.row;
        let told = request
            .event(EventType::RequestScheduled)
            .map_or(row.first_scheduled_time.is_none(), |event| {
                event.row.details.cached_tokens.is_some()
            });
        // What was found beyond what had been computed is told by both events of a preemption.
        let told = told
            && request
                .events_of(EventType::RequestPreempted)
                .all(|event| event.row.details.computed_tokens.is_some())
            && request
                .events_of(EventType::RequestResumed)
                .all(|event| event.row.details.cached_tokens.is_some());
        let covered = row.completion_time.is_none_or(|end| cx.facts.reaches(Table::Events, end));
        let settings = &cx.facts.settings;
        let exact = !cx.facts.overlapping
            || match settings.num_speculative_tokens {
                Some(drafts) => drafts == 0,
                None => self.drafted.get(request.key.index()) == Some(&false),
            };
        if !told || !covered {
            return;
        }
        let sums = match exact {
            true => Sums::exactly(request),
            false => self.bounds(request, record, cx),
        };
        let steps = row.completion_time.map_or(cx.facts.complete(Table::PerIteration), |end| {
            cx.facts.reaches(Table::PerIteration, end)
        });
        let mut compare = |column, own: Option<Tokens>, (least, most): (u64, u64)| {
            let Some(own) = own else { return };
            cx.expect((least..=most).contains(&u64::from(own.0)), |ids| {
                let expected =
                    if least == most { most.to_string() } else { format!("{least} to {most}") };
                Finding::new(format!("{column} is not what the events and rows add up to"))
                    .at(record.at(), column)
                    .with_row(
                        request.event(EventType::RequestPreempted).map(Located::at),
                        "a preemption",
                    )
                    .of(request.key, ids)
                    .values(expected, own)
            });
        };
        compare("cached_tokens", row.cached_tokens, sums.cached);
        let counted = row.scheduled_tokens.map(|tokens| u64::from(tokens.0));
        // Rows that are not all there are K010's and X005's business.
        let computed = request.totals.computed_untold == 0;
        if steps && computed && counted == Some(request.totals.scheduled) {
            compare("recomputed_tokens", row.recomputed_tokens, sums.recomputed);
        }
    }
}

/// What the sums of a request are at least and at most.
#[derive(Clone, Copy)]
struct Sums {
    cached: (u64, u64),
    recomputed: (u64, u64),
}

impl Sums {
    const fn exactly(request: &RequestHistory) -> Self {
        let totals = &request.totals;
        Self {
            cached: (totals.cached, totals.cached),
            recomputed: (totals.recomputed, totals.recomputed),
        }
    }
}

/// How many of the tokens that a preemption counts as computed may turn out to be rejected drafts, where
/// steps overlap; all where nothing is said of drafts.
fn in_flight(cx: &Cx<'_>) -> u32 {
    let drafts = cx.facts.settings.num_speculative_tokens;
    drafts.map_or(u32::MAX, |drafts| drafts.saturating_mul(2))
}

impl Check {
    /// The sums of a request whose preemptions may have counted drafts that were rejected.
    fn bounds(&self, request: &RequestHistory, record: &Located<RequestRow>, cx: &Cx<'_>) -> Sums {
        let exact = Sums::exactly(request);
        let preempted = request.event(EventType::RequestPreempted).is_some();
        if !preempted && record.row.preemption_count.0 == 0 {
            return exact;
        }
        // Up to where it has been computed, at least and at most.
        let (mut low, mut high) = (0_u32, 0_u32);
        let (mut least, mut most) = (0_u64, 0_u64);
        let mut away = false;
        for event in &request.events {
            let details = &event.row.details;
            let found = details.cached_tokens.unwrap_or_default().0;
            match event.row.event_type {
                EventType::RequestPreempted => {
                    away = true;
                    let computed = details.computed_tokens.unwrap_or_default().0;
                    high = high.max(computed);
                    low = low.max(computed).saturating_sub(in_flight(cx));
                }
                // Some logs note a resumption at the first scheduling too.
                EventType::RequestResumed if !std::mem::take(&mut away) => {}
                EventType::RequestScheduled | EventType::RequestResumed => {
                    least += u64::from(found.saturating_sub(high));
                    most += u64::from(found.saturating_sub(low));
                }
                _ => {}
            }
        }
        let again = self.again.get(request.key.index()).copied().unwrap_or_default();
        Sums { cached: (least, most), recomputed: (again, exact.recomputed.1) }
    }

    /// Adds up what rows schedule again, whichever drafts were rejected.
    fn note_again(&mut self, view: &IterationView<'_>, cx: &Cx<'_>) {
        for row in view.changed().filter(|row| row.state == State::Running) {
            let (Some(computed), Some(scheduled)) = (row.computed_tokens, row.scheduled_tokens)
            else {
                continue;
            };
            let Some(history) = view.history(row.request_id) else { continue };
            let high = history.totals.computed_before;
            if high == 0 {
                continue;
            }
            // Each preemption may have counted some.
            let preemptions = history.events_of(EventType::RequestPreempted).count();
            let preemptions = u32::try_from(preemptions).unwrap_or(u32::MAX);
            let low = high.saturating_sub(in_flight(cx).saturating_mul(preemptions));
            let again = low.saturating_sub(computed.0).min(scheduled.0);
            let index = row.request_id.index();
            if self.again.len() <= index {
                self.again.resize(index + 1, 0);
            }
            self.again[index] += u64::from(again);
        }
    }

    /// A row that computes more than is known of its request has drafts.
    fn note_drafts(&mut self, view: &IterationView<'_>) {
        for row in view.changed().filter(|row| row.state == State::Running) {
            let index = row.request_id.index();
            if self.drafted.len() <= index {
                self.drafted.resize(index + 1, false);
            }
            let first = row.before.is_none() && !row.past_lost;
            let phase = view.history(row.request_id).and_then(|history| history.phase(row));
            let drafts = phase.is_none_or(|phase| match phase.prefill {
                true => phase.beyond > 0,
                false => row.scheduled_tokens > Some(Tokens(1)),
            });
            self.drafted[index] = drafts || self.drafted[index] && !first;
        }
    }
}

/// What a preempted request had computed, by the row before.
fn preemption(event: &Located<EventRow>, view: &IterationView<'_>, cx: &mut Cx<'_>) {
    let (Some(key), Some(told)) = (event.row.request_id, event.row.details.computed_tokens) else {
        return;
    };
    let row = view.rows.queued(key);
    let before = row.as_ref().and_then(RowView::earlier).filter(|before| {
        before.row.state == State::Running && Some(before.row.iteration_id) == view.previous_group
    });
    let Some(before) = before else { return };
    let (Some(computed), Some(scheduled)) =
        (before.row.computed_tokens, before.row.scheduled_tokens)
    else {
        return;
    };
    let most = computed.0.saturating_add(scheduled.0);
    let drafts = cx.facts.settings.num_speculative_tokens.unwrap_or(scheduled.0.saturating_sub(1));
    let rejected = if cx.facts.overlapping { drafts.saturating_mul(2) } else { drafts };
    let least = most.saturating_sub(rejected);
    cx.expect((least..=most).contains(&told.0), |ids| {
        let expected = if least == most { most.to_string() } else { format!("{least} to {most}") };
        Finding::new("the preemption loses other tokens than the request had computed")
            .at(event.at(), "details")
            .with(before.at(), "computed_tokens", "the row before")
            .of(key, ids)
            .in_iteration(view.id)
            .values(expected, told)
    });
}

/// What the evictions say was lost, by the preemption and the resumption around it.
fn losses(request: &RequestHistory, cx: &mut Cx<'_>) {
    let mut computed = None;
    let mut found = None;
    for event in &request.events {
        let details = &event.row.details;
        match event.row.event_type {
            EventType::RequestPreempted => (computed, found) = (details.computed_tokens, None),
            EventType::RequestResumed => found = details.cached_tokens,
            EventType::RequestEvicted => {
                let (Some(computed), Some(found), Some(lost)) =
                    (computed, found, details.lost_tokens)
                else {
                    continue;
                };
                let expected = computed.saturating_sub(found);
                cx.expect(lost == expected && lost > Tokens::ZERO, |ids| {
                    Finding::new(format!(
                        "lost_tokens is not the {computed} computed less the {found} found"
                    ))
                    .at(event.at(), "details")
                    .of(request.key, ids)
                    .values(expected, lost)
                });
            }
            _ => {}
        }
    }
}
