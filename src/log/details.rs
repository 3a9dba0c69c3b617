//! The JSON object in the `details` column of events.csv.

mod short;
mod value;

use serde::{Deserialize, Serialize};

use crate::log::details::short::Rest;
use crate::log::details::value::Value;
use crate::log::field::{Field, FieldError};
use crate::log::ids::{IdTable, Ids};
use crate::log::scan::Cursor;
use crate::log::sink::Sink;
use crate::log::values::{EventType, FinishReason};
use crate::units::{Blocks, IterationId, Priority, Tokens};

/// Declares the members of the object in the order in which they are written: what each means, its type, the
/// events that have it, and those that may have it as well.
macro_rules! details {
    (
        $( $(#[doc = $doc:literal])*
        $name:ident: $type:ty => [$( $kind:ident ),*] $( or [$( $other:ident ),*] )?, )*
    ) => {
        /// What an event adds to its type; only the members that belong to the type are there.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Details {
            $( $(#[doc = $doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $name: Option<$type>, )*
            /// Whether the object has members that no event has, or members without a value. They are not
            /// kept.
            #[serde(skip)]
            pub unknown: bool,
        }

        /// Which bit of [`Members`] each member is.
        #[allow(non_camel_case_types)]
        enum Bit { $( $name, )* }

        impl Members {
            /// Their names, in the order of the bits.
            const NAMES: &[&str] = &[$( stringify!($name) ),*];

            const WANTED: [Self; EventType::ALL.len()] =
                Self::by_type(&[$( &[$( EventType::$kind ),*] ),*]);

            const ALLOWED: [Self; EventType::ALL.len()] = Self::by_type(&[
                $( &[$( EventType::$kind, )* $( $( EventType::$other, )* )?] ),*
            ]);
        }

        impl Details {
            /// Which members are there.
            #[must_use]
            pub const fn members(&self) -> Members {
                Members(0 $( | (self.$name.is_some() as u16) << Bit::$name as u16 )*)
            }

            /// Reads the value of the member with this name by the [short cut](short).
            #[inline]
            fn read_member(&mut self, name: &[u8], rest: &mut Rest<'_>) -> Option<()> {
                match name {
                    $( name if name == stringify!($name).as_bytes() => {
                        self.$name = Some(Value::read(rest)?);
                    } )*
                    _ => return None,
                }
                Some(())
            }

            /// Writes the object up to its end, if it has members.
            fn write_members<O: Sink>(&self, out: &mut O) -> bool {
                let mut some = false;
                $( if let Some(value) = self.$name {
                    out.put(if some { b"," } else { b"\"{" });
                    some = true;
                    out.put(concat!("\"\"", stringify!($name), "\"\":").as_bytes());
                    value.write(out);
                } )*
                some
            }
        }
    };
}

details! {
    /// The step that decided or produced this; that of a freeing with an abort names none.
    iteration_id: IterationId => [
        RequestScheduled, RequestResumed, RequestPreempted, RequestEvicted, FirstTokenGenerated,
        KvCacheAllocated
    ] or [KvCacheFreed],
    /// The length of the prompt.
    input_tokens: Tokens => [RequestArrived],
    /// The scheduler's priority.
    priority: Priority => [RequestArrived],
    /// Tokens found in the prefix cache.
    cached_tokens: Tokens => [RequestScheduled, RequestResumed],
    /// Tokens that had been computed.
    computed_tokens: Tokens => [RequestPreempted],
    /// Computed tokens that the cache no longer had.
    lost_tokens: Tokens => [RequestEvicted],
    /// Why it ended.
    finish_reason: FinishReason => [RequestCompleted],
    /// Tokens generated.
    output_tokens: Tokens => [RequestCompleted],
    /// How many.
    blocks: Blocks => [KvCacheAllocated, KvCacheFreed],
}

/// The members of an object, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members(u16);

impl Members {
    /// For each type of event the members of which it is among the types, by the types of each member.
    const fn by_type(types: &[&[EventType]]) -> [Self; EventType::ALL.len()] {
        let mut all = [Self(0); EventType::ALL.len()];
        let mut bit = 0;
        while bit < types.len() {
            let mut index = 0;
            while index < types[bit].len() {
                all[types[bit][index] as usize].0 |= 1 << bit;
                index += 1;
            }
            bit += 1;
        }
        all
    }

    /// The members that an event of this type has.
    #[must_use]
    pub const fn wanted(kind: EventType) -> Self {
        Self::WANTED[kind as usize]
    }

    /// The members that an event of this type may have.
    #[must_use]
    pub const fn allowed(kind: EventType) -> Self {
        Self::ALLOWED[kind as usize]
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
        if self.write_members(out) {
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
    fn members_belong_to_types_of_events() {
        let names = |members: Members| members.names().collect::<Vec<_>>();
        assert_eq!(names(Members::wanted(EventType::RequestArrived)), ["input_tokens", "priority"]);
        assert_eq!(names(Members::wanted(EventType::KvCacheFreed)), ["blocks"]);
        assert_eq!(names(Members::allowed(EventType::KvCacheFreed)), ["iteration_id", "blocks"]);
        let all = EventType::ALL.iter().map(|kind| Members::wanted(*kind));
        assert_eq!(names(all.fold(Members::default(), Members::or)), Members::NAMES);
    }

    #[test]
    fn empty_stays_empty() {
        let mut out = Vec::new();
        Details::default().write(&IdTable::default(), &mut out);
        assert!(out.is_empty());
        assert!(Details::parse(b"[1]", &mut IdTable::default()).is_err());
    }
}
