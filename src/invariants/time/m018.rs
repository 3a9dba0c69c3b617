//! M018: the first token comes when the rows show it.

use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;

declare_invariant! {
    /// The first token of a request was generated between the last row that shows none and the first
    /// that shows some.
    ///
    /// A row shows the outputs of all steps that ended before its step began, a `completed` row those
    /// up to its step's end. The moment is that of `first_token_generated`, or arrival_time + ttft where
    /// there is no event. M014 says that it is the end of some step; this rule says of which. Where details
    /// name the step, its end is held to the same, which no clock of the events' own can blur.
    ///
    /// Blind spot: requests whose first token came with their last step, in logs without `completed`
    /// rows.
    ///
    /// Example: tokens_generated is 1 in step 5, and the first token is stamped with the end of step 5.
    pub static M018 = {
        name: "first-token-where-rows-show-it",
        reads: [
            PerRequest(arrival_time, ttft),
            PerIteration(start_time),
            PerIterationRequests(tokens_generated),
        ],
        also: [Events(event_type, timestamp, details), PerIteration(end_time)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// By key.
    shown: Vec<Option<Shown>>,
    /// By key: the end of the step that the event names.
    named: Vec<Option<Nanos>>,
}

/// When the rows first show a token.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// Not before this moment; whether not at it either.
    low: Option<(Nanos, bool)>,
    /// Not after this one.
    high: Option<Nanos>,
    /// The first row that shows a token.
    at: Location,
}

/// A moment that is said to be that of the first token.
struct Told {
    at: Location,
    column: &'static str,
    moment: Nanos,
    /// How much too early and too late it may seem.
    slack: (Nanos, Nanos),
}

impl Shown {
    fn of(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Option<Self> {
        let moments = view.moments?;
        let high = match row.state {
            State::Completed if cx.facts.dialect.hides_ends() => None,
            State::Completed => Some(moments.end),
            _ => Some(moments.decided),
        };
        let before = row.before.filter(|_| !view.damaged);
        let low = before.and_then(|before| {
            let step = view.moments_of(before.row.iteration_id)?;
            // A step that takes no time ends as it begins.
            let later = if cx.facts.overlapping { step.decided } else { step.end };
            Some((step.start, later > step.start))
        });
        Some(Self { low, high, at: row.row.at() })
    }
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        for row in view.changed() {
            let none_before = row.before.is_none_or(|before| {
                before.row.tokens_generated == Tokens::ZERO && before.row.state != State::Completed
            });
            if row.tokens_generated == Tokens::ZERO || !none_before || row.past_lost {
                continue;
            }
            *slot(&mut self.shown, row.request_id) = Shown::of(row, view, cx);
        }
        if cx.facts.dialect.hides_ends() {
            return;
        }
        let first_tokens =
            |event: &&Located<EventRow>| event.row.event_type == EventType::FirstTokenGenerated;
        for event in view.events.iter().filter(first_tokens) {
            if let (Some(key), Some(id)) = (event.row.request_id, event.row.details.iteration_id) {
                let named = slot(&mut self.named, key);
                *named = named.or(view.moments_of(id).map(|moments| moments.end));
            }
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let shown = self.shown.get_mut(request.key.index()).and_then(Option::take);
        let named = self.named.get_mut(request.key.index()).and_then(Option::take);
        let Some(shown) = shown.filter(|_| !request.damaged) else { return };
        let slack = (cx.slack(), cx.slack());
        let event = request.event(EventType::FirstTokenGenerated);
        let stamp = event.map(|event| (event.at(), "timestamp", event.row.timestamp));
        let stamp = stamp.or_else(|| {
            let record = request.record.as_ref()?;
            Some((record.at(), "ttft", record.row.arrival_time.saturating_add(record.row.ttft?)))
        });
        let stamp = stamp.map(|(at, column, moment)| Told { at, column, moment, slack });
        // What a step's output brought is there when the next one begins, by whichever clock.
        let slack = (Nanos::ZERO, cx.slack());
        let named = event.zip(named).map(|(event, moment)| Told {
            at: event.at(),
            column: "details",
            moment,
            slack,
        });
        // One finding for one mistake.
        for told in stamp.into_iter().chain(named) {
            if !shown.agrees(&told, request, cx) {
                return;
            }
        }
    }
}

impl Shown {
    fn agrees(&self, told: &Told, request: &RequestHistory, cx: &mut Cx<'_>) -> bool {
        let Self { low, high, at } = *self;
        let (moment, slack) = (told.moment, told.slack);
        let latest = moment.saturating_add(slack.0);
        let early = low.is_some_and(|(low, strictly)| latest < low || strictly && latest <= low);
        let late = high.is_some_and(|high| moment > high.saturating_add(slack.1));
        cx.expect(!early && !late, |ids| {
            let text = |moment: Option<Nanos>| moment.map_or("…".to_owned(), |m| m.to_string());
            let low = low.map(|(low, _)| low);
            Finding::new(if early {
                "the first token is before a row that shows none"
            } else {
                "the first token is after a row that shows it"
            })
            .at(told.at, told.column)
            .with(at, "tokens_generated", "the first row with a token")
            .of(request.key, ids)
            .values(format!("{} to {}", text(low), text(high)), moment)
        });
        !early && !late
    }
}

fn slot<T: Clone>(all: &mut Vec<Option<T>>, key: RequestKey) -> &mut Option<T> {
    if all.len() <= key.index() {
        all.resize(key.index() + 1, None);
    }
    &mut all[key.index()]
}
