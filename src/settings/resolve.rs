//! From what the user gave to what the engine runs with: defaults filled in, contradictions refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::{Policy, SchedulerConfig, Speculative, SpeculativeMethod};
use crate::latency::{DevicePreset, LatencyModel, ModelPreset};
use crate::settings::Settings;
use crate::settings::hardware::Hardware;
use crate::units::{Blocks, Bytes, Requests, Tokens};

/// A setting that cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}; {remedy}")]
pub struct SettingError {
    /// The setting.
    pub name: &'static str,
    /// What is wrong with its value.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

pub(super) fn wrong(
    name: &'static str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> SettingError {
    SettingError { name, problem: problem.into(), remedy: remedy.into() }
}

/// Everything that a replay runs with.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the scheduler reads.
    pub scheduler: SchedulerConfig,
    /// `watermark` as given; the scheduler has it in blocks.
    pub watermark: f64,
    /// How long a step takes.
    pub latency: LatencyModel,
    /// The model.
    pub model: ModelPreset,
    /// The device.
    pub device: DevicePreset,
    /// Devices that share every layer.
    pub tensor_parallel_size: u32,
    /// Device bytes of one KV cache block.
    pub kv_bytes_per_block: Bytes,
    /// Device bytes of the weights.
    pub weight_bytes: Bytes,
    /// The chance that a draft is accepted.
    pub draft_acceptance: f64,
    /// The seed of what is drawn.
    pub seed: u64,
}

/// The largest KV cache that is modelled, in blocks: a billion tokens in blocks of 16. Some 48 bytes are
/// kept per block.
pub const MOST_BLOCKS: u32 = 1 << 26;

/// The largest double below 1.
const BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

impl Settings {
    /// Fills in the defaults and checks what vLLM checks at start-up.
    ///
    /// # Errors
    /// The first setting that vLLM, or the model of it, would refuse.
    pub fn resolve(&self) -> Result<Resolved, SettingError> {
        let hardware = Hardware::of(self)?;
        let block_size = at_least_one("block_size", self.block_size.unwrap_or(16))?;
        let kv_bytes_per_block = hardware.model.kv_bytes_per_block(block_size);
        let max_model_len = Tokens(at_least_one(
            "max_model_len",
            self.max_model_len.unwrap_or(hardware.model.max_model_len().0),
        )?);
        if let Some(tokens) = self.max_num_batched_tokens {
            at_least_one("max_num_batched_tokens", tokens)?;
        }
        let (tokens, seqs) = self.batch_limits(&hardware, max_model_len);
        let scheduler = SchedulerConfig {
            policy: self.policy.unwrap_or_default(),
            block_size,
            num_gpu_blocks: self.gpu_blocks(&hardware, block_size)?,
            max_num_seqs: Requests(at_least_one("max_num_seqs", seqs)?),
            max_num_active_seqs: Requests(at_least_one(
                "max_num_active_seqs",
                self.max_num_active_seqs.unwrap_or(seqs),
            )?),
            max_num_batched_tokens: Tokens(at_least_one("max_num_batched_tokens", tokens)?),
            max_num_scheduled_tokens: Tokens(at_least_one(
                "max_num_scheduled_tokens",
                self.max_num_scheduled_tokens.unwrap_or(tokens),
            )?),
            max_model_len,
            enable_chunked_prefill: self.enable_chunked_prefill.unwrap_or(true),
            long_prefill_token_threshold: Tokens(self.long_prefill_token_threshold.unwrap_or(0)),
            long_prefill_token_threshold_adaptive: self
                .long_prefill_token_threshold_adaptive
                .unwrap_or(false),
            enable_prefix_caching: self.enable_prefix_caching.unwrap_or(true),
            watermark_blocks: Blocks::ZERO,
            scheduler_reserve_full_isl: self.scheduler_reserve_full_isl.unwrap_or(true),
            async_scheduling: self.async_scheduling.unwrap_or(false),
            max_concurrent_batches: if self.async_scheduling.unwrap_or(false) { 2 } else { 1 },
            speculative: self.speculative()?,
        };
        let watermark = share("watermark", self.watermark.unwrap_or(0.0), 0.0..=BELOW_ONE)?;
        let scheduler = SchedulerConfig {
            // vLLM truncates the product of two doubles.
            watermark_blocks: Blocks((watermark * f64::from(scheduler.num_gpu_blocks.0)) as u32),
            ..scheduler
        };
        check_limits(&scheduler)?;
        Ok(Resolved {
            scheduler,
            watermark,
            latency: hardware.latency(self)?,
            model: hardware.model,
            device: hardware.device,
            tensor_parallel_size: hardware.tensor_parallel_size,
            kv_bytes_per_block,
            weight_bytes: hardware.model.weight_bytes(),
            draft_acceptance: share(
                "draft_acceptance",
                self.draft_acceptance.unwrap_or(0.7),
                0.0..=1.0,
            )?,
            seed: self.seed.unwrap_or(0),
        })
    }

    /// `max_num_batched_tokens` and `max_num_seqs`, whose defaults depend on each other.
    fn batch_limits(&self, hardware: &Hardware, max_model_len: Tokens) -> (u32, u32) {
        let defaults = hardware.device.scheduler_defaults();
        let mut seqs = self.max_num_seqs.unwrap_or(defaults.max_num_seqs.0);
        let tokens = self.max_num_batched_tokens.unwrap_or_else(|| {
            let mut tokens = defaults.max_num_batched_tokens.0;
            if !self.enable_chunked_prefill.unwrap_or(true) {
                tokens = tokens.max(max_model_len.0);
            }
            tokens.min(seqs.saturating_mul(max_model_len.0))
        });
        if self.max_num_seqs.is_none() {
            seqs = seqs.min(tokens);
        }
        (tokens, seqs)
    }

    fn gpu_blocks(&self, hardware: &Hardware, block_size: u32) -> Result<Blocks, SettingError> {
        if let Some(blocks) = self.num_gpu_blocks {
            if blocks > MOST_BLOCKS {
                return Err(wrong(
                    "num_gpu_blocks",
                    format!("is {blocks}, more than this program keeps books of"),
                    format!("give at most {MOST_BLOCKS}"),
                ));
            }
            return Ok(Blocks(at_least_one("num_gpu_blocks", blocks)?));
        }
        let share = share(
            "gpu_memory_utilization",
            self.gpu_memory_utilization.unwrap_or(0.92),
            f64::MIN_POSITIVE..=1.0,
        )?;
        hardware.gpu_blocks(share, block_size)
    }

    fn speculative(&self) -> Result<Option<Speculative>, SettingError> {
        match (self.speculative_method, self.num_speculative_tokens) {
            (None, None) => Ok(None),
            (Some(method), Some(k)) => {
                let k = Tokens(at_least_one("num_speculative_tokens", k)?);
                if method == SpeculativeMethod::Ngram && self.async_scheduling == Some(true) {
                    return Err(wrong(
                        "speculative_method",
                        "ngram does not work with async_scheduling",
                        "use ngram_gpu, or leave async_scheduling off",
                    ));
                }
                Ok(Some(Speculative::new(method, k)))
            }
            (Some(_), None) => Err(wrong(
                "num_speculative_tokens",
                "is missing, but speculative_method is given",
                "give the number of drafts per step",
            )),
            (None, Some(_)) => Err(wrong(
                "speculative_method",
                "is missing, but num_speculative_tokens is given",
                "name the proposer: ngram, ngram_gpu, eagle, eagle3, mtp or draft_model",
            )),
        }
    }
}

pub(super) fn at_least_one(name: &'static str, value: u32) -> Result<u32, SettingError> {
    if value == 0 { Err(wrong(name, "is 0", "give at least 1")) } else { Ok(value) }
}

pub(super) fn share(
    name: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
) -> Result<f64, SettingError> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(wrong(name, format!("is {value}"), "give a share between 0 and 1"))
    }
}

/// The start-up checks of vLLM's `SchedulerConfig` and engine that bound the model's domain.
fn check_limits(config: &SchedulerConfig) -> Result<(), SettingError> {
    let (tokens, len) = (config.max_num_batched_tokens, config.max_model_len);
    if len < Tokens(2) {
        return Err(wrong(
            "max_model_len",
            "is 1",
            "give at least 2: a prompt and an output token",
        ));
    }
    if tokens.0 < config.max_num_seqs.0 {
        return Err(wrong(
            "max_num_batched_tokens",
            format!("is {tokens}, less than max_num_seqs ({})", config.max_num_seqs),
            "raise it, or lower max_num_seqs",
        ));
    }
    if config.max_num_active_seqs > config.max_num_seqs {
        return Err(wrong(
            "max_num_active_seqs",
            format!(
                "is {}, more than max_num_seqs ({})",
                config.max_num_active_seqs, config.max_num_seqs
            ),
            "lower it, or raise max_num_seqs",
        ));
    }
    if config.max_num_scheduled_tokens > tokens {
        return Err(wrong(
            "max_num_scheduled_tokens",
            format!(
                "is {}, more than max_num_batched_tokens ({tokens})",
                config.max_num_scheduled_tokens
            ),
            "lower it, or raise max_num_batched_tokens",
        ));
    }
    if !config.enable_chunked_prefill && tokens < len {
        return Err(wrong(
            "max_num_batched_tokens",
            format!("is {tokens}, less than max_model_len ({len}), without enable_chunked_prefill"),
            "raise it, lower max_model_len, or enable chunked prefill",
        ));
    }
    if config.long_prefill_token_threshold > len {
        return Err(wrong(
            "long_prefill_token_threshold",
            format!("is {}, more than max_model_len ({len})", config.long_prefill_token_threshold),
            "lower it",
        ));
    }
    if config.draft_slots() >= tokens {
        return Err(wrong(
            "max_num_batched_tokens",
            format!(
                "is {tokens}, not more than the {} drafting slots of a request",
                config.draft_slots()
            ),
            "raise it",
        ));
    }
    check_cache(config)
}

/// One sequence of the full length must fit in the cache, or its request would wait for ever.
fn check_cache(config: &SchedulerConfig) -> Result<(), SettingError> {
    let (usable, needed) =
        (config.usable_blocks(), config.max_model_len.blocks_ceil(config.block_size));
    if needed <= usable {
        return Ok(());
    }
    if usable == Blocks::ZERO {
        return Err(wrong(
            "num_gpu_blocks",
            "is 1, but the null block alone takes one",
            format!("raise it to {}", u64::from(needed.0) + 1),
        ));
    }
    let fits = u64::from(usable.0) * u64::from(config.block_size);
    Err(wrong(
        "num_gpu_blocks",
        format!(
            "{} blocks (one of them the null block) hold {fits} tokens, but a request may have up to \
             max_model_len = {} and could then never be scheduled",
            config.num_gpu_blocks, config.max_model_len
        ),
        format!(
            "raise num_gpu_blocks to {} or lower max_model_len to {fits}",
            u64::from(needed.0) + 1
        ),
    ))
}

impl Resolved {
    /// The settings by name, as they stand in `run.json`.
    #[must_use]
    pub fn as_config(&self) -> BTreeMap<String, Value> {
        let mut config = self.scheduler.by_name();
        let more = [
            ("watermark", json!(self.watermark)),
            ("draft_acceptance", json!(self.draft_acceptance)),
            ("model", json!(self.model)),
            ("device", json!(self.device)),
            ("tensor_parallel_size", json!(self.tensor_parallel_size)),
            ("latency", json!(self.latency)),
            ("kv_bytes_per_block", json!(self.kv_bytes_per_block)),
            ("weight_bytes", json!(self.weight_bytes)),
            ("seed", json!(self.seed)),
        ];
        config.extend(more.map(|(name, value)| (name.to_owned(), value)));
        config
    }
}

impl SchedulerConfig {
    /// The settings by their vLLM names, as they stand in `run.json`; `watermark` is not among them,
    /// because the scheduler has it in blocks.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<String, Value> {
        let policy = match self.policy {
            Policy::Fcfs => "fcfs",
            Policy::Priority => "priority",
        };
        let entries = [
            ("policy", json!(policy)),
            ("block_size", json!(self.block_size)),
            ("num_gpu_blocks", json!(self.num_gpu_blocks)),
            ("max_num_seqs", json!(self.max_num_seqs)),
            ("max_num_active_seqs", json!(self.max_num_active_seqs)),
            ("max_num_batched_tokens", json!(self.max_num_batched_tokens)),
            ("max_num_scheduled_tokens", json!(self.max_num_scheduled_tokens)),
            ("max_model_len", json!(self.max_model_len)),
            ("enable_chunked_prefill", json!(self.enable_chunked_prefill)),
            ("long_prefill_token_threshold", json!(self.long_prefill_token_threshold)),
            (
                "long_prefill_token_threshold_adaptive",
                json!(self.long_prefill_token_threshold_adaptive),
            ),
            ("enable_prefix_caching", json!(self.enable_prefix_caching)),
            ("scheduler_reserve_full_isl", json!(self.scheduler_reserve_full_isl)),
            ("async_scheduling", json!(self.async_scheduling)),
            ("max_concurrent_batches", json!(self.max_concurrent_batches)),
            ("num_speculative_tokens", json!(self.num_speculative_tokens())),
            ("speculative_method", json!(self.speculative.map(|s| s.method))),
        ];
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
