//! Requests that stand in one file under ids that are made from their own.

use std::collections::BTreeSet;

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::OTHER_SPELLING;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, RequestRow, Table, TransitionRow};

/// Spellings that are tried.
pub(super) const TRIED: usize = 16;
/// What stands before an ending that is another one for each request.
const BEFORE_ENDING: [char; 5] = ['-', '_', ':', '.', '/'];

/// How the ids of one file are made from those of per_request.csv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Prefix(String),
    Suffix(String),
    WithoutPrefix(String),
    WithoutSuffix(String),
    /// Between two texts.
    Around(String, String),
    /// Without those around it.
    Within(String, String),
    /// With the second text before it in place of the first.
    OtherPrefix(String, String),
    Upper,
    Lower,
    /// With an ending of its own for each.
    Ending,
    WithoutEnding,
    /// A number without the zeros that it begins with.
    WithoutZeros,
    /// A number with zeros before it, up to this many digits.
    Padded(usize),
    /// Only the first characters, so many.
    Cut(usize),
    /// Those of which per_request.csv has only so many characters.
    CutIn(usize),
}

fn is_number(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number without the zeros before it.
fn unpadded(id: &str) -> &str {
    let rest = id.trim_start_matches('0');
    if rest.is_empty() { &id[id.len() - 1..] } else { rest }
}

/// What stands before the number at the end of an id, and the number.
fn before_number(id: &str) -> Option<(&str, &str)> {
    let before = id.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &id[before.len()..];
    // What has digits of its own is another one for each request.
    let word = !before.is_empty() && before.bytes().all(|byte| !byte.is_ascii_digit());
    (word && !number.is_empty()).then_some((before, number))
}

/// The first characters of an id.
fn cut(id: &str, length: usize) -> &str {
    id.char_indices().nth(length).map_or(id, |(end, _)| &id[..end])
}

impl Spelling {
    /// How one id could have become another.
    pub(super) fn between(own: &str, other: &str) -> Vec<Self> {
        if own == other || own.is_empty() || other.is_empty() {
            return Vec::new();
        }
        let text = |rest: Option<&str>, kind: fn(String) -> Self| rest.map(str::to_owned).map(kind);
        let is = |holds: bool, spelling: Self| holds.then_some(spelling);
        let zeros = |long: &str, short: &str| is_number(long) && unpadded(long) == short;
        let length = own.chars().count();
        let around = |long: &str, short: &str, kind: fn(String, String) -> Self| {
            let (before, behind) = long.split_once(short)?;
            let both = !before.is_empty() && !behind.is_empty();
            both.then(|| kind(before.to_owned(), behind.to_owned()))
        };
        let other_prefix = || {
            let (own, number) = before_number(own)?;
            let (other, same) = before_number(other)?;
            (number == same).then(|| Self::OtherPrefix(own.to_owned(), other.to_owned()))
        };
        [
            is(zeros(own, other), Self::WithoutZeros),
            is(zeros(other, own), Self::Padded(other.len())),
            text(other.strip_prefix(own), Self::Suffix),
            text(other.strip_suffix(own), Self::Prefix),
            text(own.strip_prefix(other), Self::WithoutSuffix),
            text(own.strip_suffix(other), Self::WithoutPrefix),
            around(other, own, Self::Around),
            around(own, other, Self::Within),
            is(own.to_uppercase() == other, Self::Upper),
            is(own.to_lowercase() == other, Self::Lower),
            is(own.starts_with(other), Self::Cut(other.chars().count())),
            is(other.starts_with(own), Self::CutIn(length)),
            other_prefix(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The id of per_request.csv that is spelled so, as far as that can be told.
    pub(super) fn undo(&self, other: &str, own: &BTreeSet<&str>) -> Option<String> {
        let known = |id: &str| own.contains(id).then(|| id.to_owned());
        match self {
            Self::Prefix(text) => other.strip_prefix(text.as_str()).and_then(known),
            Self::Suffix(text) => other.strip_suffix(text.as_str()).and_then(known),
            Self::WithoutPrefix(text) => known(&format!("{text}{other}")),
            Self::WithoutSuffix(text) => known(&format!("{other}{text}")),
            Self::Around(before, behind) => {
                other.strip_prefix(before.as_str())?.strip_suffix(behind.as_str()).and_then(known)
            }
            Self::Within(before, behind) => known(&format!("{before}{other}{behind}")),
            Self::OtherPrefix(before, instead) => {
                let rest = other.strip_prefix(instead.as_str())?;
                known(&format!("{before}{rest}"))
            }
            Self::Upper => {
                own.iter().find(|id| id.to_uppercase() == other).map(|id| (*id).to_owned())
            }
            Self::Lower => {
                own.iter().find(|id| id.to_lowercase() == other).map(|id| (*id).to_owned())
            }
            Self::Ending => other.rsplit_once(BEFORE_ENDING).and_then(|(id, _)| known(id)),
            Self::WithoutEnding => {
                let ends = |id: &&&str| {
                    id.strip_prefix(other).is_some_and(|rest| rest.starts_with(BEFORE_ENDING))
                };
                own.iter().find(ends).map(|id| (*id).to_owned())
            }
            Self::WithoutZeros => own
                .iter()
                .find(|id| is_number(id) && unpadded(id) == other)
                .map(|id| (*id).to_owned()),
            Self::Padded(length) => {
                (other.len() == *length && is_number(other)).then(|| known(unpadded(other)))?
            }
            Self::Cut(length) => {
                let mut cut = own.iter().filter(|id| cut(id, *length) == other);
                // Of two that are one then, neither is known.
                cut.next().filter(|_| cut.next().is_none()).map(|id| (*id).to_owned())
            }
            Self::CutIn(length) => known(cut(other, *length)),
        }
    }

    /// Whether an id may be spelled so.
    fn is_of(&self, id: &str) -> bool {
        match self {
            Self::Prefix(text) | Self::OtherPrefix(_, text) => id.starts_with(text.as_str()),
            Self::Suffix(text) => id.ends_with(text.as_str()),
            Self::Around(before, behind) => {
                id.starts_with(before.as_str()) && id.ends_with(behind.as_str())
            }
            Self::Ending => id.contains(BEFORE_ENDING),
            Self::Upper => id.to_uppercase() == id,
            Self::Lower => id.to_lowercase() == id,
            Self::Padded(length) => id.len() == *length && is_number(id),
            Self::Cut(length) => id.chars().count() == *length,
            Self::WithoutPrefix(_)
            | Self::WithoutSuffix(_)
            | Self::WithoutEnding
            | Self::WithoutZeros
            | Self::Within(..)
            | Self::CutIn(_) => false,
        }
    }

    /// Whether only how long an id is makes it another.
    pub(super) const fn is_of_length(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::CutIn(_))
    }

    /// How the first ids are made from those that are spelled so.
    fn reversed(&self, example: &(String, String)) -> Self {
        match self.clone() {
            Self::Prefix(text) => Self::WithoutPrefix(text),
            Self::Suffix(text) => Self::WithoutSuffix(text),
            Self::WithoutPrefix(text) => Self::Prefix(text),
            Self::WithoutSuffix(text) => Self::Suffix(text),
            Self::Around(before, behind) => Self::Within(before, behind),
            Self::Within(before, behind) => Self::Around(before, behind),
            Self::OtherPrefix(before, instead) => Self::OtherPrefix(instead, before),
            Self::Upper => Self::Lower,
            Self::Lower => Self::Upper,
            Self::Ending => Self::WithoutEnding,
            Self::WithoutEnding => Self::Ending,
            Self::WithoutZeros => Self::Padded(example.0.len()),
            Self::Padded(_) => Self::WithoutZeros,
            Self::Cut(length) => Self::CutIn(length),
            Self::CutIn(length) => Self::Cut(length),
        }
    }

    /// "plus '-0'", for a sentence.
    pub(super) fn told(&self, example: &(String, String)) -> String {
        let (own, other) = example;
        match self {
            Self::Prefix(text) => format!("with '{text}' before them"),
            Self::Suffix(text) => format!("plus '{text}'"),
            Self::WithoutPrefix(text) => format!("without '{text}' before them"),
            Self::WithoutSuffix(text) => format!("without '{text}' behind them"),
            Self::Around(before, behind) => format!("between '{before}' and '{behind}'"),
            Self::Within(before, behind) => {
                format!("without '{before}' before them and '{behind}' behind them")
            }
            Self::OtherPrefix(before, instead) => {
                format!("with '{instead}' before their numbers in place of '{before}'")
            }
            Self::Upper => "in upper case".to_owned(),
            Self::Lower => "in lower case".to_owned(),
            Self::Ending => {
                format!("plus an ending that is another one for each ({own} is {other})")
            }
            Self::WithoutEnding => format!("without their endings ({own} is {other})"),
            Self::WithoutZeros => {
                format!(
                    "without the zeros that they begin with ({own} is {other}), as read as numbers"
                )
            }
            Self::Padded(length) => {
                format!("with zeros before them, up to {length} digits ({own} is {other})")
            }
            Self::Cut(length) => format!("cut to {length} characters ({own} is {other})"),
            Self::CutIn(_) => format!("with more characters behind them ({own} is {other})"),
        }
    }
}

const OTHERS: [Table; 3] = [Table::PerIterationRequests, Table::Events, Table::StateTransitions];

/// A file with other ids: which requests it lacks, how it spells them, and one of them with what it is there.
struct Odd<'n> {
    table: Table,
    named: BTreeSet<&'n str>,
    spelling: Spelling,
    example: (String, String),
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let mut odd: Vec<Odd<'_>> = Vec::new();
    for table in OTHERS {
        let of_table = |seen: &Seen<'_>| {
            seen.rule == "X001" && seen.finding.message.starts_with(table.file_name())
        };
        let named: BTreeSet<&str> =
            board.open().filter(of_table).filter_map(|seen| seen.request()).collect();
        if let Some((spelling, example)) = of_file(dir, table, &named)? {
            odd.push(Odd { table, named, spelling, example });
        }
    }
    let there = OTHERS.iter().filter(|table| dir.file(**table).is_some()).count();
    match odd.as_slice() {
        // Then it is per_request.csv that differs from all others.
        [first, rest @ ..]
            if odd.len() == there && rest.iter().any(|it| it.spelling == first.spelling) =>
        {
            let (own, other) = first.example.clone();
            let told = first.spelling.reversed(&first.example).told(&(other, own));
            let text = format!("ids of per_request.csv are those of the other files {told}");
            claim(board, &odd.iter().collect::<Vec<_>>(), text);
        }
        _ => {
            for file in &odd {
                let told = file.spelling.told(&file.example);
                let text = format!("ids of {} are those of per_request.csv {told}", file.table);
                claim(board, &[file], text);
            }
        }
    }
    Some(())
}

pub(super) fn ids(dir: &LogDir, table: Table, mut see: impl FnMut(&str)) -> Option<()> {
    match table {
        Table::PerRequest => each::<RequestRow>(dir, |row| Some(row.request_id), |_, id| see(id)),
        Table::PerIterationRequests => {
            each::<IterationRequestRow>(dir, |row| Some(row.request_id), |_, id| see(id))
        }
        Table::Events => each::<EventRow>(dir, |row| row.request_id, |_, id| see(id)),
        Table::StateTransitions => {
            each::<TransitionRow>(dir, |row| Some(row.request_id), |_, id| see(id))
        }
        Table::PerIteration => Some(()),
    }
}

/// How the file spells all of these, and one of them with what it is there.
fn of_file(
    dir: &LogDir,
    table: Table,
    named: &BTreeSet<&str>,
) -> Option<Option<(Spelling, (String, String))>> {
    let Some(first) = named.first() else { return Some(None) };
    let mut tried = Vec::new();
    let mut note = |spelling: Spelling| {
        if tried.len() < TRIED && !tried.contains(&spelling) {
            tried.push(spelling);
        }
    };
    ids(dir, table, |id| Spelling::between(first, id).into_iter().for_each(&mut note))?;
    [Spelling::Ending, Spelling::WithoutEnding].into_iter().for_each(note);
    // What one mistake makes of all ids comes before what many could be.
    tried.sort_by_key(Spelling::is_of_length);
    for spelling in tried {
        let mut open = named.clone();
        let mut others = BTreeSet::new();
        let mut example = None;
        ids(dir, table, |id| {
            if let Some(own) = spelling.undo(id, named).filter(|own| open.remove(own.as_str())) {
                others.insert(id.to_owned());
                example.get_or_insert((own, id.to_owned()));
            }
        })?;
        // One that is a request of its own is nobody else.
        let mut taken = false;
        if open.is_empty() {
            ids(dir, Table::PerRequest, |id| taken |= others.contains(id))?;
        }
        if let Some(example) = example.filter(|_| open.is_empty() && !taken) {
            return Some(Some((spelling, example)));
        }
    }
    Some(None)
}

/// Rules of the columns of one row of per_request.csv.
pub(super) const WITHIN_ROWS: &[&str] = &["M001", "M002", "M008", "M009", "C005", "K008"];

fn claim(board: &mut Board<'_, '_>, files: &[&Odd<'_>], text: String) {
    let theirs = |id: &str| {
        files.iter().any(|file| {
            let spelled = file.spelling.is_of(id) || file.spelling.undo(id, &file.named).is_some();
            file.named.contains(id) || spelled
        })
    };
    let explains = |seen: &Seen<'_>| match seen.request() {
        Some(_) if seen.rule == "X005" => true,
        Some(id) => theirs(id) && !seen.is(WITHIN_ROWS),
        // What a request took and gave back is counted under its ids.
        None => seen.is(&["X005", "C008", "C010"]),
    };
    let lead = &["X001"];
    board.claim(Claim { cause: OTHER_SPELLING, text, lead, explains: Box::new(explains) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_told_and_undone() {
        for (own, other) in [
            ("r1", "r1-0"),
            ("r1", "cmpl-r1"),
            ("cmpl-r1", "r1"),
            ("r1-0", "r1"),
            ("r1", "cmpl-r1-0"),
            ("cmpl-r1-0", "r1"),
            ("r1", "R1"),
            ("R1", "r1"),
            ("0010", "10"),
            ("000", "0"),
            ("10", "0010"),
            ("8f3a21bc90", "8f3a21"),
            ("8f3a21", "8f3a21bc90"),
            ("r10", "req-10"),
        ] {
            let spellings = Spelling::between(own, other);
            assert!(!spellings.is_empty(), "{own} {other}");
            for spelling in spellings {
                let known = [own, "x"].into_iter().collect();
                assert_eq!(spelling.undo(other, &known).as_deref(), Some(own), "{spelling:?}");
            }
        }
        assert_eq!(Spelling::between("r1", "r2"), []);
        let known = ["r1-8f3a"].into_iter().collect();
        assert_eq!(Spelling::WithoutEnding.undo("r1", &known).as_deref(), Some("r1-8f3a"));
        let known = ["r1"].into_iter().collect();
        assert_eq!(Spelling::Ending.undo("r1-8f3a", &known).as_deref(), Some("r1"));
        assert_eq!(Spelling::Ending.undo("r12", &known), None);
        let known = ["8f3a21", "8f3b77"].into_iter().collect();
        assert_eq!(Spelling::Cut(4).undo("8f3a", &known).as_deref(), Some("8f3a21"));
        assert_eq!(Spelling::Cut(3).undo("8f3", &known), None);
    }
}
