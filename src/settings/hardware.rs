//! The model and the device that a replay pretends to run on.

use crate::latency::LatencyModel;
use crate::settings::Settings;
use crate::settings::resolve::SettingError;
use crate::units::*;

pub(super) struct M {
    pub name: &'static str,
    pub max_model_len: Tokens,
    pub weight_bytes: Bytes,
}
pub(super) struct D {
    pub name: &'static str,
}
impl D {
    pub(super) fn batch_defaults(&self) -> (Tokens, Requests) {
        (Tokens(8192), Requests(1024))
    }
}
pub(super) struct Hardware {
    pub model: M,
    pub device: D,
    pub latency: LatencyModel,
}
impl Hardware {
    pub(super) fn of(_: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            model: M {
                name: "x",
                max_model_len: Tokens(131072),
                weight_bytes: Bytes(16_000_000_000),
            },
            device: D { name: "h100" },
            latency: LatencyModel::Fixed,
        })
    }
    pub(super) fn kv_bytes_per_block(&self, b: u32) -> Bytes {
        Bytes(131072 * u64::from(b))
    }
    pub(super) fn num_gpu_blocks(&self, _u: f64, b: u32) -> Blocks {
        Blocks(430_000 / b)
    }
}
