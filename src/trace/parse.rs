//! One row of any format as a draft of a request: every value checked, nothing yet decided about
//! its place in the trace.

use std::borrow::Cow;

use super::error::{LENGTH_MAX, Problem};
use super::format::{Encoding, Field, TimeUnit};
use super::rows::{Cell, Row, RowError, excerpt};
use super::{DecimalError, MAX_LENGTH, decimal, hashed_run, private_prompt};
use crate::units::{Nanos, Priority, RequestId, TokenId, TokenRun, Tokens, push_run};

/// What the text of a row does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The unit of timestamps; `None` where they are dates.
    pub(super) unit: Option<TimeUnit>,
    /// Prompt tokens per hash id.
    pub(super) block: u32,
    /// Whether times may be negative because they are counted from the first row later.
    pub(super) rebased: bool,
}

/// A request as its row has it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: RequestId,
    /// Nanoseconds in the trace's own time.
    pub(super) time: Option<i64>,
    pub(super) delay: Option<Nanos>,
    pub(super) session: Option<String>,
    pub(super) input: Tokens,
    pub(super) output: Tokens,
    pub(super) max_tokens: Tokens,
    pub(super) priority: Priority,
    pub(super) abort_after: Option<Nanos>,
    pub(super) prompt: Vec<TokenRun>,
    /// Whether a time had digits below a nanosecond.
    pub(super) rounded: bool,
}

/// Reads `row`, the one numbered `ordinal`.
pub(super) fn parse(row: &Row<'_>, reading: Reading, ordinal: u32) -> Result<Draft, RowError> {
    let mut rounded = false;
    let time = match row.cell(Field::Timestamp) {
        Some(cell) => Some(timestamp(row, &cell, reading, &mut rounded)?),
        None => None,
    };
    let input = length(row, Field::Input)?;
    let output = length(row, Field::Output)?;
    let failed = output == 0;
    if let (0, false, Some(cell)) = (input, failed, row.cell(Field::Input)) {
        return Err(row.at(&cell, Problem::ZeroInput));
    }
    let max_tokens = match row.cell(Field::MaxTokens) {
        None => output,
        Some(cell) => match integer(row, &cell, LENGTH_MAX)? {
            0 if !failed => return Err(row.at(&cell, Problem::ZeroMaxTokens)),
            max => narrow(max),
        },
    };
    let content = content(row, reading.block, input)?;
    Ok(Draft {
        id: request_id(row, ordinal)?,
        time,
        delay: milliseconds(row, Field::Delay, &mut rounded)?,
        session: row.cell(Field::Session).map(|cell| name(row, &cell)).transpose()?,
        input: Tokens(input),
        output: Tokens(output),
        max_tokens: Tokens(max_tokens),
        priority: priority(row)?,
        abort_after: milliseconds(row, Field::AbortAfter, &mut rounded)?,
        prompt: content.unwrap_or_else(|| private_prompt(ordinal, Tokens(input))),
        rounded,
    })
}

fn request_id(row: &Row<'_>, ordinal: u32) -> Result<RequestId, RowError> {
    match row.cell(Field::RequestId) {
        Some(cell) => Ok(RequestId::from(name(row, &cell)?)),
        None => Ok(default_id(ordinal)),
    }
}

/// The name of a request that has none in the trace.
pub(super) fn default_id(ordinal: u32) -> RequestId {
    let mut buffer = itoa::Buffer::new();
    let mut id = String::with_capacity(11);
    id.push('r');
    id.push_str(buffer.format(ordinal));
    RequestId::from(id)
}

fn name(row: &Row<'_>, cell: &Cell<'_>) -> Result<String, RowError> {
    let wrong = || {
        let problem = Problem::WrongType { expected: "a name", found: found(row, cell) };
        row.at(cell, problem)
    };
    if row.encoding == Encoding::Csv {
        return Ok(cell.text.to_owned());
    }
    match cell.text.as_bytes().first() {
        Some(b'"') => {
            let name: Cow<'_, str> = serde_json::from_str(cell.text).map_err(|_| wrong())?;
            if name.is_empty() { Err(wrong()) } else { Ok(name.into_owned()) }
        }
        Some(b'-' | b'0'..=b'9') => Ok(cell.text.to_owned()),
        _ => Err(wrong()),
    }
}

/// A cell as an error shows it.
fn found(row: &Row<'_>, cell: &Cell<'_>) -> String {
    match (row.encoding, cell.text.as_bytes().first()) {
        (Encoding::Jsonl, Some(b'[')) => "a list".to_owned(),
        (Encoding::Jsonl, Some(b'{')) => "an object".to_owned(),
        _ => format!("`{}`", excerpt(cell.text)),
    }
}

fn number(
    row: &Row<'_>,
    cell: &Cell<'_>,
    text: &str,
    shift: i32,
) -> Result<decimal::Scaled, RowError> {
    decimal::scaled(text, shift).map_err(|error| {
        let problem = match error {
            DecimalError::NotANumber => {
                let found = if text.len() == cell.text.len() {
                    found(row, cell)
                } else {
                    format!("`{}`", excerpt(text))
                };
                Problem::WrongType { expected: "a number", found }
            }
            DecimalError::OutOfRange if text.starts_with('-') => Problem::Negative(excerpt(text)),
            DecimalError::OutOfRange => too_large(text, u64::MAX),
        };
        row.at(cell, problem)
    })
}

fn too_large(text: &str, max: u64) -> Problem {
    Problem::TooLarge { found: excerpt(text), max }
}

fn integer_text(row: &Row<'_>, cell: &Cell<'_>, text: &str, max: u64) -> Result<u64, RowError> {
    let read = number(row, cell, text, 0)?;
    if !read.exact {
        let found = format!("`{}`", excerpt(text));
        return Err(row.at(cell, Problem::WrongType { expected: "an integer", found }));
    }
    if read.value < 0 {
        return Err(row.at(cell, Problem::Negative(excerpt(text))));
    }
    match u64::try_from(read.value) {
        Ok(value) if value <= max => Ok(value),
        _ => Err(row.at(cell, too_large(text, max))),
    }
}

fn integer(row: &Row<'_>, cell: &Cell<'_>, max: u64) -> Result<u64, RowError> {
    integer_text(row, cell, cell.text, max)
}

fn length(row: &Row<'_>, field: Field) -> Result<u32, RowError> {
    match row.cell(field) {
        Some(cell) => Ok(narrow(integer(row, &cell, LENGTH_MAX)?)),
        None => Err(Problem::MissingValue.into()),
    }
}

/// A length that is known to be at most [`MAX_LENGTH`].
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(MAX_LENGTH)
}

fn priority(row: &Row<'_>) -> Result<Priority, RowError> {
    let Some(cell) = row.cell(Field::Priority) else { return Ok(Priority::default()) };
    let read = number(row, &cell, cell.text, 0)?;
    if !read.exact {
        let found = found(row, &cell);
        return Err(row.at(&cell, Problem::WrongType { expected: "an integer", found }));
    }
    match i64::try_from(read.value) {
        Ok(value) => Ok(Priority(value)),
        Err(_) => Err(row.at(&cell, too_large(cell.text, i64::MAX.unsigned_abs()))),
    }
}

/// A duration that is always in milliseconds, whatever the unit of timestamps.
fn milliseconds(
    row: &Row<'_>,
    field: Field,
    rounded: &mut bool,
) -> Result<Option<Nanos>, RowError> {
    let Some(cell) = row.cell(field) else { return Ok(None) };
    let time = nanoseconds(row, &cell, TimeUnit::Ms, rounded)?;
    match u64::try_from(time) {
        Ok(time) => Ok(Some(Nanos(time))),
        Err(_) => Err(row.at(&cell, Problem::Negative(excerpt(cell.text)))),
    }
}

fn nanoseconds(
    row: &Row<'_>,
    cell: &Cell<'_>,
    unit: TimeUnit,
    rounded: &mut bool,
) -> Result<i64, RowError> {
    let read = number(row, cell, cell.text, unit.shift())?;
    *rounded |= !read.exact;
    i64::try_from(read.value).map_err(|_| {
        let max = i64::MAX.unsigned_abs() / 10_u64.pow(unit.shift().unsigned_abs());
        row.at(cell, too_large(cell.text, max))
    })
}

fn timestamp(
    row: &Row<'_>,
    cell: &Cell<'_>,
    reading: Reading,
    rounded: &mut bool,
) -> Result<i64, RowError> {
    let Some(unit) = reading.unit else {
        return date(cell.text, rounded).ok_or_else(|| {
            let expected = "a date and time such as 2023-11-16 18:17:03.9799600";
            row.at(cell, Problem::WrongType { expected, found: found(row, cell) })
        });
    };
    let time = nanoseconds(row, cell, unit, rounded)?;
    if time < 0 && !reading.rebased {
        return Err(row.at(cell, Problem::Negative(excerpt(cell.text))));
    }
    Ok(time)
}

/// Reads `2023-11-16 18:17:03.9799600`, with or without a fraction and a zone, as nanoseconds
/// since 1970. A time without a zone is taken as UTC; only differences matter.
fn date(text: &str, rounded: &mut bool) -> Option<i64> {
    let bytes = text.as_bytes();
    let fixed = bytes.get(..19)?;
    let digits = |from: usize, to: usize| {
        fixed[from..to].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let signs = (fixed[4], fixed[7], fixed[10], fixed[13], fixed[16]);
    if !matches!(signs, (b'-', b'-', b' ' | b'T', b':', b':')) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let valid = (1700..2260).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let rest = text.get(19..)?;
    let zone_at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let nanos = match fraction.strip_prefix('.') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let read = decimal::scaled(fraction, 9).ok()?;
            *rounded |= !read.exact;
            i64::try_from(read.value).ok()?
        }
        None if fraction.is_empty() => 0,
        _ => return None,
    };
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset(zone)?;
    Some((minutes * 60 + second) * 1_000_000_000 + nanos)
}

/// The minutes that a zone such as `+00:00` is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.as_bytes() {
        [] | b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let two = |pair: &[u8]| match pair {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(i64::from((a - b'0') * 10 + (b - b'0'))),
        _ => None,
    };
    let (hours, minutes) = match digits {
        [h1, h2] => (two(&[*h1, *h2])?, 0),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (two(&[*h1, *h2])?, two(&[*m1, *m2])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years start in March, so that the
/// leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let era_days = year * 365 + year / 4 - year / 100 + year / 400;
    era_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The prompt's content, where the row has it.
fn content(row: &Row<'_>, block: u32, input: u32) -> Result<Option<Vec<TokenRun>>, RowError> {
    if let Some(cell) = row.cell(Field::HashIds) {
        return hash_ids(row, &cell, block, input);
    }
    match row.cell(Field::TokenIds) {
        Some(cell) => token_ids(row, &cell, input),
        None => Ok(None),
    }
}

/// The texts of a list's items: JSON, or separated by spaces.
fn items<'a>(
    row: &Row<'_>,
    cell: &Cell<'a>,
) -> Result<impl Iterator<Item = &'a str> + use<'a>, RowError> {
    let (list, json) = match (row.encoding, cell.text.as_bytes()) {
        (Encoding::Csv, _) => (cell.text, false),
        (Encoding::Jsonl, [b'[', .., b']']) => (cell.text[1..cell.text.len() - 1].trim(), true),
        _ => {
            let problem = Problem::WrongType { expected: "a list", found: found(row, cell) };
            return Err(row.at(cell, problem));
        }
    };
    let separated = move |c: char| if json { c == ',' } else { c.is_ascii_whitespace() };
    Ok(list.split(separated).map(str::trim).filter(move |item| json || !item.is_empty()).filter(
        // An empty JSON list has one empty piece.
        move |item| !(item.is_empty() && list.is_empty()),
    ))
}

/// A list item as an integer; digits alone are the rule, so they are read without detours.
fn item_value(row: &Row<'_>, cell: &Cell<'_>, item: &str) -> Result<u64, RowError> {
    const FAST: usize = 18;
    if !item.is_empty() && item.len() <= FAST && item.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(item.bytes().fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0')));
    }
    integer_text(row, cell, item, i64::MAX.unsigned_abs())
}

fn hash_ids(
    row: &Row<'_>,
    cell: &Cell<'_>,
    block: u32,
    input: u32,
) -> Result<Option<Vec<TokenRun>>, RowError> {
    let (mut prompt, mut count) = (Vec::new(), 0_u64);
    for item in items(row, cell)? {
        let id = item_value(row, cell, item)?;
        let start = count * u64::from(block);
        let len = u64::from(input).saturating_sub(start).min(u64::from(block));
        count += 1;
        let Some(run) = hashed_run(id, block, Tokens(narrow(len))) else {
            let max = (i64::MAX.unsigned_abs() - u64::from(block) + 1) / u64::from(block);
            return Err(row.at(cell, too_large(item, max)));
        };
        push_run(&mut prompt, run);
    }
    if count == 0 {
        return Ok(None);
    }
    let expected = u64::from(input.div_ceil(block));
    if count != expected {
        let fits = fitting_block(input, count);
        let problem = Problem::HashIdCount { found: count, expected, input, block, fits };
        return Err(row.at(cell, problem));
    }
    Ok(Some(prompt))
}

fn token_ids(
    row: &Row<'_>,
    cell: &Cell<'_>,
    input: u32,
) -> Result<Option<Vec<TokenRun>>, RowError> {
    let (mut prompt, mut count) = (Vec::new(), 0_u64);
    for item in items(row, cell)? {
        let id = item_value(row, cell, item)?;
        count += 1;
        push_run(&mut prompt, TokenRun { first: TokenId(id), len: Tokens(1) });
    }
    if count == 0 {
        return Ok(None);
    }
    if count != u64::from(input) {
        return Err(row.at(cell, Problem::TokenIdCount { found: count, input }));
    }
    Ok(Some(prompt))
}

/// A block size with which `count` hash ids cover `input` tokens: a power of two where one does.
fn fitting_block(input: u32, count: u64) -> Option<u32> {
    let (input, smallest) = (u64::from(input), u64::from(input).div_ceil(count).max(1));
    let power = smallest.next_power_of_two();
    let fits = |block: u64| input.div_ceil(block) == count;
    [power, smallest].into_iter().find(|block| fits(*block)).and_then(|b| u32::try_from(b).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_keep_every_digit() {
        let read = |text: &str| date(text, &mut false);
        assert_eq!(read("1970-01-01 00:00:00"), Some(0));
        assert_eq!(read("2023-11-16 18:17:03.9799600"), Some(1_700_158_623_979_960_000));
        assert_eq!(read("2024-05-10 00:00:00.009930+00:00"), Some(1_715_299_200_009_930_000));
        assert_eq!(read("2024-05-10T02:00:00+02:00"), read("2024-05-10 00:00:00Z"));
        assert_eq!(read("2024-02-29 00:00:00"), Some(1_709_164_800_000_000_000));
        for text in [
            "",
            "2023-02-29 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16 18:17:03.",
            "2023-11-16 18:17:03.1e5",
            "2023-11-16 18:17:03+1",
            "2023-11-16",
            "é023-11-16 18:17:03",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn block_sizes_that_fit() {
        assert_eq!(fitting_block(6758, 14), Some(512));
        assert_eq!(fitting_block(6758, 423), Some(16));
        assert_eq!(fitting_block(100, 1), Some(128));
        assert_eq!(fitting_block(10, 3), Some(4));
        assert_eq!(fitting_block(3, 7), None);
    }
}
