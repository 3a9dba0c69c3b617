//! How one value stands in a CSV field: reading it and writing it, inverse to each other.

use std::fmt;

use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::scan::Cursor;
use crate::log::sink::Sink;
use crate::log::values::{ActionSet, EventType, FinishReason, State, WaitingReason};
use crate::units::{Blocks, Bytes, IterationId, Nanos, Priority, Requests, Tokens};

/// Why a field could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Nothing where a value is required.
    #[error("is empty, but a value is required")]
    Empty,
    /// Not a number at all.
    #[error("is not a whole number")]
    NotANumber,
    /// A number with a fraction where only whole numbers are allowed.
    #[error("is a decimal, but a whole number of its unit is required")]
    Fraction,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// Larger than the type of the column.
    #[error("is out of range (at most {0})")]
    Overflow(u64),
    /// Not one of the words of the vocabulary.
    #[error("is not a known {0}")]
    Unknown(&'static str),
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// Not a JSON object.
    #[error("is not a JSON object: {0}")]
    NotJson(String),
}

/// A value of one column.
pub trait Field: Sized {
    /// What the column holds, for documentation.
    const KIND: &'static str;
    /// Whether an empty field is a value (`None`).
    const OPTIONAL: bool = false;

    /// Reads the (unquoted) field.
    ///
    /// # Errors
    /// Says why the text is not a value of this column.
    fn parse(text: &[u8], ids: &mut IdTable) -> Result<Self, FieldError>;

    /// Reads the field by the [short cut](crate::log::scan), up to its end; None if it is not an
    /// ordinary one, or if there is no short cut for its kind. A request's id only leaves its place
    /// in the cursor.
    #[inline(always)]
    fn scan(_: &mut Cursor<'_>) -> Option<Self> {
        None
    }

    /// Puts the key of a request in the place that [`scan`](Self::scan) left open.
    #[inline(always)]
    fn set_request(&mut self, _: RequestKey) {}

    /// What stands for the field in a file without its column.
    #[inline(always)]
    fn absent() -> Option<Self> {
        None
    }

    /// Appends the field, quoted where CSV needs it.
    fn write<I: Ids + ?Sized, O: Sink>(&self, ids: &I, out: &mut O);
}

/// The numbers below a thousand: in the lowest three bytes with as many digits as they have (how many, in
/// the highest byte), in the next three with leading zeros.
static SHORT: [u64; 1000] = {
    let (mut short, mut value) = ([0; 1000], 0);
    while value < 1000 {
        let digits = 0x30_3030 + value / 100 + ((value / 10 % 10) << 8) + ((value % 10) << 16);
        let length = 1 + (value > 9) as u64 + (value > 99) as u64;
        short[value as usize] = length << 56 | digits << 24 | digits >> (8 * (3 - length));
        value += 1;
    }
    short
};

/// Appends a number in decimal. Nearly all of a log is numbers; three digits at a time need few divisions,
/// and a table that fits the first-level cache.
#[inline(always)]
pub(super) fn write_unsigned<O: Sink>(value: u64, out: &mut O) {
    const THOUSAND: u64 = 1_000;
    const MILLION: u64 = 1_000_000;
    const BILLION: u64 = 1_000_000_000;
    let three = |value: u64, out: &mut O| {
        out.put_word(SHORT[(value % THOUSAND) as usize] >> 24, 3);
    };
    let first = |value: u64, out: &mut O| {
        let short = SHORT[(value % THOUSAND) as usize];
        out.put_word(short, (short >> 56) as usize);
    };
    if value < THOUSAND {
        first(value, out);
    } else if value < MILLION {
        first(value / THOUSAND, out);
        three(value, out);
    } else if value < BILLION {
        first(value / MILLION, out);
        three(value / THOUSAND, out);
        three(value, out);
    } else if value < THOUSAND * BILLION {
        first(value / BILLION, out);
        three(value / MILLION, out);
        three(value / THOUSAND, out);
        three(value, out);
    } else {
        out.put(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Reads an unsigned decimal that is at most `max`.
fn parse_unsigned(text: &[u8], max: u64) -> Result<u64, FieldError> {
    if text.is_empty() {
        return Err(FieldError::Empty);
    }
    let mut value: u64 = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(explain_number(text));
        }
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(digit)))
            .ok_or(FieldError::Overflow(max))?;
    }
    if value > max { Err(FieldError::Overflow(max)) } else { Ok(value) }
}

/// Names what is wrong with a text that is not an unsigned decimal.
#[cold]
fn explain_number(text: &[u8]) -> FieldError {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    match number {
        Some(value) if value < 0.0 => FieldError::Negative,
        Some(value) if value.is_finite() && text.contains(&b'.') => FieldError::Fraction,
        _ => FieldError::NotANumber,
    }
}

/// A number that is read by the [short cut](crate::log::scan).
trait Scanned: Sized {
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self>;
}

impl Scanned for u32 {
    #[inline(always)]
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        cursor.short_number()
    }
}

impl Scanned for u64 {
    #[inline(always)]
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        cursor.number()
    }
}

macro_rules! unsigned_field {
    ($($name:ident($inner:ty) = $kind:literal;)*) => { $(
        impl Field for $name {
            const KIND: &'static str = $kind;

            fn parse(text: &[u8], _: &mut IdTable) -> Result<Self, FieldError> {
                // parse_unsigned bounds the value by the type's own maximum.
                parse_unsigned(text, u64::from(<$inner>::MAX)).map(|value| Self(value as $inner))
            }

            #[inline(always)]
            fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
                <$inner as Scanned>::scan(cursor).map(Self)
            }

            #[inline(always)]
            fn write<I: Ids + ?Sized, O: Sink>(&self, _: &I, out: &mut O) {
                write_unsigned(u64::from(self.0), out);
            }
        }
    )* };
}

unsigned_field! {
    Nanos(u64) = "nanoseconds";
    Tokens(u32) = "tokens";
    Blocks(u32) = "blocks";
    Requests(u32) = "requests";
    IterationId(u64) = "ordinal";
    Bytes(u64) = "bytes";
}

/// A count of events in the life of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u32);

unsigned_field! { Count(u32) = "count"; }

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of a request in its queue: 0, 1, 2, …; -1 in some dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition(pub i32);

pub(super) fn parse_signed(text: &[u8]) -> Result<i64, FieldError> {
    match text.split_first() {
        Some((b'-', digits)) => {
            // The bound is below i64::MAX, so the negation cannot overflow.
            parse_unsigned(digits, i64::MAX as u64).map(|value| -(value as i64))
        }
        _ => parse_unsigned(text, i64::MAX as u64).map(|value| value as i64),
    }
}

impl Field for QueuePosition {
    const KIND: &'static str = "index";

    fn parse(text: &[u8], _: &mut IdTable) -> Result<Self, FieldError> {
        let value = parse_signed(text)?;
        if value < -1 {
            return Err(FieldError::Negative);
        }
        i32::try_from(value).map(Self).map_err(|_| FieldError::Overflow(i32::MAX as u64))
    }

    #[inline(always)]
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        if cursor.is_negative() {
            cursor.skip();
            return (cursor.short_number()? == 1).then_some(Self(-1));
        }
        i32::try_from(cursor.short_number()?).ok().map(Self)
    }

    #[inline(always)]
    fn write<I: Ids + ?Sized, O: Sink>(&self, _: &I, out: &mut O) {
        match u64::try_from(self.0) {
            Ok(position) => write_unsigned(position, out),
            Err(_) => out.put(itoa::Buffer::new().format(self.0).as_bytes()),
        }
    }
}

impl Field for Priority {
    const KIND: &'static str = "priority";

    fn parse(text: &[u8], _: &mut IdTable) -> Result<Self, FieldError> {
        parse_signed(text).map(Self)
    }

    #[inline(always)]
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        let negative = cursor.is_negative();
        if negative {
            cursor.skip();
        }
        let number = i64::try_from(cursor.number()?).ok()?;
        Some(Self(if negative { -number } else { number }))
    }

    fn write<I: Ids + ?Sized, O: Sink>(&self, _: &I, out: &mut O) {
        out.put(itoa::Buffer::new().format(self.0).as_bytes());
    }
}

macro_rules! word_field {
    ($($name:ident = $kind:literal;)*) => { $(
        impl Field for $name {
            const KIND: &'static str = $kind;

            fn parse(text: &[u8], _: &mut IdTable) -> Result<Self, FieldError> {
                if text.is_empty() {
                    return Err(FieldError::Empty);
                }
                Self::from_bytes(text).ok_or(FieldError::Unknown($kind))
            }

            #[inline(always)]
            fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
                Self::from_bytes(cursor.run()?)
            }

            #[inline(always)]
            fn write<I: Ids + ?Sized, O: Sink>(&self, _: &I, out: &mut O) {
                out.put(self.as_str().as_bytes());
            }
        }
    )* };
}

word_field! {
    State = "state";
    WaitingReason = "waiting reason";
    EventType = "event type";
    FinishReason = "finish reason";
}

impl Field for ActionSet {
    const KIND: &'static str = "scheduler action";

    fn parse(text: &[u8], _: &mut IdTable) -> Result<Self, FieldError> {
        if text.is_empty() {
            return Err(FieldError::Empty);
        }
        Self::from_bytes(text).ok_or(FieldError::Unknown("scheduler action"))
    }

    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        Self::from_bytes(cursor.run()?)
    }

    fn write<I: Ids + ?Sized, O: Sink>(&self, _: &I, out: &mut O) {
        out.put(self.to_string().as_bytes());
    }
}

impl Field for RequestKey {
    const KIND: &'static str = "request id";

    fn parse(text: &[u8], ids: &mut IdTable) -> Result<Self, FieldError> {
        if text.is_empty() {
            return Err(FieldError::Empty);
        }
        std::str::from_utf8(text).map(|name| ids.intern(name)).map_err(|_| FieldError::NotUtf8)
    }

    #[inline(always)]
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        cursor.take_name()?;
        Some(Self(u32::MAX))
    }

    #[inline(always)]
    fn set_request(&mut self, key: RequestKey) {
        *self = key;
    }

    #[inline(always)]
    fn write<I: Ids + ?Sized, O: Sink>(&self, ids: &I, out: &mut O) {
        out.put(ids.field(*self));
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: &'static str = T::KIND;
    const OPTIONAL: bool = true;

    fn parse(text: &[u8], ids: &mut IdTable) -> Result<Self, FieldError> {
        if text.is_empty() { Ok(None) } else { T::parse(text, ids).map(Some) }
    }

    #[inline(always)]
    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        if cursor.is_empty() { Some(None) } else { T::scan(cursor).map(Some) }
    }

    #[inline(always)]
    fn set_request(&mut self, key: RequestKey) {
        if let Some(value) = self {
            value.set_request(key);
        }
    }

    #[inline(always)]
    fn absent() -> Option<Self> {
        Some(None)
    }

    #[inline(always)]
    fn write<I: Ids + ?Sized, O: Sink>(&self, ids: &I, out: &mut O) {
        if let Some(value) = self {
            value.write(ids, out);
        }
    }
}

/// Whether a text has a comma, a quote or a line break, so that a CSV field of it is quoted.
#[must_use]
pub fn needs_quotes(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr3(b',', b'"', b'\n', bytes).or_else(|| memchr::memchr(b'\r', bytes)).is_some()
}

/// Appends a text field, quoted if need be.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if !needs_quotes(text) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Field>(text: &str) -> Result<T, FieldError> {
        T::parse(text.as_bytes(), &mut IdTable::default())
    }

    #[test]
    fn numbers_say_what_is_wrong_with_them() {
        assert_eq!(read::<Nanos>("18446744073709551615"), Ok(Nanos(u64::MAX)));
        assert_eq!(read::<Nanos>("18446744073709551616"), Err(FieldError::Overflow(u64::MAX)));
        assert_eq!(read::<Tokens>("4294967296"), Err(FieldError::Overflow(u64::from(u32::MAX))));
        assert_eq!(read::<Tokens>("-3"), Err(FieldError::Negative));
        assert_eq!(read::<Tokens>("1.5"), Err(FieldError::Fraction));
        assert_eq!(read::<Tokens>("1e4"), Err(FieldError::NotANumber));
        assert_eq!(read::<Tokens>("seven"), Err(FieldError::NotANumber));
        assert_eq!(read::<Tokens>(""), Err(FieldError::Empty));
        assert_eq!(read::<Option<Tokens>>(""), Ok(None));
        assert_eq!(read::<QueuePosition>("-1"), Ok(QueuePosition(-1)));
        assert_eq!(read::<QueuePosition>("-2"), Err(FieldError::Negative));
        assert_eq!(read::<Priority>("-7"), Ok(Priority(-7)));
    }

    #[test]
    fn numbers_are_written_like_any_number() {
        let mut written = Vec::new();
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power.wrapping_mul(7)]);
        let spread = (0..64).flat_map(|bits| [u64::MAX >> bits, 0x9e37_79b9_7f4a_7c15 >> bits]);
        for value in
            (0..200_000).chain((0..10_000).map(|value| value * 10_001)).chain(around).chain(spread)
        {
            written.clear();
            write_unsigned(value, &mut written);
            assert_eq!(written, value.to_string().as_bytes());
        }
    }

    #[test]
    fn text_is_quoted_only_where_csv_needs_it() {
        let mut out = Vec::new();
        write_text("plain-id", &mut out);
        out.push(b'|');
        write_text("a,\"b\"\nc", &mut out);
        assert_eq!(out, b"plain-id|\"a,\"\"b\"\"\nc\"");
    }
}
