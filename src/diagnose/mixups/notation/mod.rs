//! Values that are there, but as pandas, Python or a spreadsheet writes them.
//!
//! A row is read up to the first field that is no value of its column, and is lost then; what one
//! notation does to all rows of a file is told once, with what to write instead.

mod fields;
mod fractions;
mod headers;
mod negatives;
mod renamed;
mod shares;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::OTHER_NOTATION;
use crate::diagnose::mixups::notation::fields::{Json, Number};
use crate::diagnose::mixups::notation::fractions::Fractions;
use crate::diagnose::mixups::notation::shares::Shares;
use crate::diagnose::mixups::notation::words::Spelled;
use crate::log::field::Field;
use crate::log::schema::{Column, Table};
use crate::units::Nanos;

/// How a field that cannot be read is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Notation {
    Header,
    Spaces,
    Nothing,
    Decimal,
    Exponent,
    Thousands,
    LongerUnit,
    CalendarSeconds,
    Share,
    Percent,
    Date,
    Clock,
    Word(Spelled),
    Details(Json),
}

/// Fields of one notation.
struct Written {
    places: BTreeSet<(Table, &'static str)>,
    /// The first of them, and what it stands for, if that can be told.
    example: (String, Option<String>),
    lines: Vec<(Table, u64)>,
}

type Place = (Table, &'static str);

/// Places and lines that are listed.
const LISTED: usize = 3;

pub(super) fn find(board: &mut Board<'_, '_>) {
    Table::ALL.into_iter().for_each(|table| spaced_header(board, table));
    headers::find(board);
    Table::ALL.into_iter().for_each(|table| renamed::find(board, table));
    negatives::find(board);
    let units = units(board);
    let broken = broken(board, &units);
    let notation = |seen: &Seen<'_>| {
        let of_broken = field(seen).is_some_and(|(place, ..)| broken.contains(&place));
        notation(seen, &units).filter(|(kind, _)| *kind != Notation::Decimal || !of_broken)
    };
    let mut all: BTreeMap<Notation, Written> = BTreeMap::new();
    for seen in board.open() {
        let Some((notation, meant)) = notation(&seen) else { continue };
        let Some(mark) = &seen.finding.primary else { continue };
        let text = || seen.finding.actual.clone().unwrap_or_default();
        let written = all.entry(notation).or_insert_with(|| Written {
            places: BTreeSet::new(),
            example: (text(), meant.clone()),
            lines: Vec::new(),
        });
        // A number that is 0 shows little of how it is written, and one without a fraction nothing of its unit.
        let shows = |text: &str| match notation {
            Notation::LongerUnit => shows(text) && fields::fraction(text).is_some(),
            _ => shows(text),
        };
        if !shows(&written.example.0) && shows(&text()) {
            written.example = (text(), meant);
        }
        written.places.insert((mark.at.table, mark.column.unwrap_or("details")));
        written.lines.push((mark.at.table, mark.at.line));
    }
    for (kind, written) in &all {
        let files: BTreeSet<Table> = written.places.iter().map(|(table, _)| *table).collect();
        let explains = |seen: &Seen<'_>| match seen.rule {
            // The rows at the end were lost with all others.
            "X005" => {
                files.iter().any(|it| {
                    let named = seen.finding.message.starts_with(it.file_name());
                    named || *it == Table::PerRequest && lacks_ends(seen)
                }) && *kind != Notation::Header
            }
            _ => notation(seen).is_some_and(|(notation, _)| notation == *kind),
        };
        let lead = &["F003", "F006", "F002"];
        let text = kind.told(written);
        board.claim(Claim { cause: OTHER_NOTATION, text, lead, explains: Box::new(explains) });
    }
}

/// Whether it is found that requests have no row in per_request.csv.
fn lacks_ends(seen: &Seen<'_>) -> bool {
    seen.rule == "X005" && seen.finding.message.ends_with("no row in per_request.csv")
}

/// Whether the text is more than a 0.
fn shows(text: &str) -> bool {
    text.parse::<f64>() != Ok(0.0)
}

/// The column that a finding is about, and its text.
fn field<'s>(seen: &Seen<'s>) -> Option<(Place, &'static Column, &'s str)> {
    let mark = seen.finding.primary.as_ref()?;
    let schema = mark.at.table.schema();
    let column = &schema.columns[schema.column(mark.column?)?];
    Some(((mark.at.table, column.name), column, seen.finding.actual.as_deref()?))
}

/// Columns of counts of which some have a fraction: these are no counts, however the others are written.
fn broken(board: &Board<'_, '_>, units: &BTreeMap<Place, Notation>) -> BTreeSet<Place> {
    let fields = board.open().filter(|seen| seen.rule == "F003").filter_map(|seen| field(&seen));
    let fields = fields.filter(|(place, ..)| !units.contains_key(place));
    let is_broken = |(_, column, text): &(Place, &Column, &str)| {
        column.kind != Nanos::KIND && matches!(fields::number(text), Some(Number::Fraction(_)))
    };
    fields.filter(is_broken).map(|(place, ..)| place).collect()
}

/// Columns of numbers with a fraction, and what their unit may be.
fn units(board: &Board<'_, '_>) -> BTreeMap<Place, Notation> {
    let mut columns: BTreeMap<Place, Fractions> = BTreeMap::new();
    let mut shares: BTreeMap<Place, Shares> = BTreeMap::new();
    let fields = board.open().filter(|seen| seen.rule == "F003").filter_map(|seen| field(&seen));
    for (place, column, text) in fields {
        if column.kind == Nanos::KIND {
            columns.entry(place).or_default().see(text);
        } else if place == shares::USED {
            shares.entry(place).or_default().see(text);
        }
    }
    let of_times = columns.into_iter().filter_map(|(place, it)| Some((place, it.unit(place)?)));
    of_times.chain(shares.into_iter().filter_map(|(place, it)| Some((place, it.of()?)))).collect()
}

/// How the field of a finding is written, and which word it stands for.
fn notation(
    seen: &Seen<'_>,
    units: &BTreeMap<Place, Notation>,
) -> Option<(Notation, Option<String>)> {
    if seen.rule == "F002" {
        let text =
            seen.finding.actual.as_deref().filter(|_| seen.table() == Some(Table::Events))?;
        return Some((Notation::Details(fields::json_of_line(text)?), None));
    }
    if !seen.is(&["F003", "F006"]) {
        return None;
    }
    let (place, column, text) = field(seen)?;
    let trimmed = text.trim_matches([' ', '\t']);
    if text == column.name {
        return Some((Notation::Header, None));
    }
    if column.name == "details" {
        let json = fields::json(text).map(|json| (Notation::Details(json), None));
        return json.or_else(|| fields::is_nothing(text).then_some((Notation::Nothing, None)));
    }
    if trimmed != text && !trimmed.is_empty() {
        return Some((Notation::Spaces, None));
    }
    if fields::is_nothing(text) {
        return Some((Notation::Nothing, None));
    }
    if seen.rule == "F006" {
        let (how, meant) = words::word(column, text)?;
        return Some((Notation::Word(how), Some(meant)));
    }
    let is_time = column.kind == Nanos::KIND;
    let notation = match fields::number(text) {
        Some(_) if units.contains_key(&place) => units[&place],
        Some(Number::Whole) => Notation::Decimal,
        Some(Number::Exponent) => Notation::Exponent,
        _ if fields::is_grouped(text) => Notation::Thousands,
        _ if is_time && fields::is_date(text) => Notation::Date,
        _ if is_time && fields::is_clock(text) => Notation::Clock,
        _ => return None,
    };
    Some((notation, None))
}

impl Notation {
    /// What is written how, and what to write instead.
    fn told(self, written: &Written) -> String {
        let example = &written.example.0;
        let column = columns(&written.places);
        let optional = |(table, name): &Place| {
            let schema = table.schema();
            schema.column(name).is_some_and(|column| schema.columns[column].optional)
        };
        let is = if written.places.len() == 1 { "is" } else { "are" };
        match self {
            Self::Header => {
                let lines = lines(&written.lines);
                format!(
                    "the header stands once more in {lines}, as where a file is opened anew and the header \
                     is written each time: write it only into a file that is empty"
                )
            }
            Self::Spaces => format!(
                "fields have spaces around them ('{example}' in {column}): a comma alone separates fields"
            ),
            Self::Nothing => format!(
                "{example} stands in {column} where there is no value: leave such a field empty (to_csv \
                 with na_rep=\"\", csv.writer with None itself)"
            ),
            Self::Decimal if written.places.iter().any(optional) => format!(
                "{column} {is} written as a decimal ({example}), which pandas makes of whole numbers in a \
                 column that has empty fields: convert such columns with .astype(\"Int64\") before to_csv"
            ),
            Self::Decimal => format!(
                "{column} {is} written as a decimal ({example}), so the number was a float: write \
                 int(value)"
            ),
            Self::Exponent => format!(
                "{column} {is} written with an exponent ({example}), as floats are, and may have lost \
                 digits: write all digits of a whole number"
            ),
            Self::Thousands => format!(
                "{column} {is} written with a separator between thousands ({example}): write the digits \
                 alone"
            ),
            Self::LongerUnit => format!(
                "{column} {is} written in a unit longer than a nanosecond, with a fraction ({example}), as \
                 time.perf_counter() counts seconds: write whole nanoseconds, as time.perf_counter_ns() \
                 counts them"
            ),
            Self::CalendarSeconds => format!(
                "{column} {is} written in seconds since 1970 ({example}), as time.time() counts them: write \
                 whole nanoseconds since the scheduler started, time.time_ns() less that of the start"
            ),
            Self::Share => format!(
                "{column} {is} written as a share of the cache ({example}), as vLLM's metrics have it: write how \
                 many blocks are in use"
            ),
            Self::Percent => format!(
                "{column} {is} written as a percentage of the cache ({example}): write how many blocks are in use"
            ),
            Self::Date => format!(
                "{column} {is} written as a date ({example}): write whole nanoseconds since the scheduler \
                 started"
            ),
            Self::Clock => format!(
                "{column} {is} written in hours, minutes and seconds ({example}): write whole nanoseconds"
            ),
            Self::Word(how) => {
                let meant = written.example.1.as_deref().unwrap_or_default();
                match how {
                    Spelled::Enum => format!(
                        "{column} {is} written as Python prints a member of an enum ({example}): write \
                         {meant}, in lower case and without the name of the class"
                    ),
                    Spelled::Otherwise => {
                        format!("{column} {is} written in other letters ({example}): write {meant}")
                    }
                    Spelled::Status => format!(
                        "{column} has the names that vLLM gives to the status of a request ({example}): \
                         write {meant}"
                    ),
                    Spelled::Joined => format!(
                        "{column} joins several words otherwise than by ';' ({example}): write {meant}"
                    ),
                }
            }
            Self::Details(how) => match how {
                Json::Dict => format!(
                    "details is written as Python prints a dict ({example}): write JSON, as json.dumps() \
                     does"
                ),
                Json::Backslashes => {
                    "quotes in details are escaped by backslashes: CSV doubles them, as \
                     csv.writer and to_csv do without an escapechar"
                        .to_owned()
                }
                Json::QuotedNumbers => format!(
                    "numbers in details stand in quotes ({example}): write them without, as json.dumps() writes \
                     an int"
                ),
                Json::SingleQuotes => {
                    "details stands in single quotes: CSV knows double ones only, and \
                     doubles those within, as csv.writer does"
                        .to_owned()
                }
                Json::Unquoted => {
                    "details stands in no quotes, and each comma in it separates fields: \
                     write it in double quotes, with those within doubled, as csv.writer does"
                        .to_owned()
                }
            },
        }
    }
}

/// "state of events.csv, and others", for a sentence.
fn columns(places: &BTreeSet<Place>) -> String {
    let named: Vec<_> =
        places.iter().take(LISTED).map(|(table, column)| format!("{column} of {table}")).collect();
    match (named.as_slice(), places.len() > LISTED) {
        ([one], _) => one.clone(),
        ([first @ .., last], false) => format!("{} and {last}", first.join(", ")),
        (_, _) => format!("{} and others", named.join(", ")),
    }
}

/// "line 7 of events.csv", for a sentence.
fn lines(all: &[(Table, u64)]) -> String {
    let named: Vec<_> =
        all.iter().take(LISTED).map(|(table, line)| format!("line {line} of {table}")).collect();
    let rest = if all.len() > LISTED { " and others" } else { "" };
    format!("{}{rest}", named.join(", "))
}

/// A header whose names have something before or behind them that is none of their own.
fn spaced_header(board: &mut Board<'_, '_>, table: Table) {
    let of_header = |seen: &Seen<'_>| {
        seen.rule == "F001" && seen.finding.message.starts_with(&format!("{table}: "))
    };
    let schema = table.schema();
    let all = board.all().filter(of_header);
    let unknown: Vec<&str> = all
        .filter(|seen| seen.column().is_none())
        .filter_map(|seen| seen.finding.actual.as_deref())
        .collect();
    let meant = |trim: fn(&str) -> &str| {
        let is = |name: &&str| trim(name) != *name && schema.column(trim(name)).is_some();
        unknown.iter().find(|name| is(name)).copied()
    };
    let text = if let Some(name) = meant(str::trim) {
        format!(
            "names of columns in {table} have spaces around them ('{name}'): a comma alone separates \
             fields"
        )
    } else if let Some(name) = meant(|name| name.trim_start_matches('#').trim()) {
        format!(
            "the header of {table} begins as a comment ('{name}'), as numpy.savetxt writes it without \
             comments='': write the name alone"
        )
    } else {
        return;
    };
    let lead = &["F001"];
    board.claim(Claim { cause: OTHER_NOTATION, text, lead, explains: Box::new(of_header) });
}
