//! How an engine does at present: its last step, and the last minutes in cells of a second.

use std::collections::{BTreeMap, VecDeque};

use crate::check::{IterationView, Observer};
use crate::log::schema::IterationRow;
use crate::log::values::{EventType, State, WaitingReason};
use crate::units::Nanos;

/// Cells that are kept.
const CELLS: usize = 600;
/// Latencies of which the latest figures are medians.
const LATEST: usize = 50;

/// One second of log time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// The second since the start.
    pub second: u64,
    /// The largest batch.
    pub batch: u32,
    /// Tokens scheduled.
    pub tokens: u64,
    /// The most KV cache blocks in use.
    pub kv_used: u32,
    /// The longest running queue.
    pub running: u32,
    /// The longest waiting queue.
    pub waiting: u32,
    /// Requests preempted.
    pub preempted: u32,
}

/// How an engine does.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// Its last step.
    pub step: Option<IterationRow>,
    /// Steps so far.
    pub steps: u64,
    /// Preemptions so far.
    pub preemptions: u64,
    /// Requests that arrived so far.
    pub arrived: u64,
    /// Requests that finished so far.
    pub finished: u64,
    /// Why requests were kept out of the last step.
    pub reasons: BTreeMap<WaitingReason, u32>,
    samples: VecDeque<Sample>,
    ttft: VecDeque<u64>,
    tpot: VecDeque<u64>,
}

impl Pulse {
    /// The last seconds that had steps, in order.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The median time to first token of the latest requests.
    #[must_use]
    pub fn ttft(&self) -> Option<Nanos> {
        median(&self.ttft)
    }

    /// The median time per output token of the latest finished requests.
    #[must_use]
    pub fn tpot(&self) -> Option<Nanos> {
        median(&self.tpot)
    }

    fn note_step(&mut self, row: &IterationRow) {
        self.step = Some(*row);
        self.steps += 1;
        self.preemptions += u64::from(row.preempted_count.0);
        let second = row.start_time.0 / Nanos::SECOND.0;
        if self.samples.back().is_none_or(|last| last.second != second) {
            self.samples.push_back(Sample { second, ..Sample::default() });
            if self.samples.len() > CELLS {
                self.samples.pop_front();
            }
        }
        let Some(cell) = self.samples.back_mut() else { return };
        cell.batch = cell.batch.max(row.batch_size.0);
        cell.tokens += u64::from(row.total_tokens.0);
        cell.kv_used = cell.kv_used.max(row.kv_cache_used.0);
        cell.running = cell.running.max(row.running_count.0);
        cell.waiting = cell.waiting.max(row.waiting_count.0);
        cell.preempted += row.preempted_count.0;
    }

    fn note_events(&mut self, view: &IterationView<'_>) {
        for event in view.events {
            let history = event.row.request_id.and_then(|key| view.history(key));
            match event.row.event_type {
                EventType::RequestArrived => self.arrived += 1,
                EventType::FirstTokenGenerated => {
                    let arrival = history.and_then(|history| history.arrival());
                    if let Some(arrival) = arrival {
                        push(&mut self.ttft, event.row.timestamp.saturating_sub(arrival).0);
                    }
                }
                EventType::RequestCompleted => {
                    self.finished += 1;
                    let record = history.and_then(|history| history.record.as_ref());
                    if let Some(tpot) = record.and_then(|record| record.row.tpot) {
                        push(&mut self.tpot, tpot.as_f64() as u64);
                    }
                }
                _ => {}
            }
        }
    }

    fn note_reasons(&mut self, view: &IterationView<'_>) {
        self.reasons.clear();
        for row in view.changed() {
            if matches!(row.state, State::Waiting | State::Preempted)
                && let Some(reason) = row.waiting_reason
            {
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }
}

impl Observer for Pulse {
    fn step(&mut self, view: &IterationView<'_>) {
        self.note_events(view);
        if let Some(row) = view.iteration {
            self.note_step(&row.row);
            self.note_reasons(view);
        }
    }
}

fn push(latest: &mut VecDeque<u64>, value: u64) {
    if latest.len() == LATEST {
        latest.pop_front();
    }
    latest.push_back(value);
}

fn median(latest: &VecDeque<u64>) -> Option<Nanos> {
    let mut sorted: Vec<_> = latest.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().map(Nanos)
}
