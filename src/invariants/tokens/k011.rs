//! K011: tokens found in the cache, and lost.

use crate::invariants::prelude::*;

declare_invariant! {
    /// cached_tokens, recomputed_tokens, computed_tokens and lost_tokens follow from one another.
    ///
    /// cached_tokens is what the first scheduling found, and what each resumption found beyond what had
    /// been computed before; recomputed_tokens is what the rows scheduled again below that line; the
    /// computed_tokens of a preemption are those of the row before it and its step (less rejected
    /// drafts); lost_tokens is what they exceed the tokens found at the resumption by.
    ///
    /// Blind spot: the sums of preempted requests under speculative decoding where steps overlap (drafts in
    /// flight at a preemption may turn out rejected); recomputed_tokens where rows do not say their
    /// computed_tokens; logs with empty details.
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
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
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
        // Nothing that was computed is lost but by a preemption.
        let exact = exact || request.event(EventType::RequestPreempted).is_none();
        if !told || !covered || !exact {
            return;
        }
        let steps = row.completion_time.map_or(cx.facts.complete(Table::PerIteration), |end| {
            cx.facts.reaches(Table::PerIteration, end)
        });
        let mut compare = |column, own: Option<Tokens>, sum: u64| {
            let Some(own) = own else { return };
            cx.expect(u64::from(own.0) == sum, |ids| {
                Finding::new(format!("{column} is not what the events and rows add up to"))
                    .at(record.at(), column)
                    .with_row(
                        request.event(EventType::RequestPreempted).map(Located::at),
                        "a preemption",
                    )
                    .of(request.key, ids)
                    .values(sum, own)
            });
        };
        compare("cached_tokens", row.cached_tokens, request.totals.cached);
        let counted = row.scheduled_tokens.map(|tokens| u64::from(tokens.0));
        // Rows that are not all there are K010's and X005's business.
        let computed = request.totals.computed_untold == 0;
        if steps && computed && counted == Some(request.totals.scheduled) {
            compare("recomputed_tokens", row.recomputed_tokens, request.totals.recomputed);
        }
    }
}

impl Check {
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
