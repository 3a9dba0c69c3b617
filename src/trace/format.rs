//! The formats that are read: their columns, units and block sizes, as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A trace format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TraceFormat {
    /// Mooncake JSONL, the native shape, with optional fields beside it.
    Mooncake,
    /// CSV with the same fields as columns.
    Csv,
    /// Azure LLM inference CSV, the 2023 and 2024 forms.
    Azure,
    /// BurstGPT CSV, versions 1 to 3.
    #[value(name = "burstgpt")]
    BurstGpt,
    /// Qwen (Bailian) JSONL: Mooncake fields in seconds, blocks of 16.
    Qwen,
    /// Vidur CSV.
    Vidur,
    /// Splitwise simulator CSV.
    Splitwise,
    /// LLMServingSim JSONL, one request per line.
    #[value(name = "llmservingsim")]
    LlmServingSim,
}

/// The unit of a trace's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl TimeUnit {
    /// The power of ten that turns this unit into nanoseconds.
    pub(super) const fn shift(self) -> i32 {
        match self {
            Self::S => 9,
            Self::Ms => 6,
            Self::Us => 3,
            Self::Ns => 0,
        }
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S => "s",
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Ns => "ns",
        })
    }
}

impl FromStr for TimeUnit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
    }
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Jsonl,
    Csv,
}

/// What a column means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Timestamp,
    Input,
    Output,
    HashIds,
    TokenIds,
    RequestId,
    Priority,
    MaxTokens,
    AbortAfter,
    Session,
    Delay,
    /// Part of the format, without meaning here.
    Ignored,
}

impl Field {
    /// Fields that a row can hold a value for.
    pub(super) const COUNT: usize = Self::Ignored as usize;
}

/// A column of a format: its name and aliases.
pub(super) struct ColumnSpec {
    pub(super) names: &'static [&'static str],
    pub(super) field: Field,
    pub(super) required: bool,
}

const fn required(names: &'static [&'static str], field: Field) -> ColumnSpec {
    ColumnSpec { names, field, required: true }
}

const fn optional(names: &'static [&'static str], field: Field) -> ColumnSpec {
    ColumnSpec { names, field, required: false }
}

const fn ignored(names: &'static [&'static str]) -> ColumnSpec {
    optional(names, Field::Ignored)
}

const NATIVE: &[ColumnSpec] = &[
    // A closed-loop turn has a delay instead; the row parser asks for one or the other.
    optional(&["timestamp", "created_time", "arrival_time"], Field::Timestamp),
    required(&["input_length", "input_tokens"], Field::Input),
    required(&["output_length", "output_tokens"], Field::Output),
    optional(&["hash_ids"], Field::HashIds),
    optional(&["request_id"], Field::RequestId),
    optional(&["priority"], Field::Priority),
    optional(&["max_tokens"], Field::MaxTokens),
    optional(&["abort_after_ms"], Field::AbortAfter),
    optional(&["session_id"], Field::Session),
    optional(&["delay", "delay_ms"], Field::Delay),
];

const QWEN: &[ColumnSpec] = &[
    required(&["timestamp"], Field::Timestamp),
    required(&["input_length"], Field::Input),
    required(&["output_length"], Field::Output),
    optional(&["hash_ids"], Field::HashIds),
    ignored(&["chat_id"]),
    ignored(&["parent_chat_id"]),
    ignored(&["type"]),
    ignored(&["turn"]),
];

const AZURE: &[ColumnSpec] = &[
    required(&["TIMESTAMP"], Field::Timestamp),
    required(&["ContextTokens"], Field::Input),
    required(&["GeneratedTokens"], Field::Output),
];

const BURST_GPT: &[ColumnSpec] = &[
    required(&["Timestamp"], Field::Timestamp),
    // Conversations are named in version 3, but rows keep their own timestamps: not closed-loop.
    ignored(&["Session ID"]),
    ignored(&["Elapsed time"]),
    ignored(&["Model"]),
    required(&["Request tokens"], Field::Input),
    required(&["Response tokens"], Field::Output),
    ignored(&["Total tokens"]),
    ignored(&["Log Type"]),
];

const VIDUR: &[ColumnSpec] = &[
    required(&["arrived_at"], Field::Timestamp),
    required(&["num_prefill_tokens"], Field::Input),
    required(&["num_decode_tokens"], Field::Output),
];

const SPLITWISE: &[ColumnSpec] = &[
    optional(&["request_id"], Field::RequestId),
    ignored(&["request_type"]),
    ignored(&["application_id"]),
    required(&["arrival_timestamp"], Field::Timestamp),
    ignored(&["batch_size"]),
    required(&["prompt_size"], Field::Input),
    required(&["token_size"], Field::Output),
];

const LLM_SERVING_SIM: &[ColumnSpec] = &[
    required(&["arrival_time_ns"], Field::Timestamp),
    required(&["input_toks"], Field::Input),
    required(&["output_toks"], Field::Output),
    optional(&["input_tok_ids"], Field::TokenIds),
    ignored(&["output_tok_ids"]),
];

impl TraceFormat {
    /// The format's name in words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Mooncake => "Mooncake JSONL",
            Self::Csv => "plain CSV",
            Self::Azure => "Azure LLM inference CSV",
            Self::BurstGpt => "BurstGPT CSV",
            Self::Qwen => "Qwen JSONL",
            Self::Vidur => "Vidur CSV",
            Self::Splitwise => "Splitwise CSV",
            Self::LlmServingSim => "LLMServingSim JSONL",
        }
    }

    pub(super) const fn encoding(self) -> Encoding {
        match self {
            Self::Mooncake | Self::Qwen | Self::LlmServingSim => Encoding::Jsonl,
            Self::Csv | Self::Azure | Self::BurstGpt | Self::Vidur | Self::Splitwise => {
                Encoding::Csv
            }
        }
    }

    pub(super) const fn columns(self) -> &'static [ColumnSpec] {
        match self {
            Self::Mooncake | Self::Csv => NATIVE,
            Self::Azure => AZURE,
            Self::BurstGpt => BURST_GPT,
            Self::Qwen => QWEN,
            Self::Vidur => VIDUR,
            Self::Splitwise => SPLITWISE,
            Self::LlmServingSim => LLM_SERVING_SIM,
        }
    }

    /// The unit of the timestamps as the format is published; `None` where they are dates.
    #[must_use]
    pub const fn time_unit(self) -> Option<TimeUnit> {
        match self {
            Self::Mooncake | Self::Csv => Some(TimeUnit::Ms),
            Self::BurstGpt | Self::Qwen | Self::Vidur | Self::Splitwise => Some(TimeUnit::S),
            Self::LlmServingSim => Some(TimeUnit::Ns),
            Self::Azure => None,
        }
    }

    /// Prompt tokens per hash id as the format is published.
    #[must_use]
    pub const fn hash_block_size(self) -> u32 {
        match self {
            Self::Qwen => 16,
            _ => 512,
        }
    }

    /// Finds a column by name: its meaning, and the name as a constant.
    pub(super) fn column(self, name: &str) -> Option<(Field, &'static str)> {
        self.columns().iter().find_map(|spec| {
            spec.names.iter().find(|known| **known == name).map(|known| (spec.field, *known))
        })
    }
}

impl fmt::Display for TraceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}
