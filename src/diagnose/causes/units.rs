//! Values of the wrong unit: a column, a part of what it is compared with, a file, the whole log.

use std::collections::BTreeMap;

use crate::diagnose::causes::{About, Case, Point, Recogniser};
use crate::log::field::Field;
use crate::log::schema::Table;
use crate::units::Bytes;

/// A coarser unit: how many of the right one it is, that in words, its name.
type Unit = (i128, &'static str, &'static str);

const TIMES: [Unit; 3] = [
    (1_000, "a thousand", "microseconds"),
    (1_000_000, "a million", "milliseconds"),
    (1_000_000_000, "a billion", "seconds"),
];

const SIZES: [Unit; 6] = [
    (1 << 10, "1024", "KiB"),
    (1 << 20, "1048576", "MiB"),
    (1 << 30, "1073741824", "GiB"),
    (1_000, "a thousand", "kB"),
    (1_000_000, "a million", "MB"),
    (1_000_000_000, "a billion", "GB"),
];

/// What a throughput is per, for one that is [`TIMES`] too small.
const RATES: [&str; 3] = ["millisecond", "microsecond", "nanosecond"];

/// Values of the wrong unit.
pub(in crate::diagnose) static UNIT: Recogniser = Recogniser {
    id: "wrong-unit",
    doc: "Every value, or a part of what it is compared with, is off by the same power of 1000 (or of 1024): \
          microseconds for nanoseconds, and so on.",
    about: About::Column,
    find: |case| {
        let column = case.column_name();
        other_file(case)
            .or_else(|| whole_log(case))
            .or_else(|| too_small(case).map(|it| says_small(&[column], it)))
            .or_else(|| part_too_small(case, 1))
            .or_else(|| too_large(case).map(|it| says_large(column, it)))
            .or_else(|| (2..=3).find_map(|parts| part_too_small(case, parts)))
            .or_else(|| gains(case))
            .or_else(|| throughput(case))
            .or_else(|| fractional(case))
    },
};

fn says_small(columns: &[&str], (_, times, unit): Unit) -> String {
    match columns {
        [column] => format!("{column} is {times} times too small: it is in {unit}"),
        [first @ .., last] => {
            let first = first.join(", ");
            format!("{first} and {last} are {times} times too small: they are in {unit}")
        }
        [] => String::new(),
    }
}

fn says_large(column: &str, (_, times, unit): Unit) -> String {
    format!("{column} is {times} times too large: it was taken for {unit} and converted once more")
}

/// The units that the column may be in.
fn units(case: &Case<'_>) -> &'static [Unit] {
    let of_bytes = |table: Table| {
        let columns = table.schema().columns.iter();
        columns.filter(|it| it.kind == Bytes::KIND).any(|it| Some(it.name) == case.column)
    };
    if case.is_time() {
        &TIMES
    } else if case.table.is_some_and(of_bytes) {
        &SIZES
    } else {
        &[]
    }
}

/// The unit of which every pair has one value.
fn coarser(pairs: &[(i128, i128)], units: &[Unit]) -> Option<Unit> {
    let some = |factor: i128| pairs.iter().any(|(right, _)| *right >= factor);
    let less = |factor: i128| {
        // What is cut off by the coarser unit may differ.
        pairs.iter().all(|(right, told)| (told * factor - right).abs() <= factor)
    };
    units.iter().copied().find(|(factor, ..)| some(*factor) && less(*factor))
}

/// The unit that every pair was taken for and converted from once more.
fn finer(pairs: &[(i128, i128)], units: &[Unit]) -> Option<Unit> {
    let more =
        |factor: i128| pairs.iter().all(|(right, told)| *right > 0 && *told == right * factor);
    units.iter().copied().find(|(factor, ..)| !pairs.is_empty() && more(*factor))
}

fn too_small(case: &Case<'_>) -> Option<Unit> {
    coarser(&case.pairs()?, units(case))
}

fn too_large(case: &Case<'_>) -> Option<Unit> {
    finer(&case.pairs()?, units(case))
}

/// Columns that are moments, and those of the same file that last until one.
const MOMENTS: [((Table, &str), &str); 5] = [
    ((Table::PerRequest, "completion_time"), "e2e_latency"),
    ((Table::PerIteration, "start_time"), "duration"),
    ((Table::PerIteration, "end_time"), "duration"),
    ((Table::Events, "timestamp"), ""),
    ((Table::StateTransitions, "timestamp"), "duration_in_prev_state"),
];

/// A file of which all moments end a power of 1000 before those of the others do.
fn other_file(case: &Case<'_>) -> Option<String> {
    let concerned = |table: Table| case.table == Some(table) || case.rule.starts_with(['M', 'S']);
    if case.rule == "M019" {
        return None;
    }
    let largest = |column: (Table, &'static str)| {
        case.facts.largest.get(&column).map(|time| i128::from(time.0)).filter(|time| *time > 0)
    };
    let ends: BTreeMap<_, _> =
        MOMENTS.iter().filter_map(|(column, _)| Some((*column, largest(*column)?))).collect();
    // Within a half of each other; files need not end at one moment.
    let near = |one: i128, other: i128| one * 2 <= other * 3 && other * 2 <= one * 3;
    let files = |end: i128| {
        let mut files: Vec<_> =
            ends.iter().filter(|(_, it)| near(**it, end)).map(|((table, _), _)| *table).collect();
        files.dedup();
        files.len()
    };
    let most = ends.values().copied().max_by_key(|end| (files(*end), *end))?;
    TIMES.into_iter().find_map(|unit| {
        let (factor, times, name) = unit;
        let small: Vec<_> = MOMENTS
            .iter()
            .filter(|(column, _)| ends.get(column).is_some_and(|end| near(end * factor, most)))
            .collect();
        let ((table, _), _) = small.first()?;
        if small.iter().any(|((other, _), _)| other != table) || !concerned(*table) {
            return None;
        }
        let of_file = MOMENTS.iter().filter(|((other, _), _)| other == table).count();
        let lasts = |(column, lasting): &&((Table, &'static str), &'static str)| {
            // What lasts until a moment is no larger than it, in one unit.
            largest((*table, lasting)).is_none_or(|longest| longest <= ends[column])
        };
        Some(if small.len() == of_file && small.iter().all(lasts) {
            format!("the times of {table} are {times} times too small: they are in {name}")
        } else {
            let columns: Vec<_> = small.iter().map(|((_, column), _)| *column).collect();
            format!("in {table} {}", says_small(&columns, unit))
        })
    })
}

/// What is off by what was cut off is of a log in a coarser unit, as its throughput says.
fn whole_log(case: &Case<'_>) -> Option<String> {
    let few = case.differences()?.iter().all(|it| (1..=3).contains(&it.abs()));
    if !few || !case.is_time() {
        return None;
    }
    let texts = case.peers.iter().filter(|peer| peer.rule == "M009").map(|peer| peer.texts);
    let (_, (_, _, unit)) = rate(&texts.collect::<Option<Vec<_>>>()?)?;
    Some(format!(
        "all times of the log are in {unit}, as throughput tells: what each of them cuts off is missing \
         where they are added up"
    ))
}

/// A mean of a coarser unit, which keeps its fraction.
fn fractional(case: &Case<'_>) -> Option<String> {
    if case.column != Some("tpot") || case.points.len() < 2 {
        return None;
    }
    let is = |point: &Point<'_>, factor: i128| {
        let right = point.wanted?.parse::<f64>().ok().filter(|right| *right > 0.0)?;
        let text = point.text?;
        let told = text.parse::<f64>().ok().filter(|told| *told > 0.0 && text.contains('.'))?;
        // What stands behind the last digit is cut off or rounded.
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len().min(6));
        let digit = 10f64.powi(-i32::try_from(decimals).unwrap_or(0));
        Some((told * factor as f64 - right).abs() <= 1.0 + factor as f64 * digit)
    };
    let fits = |(factor, ..): &&Unit| case.points.iter().all(|it| is(it, *factor) == Some(true));
    TIMES.iter().find(fits).map(|unit| says_small(&["tpot"], *unit))
}

/// The unit of time of these throughputs, if it is not a second, and the one of all times otherwise.
fn rate(texts: &[(&str, &str)]) -> Option<(&'static str, Unit)> {
    RATES.into_iter().zip(TIMES).find(|(_, (factor, ..))| {
        let factor = *factor as f64;
        let is = |(right, told): &(&str, &str)| {
            let (Ok(right), Ok(value)) = (right.parse::<f64>(), told.parse::<f64>()) else {
                return false;
            };
            let decimals = told.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            let digit = 10f64.powi(-i32::try_from(decimals).unwrap_or(0));
            // Times in a coarser unit make a rate of fewer digits.
            value > 0.0 && (value * factor - right).abs() <= (factor * digit).max(right / 50.0)
        };
        !texts.is_empty() && texts.iter().all(is)
    })
}

fn throughput(case: &Case<'_>) -> Option<String> {
    if case.column != Some("throughput") {
        return None;
    }
    let texts: Vec<_> = case
        .points
        .iter()
        .map(|point| Some((point.wanted?, point.text?)))
        .collect::<Option<_>>()?;
    let (per, (_, times, unit)) = rate(&texts)?;
    Some(format!(
        "throughput is {times} times too small: it is per {per}, unless all times of the log are in {unit}"
    ))
}

/// What adds up to the found value: the sign with which, in which row, which column.
type Part = (i128, Row, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// That of the finding.
    Own,
    /// The one that contradicts it.
    Beside,
}

/// What rules compare a value with.
const SUMS: [(&str, &str, &[Part]); 8] = [
    ("M001", "e2e_latency", &[(1, Row::Own, "completion_time"), (-1, Row::Own, "arrival_time")]),
    ("M002", "e2e_latency", &[(1, Row::Own, "waiting_time"), (1, Row::Own, "execution_time")]),
    (
        "M004",
        "duration_in_prev_state",
        &[(1, Row::Own, "timestamp"), (-1, Row::Beside, "arrival_time")],
    ),
    ("M007", "ttft", &[(1, Row::Beside, "timestamp"), (-1, Row::Own, "arrival_time")]),
    ("M010", "duration", &[(1, Row::Own, "end_time"), (-1, Row::Own, "start_time")]),
    (
        "M010",
        "duration",
        &[
            (1, Row::Own, "scheduling_overhead"),
            (1, Row::Own, "forward_pass_duration"),
            (1, Row::Own, "output_processing_duration"),
        ],
    ),
    (
        "M015",
        "timestamp",
        &[(1, Row::Beside, "start_time"), (1, Row::Beside, "scheduling_overhead")],
    ),
    (
        "M017",
        "waiting_time",
        &[(1, Row::Own, "first_scheduled_time"), (-1, Row::Own, "arrival_time")],
    ),
];

/// So many columns that, multiplied by one factor, make all sums right.
fn part_too_small(case: &Case<'_>, size: usize) -> Option<String> {
    let sums = SUMS.iter().filter(|(rule, column, _)| {
        *rule == case.rule && Some(*column) == case.column && !case.points.is_empty()
    });
    sums.into_iter().find_map(|(_, column, parts)| {
        let number = |point: &Point<'_>, row: Row, column: &str| -> Option<i128> {
            let fields = if row == Row::Own { &point.row } else { &point.beside };
            fields.get(column)?.parse().ok()
        };
        let choices = (1..1_usize << parts.len()).filter(|set| set.count_ones() as usize == size);
        choices.into_iter().find_map(|set| {
            let chosen = |index: usize| set >> index & 1 == 1;
            let fits = |factor: i128| {
                let mut sizes = [0; 4];
                let all = case.points.iter().all(|point| {
                    let Some(told) = number(point, Row::Own, column) else { return false };
                    // What is missing when the parts are converted, and what may have been cut off.
                    let (mut rest, mut least, mut most) = (told, 0, 0);
                    let mut right = 0;
                    for (index, (sign, row, column)) in parts.iter().enumerate() {
                        let Some(value) = number(point, *row, column) else { return false };
                        right += sign * value;
                        if chosen(index) {
                            sizes[index] += value;
                            rest -= sign * value * factor;
                            least += sign.min(&0) * factor;
                            most += sign.max(&0) * factor;
                        } else {
                            rest -= sign * value;
                        }
                    }
                    told != right && (least..=most).contains(&rest)
                });
                all && (0..parts.len()).all(|index| !chosen(index) || sizes[index] > 0)
            };
            let unit = TIMES.into_iter().find(|(factor, ..)| fits(*factor))?;
            let indexes = (0..parts.len()).filter(|index| chosen(*index));
            Some(says_small(&indexes.map(|index| parts[index].2).collect::<Vec<_>>(), unit))
        })
    })
}

/// A time that goes on from the row before, by too little or too much.
fn gains(case: &Case<'_>) -> Option<String> {
    let column = case.column.filter(|_| case.rule == "M013")?;
    let gain = |point: &Point<'_>| -> Option<(i128, i128)> {
        let before: i128 = point.beside.get(column)?.parse().ok()?;
        Some((point.expected? - before, point.actual? - before))
    };
    let gains: Vec<_> = case.points.iter().map(gain).collect::<Option<_>>()?;
    if let Some(unit) = coarser(&gains, &TIMES) {
        return Some(says_small(&[column], unit));
    }
    finer(&gains, &TIMES).map(|unit| says_large(column, unit))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, values};
    use super::*;

    #[test]
    fn wrong_unit() {
        let coarse = values(&[(1_234_567, 1_234), (9_000_999, 9_000)]);
        assert_eq!(
            said("duration", &coarse),
            ["wrong-unit: duration is a thousand times too small: it is in microseconds"]
        );
        let twice = values(&[(5, 5_000_000), (7, 7_000_000)]);
        assert_eq!(
            said("ttft", &twice),
            ["wrong-unit: ttft is a million times too large: it was taken for milliseconds and \
              converted once more"]
        );
    }

    #[test]
    fn throughputs_of_another_unit_of_time() {
        assert_eq!(
            rate(&[("94.844523", "0.094845"), ("97.901", "0.097901")]),
            Some((RATES[0], TIMES[0]))
        );
        assert_eq!(rate(&[("94.844523", "0.094845"), ("97.901", "0.087000")]), None);
        assert_eq!(rate(&[("94.844523", "0.000000")]), None);
    }
}
