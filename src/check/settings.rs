//! The scheduler's settings as far as a log or a flag tells them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::config::{Policy, SpeculativeMethod};
use crate::log::run_info::RunInfo;

/// Where drafts come from, as far as it is known here what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftMethod {
    /// One of the model's.
    Known(SpeculativeMethod),
    /// One that a real engine may have.
    Other,
}

macro_rules! settings {
    ($( $(#[doc = $doc:literal])* $field:ident / $variant:ident: $ty:ty = $read:ident, )*) => {
        /// Settings by their vLLM names; `None` is unknown.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct LogSettings { $( $(#[doc = $doc])* pub $field: Option<$ty>, )* }

        /// The name of one setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Setting { $( $(#[doc = $doc])* $variant, )* }

        impl Setting {
            /// Every setting.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// The key in the `config` of run.json.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $( Self::$variant => stringify!($field), )* }
            }

            /// What it means.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $( Self::$variant => concat!($($doc),*), )* }
            }
        }

        impl LogSettings {
            /// Whether the setting is known.
            #[must_use]
            pub const fn knows(&self, setting: Setting) -> bool {
                match setting { $( Setting::$variant => self.$field.is_some(), )* }
            }

            /// What a log says of itself.
            #[must_use]
            pub fn from_run_info(info: &RunInfo) -> Self {
                Self::from_values(&info.config).without_absurd()
            }

            /// These settings, and what a log says of itself where these do not know.
            #[must_use]
            pub fn or_run_info(self, info: &RunInfo) -> Self {
                let given = |name: &str| match name {
                    $( stringify!($field) => self.$field.is_some(), )*
                    _ => false,
                };
                let told = Self::from_values(&info.config_beside(given));
                self.or(told.without_absurd())
            }

            fn without_absurd(mut self) -> Self {
                $( if self.is_absurd(Setting::$variant) {
                    self.$field = None;
                } )*
                self
            }

            /// What values by vLLM's names say; one of the wrong kind is unknown.
            #[must_use]
            pub fn from_values(values: &BTreeMap<String, Value>) -> Self {
                let value = |key: &str| values.get(key).filter(|value| !value.is_null());
                Self { $( $field: value(stringify!($field)).and_then($read), )* }
            }

            /// The settings with values that they cannot have: of the wrong kind, or absurd.
            #[must_use]
            pub fn impossible(values: &BTreeMap<String, Value>) -> Vec<Setting> {
                let told = |key: &str| values.get(key).is_some_and(|value| !value.is_null());
                let read = Self::from_values(values);
                let wrong = |setting: &Setting| {
                    told(setting.key()) && (!read.knows(*setting) || read.is_absurd(*setting))
                };
                Setting::ALL.iter().copied().filter(wrong).collect()
            }

            /// The settings of which both know another value.
            #[must_use]
            pub fn contradicting(&self, other: &Self) -> Vec<Setting> {
                let mut settings = Vec::new();
                $( if self.$field.is_some() && other.$field.is_some() && self.$field != other.$field {
                    settings.push(Setting::$variant);
                } )*
                settings
            }

            /// These settings, and `other`'s where these do not know.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $( $field: self.$field.or(other.$field), )* }
            }
        }
    };
}

settings! {
    /// Queue order: `fcfs` or `priority`.
    policy / Policy: Policy = read_policy,
    /// Tokens per KV cache block.
    block_size / BlockSize: u32 = read_u32,
    /// KV cache blocks, the null block included.
    num_gpu_blocks / NumGpuBlocks: u32 = read_u32,
    /// The most requests in the running queue.
    max_num_seqs / MaxNumSeqs: u32 = read_u32,
    /// The most requests in the running queue, where it is below max_num_seqs.
    max_num_active_seqs / MaxNumActiveSeqs: u32 = read_u32,
    /// The token budget of a step.
    max_num_batched_tokens / MaxNumBatchedTokens: u32 = read_u32,
    /// The budget of scheduled tokens of a step, where it is not max_num_batched_tokens.
    max_num_scheduled_tokens / MaxNumScheduledTokens: u32 = read_u32,
    /// The longest sequence, prompt and output together.
    max_model_len / MaxModelLen: u32 = read_u32,
    /// Whether prompts are split over steps.
    enable_chunked_prefill / EnableChunkedPrefill: bool = read_bool,
    /// The most tokens one request gets per step while others are present; 0 is off.
    long_prefill_token_threshold / LongPrefillTokenThreshold: u32 = read_u32,
    /// Whether full blocks are shared between requests with equal prefixes.
    enable_prefix_caching / EnablePrefixCaching: bool = read_bool,
    /// The share of the blocks that an admission leaves free.
    watermark / Watermark: f64 = read_f64,
    /// Whether a request is admitted only if all of it fits.
    scheduler_reserve_full_isl / SchedulerReserveFullIsl: bool = read_bool,
    /// Whether a step is scheduled before the output of the one before is known.
    async_scheduling / AsyncScheduling: bool = read_bool,
    /// Draft tokens per request and step; 0 without speculative decoding.
    num_speculative_tokens / NumSpeculativeTokens: u32 = read_u32,
    /// Where draft tokens come from.
    speculative_method / SpeculativeMethod: DraftMethod = read_method,
    /// KV slots reserved past the scheduled tokens.
    num_lookahead_tokens / NumLookaheadTokens: u32 = read_u32,
    /// Bytes of one KV cache block.
    kv_bytes_per_block / KvBytesPerBlock: u64 = read_u64,
    /// Whether requests may have adapters.
    enable_lora / EnableLora: bool = read_bool,
    /// Device bytes of the model's weights.
    weight_bytes / WeightBytes: u64 = read_u64,
}

impl LogSettings {
    /// Whether the value is one with which no scheduler runs.
    #[must_use]
    pub fn is_absurd(&self, setting: Setting) -> bool {
        match setting {
            Setting::BlockSize => self.block_size == Some(0),
            Setting::NumGpuBlocks => self.num_gpu_blocks == Some(0),
            Setting::MaxNumSeqs => self.max_num_seqs == Some(0),
            Setting::MaxNumActiveSeqs => self.max_num_active_seqs == Some(0),
            Setting::MaxNumBatchedTokens => self.max_num_batched_tokens == Some(0),
            Setting::MaxNumScheduledTokens => self.max_num_scheduled_tokens == Some(0),
            Setting::MaxModelLen => self.max_model_len == Some(0),
            Setting::KvBytesPerBlock => self.kv_bytes_per_block == Some(0),
            Setting::Watermark => self.watermark.is_some_and(|share| !(0.0..1.0).contains(&share)),
            _ => false,
        }
    }

    /// Draft tokens per step; 0 where nothing is said.
    #[must_use]
    pub fn drafts(&self) -> u32 {
        self.num_speculative_tokens.unwrap_or(0)
    }

    /// The most tokens that a step may schedule.
    #[must_use]
    pub fn token_budget(&self) -> Option<u32> {
        match (self.max_num_batched_tokens, self.max_num_scheduled_tokens) {
            (Some(input), Some(scheduled)) => Some(input.min(scheduled)),
            (input, scheduled) => input.or(scheduled),
        }
    }

    /// The most requests that may run.
    #[must_use]
    pub fn running_limit(&self) -> Option<u32> {
        match (self.max_num_seqs, self.max_num_active_seqs) {
            (Some(engine), Some(active)) => Some(engine.min(active)),
            (engine, active) => engine.or(active),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

fn read_u32(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|value| u32::try_from(value).ok())
}

fn read_u64(value: &Value) -> Option<u64> {
    value.as_u64()
}

fn read_f64(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn read_bool(value: &Value) -> Option<bool> {
    value.as_bool()
}

fn read_method(value: &Value) -> Option<DraftMethod> {
    value.as_str()?;
    let known = serde_json::from_value(value.clone()).ok();
    Some(known.map_or(DraftMethod::Other, DraftMethod::Known))
}

fn read_policy(value: &Value) -> Option<Policy> {
    serde_json::from_value(value.clone()).ok()
}
