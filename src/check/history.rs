//! All that the log has said of one live request.

use crate::check::facts::LogFacts;
use crate::check::view::Moments;
use crate::log::ids::RequestKey;
use crate::log::reader::{Located, Location};
use crate::log::schema::{EventRow, IterationRequestRow, RequestRow, Table, TransitionRow};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::{IterationId, Nanos, Tokens};

/// A run of rows in which a request was in one state.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The state.
    pub state: State,
    /// Its first step.
    pub first: IterationId,
    /// Its last step.
    pub last: IterationId,
    /// The moment of its first row (`D`, or `E` for `completed`).
    pub first_moment: Option<Nanos>,
    /// The moment of its last row.
    pub last_moment: Option<Nanos>,
    /// How long the request had been in the state by its first row.
    pub time_in_state: Nanos,
    /// Its first row.
    pub first_at: Location,
    /// Its last row.
    pub last_at: Location,
}

/// What was summed up over the rows of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Rows of it.
    pub rows: u64,
    /// Tokens given to it in all steps.
    pub scheduled: u64,
    /// Steps that gave it tokens.
    pub scheduled_steps: u64,
    /// Tokens that were scheduled again after a preemption, by the rows.
    pub recomputed: u64,
    /// Rows with scheduled tokens that do not say what had been computed before, so that
    /// [`recomputed`](Self::recomputed) lacks theirs.
    pub computed_untold: u64,
    /// Tokens from the start that were computed at some time before its last preemption.
    pub computed_before: u32,
    /// Tokens found in the cache at the first scheduling, and at a resumption beyond what had been
    /// computed before, by the events.
    pub cached: u64,
    /// Tokens found in the cache when it last entered the running queue; none if nothing says so.
    pub hit: Option<Tokens>,
    /// Tokens that it had computed by its first row in the running queue since then: those found in the
    /// cache, by the rows.
    pub found: Option<Tokens>,
    /// Whether the events show it preempted and not resumed.
    pub away: bool,
}

/// All that the log says of one request.
#[derive(Debug)]
pub struct RequestHistory {
    /// The request.
    pub key: RequestKey,
    /// Its row in per_request.csv.
    pub record: Option<Located<RequestRow>>,
    /// Its rows in state_transitions.csv.
    pub transitions: Vec<Located<TransitionRow>>,
    /// Its events, those of blocks excluded.
    pub events: Vec<Located<EventRow>>,
    /// Its runs of states in per_iteration_requests.csv.
    pub spans: Vec<Span>,
    /// Its first `completed` row.
    pub completed: Option<Located<IterationRequestRow>>,
    /// Its last row that is no `completed` row.
    pub queued: Option<Located<IterationRequestRow>>,
    /// Its last `completed` row, if no other row came after it.
    ended: Option<Located<IterationRequestRow>>,
    /// The length of its prompt, as far as it is known by now.
    input: Option<Tokens>,
    /// The tokens that it had generated when it last entered the running queue; none if the row
    /// that would say so is not there.
    pub entered_with: Option<Tokens>,
    /// Sums over those rows and its events.
    pub totals: Totals,
    /// The first step after its last queue row that had no row of it.
    pub absent_from: Option<(IterationId, Option<Moments>)>,
    /// Whether a row of it could not be read, so that a missing row means nothing.
    pub damaged: bool,
    /// Whether that row was one of per_iteration_requests.csv.
    pub rows_lost: bool,
    /// Whether its rows in state_transitions.csv are the last of the file, so that more of them may
    /// have been cut off.
    pub changes_cut: bool,
    pub(super) retiring: bool,
    /// Preemptions whose step has no row yet: the step, and what had been computed.
    lines_ahead: Vec<(IterationId, u32)>,
}

impl RequestHistory {
    pub(super) const fn new(key: RequestKey) -> Self {
        Self {
            key,
            record: None,
            transitions: Vec::new(),
            events: Vec::new(),
            spans: Vec::new(),
            completed: None,
            queued: None,
            ended: None,
            input: None,
            entered_with: None,
            totals: Totals {
                rows: 0,
                scheduled: 0,
                scheduled_steps: 0,
                recomputed: 0,
                computed_untold: 0,
                computed_before: 0,
                cached: 0,
                hit: None,
                found: None,
                away: false,
            },
            absent_from: None,
            damaged: false,
            rows_lost: false,
            changes_cut: false,
            retiring: false,
            lines_ahead: Vec::new(),
        }
    }

    /// Its last row in per_iteration_requests.csv.
    #[inline]
    #[must_use]
    pub const fn last(&self) -> Option<&Located<IterationRequestRow>> {
        match &self.ended {
            Some(ended) => Some(ended),
            None => self.queued.as_ref(),
        }
    }

    /// Whether, with this row as its last one, it has caught up: all of its tokens but the newest are
    /// computed, none of them again, and it has at least one output.
    pub(super) fn is_decoding(&self, row: &IterationRequestRow) -> bool {
        let all_known = !self.rows_lost && self.ended.is_none() && self.lines_ahead.is_empty();
        let (Some(input), Some(entered)) = (self.input, self.entered_with) else { return false };
        let Some(computed) = row.computed_tokens else { return false };
        let known = u64::from(input.0) + u64::from(row.tokens_generated.0);
        all_known
            && row.scheduled_tokens == Some(Tokens(1))
            && row.tokens_generated > Tokens::ZERO
            && row.tokens_generated >= entered
            && u64::from(computed.0) + 1 == known
            && computed.0 >= self.totals.computed_before
    }

    /// Takes in the steady rows up to this one, which give the request one token each.
    pub(super) fn catch_up(&mut self, row: &Located<IterationRequestRow>, moment: Option<Nanos>) {
        let Some(before) = self.queued.as_mut().filter(|before| before.offset < row.offset) else {
            return;
        };
        let id = row.row.iteration_id;
        let steps = id.0.saturating_sub(before.row.iteration_id.0);
        *before = *row;
        self.totals.rows += steps;
        self.totals.scheduled += steps;
        self.totals.scheduled_steps += steps;
        if let Some(span) = self.spans.last_mut() {
            (span.last, span.last_moment, span.last_at) = (id, moment, row.at());
        }
    }

    /// Takes in its row in per_request.csv. Says whether that contradicts what was known of it.
    pub(super) fn set_record(&mut self, record: Located<RequestRow>) -> bool {
        let input = self.input.replace(record.row.input_tokens);
        self.record = Some(record);
        input.is_some() && input != self.input
    }

    /// Its first event of a type.
    #[must_use]
    pub fn event(&self, kind: EventType) -> Option<&Located<EventRow>> {
        self.events_of(kind).next()
    }

    /// Its events of a type.
    pub fn events_of(&self, kind: EventType) -> impl Iterator<Item = &Located<EventRow>> {
        self.events.iter().filter(move |event| event.row.event_type == kind)
    }

    /// Its changes into a state.
    pub fn changes_to(&self, state: State) -> impl Iterator<Item = &Located<TransitionRow>> {
        self.transitions.iter().filter(move |change| change.row.state == state)
    }

    /// Whether its changes go on to a moment, so that none up to it was cut off.
    #[must_use]
    pub fn changes_reach(&self, moment: Nanos) -> bool {
        self.transitions.last().is_some_and(|change| change.row.timestamp >= moment)
    }

    /// Whether its events go on behind its end, so that this was not cut off.
    #[must_use]
    pub fn events_reach(&self, end: Nanos) -> bool {
        let last = self.events.iter().rfind(|event| event.row.event_type.is_decision());
        last.is_some_and(|event| event.row.timestamp >= end)
    }

    /// When it arrived, from whichever file says so.
    #[must_use]
    pub fn arrival(&self) -> Option<Nanos> {
        let event = || self.event(EventType::RequestArrived).map(|event| event.row.timestamp);
        self.record.as_ref().map(|record| record.row.arrival_time).or_else(event)
    }

    /// When it was over, from whichever file says so.
    #[must_use]
    pub fn completion(&self) -> Option<Nanos> {
        let event = || self.event(EventType::RequestCompleted).map(|event| event.row.timestamp);
        let change = || self.changes_to(State::Completed).next().map(|change| change.row.timestamp);
        let record = self.record.as_ref().and_then(|record| record.row.completion_time);
        record.or_else(event).or_else(change)
    }

    /// Whether the steps go on without it although nothing tells of its end: it is not alive any more.
    #[must_use]
    pub fn has_vanished(&self, facts: &LogFacts) -> bool {
        let rows = facts.table(Table::PerIterationRequests);
        let all_told = !facts.dialect.hides_waiting()
            && !facts.rows_end_early
            && !rows.blind
            && !rows.truncated;
        let queued = self.last().is_some_and(|last| last.row.state != State::Completed);
        let Some((_, Some(moments))) = self.absent_from else { return false };
        // Events that end before the step may have ended before the request did.
        all_told
            && !self.damaged
            && queued
            && self.completion().is_none()
            && facts.covers(Table::Events, moments.start)
    }

    /// The length of its prompt: from its row in per_request.csv if that was read, else from its
    /// arrival.
    #[inline]
    #[must_use]
    pub const fn input_tokens(&self) -> Option<Tokens> {
        self.input
    }

    /// Why it ended, from whichever file says so.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        let event = || self.event(EventType::RequestCompleted)?.row.details.finish_reason;
        self.record.as_ref().and_then(|record| record.row.finish_reason).or_else(event)
    }

    /// Whether the model ended it: neither an abort nor a rejection nor still alive.
    #[must_use]
    pub fn ran_to_its_end(&self) -> bool {
        match self.finish_reason() {
            Some(reason) => matches!(reason, FinishReason::Stop | FinishReason::Length),
            None => self.spans.iter().any(|span| span.state == State::Completed),
        }
    }

    /// Any row of it, for pointing at.
    #[must_use]
    pub fn any_location(&self) -> Option<Location> {
        let record = self.record.as_ref().map(Located::at);
        let event = self.events.first().map(Located::at);
        let change = self.transitions.first().map(Located::at);
        record.or(event).or_else(|| self.last().map(Located::at)).or(change)
    }

    /// Whether the step right before this one has no row of it, although an earlier one has.
    pub(super) fn has_gap(&self, id: IterationId) -> bool {
        self.last().is_some_and(|last| last.row.iteration_id.0.saturating_add(1) < id.0)
    }

    #[inline]
    pub(super) fn extend(&mut self, row: &Located<IterationRequestRow>, moment: Option<Nanos>) {
        self.totals.rows += 1;
        if row.row.state == State::Completed {
            self.completed = self.completed.or(Some(*row));
            self.ended = Some(*row);
        } else {
            self.extend_queued(row);
            self.ended = None;
        }
        let id = row.row.iteration_id;
        match self.spans.last_mut() {
            // Behind a gap the state may have been left and entered again.
            Some(span) if span.state == row.row.state && id.0 <= span.last.0.saturating_add(1) => {
                span.last = id;
                span.last_moment = moment;
                span.last_at = row.at();
            }
            _ => self.spans.push(Span {
                state: row.row.state,
                first: id,
                last: id,
                first_moment: moment,
                last_moment: moment,
                time_in_state: row.row.time_in_state,
                first_at: row.at(),
                last_at: row.at(),
            }),
        }
    }
}

impl RequestHistory {
    fn extend_queued(&mut self, row: &Located<IterationRequestRow>) {
        let id = row.row.iteration_id;
        if !self.lines_ahead.is_empty() {
            self.draw_lines(id);
        }
        let totals = &mut self.totals;
        let scheduled = row.row.scheduled_tokens.unwrap_or_default().0;
        totals.scheduled += u64::from(scheduled);
        totals.scheduled_steps += u64::from(scheduled > 0);
        match row.row.computed_tokens {
            Some(computed) => {
                let again = totals.computed_before.saturating_sub(computed.0).min(scheduled);
                totals.recomputed += u64::from(again);
            }
            None => totals.computed_untold += u64::from(scheduled > 0),
        }
        if row.row.state == State::Running {
            // Behind a gap it may have left the running queue and come back.
            let before = self.queued.as_ref();
            let stays = before.is_some_and(|before| before.row.state == State::Running)
                && !self.has_gap(id);
            if !stays {
                self.entered_with = Some(row.row.tokens_generated);
                self.totals.found = row.row.computed_tokens;
            }
        } else {
            self.entered_with = None;
        }
        self.queued = Some(*row);
    }

    /// Takes in what the preemptions up to a step say: an event is read before the rows of steps that
    /// were decided before it where steps overlap.
    fn draw_lines(&mut self, id: IterationId) {
        let totals = &mut self.totals;
        self.lines_ahead.retain(|(step, computed)| {
            let due = *step <= id;
            if due {
                totals.computed_before = totals.computed_before.max(*computed);
            }
            !due
        });
    }

    /// Takes in an event that is not about blocks.
    pub(super) fn note(&mut self, event: &Located<EventRow>) {
        let details = &event.row.details;
        let cached = details.cached_tokens;
        match event.row.event_type {
            EventType::RequestPreempted => {
                self.totals.away = true;
                let computed = details.computed_tokens.unwrap_or_default().0;
                let step = details.iteration_id.unwrap_or(IterationId::ZERO);
                self.lines_ahead.push((step, computed));
            }
            EventType::RequestArrived if self.event(EventType::RequestArrived).is_none() => {
                self.input = self.input.or(details.input_tokens);
            }
            EventType::RequestScheduled => {
                self.totals.hit = cached;
                self.totals.cached += u64::from(cached.unwrap_or_default().0);
            }
            // Some logs note a resumption at the first scheduling too.
            EventType::RequestResumed if self.totals.away => {
                self.totals.away = false;
                self.totals.hit = cached;
                let lines = self.lines_ahead.iter().map(|(_, computed)| *computed);
                let line = lines.fold(self.totals.computed_before, u32::max);
                let beyond = cached.unwrap_or_default().0.saturating_sub(line);
                self.totals.cached += u64::from(beyond);
            }
            _ => {}
        }
        self.events.push(*event);
    }

    /// Whether its tokens of a row catch up with what is known of it, and whether the row brings it
    /// up to date, so that the step samples for it. None where the log does not tell.
    ///
    /// Both follow from what was known when it entered the running queue: once it has caught up it
    /// stays so, however many outputs are in flight.
    #[must_use]
    pub fn phase(&self, row: &IterationRequestRow) -> Option<Phase> {
        let (computed, scheduled) = (row.computed_tokens?.0, row.scheduled_tokens?.0);
        let input = self.input_tokens()?.0;
        let known = input.saturating_add(self.entered_with?.0);
        let computes = computed.saturating_add(scheduled);
        Some(Phase {
            prefill: computed < input.max(known.saturating_sub(1)),
            samples: scheduled > 0 && computes >= known,
            beyond: computes.saturating_sub(known),
        })
    }
}

/// What a row's tokens are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// They catch up.
    pub prefill: bool,
    /// The step samples for the request.
    pub samples: bool,
    /// Tokens that it computes beyond those known when the request entered the running queue; of a
    /// step that catches up they are drafts.
    pub beyond: u32,
}

/// The live requests by key.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    slots: Vec<Option<Box<RequestHistory>>>,
}

impl Histories {
    /// The history of a request, if it is live.
    #[must_use]
    #[inline]
    pub(crate) fn get(&self, key: RequestKey) -> Option<&RequestHistory> {
        self.slots.get(key.index())?.as_deref()
    }

    pub(super) fn get_mut(&mut self, key: RequestKey) -> Option<&mut RequestHistory> {
        self.slots.get_mut(key.index())?.as_deref_mut()
    }

    pub(super) fn open(&mut self, key: RequestKey) -> &mut RequestHistory {
        if self.slots.len() <= key.index() {
            self.slots.resize_with(key.index() + 1, || None);
        }
        self.slots[key.index()].get_or_insert_with(|| Box::new(RequestHistory::new(key)))
    }

    pub(super) fn take(&mut self, key: RequestKey) -> Option<Box<RequestHistory>> {
        self.slots.get_mut(key.index())?.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RequestHistory> {
        self.slots.iter().flatten().map(Box::as_ref)
    }

    pub(super) fn keys(&self) -> Vec<RequestKey> {
        self.slots.iter().flatten().map(|history| history.key).collect()
    }
}
