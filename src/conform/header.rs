//! The `config` line of a record: the settings as vLLM resolved them.
//!
//! A setting that the model does not know, or a value that it does not have, makes the record void:
//! a comparison under other settings than the recorded ones would say nothing.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::{Policy, SchedulerConfig, Speculative, SpeculativeMethod};
use crate::conform::record::{BadRecord, MAX_TOKENS};
use crate::scheduler::StopTokens;
use crate::settings::MOST_BLOCKS;
use crate::units::{Blocks, Requests, TokenId, Tokens};

/// A setting that the model does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Its name.
    pub setting: String,
    /// Its value, as JSON.
    pub value: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the model does not support {} = {}", self.setting, self.value)
    }
}

/// What the `config` line says.
#[derive(Clone, Debug)]
pub struct Header {
    /// The kind of workload.
    pub profile: String,
    /// The seed of the workload.
    pub seed: u64,
    /// The version of vLLM.
    pub vllm: &'static str,
    /// The settings.
    pub config: SchedulerConfig,
    /// `watermark` as given; the scheduler has it in blocks.
    pub watermark: f64,
    /// The tokens that end a request.
    pub stop_tokens: StopTokens,
}

/// The version that the model stands for.
const VLLM: &str = "0.32.0";
const HASHES: [&str; 4] = ["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"];

impl Header {
    /// Reads a `config` line.
    ///
    /// # Errors
    /// If it is malformed, incomplete, or asks for something that the model does not have.
    pub fn parse(line: &str, number: usize) -> Result<Self, BadRecord> {
        let settings: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| BadRecord::json(number, &error))?;
        let mut settings = Settings { settings, number };
        settings.expect("type", &["config"], false)?;
        let profile = settings.take("profile")?;
        let seed = settings.take("seed")?;
        settings.settings.remove("drafter");
        settings.expect("vllm", &[VLLM], true)?;
        settings.expect("prefix_caching_hash_algo", &HASHES, true)?;
        let stop_tokens = StopTokens {
            eos_token_id: settings.take::<Option<u64>>("eos_token_id")?.map(TokenId),
            stop_token_ids: settings
                .take::<Option<Vec<u64>>>("stop_token_ids")?
                .unwrap_or_default()
                .into_iter()
                .map(TokenId)
                .collect(),
        };
        let watermark = settings.take("watermark")?;
        let config = settings.scheduler_config()?;
        settings.nothing_left()?;
        Ok(Self { profile, seed, vllm: VLLM, config, watermark, stop_tokens })
    }
}

/// The settings that are not read yet.
struct Settings {
    settings: Map<String, Value>,
    number: usize,
}

impl Settings {
    fn scheduler_config(&mut self) -> Result<SchedulerConfig, BadRecord> {
        let policy = match self.take::<String>("policy")?.as_str() {
            "fcfs" => Policy::Fcfs,
            "priority" => Policy::Priority,
            other => return Err(self.unsupported("policy", &other.into())),
        };
        let block_size = self.within::<u32>("block_size", 1, MAX_TOKENS)?;
        let hash_block_size: u32 = self.take("hash_block_size")?;
        if hash_block_size != block_size {
            return Err(self.unsupported("hash_block_size", &hash_block_size.into()));
        }
        if self.take("use_v2_model_runner")? {
            return Err(self.unsupported("use_v2_model_runner", &true.into()));
        }
        let async_scheduling = self.take("async_scheduling")?;
        let scheduler = if async_scheduling { "AsyncScheduler" } else { "Scheduler" };
        self.expect("scheduler", &[scheduler], true)?;
        let max_concurrent_batches = self.within("max_concurrent_batches", 1, 1024)?;
        if !async_scheduling && max_concurrent_batches != 1 {
            return Err(self.unsupported("max_concurrent_batches", &max_concurrent_batches.into()));
        }
        let config = SchedulerConfig {
            policy,
            block_size,
            num_gpu_blocks: Blocks(self.within("num_gpu_blocks", 1, MOST_BLOCKS)?),
            max_num_seqs: Requests(self.take("max_num_seqs")?),
            max_num_active_seqs: Requests(self.take("max_num_active_seqs")?),
            max_num_batched_tokens: self.tokens("max_num_batched_tokens")?,
            max_num_scheduled_tokens: self.tokens("max_num_scheduled_tokens")?,
            max_model_len: self.tokens("max_model_len")?,
            enable_chunked_prefill: self.take("enable_chunked_prefill")?,
            long_prefill_token_threshold: self.tokens("long_prefill_token_threshold")?,
            long_prefill_token_threshold_adaptive: self
                .take("long_prefill_token_threshold_adaptive")?,
            enable_prefix_caching: self.take("enable_prefix_caching")?,
            watermark_blocks: Blocks(self.within("watermark_blocks", 0, MAX_TOKENS)?),
            scheduler_reserve_full_isl: self.take("scheduler_reserve_full_isl")?,
            async_scheduling,
            max_concurrent_batches,
            speculative: self.speculative()?,
        };
        Ok(config)
    }

    fn speculative(&mut self) -> Result<Option<Speculative>, BadRecord> {
        use SpeculativeMethod as M;
        let name: Option<String> = self.take("spec_method")?;
        let drafts = self.tokens("num_spec_tokens")?;
        let num_lookahead_tokens = self.tokens("num_lookahead_tokens")?;
        let num_prefill_lookahead = self.tokens("num_prefill_lookahead")?;
        let draft_slots = self.tokens("draft_slots")?;
        let eagle_block_drop = self.take("eagle_block_drop")?;
        let method = match name.as_deref() {
            None => None,
            Some("ngram") => Some(M::Ngram),
            Some("ngram_gpu") => Some(M::NgramGpu),
            Some("eagle") => Some(M::Eagle),
            Some("eagle3") => Some(M::Eagle3),
            Some("mtp") => Some(M::Mtp),
            Some("draft_model") => Some(M::DraftModel),
            Some(other) => return Err(self.unsupported("spec_method", &other.into())),
        };
        let Some(method) = method else {
            if drafts > Tokens::ZERO {
                return Err(self.unsupported("num_spec_tokens", &drafts.0.into()));
            }
            return Ok(None);
        };
        if drafts == Tokens::ZERO {
            return Err(self.unsupported("num_spec_tokens", &0.into()));
        }
        let mut speculative = Speculative::new(method, drafts);
        speculative.num_lookahead_tokens = num_lookahead_tokens;
        speculative.num_prefill_lookahead = num_prefill_lookahead;
        speculative.draft_slots = draft_slots;
        speculative.eagle_block_drop = eagle_block_drop;
        Ok(Some(speculative))
    }

    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, BadRecord> {
        let Some(value) = self.settings.remove(name) else {
            return Err(BadRecord::malformed(self.number, format!("config has no {name}")));
        };
        T::deserialize(value)
            .map_err(|error| BadRecord::malformed(self.number, format!("config: {name}: {error}")))
    }

    fn within<T: DeserializeOwned + PartialOrd + fmt::Display>(
        &mut self,
        name: &str,
        least: T,
        most: T,
    ) -> Result<T, BadRecord> {
        let value: T = self.take(name)?;
        if value < least || value > most {
            let problem = format!("config: {name} = {value} is not within {least} and {most}");
            return Err(BadRecord::malformed(self.number, problem));
        }
        Ok(value)
    }

    fn tokens(&mut self, name: &str) -> Result<Tokens, BadRecord> {
        self.within(name, 0, MAX_TOKENS).map(Tokens)
    }

    /// Takes a setting that must have one of these values.
    fn expect(&mut self, name: &str, values: &[&str], void: bool) -> Result<(), BadRecord> {
        let value: Value = self.take(name)?;
        if value.as_str().is_some_and(|value| values.contains(&value)) {
            return Ok(());
        }
        if void {
            return Err(self.unsupported(name, &value));
        }
        Err(BadRecord::malformed(self.number, format!("{name} is {value}, not {}", values[0])))
    }

    fn nothing_left(&self) -> Result<(), BadRecord> {
        match self.settings.iter().next() {
            Some((name, value)) => Err(self.unsupported(name, value)),
            None => Ok(()),
        }
    }

    fn unsupported(&self, setting: &str, value: &Value) -> BadRecord {
        let unsupported = Unsupported { setting: setting.to_owned(), value: value.to_string() };
        BadRecord::Unsupported { line: self.number, unsupported }
    }
}
