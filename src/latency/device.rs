//! Accelerators, with their public figures.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Requests, Tokens};

/// An accelerator.
///
/// Bandwidth and dense bf16 peaks are those of the vendor's data sheet (where it prints only the
/// figure with sparsity, half of it). Memory is what the driver reports in total (`nvidia-smi`),
/// which is what a server sees, and not the round number on the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum DevicePreset {
    /// NVIDIA A10G, 24 GB (AWS G5). Data sheet of the NVIDIA A10G: 600 GB/s, 70 TFLOPS dense.
    #[serde(rename = "a10g")]
    #[value(name = "a10g")]
    A10g,
    /// NVIDIA L4, 24 GB. "NVIDIA L4 Tensor Core GPU" data sheet: 300 GB/s, 121 TFLOPS dense (242
    /// with sparsity).
    #[serde(rename = "l4")]
    #[value(name = "l4")]
    L4,
    /// NVIDIA L40S, 48 GB. "NVIDIA L40S" data sheet: 864 GB/s, 362.05 TFLOPS dense.
    #[serde(rename = "l40s")]
    #[value(name = "l40s")]
    L40s,
    /// NVIDIA A100 SXM, 40 GB. "NVIDIA A100 Tensor Core GPU" data sheet: 1,555 GB/s, 312 TFLOPS
    /// dense.
    #[serde(rename = "a100-40gb")]
    #[value(name = "a100-40gb")]
    A100_40Gb,
    /// NVIDIA A100 SXM, 80 GB. "NVIDIA A100 Tensor Core GPU" data sheet: 2,039 GB/s, 312 TFLOPS
    /// dense.
    #[serde(rename = "a100-80gb")]
    #[value(name = "a100-80gb")]
    A100_80Gb,
    /// NVIDIA H100 SXM, 80 GB. "NVIDIA H100 Tensor Core GPU" data sheet: 3.35 TB/s, 1,979 TFLOPS
    /// with sparsity, 989.5 dense.
    #[serde(rename = "h100-sxm")]
    #[value(name = "h100-sxm")]
    H100Sxm,
    /// NVIDIA H200 SXM, 141 GB. "NVIDIA H200 Tensor Core GPU" data sheet: 4.8 TB/s, 1,979 TFLOPS
    /// with sparsity, 989.5 dense.
    #[serde(rename = "h200-sxm")]
    #[value(name = "h200-sxm")]
    H200Sxm,
    /// NVIDIA B200 SXM, 180 GB. "NVIDIA HGX B200" data sheet, one of its eight GPUs: 7.7 TB/s,
    /// 4.5 PFLOPS with sparsity, 2,250 TFLOPS dense.
    #[serde(rename = "b200")]
    #[value(name = "b200")]
    B200,
}

/// The limits that a server picks for a device when none are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerDefaults {
    /// vLLM's `max_num_batched_tokens`.
    pub max_num_batched_tokens: Tokens,
    /// vLLM's `max_num_seqs`.
    pub max_num_seqs: Requests,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl DevicePreset {
    /// Total memory, as the driver reports it.
    #[must_use]
    pub const fn memory(self) -> Bytes {
        Bytes(match self {
            Self::A10g => 23_028 * MIB,
            Self::L4 => 23_034 * MIB,
            Self::L40s => 46_068 * MIB,
            Self::A100_40Gb => 40_960 * MIB,
            Self::A100_80Gb => 81_920 * MIB,
            Self::H100Sxm => 81_559 * MIB,
            Self::H200Sxm => 143_771 * MIB,
            Self::B200 => 183_359 * MIB,
        })
    }

    /// Peak memory bandwidth in bytes per second.
    #[must_use]
    pub const fn bandwidth(self) -> f64 {
        match self {
            Self::A10g => 600e9,
            Self::L4 => 300e9,
            Self::L40s => 864e9,
            Self::A100_40Gb => 1_555e9,
            Self::A100_80Gb => 2_039e9,
            Self::H100Sxm => 3_350e9,
            Self::H200Sxm => 4_800e9,
            Self::B200 => 7_700e9,
        }
    }

    /// Peak dense bf16 rate in floating-point operations per second.
    #[must_use]
    pub const fn bf16_flops(self) -> f64 {
        match self {
            Self::A10g => 70e12,
            Self::L4 => 121e12,
            Self::L40s => 362.05e12,
            Self::A100_40Gb | Self::A100_80Gb => 312e12,
            Self::H100Sxm | Self::H200Sxm => 989.5e12,
            Self::B200 => 2_250e12,
        }
    }

    /// What vLLM 0.32's API server takes for this device: more from 160 GiB on, and from 70 GiB
    /// on unless it is an A100.
    #[must_use]
    pub const fn scheduler_defaults(self) -> SchedulerDefaults {
        let a100 = matches!(self, Self::A100_40Gb | Self::A100_80Gb);
        let memory = self.memory().0;
        let (tokens, seqs) = if memory >= 160 * GIB {
            (16_384, 1_024)
        } else if memory >= 70 * GIB && !a100 {
            (8_192, 1_024)
        } else {
            (2_048, 256)
        };
        SchedulerDefaults { max_num_batched_tokens: Tokens(tokens), max_num_seqs: Requests(seqs) }
    }
}
