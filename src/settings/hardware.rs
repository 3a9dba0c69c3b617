//! The model and the device that a replay pretends to run on, and how fast they are.

use crate::latency::{
    CpuCosts, DevicePreset, Fit, FixedLatency, LatencyModel, LinearLatency, ModelPreset,
    RooflineLatency, num_gpu_blocks,
};
use crate::settings::declare::{LatencyKind, Settings};
use crate::settings::resolve::{SettingError, at_least_one, share, wrong};
use crate::units::{Blocks, Nanos};

/// The presets in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hardware {
    pub(super) model: ModelPreset,
    pub(super) device: DevicePreset,
    pub(super) tensor_parallel_size: u32,
}

impl Hardware {
    pub(super) fn of(settings: &Settings) -> Result<Self, SettingError> {
        let RooflineLatency { model, device, .. } = RooflineLatency::default();
        Ok(Self {
            model: settings.model.unwrap_or(model),
            device: settings.device.unwrap_or(device),
            tensor_parallel_size: at_least_one(
                "tensor_parallel_size",
                settings.tensor_parallel_size.unwrap_or(1),
            )?,
        })
    }

    /// The KV cache blocks that the devices have room for after the weights.
    pub(super) fn gpu_blocks(
        &self,
        utilization: f64,
        block_size: u32,
    ) -> Result<Blocks, SettingError> {
        let devices = self.tensor_parallel_size;
        match num_gpu_blocks(self.model, self.device, devices, utilization, block_size) {
            Fit::Blocks(blocks) => Ok(blocks),
            Fit::Short(missing) => Err(wrong(
                "device",
                format!("has {missing} bytes too few for the weights of the model and a KV cache"),
                "name a larger device, a smaller model or more devices, or give num_gpu_blocks",
            )),
        }
    }

    pub(super) fn latency(&self, settings: &Settings) -> Result<LatencyModel, SettingError> {
        let nanos = |given: Option<u64>, default: Nanos| given.map_or(default, Nanos);
        let default = CpuCosts::default();
        let cpu = CpuCosts {
            schedule_base: nanos(settings.schedule_base_ns, default.schedule_base),
            schedule_per_request: nanos(
                settings.schedule_per_request_ns,
                default.schedule_per_request,
            ),
            output_base: nanos(settings.output_base_ns, default.output_base),
            output_per_request: nanos(settings.output_per_request_ns, default.output_per_request),
        };
        Ok(match settings.latency.unwrap_or_default() {
            LatencyKind::Fixed => {
                let forward = FixedLatency::default().forward;
                let forward = nanos(settings.latency_forward_ns, forward);
                LatencyModel::Fixed(FixedLatency { forward, cpu })
            }
            LatencyKind::Linear => {
                let default = LinearLatency::default();
                LatencyModel::Linear(LinearLatency {
                    base: nanos(settings.latency_base_ns, default.base),
                    per_request: nanos(settings.latency_per_request_ns, default.per_request),
                    per_prefill_token: nanos(
                        settings.latency_per_prefill_token_ns,
                        default.per_prefill_token,
                    ),
                    per_decode_token: nanos(
                        settings.latency_per_decode_token_ns,
                        default.per_decode_token,
                    ),
                    per_kv_token_picos: settings
                        .latency_per_kv_token_ps
                        .unwrap_or(default.per_kv_token_picos),
                    cpu,
                })
            }
            LatencyKind::Roofline => LatencyModel::Roofline(self.roofline(settings, cpu)?),
        })
    }

    fn roofline(
        &self,
        settings: &Settings,
        cpu: CpuCosts,
    ) -> Result<RooflineLatency, SettingError> {
        let default = RooflineLatency::default();
        let part = |name, given: Option<f64>, default| {
            share(name, given.unwrap_or(default), f64::MIN_POSITIVE..=1.0)
        };
        Ok(RooflineLatency {
            model: self.model,
            device: self.device,
            tensor_parallel_size: self.tensor_parallel_size,
            bandwidth_efficiency: part(
                "bandwidth_efficiency",
                settings.bandwidth_efficiency,
                default.bandwidth_efficiency,
            )?,
            compute_efficiency: part(
                "compute_efficiency",
                settings.compute_efficiency,
                default.compute_efficiency,
            )?,
            overhead: settings.latency_overhead_ns.map_or(default.overhead, Nanos),
            cpu,
        })
    }
}
