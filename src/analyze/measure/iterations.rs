//! Steps: durations and their parts, batches, tokens, KV cache, queues.

use crate::analyze::distribution::{Distribution, GaugeSamples, Sum, ratio};
use crate::analyze::figures::Step;
use crate::analyze::model::Iterations;
use crate::analyze::series::kv_utilisation;
use crate::log::values::SchedulerAction;
use crate::units::Nanos;

/// Past a million steps, utilisations are told apart to a millionth.
const SHARE_RESOLUTION: f64 = 1e6;

#[derive(Clone, Debug)]
pub(super) struct IterationsMeasure {
    count: u64,
    actions: [u64; SchedulerAction::ALL.len()],
    duration: Distribution,
    scheduling: Distribution,
    forward: Distribution,
    output: Distribution,
    scheduling_share: Sum,
    shares: u64,
    prefill: u64,
    decode: u64,
    tokens: u64,
    batch_size: GaugeSamples,
    tokens_per_step: GaugeSamples,
    prefill_per_step: GaugeSamples,
    decode_per_step: GaugeSamples,
    kv: GaugeSamples,
    kv_full: Nanos,
    held: Nanos,
    running: GaugeSamples,
    waiting: GaugeSamples,
}

impl Default for IterationsMeasure {
    fn default() -> Self {
        Self {
            count: 0,
            actions: [0; SchedulerAction::ALL.len()],
            duration: Distribution::default(),
            scheduling: Distribution::default(),
            forward: Distribution::default(),
            output: Distribution::default(),
            scheduling_share: Sum::default(),
            shares: 0,
            prefill: 0,
            decode: 0,
            tokens: 0,
            batch_size: GaugeSamples::default(),
            tokens_per_step: GaugeSamples::default(),
            prefill_per_step: GaugeSamples::default(),
            decode_per_step: GaugeSamples::default(),
            kv: GaugeSamples::with_resolution(SHARE_RESOLUTION),
            kv_full: Nanos::ZERO,
            held: Nanos::ZERO,
            running: GaugeSamples::default(),
            waiting: GaugeSamples::default(),
        }
    }
}

impl IterationsMeasure {
    pub(super) fn step(&mut self, step: &Step) {
        let (row, moments) = (&step.row, &step.moments);
        self.count += 1;
        for action in row.scheduler_action.iter() {
            self.actions[action as usize] += 1;
        }
        self.durations(step);
        self.tokens += u64::from(row.total_tokens.0);
        self.prefill += u64::from(row.prefill_tokens.0);
        self.decode += u64::from(row.decode_tokens.0);
        let gauge = |gauge: &mut GaugeSamples, value: u32| {
            gauge.record(f64::from(value), step.hold, step.empty);
        };
        gauge(&mut self.batch_size, row.batch_size.0);
        gauge(&mut self.tokens_per_step, row.total_tokens.0);
        gauge(&mut self.prefill_per_step, row.prefill_tokens.0);
        gauge(&mut self.decode_per_step, row.decode_tokens.0);
        gauge(&mut self.running, row.running_count.0);
        gauge(&mut self.waiting, row.waiting_count.0);
        let kv = kv_utilisation(step);
        self.kv.record(kv, step.hold, step.empty);
        self.held = self.held.saturating_add(step.hold).saturating_add(step.empty);
        if kv >= 0.9 {
            self.kv_full = self.kv_full.saturating_add(step.hold);
        }
        let duration = moments.end.saturating_sub(moments.start);
        if let Some(share) = ratio(row.scheduling_overhead.0 as f64, duration.0 as f64) {
            self.scheduling_share.add(share);
            self.shares += 1;
        }
    }

    fn durations(&mut self, step: &Step) {
        let (row, moments) = (&step.row, &step.moments);
        let duration = moments.end.saturating_sub(moments.start);
        self.duration.record_nanos(Some(duration));
        self.scheduling.record_nanos(Some(row.scheduling_overhead));
        self.forward.record_nanos(Some(row.forward_pass_duration));
        self.output.record_nanos(row.output_processing_duration);
    }

    /// How many steps there were, if there were any.
    pub(super) fn count(&self) -> Option<u64> {
        (self.count > 0).then_some(self.count)
    }

    /// Tokens scheduled, if there were any steps.
    pub(super) fn tokens(&self) -> Option<u64> {
        (self.count > 0).then_some(self.tokens)
    }

    pub(super) fn iterations(self) -> Iterations {
        let of_duration = |part: &Distribution| {
            if part.count() == 0 { None } else { ratio(part.sum(), self.duration.sum()) }
        };
        let actions = SchedulerAction::ALL.iter().map(|action| action.as_str());
        Iterations {
            count: self.count,
            by_action: actions.zip(self.actions).collect(),
            scheduling_share: of_duration(&self.scheduling),
            forward_share: of_duration(&self.forward),
            output_processing_share: of_duration(&self.output),
            scheduling_share_row_mean: ratio(self.scheduling_share.total(), self.shares as f64),
            duration_ns: self.duration.into(),
            scheduling_ns: self.scheduling.into(),
            forward_ns: self.forward.into(),
            output_processing_ns: self.output.into(),
            tokens: self.tokens,
            prefill_tokens: self.prefill,
            decode_tokens: self.decode,
            batch_size: self.batch_size.into(),
            tokens_per_step: self.tokens_per_step.into(),
            prefill_tokens_per_step: self.prefill_per_step.into(),
            decode_tokens_per_step: self.decode_per_step.into(),
            kv_utilisation: self.kv.into(),
            kv_above_90_percent_time_share: ratio(self.kv_full.0 as f64, self.held.0 as f64),
            running: self.running.into(),
            waiting: self.waiting.into(),
        }
    }
}
