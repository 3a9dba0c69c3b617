//! One row of any format as a draft of a request: every value checked, nothing yet decided about
//! its place in the trace.

use std::borrow::Cow;

use super::error::{LENGTH_MAX, Problem};
use super::format::{Encoding, Field, TimeUnit};
use super::rows::{Cell, Row, RowError, excerpt};
use super::{DecimalError, MAX_LENGTH, date, decimal, hashed_run, private_prompt};
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
        return date::nanoseconds(cell.text, rounded).ok_or_else(|| {
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
    fn block_sizes_that_fit() {
        assert_eq!(fitting_block(6758, 14), Some(512));
        assert_eq!(fitting_block(6758, 423), Some(16));
        assert_eq!(fitting_block(100, 1), Some(128));
        assert_eq!(fitting_block(10, 3), Some(4));
        assert_eq!(fitting_block(3, 7), None);
    }
}
