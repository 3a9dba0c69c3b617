//! Traces written in the native shape: Mooncake JSONL with our optional fields.
//!
//! What is written reads back as the same requests.

use std::io::{self, Write};

use super::parse::default_id;
use super::{Arrival, TraceRequest, private_token};
use crate::units::{Nanos, Priority, Tokens};

/// Why a request was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output does not take it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its prompt shares tokens at places that are no multiples of the hash block size.
    #[error("the prompt of `{0}` is not made of whole hash blocks")]
    NotInBlocks(String),
}

/// Writes requests as JSON lines.
#[derive(Debug)]
pub struct TraceWriter<W> {
    out: W,
    block: u32,
    line: Vec<u8>,
    written: u32,
}

impl<W: Write> TraceWriter<W> {
    /// Writes to `out`, with `hash_block_size` tokens per hash id (at least 1).
    pub fn new(out: W, hash_block_size: u32) -> Self {
        Self { out, block: hash_block_size.max(1), line: Vec::new(), written: 0 }
    }

    /// Writes one request; a name that its row implies, and values that are the default, are left
    /// out.
    ///
    /// # Errors
    /// Where the output fails, or where hash ids cannot express the prompt.
    pub fn write(&mut self, request: &TraceRequest) -> Result<(), WriteError> {
        self.line.clear();
        self.line.push(b'{');
        if request.id != default_id(self.written) {
            self.text("request_id", request.id.as_str())?;
        }
        if let Arrival::At(time) = request.arrival {
            self.milliseconds("timestamp", time);
        }
        self.integer("input_length", request.input_tokens.0);
        self.integer("output_length", request.output_tokens.0);
        if request.max_tokens != request.output_tokens {
            self.integer("max_tokens", request.max_tokens.0);
        }
        if request.priority != Priority::default() {
            self.integer("priority", request.priority.0);
        }
        if let Some(abort_after) = request.abort_after {
            self.milliseconds("abort_after_ms", abort_after);
        }
        if let Some(session) = &request.session {
            self.text("session_id", session)?;
        }
        if let Arrival::AfterTurn { delay, .. } = request.arrival {
            self.milliseconds("delay", delay);
        }
        self.hash_ids(request)?;
        self.line.extend_from_slice(b"}\n");
        self.out.write_all(&self.line)?;
        self.written = self.written.saturating_add(1);
        Ok(())
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// Where the output fails.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn key(&mut self, key: &str) {
        if self.line.len() > 1 {
            self.line.extend_from_slice(b", ");
        }
        self.line.push(b'"');
        self.line.extend_from_slice(key.as_bytes());
        self.line.extend_from_slice(b"\": ");
    }

    fn digits(&mut self, value: impl itoa::Integer) {
        self.line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn integer(&mut self, key: &str, value: impl itoa::Integer) {
        self.key(key);
        self.digits(value);
    }

    fn text(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.key(key);
        serde_json::to_writer(&mut self.line, value).map_err(io::Error::from)
    }

    /// Nanoseconds as decimal milliseconds, exactly.
    fn milliseconds(&mut self, key: &str, time: Nanos) {
        const UNIT: u64 = 1_000_000;
        self.integer(key, time.0 / UNIT);
        let mut rest = time.0 % UNIT;
        if rest == 0 {
            return;
        }
        self.line.push(b'.');
        let mut place = UNIT / 10;
        while rest > 0 {
            self.digits(rest / place);
            rest %= place;
            place /= 10;
        }
    }

    fn hash_ids(&mut self, request: &TraceRequest) -> Result<(), WriteError> {
        let first = request.prompt.first().map(|run| run.first);
        let private = first == Some(private_token(request.ordinal, 0));
        if first.is_none() || private && request.prompt.len() == 1 {
            return Ok(());
        }
        self.key("hash_ids");
        self.line.push(b'[');
        let whole = || WriteError::NotInBlocks(request.id.to_string());
        let block = u64::from(self.block);
        let mut left = request.input_tokens;
        for run in &request.prompt {
            // A run continues over the borders of consecutive ids, and only the last may end
            // inside a block.
            let ends = run.first.0.checked_add(u64::from(run.len.0)).ok_or_else(whole)?;
            let partial = run.len.0 % self.block != 0;
            let last = run.len == left;
            if run.first.0 % block != 0 || ends > 1 << 63 || (partial && !last) {
                return Err(whole());
            }
            for id in run.first.0 / block..ends.div_ceil(block) {
                if self.line.last() != Some(&b'[') {
                    self.line.extend_from_slice(b", ");
                }
                self.digits(id);
            }
            left = left.checked_sub(run.len).ok_or_else(whole)?;
        }
        if left != Tokens::ZERO {
            return Err(whole());
        }
        self.line.push(b']');
        Ok(())
    }
}
