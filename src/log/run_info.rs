//! `run.json`: what produced a log, and under which settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::log::values::LogLevel;

/// The file's name.
pub const RUN_INFO_FILE: &str = "run.json";

/// The version of the log format that this product writes.
pub const SCHEMA_VERSION: u32 = 1;

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of the log format.
    pub schema_version: u32,
    /// The logger.
    pub producer: Producer,
    /// The engine whose scheduler was logged.
    pub engine: String,
    /// The absolute moment of t = 0.
    pub start_time_unix_ns: u64,
    /// Whether steps overlap (asynchronous scheduling, pipeline parallelism).
    pub overlapping_steps: bool,
    /// How much was written.
    pub log_level: LogLevel,
    /// Every scheduler setting by its vLLM name.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Where the arrivals came from and how they were read, if the log is a replay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trace: BTreeMap<String, serde_json::Value>,
}
