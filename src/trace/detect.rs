//! Which format a trace is in, from its first line.

use std::io::{BufRead, Read};

use super::error::{Place, Problem, TraceError};
use super::format::TraceFormat;
use super::input::{Input, fail};
use super::rows::{excerpt, read_object};

/// A first line longer than this is of no format.
const START_LIMIT: u64 = 64 << 20;

/// Finds the format of `input` from its content.
pub(super) fn detect(input: &Input) -> Result<TraceFormat, TraceError> {
    let mut reader = input.reader()?.take(START_LIMIT);
    let mut line = Vec::new();
    let mut lines = 0;
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        lines += 1;
        match read {
            Err(error) => return Err(fail(&input.name, Problem::Unreadable(error))),
            Ok(0) => return Err(fail(&input.name, Problem::Empty { dropped: 0 })),
            Ok(_) if line.iter().all(u8::is_ascii_whitespace) => {}
            Ok(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&line);
    let text = text.trim_start_matches('\u{feff}').trim();
    let found = match text.as_bytes().first() {
        Some(b'{') => json_format(text),
        Some(b'[') => Err(Problem::Unsupported {
            what: "a JSON array",
            remedy: "write one JSON object per line",
        }),
        _ => csv_format(text),
    };
    let place = Place { file: input.name.clone(), line: Some(lines), column: None };
    found.map_err(|problem| TraceError { place, problem })
}

fn json_format(text: &str) -> Result<TraceFormat, Problem> {
    let Ok(fields) = read_object(text) else {
        // Broken already in the first line; the reader says where.
        return Ok(TraceFormat::Mooncake);
    };
    let has = |name: &str| fields.iter().any(|(key, _)| key == name);
    if has("sub_requests") {
        return Err(Problem::Unsupported {
            what: "an LLMServingSim session (`sub_requests`)",
            remedy: "write its requests one per line, as turns with session_id and delay",
        });
    }
    if has("requests") && has("block_size") {
        return Err(Problem::Unsupported {
            what: "WEKA session JSON",
            remedy: "write its requests one per line, as turns with session_id and delay",
        });
    }
    if has("input_toks") || has("arrival_time_ns") {
        return Ok(TraceFormat::LlmServingSim);
    }
    if has("chat_id") || has("parent_chat_id") {
        return Ok(TraceFormat::Qwen);
    }
    Ok(TraceFormat::Mooncake)
}

fn csv_format(text: &str) -> Result<TraceFormat, Problem> {
    let names: Vec<_> = text.split(',').map(|name| name.trim().trim_matches('"')).collect();
    let has = |name: &str| names.contains(&name);
    let signs: [(&[&str], TraceFormat); 5] = [
        (&["ContextTokens", "GeneratedTokens"], TraceFormat::Azure),
        (&["Request tokens", "Response tokens"], TraceFormat::BurstGpt),
        (&["num_prefill_tokens", "num_decode_tokens", "arrived_at"], TraceFormat::Vidur),
        (&["prompt_size", "token_size", "arrival_timestamp"], TraceFormat::Splitwise),
        (&["input_length", "output_length", "input_tokens", "output_tokens"], TraceFormat::Csv),
    ];
    signs
        .iter()
        .find(|(names, _)| names.iter().any(|name| has(name)))
        .map(|(_, format)| *format)
        .ok_or_else(|| Problem::UnknownFormat { start: format!("`{}`", excerpt(text)) })
}
