//! The two files with one row, or a few, per request; and when a request is over.

use super::{Gather, LINGER_STEPS, LINGER_STEPS_OVERLAPPING};
use crate::check::facts::LogFacts;
use crate::log::ids::{Ids, RequestKey};
use crate::log::reader::{FormKind, FormProblem, Located, Location};
use crate::log::schema::{RequestRow, TransitionRow};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::Nanos;

impl Gather {
    /// Reads the rows of per_request.csv and state_transitions.csv that end by `horizon`.
    pub(in crate::check) fn read_requests(&mut self, horizon: Option<Nanos>, facts: &LogFacts) {
        let Some(horizon) = horizon else { return };
        while let Some(change) = self.transitions.peek(0) {
            let late = |next: &Located<TransitionRow>| {
                next.row.timestamp < change.row.timestamp && next.row.timestamp <= horizon
            };
            if change.row.timestamp > horizon && !self.transitions.peek(1).is_some_and(late) {
                break;
            }
            self.read_transition();
        }
        while let Some(request) = self.requests.peek(0) {
            let due = |row: &RequestRow| row.completion_time.is_none_or(|at| at <= horizon);
            let late = |next: &Located<RequestRow>| {
                next.row.completion_time < request.row.completion_time && due(&next.row)
            };
            if !due(&request.row) && !self.requests.peek(1).is_some_and(late) {
                break;
            }
            self.read_request(facts);
        }
    }

    /// Reads one row of state_transitions.csv.
    pub(in crate::check) fn read_transition(&mut self) -> bool {
        let Some(change) = self.transitions.pop(&mut self.shared) else { return false };
        let key = change.row.request_id;
        self.histories.open(key).transitions.push(change);
        if change.row.state == State::Completed {
            let at = change.row.timestamp;
            let early = |before: Nanos| at.saturating_add(self.slack) < before;
            if self.last_change.is_some_and(early) {
                let kind = FormKind::OutOfOrder { at: Some(at), before: self.last_change };
                self.note_disorder(change.at(), "timestamp", kind, key);
            }
            self.last_change = self.last_change.max(Some(at));
            self.end.last_end_change = self.end.last_end_change.max(Some(change.row.timestamp));
            self.consider_retiring(key);
        } else {
            let cut = self.transitions.exhausted();
            self.histories.open(key).changes_cut = cut;
        }
        true
    }

    /// Reads one row of per_request.csv.
    pub(in crate::check) fn read_request(&mut self, facts: &LogFacts) -> bool {
        let Some(mut request) = self.requests.pop(&mut self.shared) else { return false };
        let key = request.row.request_id;
        self.repeats.see(self.shared.ids.id(key));
        undefine(&mut request, facts, &mut self.shared.problems);
        self.note_order(&request);
        self.end.last_completion = self.end.last_completion.max(request.row.completion_time);
        let unfinished = request.row.completion_time.is_none()
            || request.row.finish_reason == Some(FinishReason::Unfinished);
        self.end.unfinished += u64::from(unfinished);
        let history = self.groups.touch(key, &mut self.histories);
        if history.record.is_none() && history.set_record(request) {
            self.groups.unsettle(key);
        }
        self.consider_retiring(key);
        true
    }

    /// Notes a row of per_request.csv that does not stand behind all ends before it.
    fn note_order(&mut self, request: &Located<RequestRow>) {
        let now = (request.row.completion_time, request.row.arrival_time);
        let before = self.last_request;
        let (disorder, kind) = match (before, now) {
            (Some((Some(before), _)), (Some(at), _)) => {
                let early = at.saturating_add(self.slack) < before;
                (early, FormKind::OutOfOrder { at: Some(at), before: Some(before) })
            }
            (Some((None, _)), (Some(at), _)) => {
                (true, FormKind::OutOfOrder { at: Some(at), before: None })
            }
            (Some((None, before)), (None, at)) => {
                (at < before, FormKind::OutOfOrder { at: Some(at), before: Some(before) })
            }
            _ => (false, FormKind::OutOfOrder { at: None, before: None }),
        };
        if disorder {
            let column = if now.0.is_some() { "completion_time" } else { "arrival_time" };
            self.note_disorder(request.at(), column, kind, request.row.request_id);
        } else {
            self.last_request = Some(now);
        }
    }

    #[cold]
    fn note_disorder(
        &mut self,
        at: Location,
        column: &'static str,
        kind: FormKind,
        key: RequestKey,
    ) {
        let mut problem = FormProblem::of_record(at, kind);
        problem.column = Some(column);
        problem.request = Some(key);
        self.shared.problems.push(problem);
    }

    /// Queues a request for its end once every file has said that it is over.
    pub(super) fn consider_retiring(&mut self, key: RequestKey) {
        let Some(history) = self.histories.get_mut(key) else { return };
        let recorded = history.record.is_some_and(|record| record.row.completion_time.is_some());
        let noted = history.event(EventType::RequestCompleted).is_some();
        let changed = history.changes_to(State::Completed).next().is_some();
        let over = (recorded || self.requests.exhausted())
            && (noted || self.events.exhausted())
            && (changed || self.transitions.exhausted())
            && (recorded || noted || changed);
        if over && !history.retiring {
            history.retiring = true;
            self.retiring.push_back((self.steps, key));
        }
    }

    /// Ends a step: returns the requests that are over.
    pub(in crate::check) fn retire(&mut self, facts: &LogFacts, out: &mut Vec<RequestKey>) {
        self.steps += 1;
        let linger = if facts.overlapping { LINGER_STEPS_OVERLAPPING } else { LINGER_STEPS };
        // Where steps overlap, those decided before the end of a request still have rows of it.
        let passed = if facts.overlapping { facts.last_decided } else { Some(self.horizon) };
        for _ in 0..self.retiring.len() {
            match self.retiring.front() {
                Some((step, _)) if step + linger <= self.steps => {}
                _ => break,
            }
            let Some((_, key)) = self.retiring.pop_front() else { break };
            let over = |h: &crate::check::RequestHistory| h.completion() <= passed;
            if self.shared.pinned(key) || !self.histories.get(key).is_some_and(over) {
                self.retiring.push_back((self.steps, key));
            } else {
                out.push(key);
            }
        }
    }
}

/// Takes away zeros that stand for undefined values, noting each.
fn undefine(request: &mut Located<RequestRow>, facts: &LogFacts, problems: &mut Vec<FormProblem>) {
    let at = request.at();
    facts.dialect.undefine(&mut request.row, |column| {
        let mut problem = FormProblem::of_record(at, FormKind::ZeroForUndefined);
        problem.column = Some(column);
        problem.text = Some("0".to_owned());
        problems.push(problem);
    });
}
