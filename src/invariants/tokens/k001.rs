//! K001: the two phases of a step.

use crate::invariants::prelude::*;
use crate::log::schema::IterationRow;

declare_invariant! {
    /// prefill_tokens + decode_tokens = total_tokens.
    ///
    /// Every scheduled token belongs to a request that is catching up or to one that has caught up.
    ///
    /// K002 adds them up by request. Where there is no per_iteration_requests.csv, the step's own counts
    /// bound them: whoever is admitted, or resumed with less than its prompt found in the cache, has tokens to
    /// catch up with, and of the other running requests none decodes more than one token and its drafts. Where rows
    /// do not say what is scheduled for each request, all steps together have at least the decode tokens that
    /// requests which were never preempted got behind their first one, and the prefill tokens of all prompts but
    /// for what was found in the cache.
    ///
    /// Blind spot: within these bounds, tokens counted in the wrong phase, in a log without rows.
    ///
    /// Example: recomputed tokens of a resumed request that are counted in neither phase.
    pub static K001 = {
        name: "phases-make-total",
        reads: [PerIteration(total_tokens, prefill_tokens, decode_tokens)],
        also: [
            PerIteration(running_count, admitted_count),
            Events(event_type, details),
            PerRequest(
                input_tokens, output_tokens, completion_time, preemption_count, cached_tokens
            ),
        ],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    steps: Steps,
    needed: Needed,
}

/// The tokens of all steps.
#[derive(Default)]
struct Steps {
    prefill: u64,
    decode: u64,
    /// The number of the next step, as long as none is missing.
    next: u64,
    gap: bool,
    end: Nanos,
}

/// What requests that have ended had of them, at least.
#[derive(Default)]
struct Needed {
    prefill: u64,
    decode: u64,
    /// The last end.
    end: Nanos,
}

impl Needed {
    fn note(&mut self, request: &RequestHistory, events: bool) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let row = &record.row;
        let Some(end) = row.completion_time.filter(|_| row.output_tokens > Tokens::ZERO) else {
            return;
        };
        let event = request.event(EventType::RequestScheduled);
        // One of another run has no steps here.
        if events && event.is_none() {
            return;
        }
        self.end = self.end.max(end);
        let known = |tokens: Tokens| u64::from(tokens.0);
        if row.preemption_count.0 == 0 {
            self.decode += known(row.output_tokens) - 1;
        }
        let found = row.cached_tokens.or_else(|| event?.row.details.cached_tokens);
        if let Some(found) = found {
            self.prefill += known(row.input_tokens.saturating_sub(found));
        }
    }
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        let (prefill, decode) = (step.row.prefill_tokens, step.row.decode_tokens);
        let sum = prefill.saturating_add(decode);
        cx.expect(sum == step.row.total_tokens, |_| {
            Finding::new(format!("{prefill} prefill + {decode} decode tokens are not the total"))
                .at(step.at(), "total_tokens")
                .in_iteration(view.id)
                .values(sum, step.row.total_tokens)
        });
        self.steps.gap |= view.id.0 != self.steps.next || view.damaged;
        self.steps.next = view.id.0.saturating_add(1);
        self.steps.prefill += u64::from(prefill.0);
        self.steps.decode += u64::from(decode.0);
        let end = view.moments.map_or(Nanos::ZERO, |moments| moments.end);
        self.steps.end = self.steps.end.max(end);
        if !cx.facts.has(Table::PerIterationRequests) {
            bounds(step, view, cx);
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if !cx.facts.has_column(Table::PerIterationRequests, "scheduled_tokens") {
            self.needed.note(request, cx.facts.has(Table::Events));
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if cx.facts.has_column(Table::PerIterationRequests, "scheduled_tokens") {
            return;
        }
        let Self { steps, needed } = self;
        // Steps that are not told of may have had the tokens; where no end is told, it is open which was the last.
        if steps.gap
            || cx.facts.dialect.hides_ends()
            || needed.end > steps.end.saturating_add(cx.slack())
        {
            return;
        }
        let columns = [
            ("prefill_tokens", needed.prefill, steps.prefill),
            ("decode_tokens", needed.decode, steps.decode),
        ];
        for (column, least, all) in columns {
            cx.expect(least <= all, |_| {
                Finding::new(format!(
                    "all steps have fewer {column} together than their requests got"
                ))
                .of_file(Table::PerIteration)
                .values(format!("at least {least}"), all)
            });
        }
    }
}

/// What the step's own counts say of the two phases.
fn bounds(step: &Located<IterationRow>, view: &IterationView<'_>, cx: &mut Cx<'_>) {
    let Some(admitted) = step.row.admitted_count else { return };
    // One whose whole prompt was found may have nothing left but its newest token.
    let catches_up = |event: &&Located<EventRow>| {
        let details = &event.row.details;
        let input = event.row.request_id.and_then(|key| view.history(key)?.input_tokens());
        event.row.event_type == EventType::RequestResumed
            && details.iteration_id == Some(view.id)
            && details.cached_tokens.zip(input).is_some_and(|(found, input)| found < input)
    };
    // Where first schedulings are called resumptions, too, they are admissions.
    let resumed = match cx.facts.dialect.has(Habit::ResumedAtFirst) {
        true => 0,
        false => view.events.iter().filter(catches_up).count() as u64,
    };
    let least = u64::from(admitted.0) + resumed;
    let (prefill, decode) = (step.row.prefill_tokens, step.row.decode_tokens);
    cx.expect(least <= u64::from(prefill.0), |_| {
        Finding::new("the step has fewer prefill_tokens than requests that it lets in")
            .at(step.at(), "prefill_tokens")
            .in_iteration(view.id)
            .values(format!("at least {least}"), prefill)
    });
    let Some(drafts) = cx.facts.settings.num_speculative_tokens else { return };
    let others = u64::from(step.row.running_count.0).saturating_sub(least);
    let most = others.saturating_mul(u64::from(drafts) + 1);
    cx.expect(u64::from(decode.0) <= most, |_| {
        Finding::new("the step has more decode_tokens than its running requests may decode")
            .at(step.at(), "decode_tokens")
            .in_iteration(view.id)
            .values(format!("at most {most}"), decode)
    });
}
