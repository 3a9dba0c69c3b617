//! The settings of a log's scheduler: what run.json and flags say, and what vLLM has as default.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Policy, SchedulerConfig, Speculative, SpeculativeMethod};
use crate::conform::log::verdict::Void;
use crate::log::dialect::Dialect;
use crate::log::run_info::RunInfo;
use crate::settings::Settings;
use crate::units::{Blocks, Requests, Tokens};

/// Settings that change decisions in ways that the reference does not have.
const UNMODELLED: [(&str, &str); 6] = [
    ("pipeline_parallel_size", "pipeline parallelism"),
    ("decode_context_parallel_size", "context parallelism"),
    ("kv_transfer_config", "KV connectors"),
    ("ec_transfer_config", "encoder cache connectors"),
    ("enable_lora", "LoRA adapters"),
    ("prefill_schedule_interval", "prefill balancing between data-parallel ranks"),
];

/// What the reference runs with.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) scheduler: SchedulerConfig,
    /// Settings that nobody gave, and what was taken.
    pub(super) assumed: Vec<String>,
}

/// Resolves the settings of a log. `usable` is the number of blocks that the log counts.
pub(super) fn resolve(
    info: Option<&RunInfo>,
    flags: &Settings,
    usable: Option<Blocks>,
    dialect: &Dialect,
) -> Result<Resolved, Void> {
    let mut values = match serde_json::to_value(flags) {
        Ok(Value::Object(given)) => given.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    if let Some(info) = info {
        let told = info.config_beside(|name| values.contains_key(name));
        told.into_iter().for_each(|(name, value)| {
            values.entry(name).or_insert(value);
        });
    }
    values.retain(|_, value| !value.is_null());
    let mut given = Given { values, assumed: Vec::new() };
    given.refuse_unmodelled()?;
    let overlap = info.map_or(dialect.steps_overlap == Some(true), |info| info.overlapping_steps);
    let scheduler = given.scheduler(overlap, usable)?;
    Ok(Resolved { scheduler, assumed: given.assumed })
}

struct Given {
    values: BTreeMap<String, Value>,
    assumed: Vec<String>,
}

impl Given {
    fn refuse_unmodelled(&self) -> Result<(), Void> {
        let off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_u64().is_some_and(|number| number <= 1),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(true) => false,
        };
        let asked = |name: &str| self.values.get(name).is_some_and(|value| !off(value));
        match UNMODELLED.into_iter().find(|(name, _)| asked(name)) {
            Some((setting, what)) => Err(Void::Unmodelled { setting, what }),
            None => Ok(()),
        }
    }

    fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, Void> {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        match serde_json::from_value(value.clone()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Void::BadSetting { setting: name, value: value.to_string() }),
        }
    }

    /// A number that must be given and is at least one.
    fn need(&self, name: &'static str) -> Result<u32, Void> {
        self.at_least_one(name)?.ok_or(Void::NoSetting { setting: name })
    }

    /// A number that is at least one where it is given.
    fn at_least_one(&self, name: &'static str) -> Result<Option<u32>, Void> {
        match self.get(name)? {
            Some(0) => Err(Void::BadSetting { setting: name, value: "0".to_owned() }),
            value => Ok(value),
        }
    }

    /// A setting that has a default in vLLM.
    fn or_default<T>(&mut self, name: &'static str, default: T) -> Result<T, Void>
    where
        T: DeserializeOwned + serde::Serialize,
    {
        let value = self.get(name)?;
        if value.is_none() {
            let shown = serde_json::to_string(&default).unwrap_or_default();
            self.assumed.push(format!("{name} is not known; vLLM's default {shown} is taken"));
        }
        Ok(value.unwrap_or(default))
    }

    fn blocks(&mut self, usable: Option<Blocks>) -> Result<u32, Void> {
        if let Some(blocks) = self.at_least_one("num_gpu_blocks")? {
            return Ok(blocks);
        }
        let usable = usable.ok_or(Void::NoSetting { setting: "num_gpu_blocks" })?;
        let blocks = usable.0.saturating_add(1);
        self.assumed.push(format!(
            "num_gpu_blocks is not known; {blocks} is taken, one more than kv_cache_total"
        ));
        Ok(blocks)
    }

    fn scheduler(
        &mut self,
        overlap: bool,
        usable: Option<Blocks>,
    ) -> Result<SchedulerConfig, Void> {
        let block_size = self.need("block_size")?;
        let seqs = self.need("max_num_seqs")?;
        let tokens = self.need("max_num_batched_tokens")?;
        let max_model_len = self.need("max_model_len")?;
        let blocks = self.blocks(usable)?;
        let policy: Policy = self.or_default("policy", Policy::Fcfs)?;
        let watermark: f64 = self.or_default("watermark", 0.0)?;
        if !(0.0..1.0).contains(&watermark) {
            let value = watermark.to_string();
            return Err(Void::BadSetting { setting: "watermark", value });
        }
        let async_scheduling = match self.get("async_scheduling")? {
            Some(value) => value,
            None => {
                self.assumed.push(format!(
                    "async_scheduling is not known; {overlap} is taken, as the log's steps {}",
                    if overlap { "overlap" } else { "do not overlap" }
                ));
                overlap
            }
        };
        let depth: Option<u32> = self.get("max_concurrent_batches")?;
        Ok(SchedulerConfig {
            policy,
            block_size,
            num_gpu_blocks: Blocks(blocks),
            max_num_seqs: Requests(seqs),
            max_num_active_seqs: Requests(
                self.at_least_one("max_num_active_seqs")?.unwrap_or(seqs).min(seqs),
            ),
            max_num_batched_tokens: Tokens(tokens),
            max_num_scheduled_tokens: Tokens(
                self.at_least_one("max_num_scheduled_tokens")?.unwrap_or(tokens),
            ),
            max_model_len: Tokens(max_model_len),
            enable_chunked_prefill: self.or_default("enable_chunked_prefill", true)?,
            long_prefill_token_threshold: Tokens(
                self.get("long_prefill_token_threshold")?.unwrap_or(0),
            ),
            long_prefill_token_threshold_adaptive: self
                .get("long_prefill_token_threshold_adaptive")?
                .unwrap_or(false),
            enable_prefix_caching: self.or_default("enable_prefix_caching", true)?,
            // vLLM truncates the product of two doubles.
            watermark_blocks: Blocks((watermark * f64::from(blocks)) as u32),
            scheduler_reserve_full_isl: self.or_default("scheduler_reserve_full_isl", true)?,
            async_scheduling,
            max_concurrent_batches: depth.unwrap_or(1 + u32::from(async_scheduling)).max(1),
            speculative: self.speculative()?,
        })
    }

    fn speculative(&self) -> Result<Option<Speculative>, Void> {
        let k: u32 = self.get("num_speculative_tokens")?.unwrap_or(0);
        if k == 0 {
            return Ok(None);
        }
        let method: Option<SpeculativeMethod> = self.get("speculative_method")?;
        let method = method.ok_or(Void::NoSetting { setting: "speculative_method" })?;
        let mut speculative = Speculative::new(method, Tokens(k));
        if let Some(lookahead) = self.get("num_lookahead_tokens")? {
            speculative.num_lookahead_tokens = Tokens(lookahead);
        }
        Ok(Some(speculative))
    }
}
