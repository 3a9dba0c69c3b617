//! Event sequences: what a scheduler told its logger, call by call, as a value and as a file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fuzz::workload::Workload;
use crate::log::run_info::RunInfo;
use crate::log::values::{FinishReason, WaitingReason};
use crate::logger::LoggerOptions;
use crate::units::{Blocks, Bytes, Nanos, Priority, Tokens};

/// The version of the file format.
pub const SEQUENCE_VERSION: u32 = 1;

/// Whether a scheduler could have made the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceKind {
    /// The reference scheduler made them: a logger must take them all and log what they say.
    Legal,
    /// No scheduler makes them: a logger rejects or survives them.
    Hostile,
}

/// A request of a sequence: the ordinal of its arrival.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RequestIndex(pub u32);

/// One call of a logger's hook. The names are those of [`crate::logger::LoggerHooks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hook", deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are the parameters of the hooks of the same name")]
pub enum Call {
    /// A request reached the server.
    #[serde(rename = "record_request_arrival")]
    Arrival {
        now: Nanos,
        request: RequestIndex,
        request_id: String,
        input_tokens: Tokens,
        priority: Priority,
    },
    /// `S`.
    #[serde(rename = "begin_iteration")]
    Begin { now: Nanos },
    /// `D`; the decisions and the queues follow.
    #[serde(rename = "record_schedule")]
    Schedule { now: Nanos, kv_cache_used: Blocks, kv_cache_total: Blocks, evicted_blocks: Blocks },
    /// A running request lost its blocks.
    #[serde(rename = "record_request_preempted")]
    Preempted { request: RequestIndex, computed_tokens: Tokens, blocks: Blocks },
    /// A waiting request was admitted.
    #[serde(rename = "record_request_scheduled")]
    Scheduled { request: RequestIndex, cached_tokens: Tokens },
    /// A preempted request was admitted again.
    #[serde(rename = "record_request_resumed")]
    Resumed { request: RequestIndex, cached_tokens: Tokens },
    /// A request was given blocks.
    #[serde(rename = "record_kv_cache_allocated")]
    Allocated { request: RequestIndex, blocks: Blocks },
    /// The next request of the running queue.
    #[serde(rename = "record_running")]
    Running {
        request: RequestIndex,
        kv_cache_blocks: Blocks,
        scheduled_tokens: Tokens,
        computed_tokens: Tokens,
        prefill: bool,
    },
    /// The next request of the waiting queues.
    #[serde(rename = "record_waiting")]
    Waiting { request: RequestIndex, reason: WaitingReason },
    /// `O`; what came of it follows.
    #[serde(rename = "record_model_output")]
    Output { now: Nanos },
    /// A request got tokens.
    #[serde(rename = "record_tokens_generated")]
    Generated { request: RequestIndex, tokens: Tokens, rejected_drafts: Tokens },
    /// The output finished a request.
    #[serde(rename = "record_request_completed")]
    Completed {
        request: RequestIndex,
        finish_reason: FinishReason,
        blocks: Blocks,
        computed_tokens: Tokens,
    },
    /// A request ended outside of a step's output.
    #[serde(rename = "record_request_dropped")]
    Dropped { now: Nanos, request: RequestIndex, finish_reason: FinishReason, blocks: Blocks },
    /// `E`.
    #[serde(rename = "end_iteration")]
    End { now: Nanos },
    /// The scheduler stops.
    #[serde(rename = "shutdown")]
    Shutdown { now: Nanos },
}

impl Call {
    /// The time that it carries, if it carries one.
    #[must_use]
    pub fn now(&self) -> Option<Nanos> {
        match self {
            Self::Arrival { now, .. }
            | Self::Begin { now }
            | Self::Schedule { now, .. }
            | Self::Output { now }
            | Self::Dropped { now, .. }
            | Self::End { now }
            | Self::Shutdown { now } => Some(*now),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn now_mut(&mut self) -> Option<&mut Nanos> {
        match self {
            Self::Arrival { now, .. }
            | Self::Begin { now }
            | Self::Schedule { now, .. }
            | Self::Output { now }
            | Self::Dropped { now, .. }
            | Self::End { now }
            | Self::Shutdown { now } => Some(now),
            _ => None,
        }
    }

    /// The request that it is about, if it is about one.
    #[must_use]
    pub fn request(&self) -> Option<RequestIndex> {
        match self {
            Self::Arrival { request, .. }
            | Self::Preempted { request, .. }
            | Self::Scheduled { request, .. }
            | Self::Resumed { request, .. }
            | Self::Allocated { request, .. }
            | Self::Running { request, .. }
            | Self::Waiting { request, .. }
            | Self::Generated { request, .. }
            | Self::Completed { request, .. }
            | Self::Dropped { request, .. } => Some(*request),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn request_mut(&mut self) -> Option<&mut RequestIndex> {
        match self {
            Self::Arrival { request, .. }
            | Self::Preempted { request, .. }
            | Self::Scheduled { request, .. }
            | Self::Resumed { request, .. }
            | Self::Allocated { request, .. }
            | Self::Running { request, .. }
            | Self::Waiting { request, .. }
            | Self::Generated { request, .. }
            | Self::Completed { request, .. }
            | Self::Dropped { request, .. } => Some(request),
            _ => None,
        }
    }
}

/// A logger's life: its settings and every call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSequence {
    /// [`SEQUENCE_VERSION`].
    pub version: u32,
    /// Legal or hostile.
    pub kind: SequenceKind,
    /// Where it comes from, for the reader.
    #[serde(default)]
    pub origin: String,
    /// The settings, as `run.json` tells them.
    pub run: RunInfo,
    /// The most steps between two flushes.
    pub flush_interval_iterations: u64,
    /// The longest time between two flushes.
    pub flush_interval_ns: Nanos,
    /// Device bytes of one KV cache block.
    pub kv_bytes_per_block: Bytes,
    /// Device bytes of the weights.
    pub weight_bytes: Option<Bytes>,
    /// What the reference scheduler ran, if the sequence is legal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Box<Workload>>,
    /// The calls, in order. Without a shutdown at the end the process was killed.
    pub calls: Vec<Call>,
}

/// Why a file is not an event sequence.
#[derive(Debug, thiserror::Error)]
pub enum SequenceError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not the JSON of a sequence.
    #[error("{path}: not an event sequence: {source}")]
    Json {
        /// The file.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error(
        "{path}: version {found} of the event sequence format; this program reads version {SEQUENCE_VERSION}"
    )]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
}

impl EventSequence {
    /// The logger's options, for a directory that may hold the log of the sequence before.
    #[must_use]
    pub fn logger_options(&self) -> LoggerOptions {
        LoggerOptions {
            log_level: self.run.log_level,
            flush_interval_iterations: self.flush_interval_iterations,
            flush_interval: self.flush_interval_ns,
            kv_bytes_per_block: Some(self.kv_bytes_per_block),
            weight_bytes: self.weight_bytes,
            force: true,
            // Nobody kills a fuzzed logger, and a fork per flush costs more than the case.
            kill_safe: false,
        }
    }

    /// How many requests arrive.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.calls.iter().filter(|call| matches!(call, Call::Arrival { .. })).count()
    }

    /// How many steps begin.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.calls.iter().filter(|call| matches!(call, Call::Begin { .. })).count()
    }

    /// How many moments it has at which a scheduler can stop.
    #[must_use]
    pub fn stopping_places(&self) -> u32 {
        let places = crate::fuzz::workload::stopping_places(&self.calls).count();
        u32::try_from(places).unwrap_or(u32::MAX)
    }

    /// Whether the last call is the shutdown.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(self.calls.last(), Some(Call::Shutdown { .. }))
    }

    /// The file's text: JSON with one call per line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let head = Self { calls: Vec::new(), ..self.clone() };
        // Plain data: its encoding cannot fail.
        let mut text = serde_json::to_string_pretty(&head).unwrap_or_default();
        if let Some(at) = text.rfind("[]") {
            text.truncate(at);
        }
        text.push('[');
        for (index, call) in self.calls.iter().enumerate() {
            text.push_str(if index == 0 { "\n    " } else { ",\n    " });
            text.push_str(&serde_json::to_string(call).unwrap_or_default());
        }
        text.push_str("\n  ]\n}\n");
        text
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not a sequence of this version.
    pub fn read(path: &Path) -> Result<Self, SequenceError> {
        let name = || path.display().to_string();
        let text =
            std::fs::read(path).map_err(|source| SequenceError::Io { path: name(), source })?;
        let sequence: Self = serde_json::from_slice(&text)
            .map_err(|source| SequenceError::Json { path: name(), source })?;
        if sequence.version != SEQUENCE_VERSION {
            return Err(SequenceError::Version { path: name(), found: sequence.version });
        }
        Ok(sequence)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), SequenceError> {
        std::fs::write(path, self.to_json())
            .map_err(|source| SequenceError::Io { path: path.display().to_string(), source })
    }
}
