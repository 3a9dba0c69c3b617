//! M018: the first token comes when the rows show it.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The first token of a request was generated between the last row that shows none and the first
    /// that shows some.
    ///
    /// A row shows the outputs of all steps that ended before its step began, a `completed` row those
    /// up to its step's end. The moment is that of `first_token_generated`, or arrival_time + ttft where
    /// there is no event. M014 says that it is the end of some step; this rule says of which.
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
        also: [Events(event_type, timestamp)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// By key.
    shown: Vec<Option<Shown>>,
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
            let index = row.request_id.index();
            if self.shown.len() <= index {
                self.shown.resize(index + 1, None);
            }
            self.shown[index] = Shown::of(row, view, cx);
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let shown = self.shown.get_mut(request.key.index()).and_then(Option::take);
        let Some(Shown { low, high, at }) = shown.filter(|_| !request.damaged) else { return };
        let event = request.event(EventType::FirstTokenGenerated);
        let told =
            event.map(|event| (event.at(), "timestamp", event.row.timestamp)).or_else(|| {
                let record = request.record.as_ref()?;
                Some((
                    record.at(),
                    "ttft",
                    record.row.arrival_time.saturating_add(record.row.ttft?),
                ))
            });
        let Some((place, column, moment)) = told else { return };
        let slack = cx.slack();
        let latest = moment.saturating_add(slack);
        let early = low.is_some_and(|(low, strictly)| latest < low || strictly && latest <= low);
        let late = high.is_some_and(|high| moment > high.saturating_add(slack));
        cx.expect(!early && !late, |ids| {
            let text = |moment: Option<Nanos>| moment.map_or("…".to_owned(), |m| m.to_string());
            let low = low.map(|(low, _)| low);
            Finding::new(if early {
                "the first token is before a row that shows none"
            } else {
                "the first token is after a row that shows it"
            })
            .at(place, column)
            .with(at, "tokens_generated", "the first row with a token")
            .of(request.key, ids)
            .values(format!("{} to {}", text(low), text(high)), moment)
        });
    }
}
