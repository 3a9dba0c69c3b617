//! `run.json`: what produced a log, and under which settings.

use std::collections::BTreeMap;
use std::fmt;

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

macro_rules! run_info {
    ($(
        $(#[doc = $doc:literal])*
        $(#[serde($($serde:tt)*)])?
        $name:ident: $type:ty = $kind:literal,
    )*) => {
        /// The content of `run.json`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct RunInfo {
            $( $(#[doc = $doc])* $(#[serde($($serde)*)])? pub $name: $type, )*
        }

        impl RunInfo {
            /// Its members: the name, what it holds, and what that means.
            pub const MEMBERS: &'static [(&'static str, &'static str, &'static str)] =
                &[$( (stringify!($name), $kind, concat!($($doc, "\n"),*)), )*];
        }
    };
}

run_info! {
    /// The version of the log format: 1.
    schema_version: u32 = "number",
    /// The logger: `{"name": …, "version": …}`.
    producer: Producer = "object",
    /// The engine whose scheduler was logged.
    engine: String = "text",
    /// The absolute moment of t = 0.
    start_time_unix_ns: u64 = "nanoseconds",
    /// Whether steps overlap (asynchronous scheduling, pipeline parallelism).
    overlapping_steps: bool = "true or false",
    /// How much was written: `full`, `standard` (no block events) or `summary` (no
    /// per_iteration_requests.csv either).
    log_level: LogLevel = "word",
    /// Every scheduler setting by its vLLM name, such as `max_num_seqs`; `schedlog config --explain` lists
    /// them. One that is not there is not known, and rules that need it are not exercised.
    config: BTreeMap<String, serde_json::Value> = "object",
    /// Where the arrivals came from and how they were read, if the log is a replay; may be left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    trace: BTreeMap<String, serde_json::Value> = "object",
}

/// Limits that are another setting where nobody gives them, and which. A run.json that has every setting
/// has them, too.
const FOLLOWING: [(&str, &str); 2] = [
    ("max_num_active_seqs", "max_num_seqs"),
    ("max_num_scheduled_tokens", "max_num_batched_tokens"),
];

impl RunInfo {
    /// The settings beside those that a user gave: a limit that only repeats a setting goes with it.
    #[must_use]
    pub fn config_beside(
        &self,
        given: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, serde_json::Value> {
        let mut config = self.config.clone();
        for (limit, setting) in FOLLOWING {
            if given(setting) && config.get(limit) == config.get(setting) {
                config.remove(limit);
            }
        }
        config
    }
}

/// Something wrong with run.json, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunProblem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// Whether it is only of another version, and read as far as it is understood.
    pub newer: bool,
}

impl fmt::Display for RunProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RUN_INFO_FILE}:{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Reads run.json: its content, if it can be used, and all that is wrong with it.
#[must_use]
pub fn read_run_info(text: &[u8]) -> (Option<RunInfo>, Vec<RunProblem>) {
    let broken = |error: serde_json::Error| {
        let full = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        RunProblem {
            line: error.line().max(1),
            column: error.column().max(1),
            message: full.strip_suffix(&place).unwrap_or(&full).to_owned(),
            newer: false,
        }
    };
    let value: serde_json::Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => return (None, vec![broken(error)]),
    };
    let mut problems = Vec::new();
    let version = value.get("schema_version");
    if let Some(version) = version.filter(|version| **version != SCHEMA_VERSION) {
        let newer = version.as_u64().is_some_and(|version| version > u64::from(SCHEMA_VERSION));
        let message = if newer {
            format!("schema_version {version} is newer than {SCHEMA_VERSION}, the one known here")
        } else {
            format!("schema_version is {version} instead of {SCHEMA_VERSION}")
        };
        problems.push(problem_at(text, "schema_version", message, newer));
    }
    match serde_json::from_slice(text) {
        Ok(info) => (Some(info), problems),
        Err(error) => {
            problems.push(broken(error));
            (None, problems)
        }
    }
}

/// A problem of the member with this name.
pub(crate) fn problem_at(text: &[u8], member: &str, message: String, newer: bool) -> RunProblem {
    let name = format!("\"{member}\"");
    let at = memchr::memmem::find(text, name.as_bytes()).unwrap_or(0);
    let line = memchr::memchr_iter(b'\n', &text[..at]).count() + 1;
    let column = at - memchr::memrchr(b'\n', &text[..at]).map_or(0, |end| end + 1) + 1;
    RunProblem { line, column, message, newer }
}
