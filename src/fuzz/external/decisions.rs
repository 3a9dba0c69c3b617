//! What the reference scheduler was told and decided, as messages and expected answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fuzz::sequence::{Call, EventSequence, RequestIndex};
use crate::fuzz::workload::Workload;
use crate::log::values::FinishReason;
use crate::trace::{TraceRequest, private_token};
use crate::units::Tokens;

/// The token that ends an answer early; a message of `start` tells it as `stop_token_id`.
pub(super) const STOP_TOKEN: u64 = u64::MAX;

/// What an answer must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The step, counted from 0.
    pub(super) step: u64,
    /// By the name in the answer.
    pub(super) fields: Vec<(&'static str, Value)>,
}

/// Walks a recorded run step by step.
pub(super) struct Steps<'a> {
    calls: &'a [Call],
    trace: BTreeMap<String, TraceRequest>,
    ids: BTreeMap<RequestIndex, &'a str>,
    generated: BTreeMap<RequestIndex, u32>,
    arrivals: Vec<RequestIndex>,
    aborts: Vec<RequestIndex>,
    next_step: u64,
    oldest_step: u64,
}

impl<'a> Steps<'a> {
    pub(super) fn new(sequence: &'a EventSequence, workload: &Workload) -> Self {
        let trace = workload.trace().into_iter();
        Self {
            calls: &sequence.calls,
            trace: trace.map(|request| (request.id.to_string(), request)).collect(),
            ids: BTreeMap::new(),
            generated: BTreeMap::new(),
            arrivals: Vec::new(),
            aborts: Vec::new(),
            next_step: 0,
            oldest_step: 0,
        }
    }

    /// The next message and what the reference did then.
    pub(super) fn next(&mut self) -> Option<(Value, Decision)> {
        while let Some((call, rest)) = self.calls.split_first() {
            match call {
                Call::Arrival { request, request_id, .. } => {
                    self.ids.insert(*request, request_id);
                    self.arrivals.push(*request);
                }
                Call::Dropped { request, finish_reason, .. } => {
                    // A rejected request never reaches the scheduler.
                    self.arrivals.retain(|other| other != request);
                    if *finish_reason == FinishReason::Abort {
                        self.aborts.push(*request);
                    }
                }
                Call::Begin { .. } if is_decided(rest) => {
                    self.calls = rest;
                    return Some(self.schedule());
                }
                Call::Output { .. } => {
                    self.calls = rest;
                    return self.update();
                }
                _ => {}
            }
            self.calls = rest;
        }
        None
    }

    fn id(&self, request: RequestIndex) -> &'a str {
        self.ids.get(&request).copied().unwrap_or_default()
    }

    fn aborted(&mut self) -> Vec<&'a str> {
        let aborts = std::mem::take(&mut self.aborts);
        aborts.into_iter().map(|request| self.id(request)).collect()
    }

    fn schedule(&mut self) -> (Value, Decision) {
        let aborts = self.aborted();
        let arrivals: Vec<_> =
            std::mem::take(&mut self.arrivals).into_iter().map(|r| self.arrival(r)).collect();
        let message = json!({"type": "schedule", "arrivals": arrivals, "aborts": aborts});
        let (mut batch, mut preempted, mut running, mut waiting) = (vec![], vec![], vec![], vec![]);
        let mut used = 0;
        let decided = self.calls.iter().position(|call| matches!(call, Call::Schedule { .. }));
        for call in &self.calls[decided.unwrap_or_default()..] {
            match call {
                Call::Schedule { kv_cache_used, .. } => used = kv_cache_used.0,
                Call::Preempted { request, .. } => preempted.push(self.id(*request)),
                Call::Running { request, scheduled_tokens, .. } => {
                    let id = self.id(*request);
                    running.push(id);
                    if *scheduled_tokens > Tokens::ZERO {
                        batch.push(json!([id, scheduled_tokens]));
                    }
                }
                Call::Waiting { request, .. } => waiting.push(self.id(*request)),
                Call::Scheduled { .. } | Call::Resumed { .. } | Call::Allocated { .. } => {}
                _ => break,
            }
        }
        let fields = vec![
            ("preempted", json!(preempted)),
            ("batch", json!(batch)),
            ("running", json!(running)),
            ("waiting", json!(waiting)),
            ("kv_cache_used", json!(used)),
        ];
        let step = self.next_step;
        self.next_step += 1;
        (message, Decision { step, fields })
    }

    fn arrival(&self, request: RequestIndex) -> Value {
        let Some(asked) = self.trace.get(self.id(request)) else { return Value::Null };
        let prompt: Vec<_> = asked.prompt.iter().map(|run| json!([run.first.0, run.len])).collect();
        let arrival_time = match asked.arrival {
            crate::trace::Arrival::At(at) => at,
            crate::trace::Arrival::AfterTurn { delay, .. } => delay,
        };
        json!({
            "request_id": asked.id.as_str(),
            "prompt": prompt,
            "max_tokens": asked.max_tokens,
            "priority": asked.priority,
            "arrival_time": arrival_time,
        })
    }

    /// `None` if the run was cut off before the output was processed.
    fn update(&mut self) -> Option<(Value, Decision)> {
        let end = self.calls.iter().position(|call| matches!(call, Call::End { .. }))?;
        let (calls, rest) = self.calls.split_at(end);
        self.calls = rest;
        let mut finished = Vec::new();
        let mut stopped = Vec::new();
        for call in calls {
            match call {
                Call::Dropped { request, .. } => self.aborts.push(*request),
                Call::Completed { request, finish_reason, .. } => {
                    finished.push(json!([self.id(*request), finish_reason]));
                    if *finish_reason == FinishReason::Stop {
                        stopped.push(*request);
                    }
                }
                _ => {}
            }
        }
        let outputs: Vec<_> = calls
            .iter()
            .filter_map(|call| match call {
                Call::Generated { request, tokens, .. } => {
                    Some(self.output(*request, *tokens, stopped.contains(request)))
                }
                Call::Arrival { request, request_id, .. } => {
                    self.ids.insert(*request, request_id);
                    self.arrivals.push(*request);
                    None
                }
                _ => None,
            })
            .collect();
        let message = json!({"type": "update", "outputs": outputs, "aborts": self.aborted()});
        let step = self.oldest_step;
        self.oldest_step += 1;
        Some((message, Decision { step, fields: vec![("finished", json!(finished))] }))
    }

    fn output(&mut self, request: RequestIndex, tokens: Tokens, stops: bool) -> Value {
        let id = self.id(request);
        let before = self.generated.entry(request).or_default();
        let (first, last) = (*before, *before + tokens.0);
        *before = last;
        let (ordinal, prompt) =
            self.trace.get(id).map_or((0, 0), |asked| (asked.ordinal, asked.input_tokens.0));
        let ids: Vec<_> = (first..last)
            .map(|position| {
                let is_end = stops && position + 1 == last;
                if is_end { STOP_TOKEN } else { private_token(ordinal, prompt + position).0 }
            })
            .collect();
        json!([id, ids])
    }
}

/// Whether the step that has begun decides something, or the run is cut off first.
fn is_decided(calls: &[Call]) -> bool {
    let mut moments = calls.iter().filter(|call| {
        matches!(call, Call::Schedule { .. } | Call::Begin { .. } | Call::Shutdown { .. })
    });
    matches!(moments.next(), Some(Call::Schedule { .. }))
}
