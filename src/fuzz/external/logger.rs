//! A logger in another process, driven over JSON lines (docs/protocol.md).

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::fuzz::drive::Rejection;
use crate::fuzz::external::process::{Process, Program};
use crate::fuzz::failure::Failure;
use crate::fuzz::generate::Limits;
use crate::fuzz::judge::Subject;
use crate::fuzz::sequence::{Call, EventSequence};
use crate::log::run_info::RUN_INFO_FILE;
use crate::log::values::LogLevel;
use crate::units::Nanos;

/// The version of the protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// An external logger; its process lives through many cases and is started anew after a failure.
#[derive(Debug)]
pub struct ExternalLogger {
    program: Program,
    process: Option<Process>,
    limits: Limits,
    name: String,
}

impl ExternalLogger {
    /// Starts the logger and asks what it supports.
    ///
    /// # Errors
    /// If it cannot be started or does not answer as the protocol says.
    pub fn start(program: Program) -> Result<Self, Failure> {
        let mut logger =
            Self { program, process: None, limits: Limits::default(), name: String::new() };
        let answer = logger.hello()?;
        logger.limits = supported(answer.get("supports"));
        let name = answer.get("name").and_then(Value::as_str);
        name.unwrap_or("external").clone_into(&mut logger.name);
        Ok(logger)
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn hello(&mut self) -> Result<Map<String, Value>, Failure> {
        let mut process =
            Process::start(&self.program).map_err(|message| Failure::Crash { message })?;
        let answer = process.ask(hello_line("logger"), "hello")?;
        self.process = Some(process);
        Ok(answer)
    }

    fn try_write(&mut self, sequence: &EventSequence, directory: &Path) -> Result<(), Failure> {
        if self.process.is_none() {
            self.hello()?;
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        process.ask(start_line(sequence, directory), "start")?;
        process.ask(hook_lines(sequence), "shutdown")?;
        Ok(())
    }
}

impl Subject for ExternalLogger {
    fn limits(&self) -> Limits {
        self.limits.clone()
    }

    fn write(
        &mut self,
        sequence: &EventSequence,
        directory: &Path,
    ) -> Result<Vec<Rejection>, Failure> {
        if let Err(failure) = self.try_write(sequence, directory) {
            self.process = None;
            return Err(failure);
        }
        write_run_info(sequence, directory);
        Ok(Vec::new())
    }
}

/// The first line of a session.
pub(super) fn hello_line(role: &str) -> Vec<u8> {
    line(&json!({
        "type": "hello",
        "protocol": PROTOCOL_VERSION,
        "role": role,
        "schedlog": env!("CARGO_PKG_VERSION"),
    }))
}

pub(super) fn line(value: &Value) -> Vec<u8> {
    let mut text = value.to_string().into_bytes();
    text.push(b'\n');
    text
}

/// What the answer to `hello` says of the logger; what it does not mention it supports.
pub(super) fn supported(supports: Option<&Value>) -> Limits {
    let all = Limits::default();
    let has = |key: &str| {
        supports.and_then(|supports| supports.get(key)).and_then(Value::as_bool).unwrap_or(true)
    };
    let levels: Vec<_> = supports
        .and_then(|supports| supports.get("log_levels"))
        .and_then(Value::as_array)
        .map(|levels| {
            let names = levels.iter().filter_map(Value::as_str);
            names.filter_map(|name| LogLevel::from_bytes(name.as_bytes())).collect()
        })
        .unwrap_or_default();
    Limits {
        overlapping_steps: has("overlapping_steps"),
        speculative: has("speculative_decoding"),
        prefix_caching: has("prefix_caching"),
        priority: has("priority"),
        aborts: has("aborts"),
        log_levels: if levels.is_empty() { all.log_levels } else { levels },
        max_requests: all.max_requests,
    }
}

fn start_line(sequence: &EventSequence, directory: &Path) -> Vec<u8> {
    line(&json!({
        "type": "start",
        "directory": directory,
        "settings": {
            "log_level": sequence.run.log_level,
            "flush_interval_iterations": sequence.flush_interval_iterations,
            "flush_interval_ns": sequence.flush_interval_ns,
            "kv_bytes_per_block": sequence.kv_bytes_per_block,
            "weight_bytes": sequence.weight_bytes,
        },
        "run": sequence.run,
    }))
}

/// Every call as a line, the time in each; the last one is the shutdown or the kill.
fn hook_lines(sequence: &EventSequence) -> Vec<u8> {
    let ids = ids(&sequence.calls);
    let mut text = Vec::new();
    let (mut now, mut has_output) = (Nanos::ZERO, false);
    for (index, call) in sequence.calls.iter().enumerate() {
        match call {
            Call::Output { .. } => has_output = true,
            Call::End { .. } | Call::Begin { .. } => has_output = false,
            _ => {}
        }
        now = match call.now() {
            Some(now) => now,
            // What an output brings is there when its processing ends.
            None if has_output => end_of_output(&sequence.calls[index..]).unwrap_or(now),
            None => now,
        };
        text.extend(hook_line(call, now, &ids));
    }
    if !sequence.is_shut_down() {
        text.extend(line(&json!({"type": "kill"})));
    }
    text
}

fn end_of_output(calls: &[Call]) -> Option<Nanos> {
    calls.iter().find_map(|call| match call {
        Call::End { now } | Call::Shutdown { now } => Some(*now),
        _ => None,
    })
}

/// The id that every index of a sequence stands for at its latest arrival.
fn ids(calls: &[Call]) -> std::collections::BTreeMap<u32, &str> {
    calls
        .iter()
        .filter_map(|call| match call {
            Call::Arrival { request, request_id, .. } => Some((request.0, request_id.as_str())),
            _ => None,
        })
        .collect()
}

fn hook_line(call: &Call, now: Nanos, ids: &std::collections::BTreeMap<u32, &str>) -> Vec<u8> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(call) else { return Vec::new() };
    members.remove("request");
    if let Some(request) = call.request() {
        let id = ids.get(&request.0).copied().unwrap_or("never-arrived");
        members.insert("request_id".to_owned(), json!(id));
    }
    members.insert("type".to_owned(), json!("hook"));
    members.insert("now".to_owned(), json!(now));
    line(&Value::Object(members))
}

/// A logger that writes no `run.json` gets one: the checks are to know the settings.
fn write_run_info(sequence: &EventSequence, directory: &Path) {
    let path = directory.join(RUN_INFO_FILE);
    if !path.exists() {
        // Without it the checks still get the settings from the sequence.
        let _ = std::fs::write(path, serde_json::to_vec_pretty(&sequence.run).unwrap_or_default());
    }
}
