//! How long a step takes.
//!
//! Every model uses only integers and the four IEEE 754 operations in a fixed order, so that the
//! same step takes the same number of nanoseconds on every machine. Results are rounded to the
//! nearest nanosecond, halves up.

mod device;
mod model;
mod roofline;

use serde::{Deserialize, Serialize};

pub use device::{DevicePreset, SchedulerDefaults};
pub use model::ModelPreset;
pub use roofline::{Fit, RooflineLatency, num_gpu_blocks};

use crate::units::Nanos;

/// What a step computes, summed over its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchShape {
    /// Requests with at least one token in the step.
    pub requests: u32,
    /// Tokens of requests that have not caught up.
    pub prefill_tokens: u64,
    /// Tokens of the others.
    pub decode_tokens: u64,
    /// KV cache tokens that attention reads: each request's context, its new tokens included.
    pub kv_tokens_read: u64,
    /// Pairs of a new token and a token that it attends to: the sum of new × context.
    pub attention_pairs: u64,
}

impl BatchShape {
    /// Adds a request that computes `new` tokens after `computed` earlier ones.
    pub fn add(&mut self, prefill: bool, new: u64, computed: u64) {
        self.requests += 1;
        let prefill_tokens = if prefill { new } else { 0 };
        self.prefill_tokens += prefill_tokens;
        self.decode_tokens += new - prefill_tokens;
        self.kv_tokens_read += computed + new;
        // Each new token sees all earlier ones and itself: new * computed + 1 + 2 + … + new.
        self.attention_pairs += new * computed + new * (new + 1) / 2;
    }

    /// All tokens of the step.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.prefill_tokens + self.decode_tokens
    }
}

/// The three parts of a step, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepLatency {
    /// Deciding what to run.
    pub schedule: Nanos,
    /// Running it; zero for a step without tokens.
    pub forward: Nanos,
    /// Taking the output.
    pub output: Nanos,
}

/// The parts of a step that run on the CPU: so much, and so much more per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpuCosts {
    /// Scheduling, whatever the batch.
    pub schedule_base: Nanos,
    /// Scheduling, per request of the batch.
    pub schedule_per_request: Nanos,
    /// Output processing, whatever the batch.
    pub output_base: Nanos,
    /// Output processing, per request of the batch.
    pub output_per_request: Nanos,
}

impl Default for CpuCosts {
    /// Orders of magnitude of a Python engine: some 0.1 ms, and microseconds per request.
    fn default() -> Self {
        Self {
            schedule_base: Nanos(100_000),
            schedule_per_request: Nanos(2_000),
            output_base: Nanos(100_000),
            output_per_request: Nanos(4_000),
        }
    }
}

impl CpuCosts {
    /// No time at all.
    pub const ZERO: Self = Self {
        schedule_base: Nanos::ZERO,
        schedule_per_request: Nanos::ZERO,
        output_base: Nanos::ZERO,
        output_per_request: Nanos::ZERO,
    };

    fn step(&self, batch: &BatchShape, forward: Nanos) -> StepLatency {
        let part = |base: Nanos, per_request: Nanos| {
            Nanos(base.0.saturating_add(per_request.0.saturating_mul(batch.requests.into())))
        };
        StepLatency {
            schedule: part(self.schedule_base, self.schedule_per_request),
            forward: if batch.tokens() == 0 { Nanos::ZERO } else { forward },
            output: part(self.output_base, self.output_per_request),
        }
    }
}

/// Every step with tokens takes as long as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FixedLatency {
    /// The forward pass.
    pub forward: Nanos,
    /// The rest.
    pub cpu: CpuCosts,
}

impl Default for FixedLatency {
    fn default() -> Self {
        Self { forward: Nanos(10_000_000), cpu: CpuCosts::default() }
    }
}

/// A forward pass that is a weighted sum of what it computes; whole nanoseconds, except that reading
/// the KV cache is so cheap per token that it is counted in picoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearLatency {
    /// Whatever the batch.
    pub base: Nanos,
    /// Per request of the batch.
    pub per_request: Nanos,
    /// Per prefill token.
    pub per_prefill_token: Nanos,
    /// Per decode token.
    pub per_decode_token: Nanos,
    /// Per KV cache token that attention reads, in picoseconds.
    pub per_kv_token_picos: u64,
    /// The parts on the CPU.
    pub cpu: CpuCosts,
}

impl Default for LinearLatency {
    /// The size of an 8-billion-parameter model on an 80 GB device: weights in 8 ms, prefill at
    /// 20,000 tokens a second, 131,072 KV bytes per token at 2 TB/s.
    fn default() -> Self {
        Self {
            base: Nanos(8_000_000),
            per_request: Nanos(5_000),
            per_prefill_token: Nanos(50_000),
            per_decode_token: Nanos(10_000),
            per_kv_token_picos: 65_536,
            cpu: CpuCosts::default(),
        }
    }
}

impl LinearLatency {
    fn forward(&self, batch: &BatchShape) -> Nanos {
        let product = |cost: Nanos, count: u64| u128::from(cost.0) * u128::from(count);
        let picos = u128::from(self.per_kv_token_picos) * u128::from(batch.kv_tokens_read);
        let nanos = u128::from(self.base.0)
            + product(self.per_request, batch.requests.into())
            + product(self.per_prefill_token, batch.prefill_tokens)
            + product(self.per_decode_token, batch.decode_tokens)
            + (picos + 500) / 1000;
        Nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// How long a step takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LatencyModel {
    /// See [`FixedLatency`].
    Fixed(FixedLatency),
    /// See [`LinearLatency`].
    Linear(LinearLatency),
    /// See [`RooflineLatency`].
    Roofline(RooflineLatency),
}

impl LatencyModel {
    /// How long a step that computes `batch` takes.
    #[must_use]
    pub fn step(&self, batch: &BatchShape) -> StepLatency {
        match self {
            Self::Fixed(model) => model.cpu.step(batch, model.forward),
            Self::Linear(model) => model.cpu.step(batch, model.forward(batch)),
            Self::Roofline(model) => model.cpu.step(batch, model.forward(batch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(requests: u32, context: u64) -> BatchShape {
        let mut batch = BatchShape::default();
        (0..requests).for_each(|_| batch.add(false, 1, context - 1));
        batch
    }

    #[test]
    fn a_step_without_tokens_runs_no_forward_pass() {
        let idle = BatchShape::default();
        let latency = LatencyModel::Fixed(FixedLatency::default()).step(&idle);
        assert_eq!(latency.forward, Nanos::ZERO);
        assert_eq!(latency.schedule, CpuCosts::default().schedule_base);
    }

    #[test]
    fn new_tokens_see_each_other() {
        let mut batch = BatchShape::default();
        batch.add(true, 3, 10);
        assert_eq!((batch.tokens(), batch.kv_tokens_read), (3, 13));
        assert_eq!(batch.attention_pairs, 11 + 12 + 13);
    }

    #[test]
    fn linear_sums_its_terms() {
        let model = LinearLatency { per_kv_token_picos: 1_500, ..LinearLatency::default() };
        let mut batch = decode(2, 100);
        batch.add(true, 512, 0);
        let expected =
            8_000_000 + 3 * 5_000 + 512 * 50_000 + 2 * 10_000 + (712 * 1_500 + 500) / 1000;
        assert_eq!(LatencyModel::Linear(model).step(&batch).forward, Nanos(expected));
    }

    #[test]
    fn the_largest_batch_does_not_overflow() {
        let batch = BatchShape {
            requests: u32::MAX,
            prefill_tokens: u64::MAX / 2,
            decode_tokens: u64::MAX / 2,
            kv_tokens_read: u64::MAX,
            attention_pairs: u64::MAX,
        };
        let model = LinearLatency { per_prefill_token: Nanos::MAX, ..LinearLatency::default() };
        assert_eq!(LatencyModel::Linear(model).step(&batch).forward, Nanos::MAX);
    }
}
