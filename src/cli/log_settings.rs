//! Flags for the settings of a scheduler that a log does not tell.

use clap::ValueEnum;

use crate::check::LogSettings;
use crate::config::Policy;
use crate::settings::Settings;

/// Queue orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PolicyFlag {
    /// First come, first served.
    Fcfs,
    /// By urgency.
    Priority,
}

/// Settings of the scheduler that the log does not tell.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scheduler settings (default: those in run.json)")]
pub(super) struct SettingFlags {
    /// Queue order.
    #[arg(long, value_enum)]
    policy: Option<PolicyFlag>,
    /// Tokens per KV cache block.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    block_size: Option<u32>,
    /// KV cache blocks, the null block included.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    num_gpu_blocks: Option<u32>,
    /// The most requests in the running queue.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_num_seqs: Option<u32>,
    /// The token budget of a step.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_num_batched_tokens: Option<u32>,
    /// The longest sequence.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_model_len: Option<u32>,
    /// Whether prompts are split over steps.
    #[arg(long, value_name = "BOOL")]
    enable_chunked_prefill: Option<bool>,
    /// Whether full blocks are shared between equal prefixes.
    #[arg(long, value_name = "BOOL")]
    enable_prefix_caching: Option<bool>,
    /// The share of the blocks that an admission leaves free.
    #[arg(long, value_parser = share)]
    watermark: Option<f64>,
    /// Draft tokens per request and step.
    #[arg(long)]
    num_speculative_tokens: Option<u32>,
    /// Bytes of one KV cache block.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    kv_bytes_per_block: Option<u64>,
}

impl SettingFlags {
    /// The same settings as those of an engine.
    pub(super) fn engine(&self) -> Settings {
        let told = self.settings();
        Settings {
            policy: told.policy,
            block_size: told.block_size,
            num_gpu_blocks: told.num_gpu_blocks,
            max_num_seqs: told.max_num_seqs,
            max_num_batched_tokens: told.max_num_batched_tokens,
            max_model_len: told.max_model_len,
            enable_chunked_prefill: told.enable_chunked_prefill,
            enable_prefix_caching: told.enable_prefix_caching,
            watermark: told.watermark,
            num_speculative_tokens: told.num_speculative_tokens,
            ..Settings::default()
        }
    }

    /// What the flags say.
    pub(super) fn settings(&self) -> LogSettings {
        LogSettings {
            policy: self.policy.map(|policy| match policy {
                PolicyFlag::Fcfs => Policy::Fcfs,
                PolicyFlag::Priority => Policy::Priority,
            }),
            block_size: self.block_size,
            num_gpu_blocks: self.num_gpu_blocks,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_model_len: self.max_model_len,
            enable_chunked_prefill: self.enable_chunked_prefill,
            enable_prefix_caching: self.enable_prefix_caching,
            watermark: self.watermark,
            num_speculative_tokens: self.num_speculative_tokens,
            kv_bytes_per_block: self.kv_bytes_per_block,
            ..LogSettings::default()
        }
    }
}

/// A share of a whole that leaves something.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..1.0).contains(&share) {
        Ok(share)
    } else {
        Err("a share is at least 0 and less than 1".to_owned())
    }
}
