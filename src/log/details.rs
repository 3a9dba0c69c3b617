//! The JSON object in the `details` column of events.csv.

mod short;

use serde::{Deserialize, Serialize};

use crate::log::field::{Field, FieldError};
use crate::log::ids::{IdTable, Ids};
use crate::log::scan::Cursor;
use crate::log::sink::Sink;
use crate::log::values::{EventType, FinishReason};
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
    /// Whether the object has members that no event has, or members without a value. They are not
    /// kept.
    #[serde(skip)]
    pub unknown: bool,
}

/// The members of an object, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members(u16);

impl Members {
    /// Their names, in the order of the bits.
    const NAMES: [&'static str; 9] = [
        "iteration_id",
        "input_tokens",
        "priority",
        "cached_tokens",
        "computed_tokens",
        "lost_tokens",
        "finish_reason",
        "output_tokens",
        "blocks",
    ];

    /// The members with these names.
    const fn of(bits: &[u16]) -> Self {
        let (mut all, mut index) = (0, 0);
        while index < bits.len() {
            all |= 1 << bits[index];
            index += 1;
        }
        Self(all)
    }

    /// The members that an event of this type has. That of a freeing with an abort names no step.
    #[must_use]
    pub const fn wanted(kind: EventType) -> Self {
        use EventType as T;
        match kind {
            T::RequestArrived => Self::of(&[1, 2]),
            T::RequestScheduled | T::RequestResumed => Self::of(&[0, 3]),
            T::RequestPreempted => Self::of(&[0, 4]),
            T::RequestEvicted => Self::of(&[0, 5]),
            T::FirstTokenGenerated => Self::of(&[0]),
            T::RequestCompleted => Self::of(&[6, 7]),
            T::KvCacheAllocated => Self::of(&[0, 8]),
            T::KvCacheFreed => Self::of(&[8]),
        }
    }

    /// The members that an event of this type may have.
    #[must_use]
    pub const fn allowed(kind: EventType) -> Self {
        match kind {
            EventType::KvCacheFreed => Self::of(&[0, 8]),
            _ => Self::wanted(kind),
        }
    }

    /// Those that are not among `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are also among `others`.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Both.
    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let has = move |bit: &usize| self.0 & (1 << bit) != 0;
        (0..Self::NAMES.len()).filter(has).map(|bit| Self::NAMES[bit])
    }
}

impl Details {
    /// Which members are there.
    #[must_use]
    pub const fn members(&self) -> Members {
        Members(
            self.iteration_id.is_some() as u16
                | (self.input_tokens.is_some() as u16) << 1
                | (self.priority.is_some() as u16) << 2
                | (self.cached_tokens.is_some() as u16) << 3
                | (self.computed_tokens.is_some() as u16) << 4
                | (self.lost_tokens.is_some() as u16) << 5
                | (self.finish_reason.is_some() as u16) << 6
                | (self.output_tokens.is_some() as u16) << 7
                | (self.blocks.is_some() as u16) << 8,
        )
    }

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
        let mut details: Self =
            serde_json::from_slice(text).map_err(|error| FieldError::NotJson(error.to_string()))?;
        // No value of a known member has a colon, so the colons count the members.
        let members = memchr::memchr_iter(b':', text).count();
        details.unknown = members != details.members().0.count_ones() as usize;
        Ok(details)
    }

    #[inline]
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        if cursor.is_empty() && !cursor.is_quoted() {
            return Some(Self::default());
        }
        short::object(cursor.quoted()?)
    }

    fn write<I: Ids + ?Sized, O: Sink>(&self, _: &I, out: &mut O) {
        let mut first = true;
        let mut member = |name: &str, value: &dyn Fn(&mut O)| {
            out.put(if first { b"\"{" } else { b"," });
            first = false;
            out.put(b"\"\"");
            out.put(name.as_bytes());
            out.put(b"\"\":");
            value(out);
        };
        let mut number = |name: &str, value: Option<i64>| {
            if let Some(value) = value {
                member(name, &|out| {
                    out.put(itoa::Buffer::new().format(value).as_bytes());
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
                out.put(b"\"\"");
                out.put(reason.as_str().as_bytes());
                out.put(b"\"\"");
            });
        }
        let mut number = |name: &str, value: Option<u32>| {
            if let Some(value) = value {
                member(name, &|out| {
                    out.put(itoa::Buffer::new().format(value).as_bytes());
                });
            }
        };
        number("output_tokens", self.output_tokens.map(|n| n.0));
        number("blocks", self.blocks.map(|n| n.0));
        if !first {
            out.put(b"}\"");
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
