//! The JSON object in the `details` column of events.csv.

use serde::{Deserialize, Serialize};

use crate::log::field::{Field, FieldError};
use crate::log::ids::{IdTable, Ids};
use crate::log::values::FinishReason;
use crate::units::{Blocks, IterationId, Priority, Tokens};

/// What an event adds to its type; only the members that belong to the type are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The step that decided or produced this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iteration_id: Option<IterationId>,
    /// `request_arrived`: the length of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<Tokens>,
    /// `request_arrived`: the scheduler's priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// `request_scheduled`, `request_resumed`: tokens found in the prefix cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<Tokens>,
    /// `request_preempted`: tokens that had been computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computed_tokens: Option<Tokens>,
    /// `request_evicted`: computed tokens that the cache no longer had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_tokens: Option<Tokens>,
    /// `request_completed`: why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// `request_completed`: tokens generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Tokens>,
    /// `kv_cache_allocated`, `kv_cache_freed`: how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Blocks>,
}

impl Details {
    /// Whether the object has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Field for Details {
    const KIND: &'static str = "JSON object";
    const OPTIONAL: bool = true;

    fn parse(text: &[u8], _: &mut IdTable) -> Result<Self, FieldError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        // serde would take an array for a struct too.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(FieldError::NotJson("it does not begin with {".to_owned()));
        }
        serde_json::from_slice(text).map_err(|error| FieldError::NotJson(error.to_string()))
    }

    fn write<I: Ids + ?Sized>(&self, _: &I, out: &mut Vec<u8>) {
        let mut first = true;
        let mut member = |name: &str, value: &dyn Fn(&mut Vec<u8>)| {
            out.extend_from_slice(if first { b"\"{" } else { b"," });
            first = false;
            out.extend_from_slice(b"\"\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\"\":");
            value(out);
        };
        let mut number = |name: &str, value: Option<i64>| {
            if let Some(value) = value {
                member(name, &|out| {
                    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                });
            }
        };
        // Iteration ids stay far below i64::MAX: one per step of a run.
        number("iteration_id", self.iteration_id.map(|id| id.0 as i64));
        number("input_tokens", self.input_tokens.map(|n| i64::from(n.0)));
        number("priority", self.priority.map(|p| p.0));
        number("cached_tokens", self.cached_tokens.map(|n| i64::from(n.0)));
        number("computed_tokens", self.computed_tokens.map(|n| i64::from(n.0)));
        number("lost_tokens", self.lost_tokens.map(|n| i64::from(n.0)));
        if let Some(reason) = self.finish_reason {
            member("finish_reason", &|out| {
                out.extend_from_slice(b"\"\"");
                out.extend_from_slice(reason.as_str().as_bytes());
                out.extend_from_slice(b"\"\"");
            });
        }
        let mut number = |name: &str, value: Option<u32>| {
            if let Some(value) = value {
                member(name, &|out| {
                    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                });
            }
        };
        number("output_tokens", self.output_tokens.map(|n| n.0));
        number("blocks", self.blocks.map(|n| n.0));
        if !first {
            out.extend_from_slice(b"}\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_quoted_and_read_back() {
        let details = Details {
            iteration_id: Some(IterationId(4)),
            finish_reason: Some(FinishReason::Stop),
            output_tokens: Some(Tokens(12)),
            ..Details::default()
        };
        let mut out = Vec::new();
        details.write(&IdTable::default(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            r#""{""iteration_id"":4,""finish_reason"":""stop"",""output_tokens"":12}""#
        );
        let json = text.trim_matches('"').replace("\"\"", "\"");
        assert_eq!(Details::parse(json.as_bytes(), &mut IdTable::default()), Ok(details));
    }

    #[test]
    fn empty_stays_empty() {
        let mut out = Vec::new();
        Details::default().write(&IdTable::default(), &mut out);
        assert!(out.is_empty());
        assert!(Details::parse(b"[1]", &mut IdTable::default()).is_err());
    }
}
