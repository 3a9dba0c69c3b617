//! The roofline: a forward pass takes as long as its memory traffic or its arithmetic, whichever
//! is longer, and a fixed overhead.

use serde::{Deserialize, Serialize};

use super::{BatchShape, CpuCosts, DevicePreset, ModelPreset};
use crate::units::{Blocks, Bytes, Nanos};

/// A forward pass from what a model moves and computes, and what a device can move and compute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RooflineLatency {
    /// The model.
    pub model: ModelPreset,
    /// The device.
    pub device: DevicePreset,
    /// Devices that share every layer. Their communication is not modelled but by the
    /// efficiencies.
    pub tensor_parallel_size: u32,
    /// The part of the peak bandwidth that is reached, above 0 and at most 1.
    pub bandwidth_efficiency: f64,
    /// The part of the peak arithmetic rate that is reached, above 0 and at most 1.
    pub compute_efficiency: f64,
    /// Launching and sampling, whatever the batch.
    pub overhead: Nanos,
    /// The parts on the CPU.
    pub cpu: CpuCosts,
}

impl Default for RooflineLatency {
    fn default() -> Self {
        Self {
            model: ModelPreset::Llama31_8B,
            device: DevicePreset::H100Sxm,
            tensor_parallel_size: 1,
            bandwidth_efficiency: 0.8,
            compute_efficiency: 0.6,
            overhead: Nanos(1_000_000),
            cpu: CpuCosts::default(),
        }
    }
}

impl RooflineLatency {
    /// What is wrong with the figures, if anything.
    ///
    /// # Errors
    /// Where an efficiency is not above 0 and at most 1, or there are no devices.
    pub fn validate(&self) -> Result<(), String> {
        let parts = [
            ("bandwidth_efficiency", self.bandwidth_efficiency),
            ("compute_efficiency", self.compute_efficiency),
        ];
        for (name, part) in parts {
            if !(part > 0.0 && part <= 1.0) {
                return Err(format!("{name} must be above 0 and at most 1, not {part}"));
            }
        }
        if self.tensor_parallel_size == 0 {
            return Err("tensor_parallel_size must be at least 1".to_owned());
        }
        Ok(())
    }

    /// The forward pass of `batch`; the order of the operations is part of the result.
    pub(super) fn forward(&self, batch: &BatchShape) -> Nanos {
        let devices = f64::from(self.tensor_parallel_size.max(1));
        let weights = self.model.weight_bytes().0 as f64;
        let kv = batch.kv_tokens_read as f64 * self.model.kv_bytes_per_token().0 as f64;
        let bandwidth = self.device.bandwidth() * self.bandwidth_efficiency * devices;
        let memory = (weights + kv) / bandwidth;
        let dense = batch.tokens() as f64 * self.model.flops_per_token() as f64;
        let pairs = batch.attention_pairs as f64 * self.model.flops_per_attention_pair() as f64;
        let rate = self.device.bf16_flops() * self.compute_efficiency * devices;
        let compute = (dense + pairs) / rate;
        let longest = if memory > compute { memory } else { compute };
        // Casting cuts the fraction off and stops at the largest number.
        let nanos = (longest * 1e9 + 0.5) as u64;
        self.overhead.saturating_add(Nanos(nanos))
    }
}

/// What a device has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// So many KV cache blocks, the null block included.
    Blocks(Blocks),
    /// The weights and the reserve need this much more per device than there is.
    Short(Bytes),
}

/// Memory per device that is neither weights nor KV cache: the largest activations, CUDA graphs and
/// what libraries hold. vLLM measures it at start-up; for a model of this class it finds 1 to 3 GiB.
const ACTIVATION_RESERVE: u64 = 2 << 30;

/// The KV cache blocks that `devices` devices have room for together after the weights and a
/// reserve of 2 GiB each, where `gpu_memory_utilization` of the memory may be used (vLLM's default
/// is 0.92).
///
/// Weights and KV heads are split evenly between the devices.
#[must_use]
pub fn num_gpu_blocks(
    model: ModelPreset,
    device: DevicePreset,
    tensor_parallel_size: u32,
    gpu_memory_utilization: f64,
    block_size: u32,
) -> Fit {
    let devices = u64::from(tensor_parallel_size.max(1));
    let usable = (device.memory().0 as f64 * gpu_memory_utilization) as u64;
    let needed = model.weight_bytes().0.div_ceil(devices) + ACTIVATION_RESERVE;
    let block = model.kv_bytes_per_block(block_size.max(1)).0.div_ceil(devices);
    match usable.checked_sub(needed) {
        Some(room) if room >= block => {
            Fit::Blocks(Blocks(u32::try_from(room / block).unwrap_or(u32::MAX)))
        }
        _ => Fit::Short(Bytes((needed + block).saturating_sub(usable))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::{LatencyModel, SchedulerDefaults};
    use crate::units::{Requests, Tokens};

    #[test]
    fn decoding_is_bound_by_memory_and_prefill_by_arithmetic() {
        let model = LatencyModel::Roofline(RooflineLatency::default());
        let (mut one, mut many, mut long) = <(BatchShape, BatchShape, BatchShape)>::default();
        one.add(false, 1, 999);
        (0..64).for_each(|_| many.add(false, 1, 999));
        long.add(true, 8192, 0);
        let forward = |batch| model.step(batch).forward;
        // 16.06 GB of weights at 80 % of 3.35 TB/s are 5.99 ms.
        assert_eq!(forward(&one), Nanos(7_041_640));
        assert_eq!(forward(&many), Nanos(10_122_810));
        assert_eq!(forward(&long), Nanos(252_241_593));
    }

    #[test]
    fn rooms() {
        let fit = |model, device, devices| num_gpu_blocks(model, device, devices, 0.92, 16);
        let (small, large) = (ModelPreset::Llama31_8B, ModelPreset::Llama31_70B);
        assert_eq!(fit(small, DevicePreset::H100Sxm, 1), Fit::Blocks(Blocks(28_834)));
        assert!(matches!(fit(large, DevicePreset::H100Sxm, 1), Fit::Short(_)));
        assert!(matches!(fit(large, DevicePreset::H100Sxm, 4), Fit::Blocks(_)));
        assert!(matches!(fit(small, DevicePreset::A10g, 1), Fit::Blocks(_)));
    }

    #[test]
    fn defaults_depend_on_memory() {
        let defaults = |device: DevicePreset| {
            let SchedulerDefaults { max_num_batched_tokens, max_num_seqs } =
                device.scheduler_defaults();
            (max_num_batched_tokens, max_num_seqs)
        };
        assert_eq!(defaults(DevicePreset::B200), (Tokens(16_384), Requests(1_024)));
        assert_eq!(defaults(DevicePreset::H100Sxm), (Tokens(8_192), Requests(1_024)));
        assert_eq!(defaults(DevicePreset::A100_80Gb), (Tokens(2_048), Requests(256)));
        assert_eq!(defaults(DevicePreset::L40s), (Tokens(2_048), Requests(256)));
    }

    #[test]
    fn figures_out_of_range_are_refused() {
        let bad = RooflineLatency { bandwidth_efficiency: f64::NAN, ..RooflineLatency::default() };
        assert!(bad.validate().is_err());
        assert!(RooflineLatency::default().validate().is_ok());
    }
}
