//! Reads decision records: one JSON object per line, plain or gzipped.
//!
//! A record is one `config` line, its `request` lines, a `step` line per engine iteration that was
//! not idle, and an `end` line. Steps borrow from the text and are parsed one at a time.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use thiserror::Error;

use crate::conform::header::{Header, Unsupported};

/// Why a record cannot be compared.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BadRecord {
    /// It cannot be read.
    #[error("{0}")]
    Io(String),
    /// A line is not what it should be.
    #[error("line {line}: {problem}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// It asks for something that the model does not have.
    #[error("line {line}: {unsupported}")]
    Unsupported {
        /// Counted from 1.
        line: usize,
        /// The setting and its value.
        unsupported: Unsupported,
    },
}

impl BadRecord {
    pub(crate) fn malformed(line: usize, problem: impl fmt::Display) -> Self {
        Self::Malformed { line, problem: problem.to_string() }
    }

    /// A line that is not the JSON that it should be. What reads it knows of one line only.
    pub(crate) fn json(line: usize, error: &serde_json::Error) -> Self {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        let what = text.strip_suffix(&place).unwrap_or(&text);
        let what = if error.is_data() { what.to_owned() } else { format!("no JSON: {what}") };
        Self::malformed(line, format!("column {}: {what}", error.column()))
    }
}

/// The text of a record file, gunzipped if need be.
///
/// # Errors
/// If the file cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, BadRecord> {
    let bytes = std::fs::read(path)
        .map_err(|error| BadRecord::Io(format!("cannot be read: {error}; check the path")))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return String::from_utf8(bytes).map_err(|error| {
            BadRecord::Io(format!("is no text in UTF-8: {}", error.utf8_error()))
        });
    }
    let mut text = String::with_capacity(bytes.len() * 16);
    flate2::bufread::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).map_err(
        |error| BadRecord::Io(format!("is damaged gzip data: {error}; copy the file anew")),
    )?;
    Ok(text)
}

/// A record whose head is read; its steps are still text.
#[derive(Debug)]
pub struct Record<'a> {
    /// The settings.
    pub header: Header,
    /// All requests, in the order in which they are handed in.
    pub requests: Vec<RecordedRequest<'a>>,
    lines: Lines<'a>,
}

impl<'a> Record<'a> {
    /// Reads the head of a record.
    ///
    /// # Errors
    /// If a line of it is malformed or a setting is not supported.
    pub fn parse(text: &'a str) -> Result<Self, BadRecord> {
        let mut lines = Lines { rest: text, number: 0 };
        let (number, first) =
            lines.next().ok_or_else(|| BadRecord::malformed(1, "the record is empty"))?;
        let header = Header::parse(first, number)?;
        let mut requests: Vec<RecordedRequest<'a>> = Vec::new();
        loop {
            let before = lines.clone();
            match lines.next() {
                Some((number, line)) if kind(line, number)? == "request" => {
                    let request: RecordedRequest<'a> = parse(line, number)?;
                    request.check().map_err(|problem| BadRecord::malformed(number, problem))?;
                    if requests.last().is_some_and(|last| last.step > request.step) {
                        return Err(BadRecord::malformed(
                            number,
                            "requests are not in the order of their steps",
                        ));
                    }
                    requests.push(request);
                }
                _ => return Ok(Self { header, requests, lines: before }),
            }
        }
    }

    /// Reads the next line: a step, still as text, or the end.
    ///
    /// # Errors
    /// If the line is malformed, or the record stops without an end.
    pub fn read_next(&mut self) -> Result<(usize, StepOrEnd<'a>), BadRecord> {
        let Some((number, line)) = self.lines.next() else {
            return Err(BadRecord::malformed(
                self.lines.number,
                "the record has no end line, so it was cut; copy it anew",
            ));
        };
        if line.starts_with(r#"{"type":"step","#) {
            return Ok((number, StepOrEnd::Step(line)));
        }
        match kind(line, number)? {
            "step" => Ok((number, StepOrEnd::Step(line))),
            "end" => Ok((number, StepOrEnd::End(parse(line, number)?))),
            other => Err(BadRecord::malformed(
                number,
                format!("a line of type {other} where a step or the end is due"),
            )),
        }
    }
}

#[derive(Clone, Debug)]
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<(usize, &'a str)> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            self.number += 1;
            let end = memchr::memchr(b'\n', self.rest.as_bytes());
            let (line, rest) = match end {
                Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
                None => (self.rest, ""),
            };
            self.rest = rest;
            if !line.trim().is_empty() {
                return Some((self.number, line));
            }
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a str, number: usize) -> Result<T, BadRecord> {
    serde_json::from_str(line).map_err(|error| BadRecord::json(number, &error))
}

fn kind(line: &str, number: usize) -> Result<&str, BadRecord> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        r#type: &'a str,
    }
    Ok(parse::<Typed<'_>>(line, number)?.r#type)
}

/// A request id as the record has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct Id<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Id<'_> {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A `request` line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRequest<'a> {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    /// Its name.
    #[serde(borrow)]
    pub id: Id<'a>,
    /// The engine iteration of its arrival.
    pub step: u64,
    /// Runs of tokens: stream, first position, length.
    pub prompt: Vec<(u64, u64, u32)>,
    /// The sum of the lengths.
    pub prompt_len: u32,
    /// The stream that its generated tokens come from; the outputs are in the steps.
    #[serde(rename = "stream")]
    _stream: IgnoredAny,
    /// The most tokens it may generate.
    pub max_tokens: u32,
    /// Where it stops; the outputs are in the steps.
    #[serde(rename = "stop")]
    _stop: IgnoredAny,
    /// Lower is served first.
    pub priority: i64,
    /// The client's clock, seconds.
    pub arrival_time: f64,
    /// The cache salt.
    #[serde(borrow)]
    pub salt: Option<Cow<'a, str>>,
    /// `skip_reading_prefix_cache`.
    pub skip_read: bool,
}

impl RecordedRequest<'_> {
    fn check(&self) -> Result<(), String> {
        let len = self.prompt.iter().try_fold(0u32, |sum, run| sum.checked_add(run.2));
        if len != Some(self.prompt_len) || self.prompt_len == 0 || self.prompt_len > MAX_TOKENS {
            return Err(format!(
                "prompt_len of {} is not the sum of its prompt's lengths, from 1 to {MAX_TOKENS}",
                self.id.as_str()
            ));
        }
        if self.prompt.iter().any(|run| run.0 >= 1 << 40 || run.1 >= 1 << 40) {
            return Err(format!(
                "the prompt of {} has a stream or a position of 2^40 or more",
                self.id.as_str()
            ));
        }
        if self.max_tokens > MAX_TOKENS {
            return Err(format!("max_tokens of {} is above {MAX_TOKENS}", self.id.as_str()));
        }
        if self.step > MAX_ITERATIONS {
            return Err(format!("step of {} is above {MAX_ITERATIONS}", self.id.as_str()));
        }
        if self.arrival_time.is_nan() {
            return Err(format!("arrival_time of {} is not a number", self.id.as_str()));
        }
        Ok(())
    }
}

/// More tokens than any sequence or budget has; keeps sums within 32 bits.
pub(crate) const MAX_TOKENS: u32 = 1 << 28;

/// More iterations than any record has; keeps the clock of its log within 64 bits.
pub(crate) const MAX_ITERATIONS: u64 = 1 << 32;

/// A line after the head.
#[derive(Debug)]
pub enum StepOrEnd<'a> {
    /// An engine iteration, to be parsed with [`Step::parse`].
    Step(&'a str),
    /// The end of the record.
    End(End<'a>),
}

/// A `step` line: one engine iteration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step<'a> {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    /// The iteration.
    pub it: u64,
    /// Ids handed in now.
    #[serde(borrow)]
    pub added: Vec<Id<'a>>,
    /// Ids aborted before the pass.
    #[serde(borrow)]
    pub aborted: Vec<Id<'a>>,
    /// The pass, if one ran.
    #[serde(borrow, default)]
    pub schedule: Option<RecordedPass<'a>>,
    /// The output that was processed, if any.
    #[serde(borrow, default)]
    pub update: Option<RecordedUpdate<'a>>,
}

impl<'a> Step<'a> {
    /// Parses a `step` line.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(line: &'a str, number: usize) -> Result<Self, BadRecord> {
        parse(line, number)
    }
}

/// How a request came into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordedKind {
    /// Admitted for the first time.
    New,
    /// Admitted again.
    Resumed,
    /// It was running.
    Running,
}

/// The `schedule` part of a step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedPass<'a> {
    /// The pass number.
    pub n: u64,
    /// Tokens scheduled.
    pub total: u32,
    /// The batch in its order.
    #[serde(borrow)]
    pub scheduled: Vec<(Id<'a>, u32)>,
    /// Aligned with it.
    pub kind: Vec<RecordedKind>,
    /// Computed tokens before, aligned with it.
    pub computed: Vec<u32>,
    /// Drafts, aligned with it; absent if there are none.
    #[serde(default)]
    pub spec: Option<Vec<u32>>,
    /// Block ids, aligned with it.
    pub blocks: Vec<Vec<u32>>,
    /// Hit tokens of the admissions.
    #[serde(borrow)]
    pub hit: IdMap<'a>,
    /// In order of preemption.
    #[serde(borrow)]
    pub preempted: Vec<Id<'a>>,
    /// Ends handed out, sorted.
    #[serde(borrow)]
    pub finished_ids: Vec<Id<'a>>,
    /// The running queue after the pass.
    #[serde(borrow)]
    pub running: Vec<Id<'a>>,
    /// The waiting queue after the pass.
    #[serde(borrow)]
    pub waiting: Vec<Id<'a>>,
    /// Table lengths, aligned with `running`.
    pub nblocks: Vec<u32>,
    /// Free blocks.
    pub free: u32,
    /// Blocks in use.
    pub used: u32,
    /// Distinct hashes in the prefix cache.
    pub cached: u32,
    /// The next blocks of the free queue.
    pub free_head: Vec<u32>,
}

/// The `update` part of a step; of the state only what differs from the pass's is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedUpdate<'a> {
    /// Ids aborted while the batch was in flight.
    #[serde(borrow)]
    pub aborted: Vec<Id<'a>>,
    /// What the model returned for each entry of the batch.
    #[serde(borrow)]
    pub sampled: Vec<(Id<'a>, Vec<u64>)>,
    /// Tokens kept.
    #[serde(borrow)]
    pub appended: Vec<(Id<'a>, u32)>,
    /// Requests that ended, and why.
    #[serde(borrow)]
    pub finished: Vec<(Id<'a>, Cow<'a, str>)>,
    /// Proposals handed over afterwards.
    #[serde(borrow, default)]
    pub drafts: Option<Vec<(Id<'a>, u32)>>,
    /// As in the pass.
    #[serde(borrow, default)]
    pub running: Option<Vec<Id<'a>>>,
    /// As in the pass.
    #[serde(borrow, default)]
    pub waiting: Option<Vec<Id<'a>>>,
    /// As in the pass.
    #[serde(default)]
    pub nblocks: Option<Vec<u32>>,
    /// As in the pass.
    #[serde(default)]
    pub free: Option<u32>,
    /// As in the pass.
    #[serde(default)]
    pub used: Option<u32>,
    /// As in the pass.
    #[serde(default)]
    pub cached: Option<u32>,
    /// As in the pass.
    #[serde(default)]
    pub free_head: Option<Vec<u32>>,
}

/// The `end` line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End<'a> {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    /// `drained`, `stalled`, `max_steps` or `vllm_assertion`.
    #[serde(borrow)]
    pub status: Cow<'a, str>,
    /// Engine iterations, idle ones included.
    pub iterations: u64,
    /// Passes.
    pub steps: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Tokens found in the prefix cache.
    pub hit_tokens: u64,
    /// Scheduled entries.
    pub scheduled: u64,
    /// Tokens scheduled.
    pub tokens: u64,
    /// Requests that finished by themselves.
    pub finished: u64,
}

/// A JSON object from ids to numbers, in its order.
#[derive(Debug, Default)]
pub struct IdMap<'a>(pub Vec<(Id<'a>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for IdMap<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(Id<'de>, u32)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from request ids to numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs).map(Self)
    }
}
