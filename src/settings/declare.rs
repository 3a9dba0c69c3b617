//! Every setting of the engine, declared once: name, type, default, meaning, effect in the model.
//!
//! The command line flags, the keys of the settings file, the `config` object of `run.json` and
//! `schedlog config --explain` all come from this list.

use serde::{Deserialize, Serialize};

use crate::config::{Policy, SpeculativeMethod};
use crate::latency::{DevicePreset, ModelPreset};

/// Who knows a setting by this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// vLLM 0.32 has it.
    Vllm,
    /// vLLM has no such setting; the model needs it.
    Ours,
}

/// What is known of one setting.
#[derive(Clone, Copy, Debug)]
pub struct SettingInfo {
    /// Its name.
    pub name: &'static str,
    /// Whose name that is.
    pub origin: Origin,
    /// The type of its value.
    pub kind: &'static str,
    /// The default, in words where it depends on others.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What it does in the model.
    pub effect: &'static str,
}

impl SettingInfo {
    /// Whether it is a switch: `--name`, `--no-name`.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.kind == "bool"
    }

    /// The command line flag.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

/// Which model says how long a step takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LatencyKind {
    /// Every step with tokens takes the same time.
    Fixed,
    /// A weighted sum of what the step computes.
    Linear,
    /// Memory traffic or arithmetic of the presets, whichever takes longer.
    #[default]
    Roofline,
}

macro_rules! settings {
    ($(
        $(#[$attribute:meta])*
        $name:ident: $kind:ident = $default:literal, $origin:ident,
            $meaning:literal,
            $effect:literal;
    )*) => {
        /// The settings that a user gave, by flag or by file; the others have their defaults.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields, default)]
        #[command(next_help_heading = "Engine settings (vLLM's names and defaults)")]
        pub struct Settings {
            $(
                #[doc = $meaning]
                #[arg(long, help = concat!($meaning, " [default: ", $default, "]"))]
                #[serde(skip_serializing_if = "Option::is_none")]
                $(#[$attribute])*
                pub $name: Option<$kind>,
            )*
        }

        /// Every setting, in the order of explanation.
        pub const SETTINGS: &[SettingInfo] = &[$(
            SettingInfo {
                name: stringify!($name),
                origin: Origin::$origin,
                kind: stringify!($kind),
                default: $default,
                meaning: $meaning,
                effect: $effect,
            },
        )*];

        impl Settings {
            /// These settings, and those of `other` where these say nothing.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $( $name: self.$name.or(other.$name), )* }
            }
        }
    };
}

settings! {
    policy: Policy = "fcfs", Vllm,
        "Order of the waiting queue: fcfs or priority",
        "fcfs serves in order of arrival and preempts the last of the running queue; priority serves \
         by (priority, arrival, id) and preempts the least urgent running request";
    max_num_seqs: u32 = "1024 from 70 GiB of device memory (not A100), else 256", Vllm,
        "The most sequences the engine is built for",
        "bounds the running queue: admission stops with max_num_seqs";
    max_num_active_seqs: u32 = "max_num_seqs", Vllm,
        "The most requests that run at a time, if fewer than max_num_seqs",
        "bounds the running queue in place of max_num_seqs";
    max_num_batched_tokens: u32 =
        "16384 from 160 GiB of device memory, 8192 from 70 GiB (not A100), else 2048", Vllm,
        "The input budget of a step, in tokens",
        "bounds the tokens of a step; what is left when it is spent waits with max_num_batched_tokens";
    max_num_scheduled_tokens: u32 = "max_num_batched_tokens", Vllm,
        "The budget of scheduled tokens of a step",
        "bounds the tokens of a step without the slots that a draft model is charged";
    max_model_len: u32 = "what the model preset allows", Vllm,
        "The longest sequence, prompt and output together, in tokens",
        "longer prompts are rejected with error; a request ends with length when it gets there";
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_chunked_prefill: bool = "true", Vllm,
        "Whether a prompt may be split over several steps",
        "without it a prompt that does not fit in what is left of a step's budget stops admission";
    long_prefill_token_threshold: u32 = "0 (off)", Vllm,
        "The most tokens that one request gets per step while others are there",
        "caps every request of a step (prefills and drafts alike) unless it is alone";
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    long_prefill_token_threshold_adaptive: bool = "false", Vllm,
        "Whether that cap grows to an equal share of max_num_batched_tokens",
        "the cap is never below max_num_batched_tokens / (running + waiting)";
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    scheduler_reserve_full_isl: bool = "true", Vllm,
        "Whether a request is admitted only if all its known tokens fit in the KV cache",
        "admission compares the blocks of the whole known sequence, not of the first chunk, with the \
         free ones (it does not reserve them)";
    watermark: f64 = "0.0", Vllm,
        "The share of the KV cache that an admission leaves free while others run",
        "admission needs floor(watermark * num_gpu_blocks) blocks more than it takes, unless the \
         running queue is empty";
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    async_scheduling: bool = "false (vLLM: where supported)", Vllm,
        "Whether a step is scheduled before the output of the one before is known",
        "two batches are in flight and steps overlap";
    block_size: u32 = "16", Vllm,
        "Tokens per KV cache block",
        "the unit of allocation, of prefix sharing and of eviction";
    num_gpu_blocks: u32 = "what the device has room for after the weights", Vllm,
        "KV cache blocks, the null block included (vLLM: num_gpu_blocks_override)",
        "one block is never handed out; when the others are in use, running requests are preempted";
    gpu_memory_utilization: f64 = "0.92", Vllm,
        "The share of device memory that the engine may use",
        "only decides the default of num_gpu_blocks";
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_prefix_caching: bool = "true", Vllm,
        "Whether full blocks are shared between requests with equal prefixes",
        "cached blocks are looked up at admission and evicted in least recently used order";
    #[arg(value_enum)]
    speculative_method: SpeculativeMethod = "none", Vllm,
        "Where draft tokens come from (speculative_config.method)",
        "decides look-ahead slots (eagle, eagle3, mtp, draft_model), budget slots (draft_model) and \
         whether the last block of a prefix hit is dropped (eagle, eagle3, mtp)";
    num_speculative_tokens: u32 = "none", Vllm,
        "Draft tokens per request and step (speculative_config.num_speculative_tokens)",
        "a decode schedules 1 + drafts tokens; rejected drafts are scheduled again";
    draft_acceptance: f64 = "0.7", Ours,
        "The chance that a draft token is accepted, given that those before it were",
        "draws the number of accepted drafts from the seed; no effect without speculative decoding";
    seed: u64 = "0", Vllm,
        "The seed of everything that the model draws",
        "the same seed, trace and settings give the same bytes; only drafts are drawn";
    #[arg(value_enum)]
    model: ModelPreset = "llama-3.1-8b", Vllm,
        "The model, one of the presets",
        "its weights and KV bytes decide num_gpu_blocks, max_model_len and the roofline latency";
    #[arg(value_enum)]
    device: DevicePreset = "h100-sxm", Ours,
        "The accelerator, one of the presets",
        "its memory decides num_gpu_blocks and the batch limits, its speed the roofline latency";
    tensor_parallel_size: u32 = "1", Vllm,
        "Devices that share every layer",
        "multiplies memory and speed; no decision of the scheduler depends on it otherwise";
    #[arg(value_enum)]
    latency: LatencyKind = "roofline", Ours,
        "Which model says how long a step takes",
        "fixed: latency_forward_ns; linear: the latency_per_* coefficients; roofline: the presets";
    latency_forward_ns: u64 = "10000000", Ours,
        "fixed: the forward pass of a step with tokens",
        "O - D of every step that is not empty";
    latency_base_ns: u64 = "8000000", Ours,
        "linear: the forward pass, whatever the batch",
        "the constant of the sum";
    latency_per_request_ns: u64 = "5000", Ours,
        "linear: per request of the batch",
        "a coefficient of the sum";
    latency_per_prefill_token_ns: u64 = "50000", Ours,
        "linear: per prefill token",
        "a coefficient of the sum";
    latency_per_decode_token_ns: u64 = "10000", Ours,
        "linear: per decode token",
        "a coefficient of the sum";
    latency_per_kv_token_ps: u64 = "65536", Ours,
        "linear: per KV cache token that attention reads, in picoseconds",
        "a coefficient of the sum";
    bandwidth_efficiency: f64 = "0.8", Ours,
        "roofline: the part of the device's bandwidth that is reached",
        "divides the time that weights and KV cache take to be read";
    compute_efficiency: f64 = "0.6", Ours,
        "roofline: the part of the device's peak arithmetic that is reached",
        "divides the time that the arithmetic takes";
    latency_overhead_ns: u64 = "1000000", Ours,
        "roofline: launching and sampling, whatever the batch",
        "is added to the longer of the two";
    schedule_base_ns: u64 = "100000", Ours,
        "The time inside schedule(), whatever the batch",
        "D - S, with schedule_per_request_ns";
    schedule_per_request_ns: u64 = "2000", Ours,
        "The time inside schedule(), per request of the batch",
        "D - S, with schedule_base_ns";
    output_base_ns: u64 = "100000", Ours,
        "The time inside update_from_output(), whatever the batch",
        "E - O, with output_per_request_ns";
    output_per_request_ns: u64 = "4000", Ours,
        "The time inside update_from_output(), per request of the batch",
        "E - O, with output_base_ns";
}

/// Settings of vLLM that ask for something the model does not have, and what that is.
///
/// They are refused by name, at any value: a replay that ignored them would not be what it says.
pub const UNSUPPORTED: &[(&str, &str)] = &[
    ("pipeline_parallel_size", "pipeline parallelism"),
    ("data_parallel_size", "data parallelism"),
    ("prefill_context_parallel_size", "context parallelism"),
    ("decode_context_parallel_size", "context parallelism"),
    ("kv_transfer_config", "KV connectors"),
    ("ec_transfer_config", "encoder cache connectors"),
    ("enable_lora", "LoRA adapters"),
    ("max_loras", "LoRA adapters"),
    ("limit_mm_per_prompt", "multimodal encoders"),
    ("disable_chunked_mm_input", "multimodal encoders"),
    (
        "disable_hybrid_kv_cache_manager",
        "hybrid KV cache groups (one full-attention group is modelled)",
    ),
    ("scheduler_cls", "custom scheduler classes"),
    ("prefill_schedule_interval", "prefill balancing between data-parallel ranks"),
    ("max_num_queued_reqs", "refusal of requests by queue length"),
    ("max_num_queued_tokens", "refusal of requests by queued tokens"),
    ("kv_cache_memory_bytes", "a KV cache given in bytes (give num_gpu_blocks)"),
    ("speculative_config", "the JSON form (give speculative_method and num_speculative_tokens)"),
    ("runner", "pooling models"),
    ("quantization", "quantised weights (the presets are bf16)"),
    ("kv_cache_dtype", "quantised KV caches (the presets are bf16)"),
    ("cpu_offload_gb", "weights offloaded to the host"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_is_both_known_and_refused() {
        for info in SETTINGS {
            assert!(UNSUPPORTED.iter().all(|(name, _)| *name != info.name), "{}", info.name);
        }
    }

    #[test]
    fn flags_come_before_files() {
        let flags = Settings { block_size: Some(8), ..Settings::default() };
        let file = Settings { block_size: Some(32), max_num_seqs: Some(4), ..Settings::default() };
        let both = flags.or(file);
        assert_eq!((both.block_size, both.max_num_seqs), (Some(8), Some(4)));
    }
}
