//! How a column is wrong as a whole: never filled in, a step late, a total, another column's value.

use std::collections::BTreeSet;

use crate::diagnose::causes::whole::Whole;
use crate::diagnose::causes::{About, Case, Point, Recogniser, all_same};
use crate::log::schema::Table;

/// From here on a number is hardly in two columns by chance.
const LARGE: i128 = 100;

/// Columns of which the one has the value of the other in most logs.
const TWINS: [(&str, &str); 4] = [
    ("running_count", "batch_size"),
    ("batch_size", "running_count"),
    ("preemption_count", "eviction_count"),
    ("eviction_count", "preemption_count"),
];

/// One value for everything.
pub(super) static STUCK: Recogniser = Recogniser {
    id: "stuck",
    doc: "Every value is the same although different ones are expected: it is never updated.",
    about: About::Column,
    find: |case| {
        let column = case.column_name();
        let never = |column: &str| format!("{column} is 0 in all of them: it is never filled in");
        if let Some(whole) = &case.whole {
            if !whole.words && whole.cells.len() > 1 && whole.cells.iter().all(|it| it.written == 0)
            {
                return Some(never(column));
            }
            if whole.words && whole.is_constant() && case.points.len() >= 3 {
                let word = case.points[0].text?;
                return Some(format!("{column} is {word} in all of them: it is not updated"));
            }
            if let Some(part) = zero_part(case, whole) {
                return Some(never(part));
            }
            // Other rows have another value.
            if !whole.is_constant() {
                return None;
            }
        }
        let pairs = case.pairs().filter(|pairs| pairs.len() >= 3)?;
        let (expected, actual): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        // What falls to one value in some rows was another before.
        let rests = |point: &Point<'_>| {
            let before = point.beside.get("tokens_generated").and_then(|text| text.parse().ok());
            before == point.actual
        };
        if case.rule == "K004" && !case.points.iter().all(rests) {
            return None;
        }
        let never_rises = case.rule == "K004" && actual[0] == 0;
        // The time in a state is 0 where the state begins.
        if case.rule == "M013" && !case.goes_on() {
            return None;
        }
        // No request ends as the clock begins.
        let at_zero = case.rule == "M020" && actual[0] == 0 && !expected.contains(&0);
        (all_same(&actual) && (at_zero || never_rises || !all_same(&expected))).then(
            || match actual[0] {
                0 => never(column),
                value => format!("{column} is {value} in all of them: it is not updated"),
            },
        )
    },
};

/// The part of a step's duration that is 0 in all rows.
fn zero_part(case: &Case<'_>, whole: &Whole<'_>) -> Option<&'static str> {
    const PARTS: [&str; 3] =
        ["scheduling_overhead", "forward_pass_duration", "output_processing_duration"];
    if case.rule != "M010" || case.column != Some("duration") {
        return None;
    }
    let zero = |part: &&&str| whole.cells.iter().all(|cell| cell.fields.get(**part) == Some(&"0"));
    let mut zeros = PARTS.iter().filter(zero);
    // What the one lacks is what the duration has more.
    let lacks = case.differences()?.iter().all(|difference| *difference > 0);
    zeros.next().copied().filter(|_| lacks && zeros.next().is_none())
}

/// The value of the step before.
pub(super) static STEP_LATE: Recogniser = Recogniser {
    id: "one-step-late",
    doc: "Every value is the one that the step before should have: it is read at the wrong moment.",
    about: About::Values,
    find: |case| {
        // Where steps are out of order their numbers say nothing.
        if case.rule == "M011" {
            return None;
        }
        // Events that stand in other steps than they happened in are counted there.
        if case.rule == "Q001" && case.peers.iter().any(|peer| peer.rule == "M014") {
            return None;
        }
        let column = case.column_name();
        let [late, early] = shifted(case);
        if late {
            Some(format!("{column} is that of the step before: it is read before it is updated"))
        } else if early {
            Some(format!("{column} is that of the step behind: it is read after the next update"))
        } else {
            None
        }
    },
};

/// Whether the values are those of the step before, or behind.
fn shifted(case: &Case<'_>) -> [bool; 2] {
    let steps = case.whole.as_ref().filter(|whole| whole.table == Table::PerIteration);
    if let Some(whole) = steps {
        let written = |index: usize| Some(whole.cells.get(index)?.written);
        let tells = !whole.is_constant() && whole.is_wrong_both_ways();
        let late = tells && whole.is_mended(2, |index| written(index + 1));
        let early = tells && whole.is_mended(2, |index| written(index.checked_sub(1)?));
        if late || early {
            return [late, early];
        }
    }
    let adjoin = |pair: &&[Point<'_>]| {
        pair[0].iteration.is_some_and(|id| pair[1].iteration == id.checked_add(1))
    };
    let neighbours: Vec<_> = case.points.windows(2).filter(adjoin).collect();
    let is = |told: &Point<'_>, read: &Point<'_>| {
        told.expected.is_some() && told.expected == read.actual
    };
    let many = neighbours.len() >= 2;
    [
        many && neighbours.iter().all(|pair| is(&pair[0], &pair[1])),
        many && neighbours.iter().all(|pair| is(&pair[1], &pair[0])),
    ]
}

/// What adds up over the steps.
pub(super) static RUNNING_TOTAL: Recogniser = Recogniser {
    id: "running-total",
    doc: "Every value is that of the row before and what this row adds: a counter of the run is written.",
    about: About::Column,
    find: |case| {
        let steps = case.whole.as_ref().filter(|whole| whole.table == Table::PerIteration)?;
        let gain = |index: usize| {
            let before = steps.cells.get(index.checked_sub(1)?)?;
            Some(steps.cells[index].written - before.written)
        };
        let gains = (0..steps.cells.len()).filter(|index| gain(*index).is_some_and(|it| it > 0));
        // One gain that is carried on is a total for certain only if every row says so.
        let least = if steps.is_strict() { 1 } else { 2 };
        let total = !steps.words && gains.count() >= least && steps.is_mended(2, gain);
        total.then(|| {
            let column = case.column_name();
            format!(
                "{column} is counted over the whole run: each step adds to that of the one before"
            )
        })
    },
};

/// Another column's value.
pub(super) static OTHER_VALUE: Recogniser = Recogniser {
    id: "other-value",
    doc: "Every row has the value of another of its columns, or counts other rows of its step.",
    about: About::Column,
    find: |case| {
        let told = |it: &&Whole<'_>| !it.words && !it.is_constant();
        let whole = case.whole.as_ref().filter(told)?;
        if whole.cells.iter().filter(|cell| cell.wrong).count() < 2 {
            return None;
        }
        let same = |(other, values): &(&str, Vec<Option<i128>>)| {
            let twins = TWINS.contains(&(case.column_name(), *other));
            !twins
                && whole.cells.iter().zip(values).all(|(cell, value)| *value == Some(cell.written))
        };
        let column = case.column_name();
        let tells_values = whole.tells_values();
        if let Some((other, _)) = whole.others().into_iter().find(|it| tells_values && same(it)) {
            return Some(format!("{column} has the value of {other} in every row"));
        }
        // These it should count.
        let right = |it: &(&str, Vec<Option<i128>>)| {
            column == "completed_count" && it.0 == "the completed rows of the step"
        };
        // So many blocks are no chance, of whatever number they are said to be at most or at least.
        let told = |(_, values): &(&str, Vec<Option<i128>>)| tells_values || sizes(values) >= 2;
        let (counted, _) =
            whole.made().into_iter().find(|it| told(it) && same(it) && !right(it))?;
        let left_out = match column {
            "waiting_count" => ": preempted requests are left out",
            _ => "",
        };
        Some(format!("{column} counts {counted}{left_out}"))
    },
};

/// How many different numbers other than 0 these are, and 1.
fn sizes(values: &[Option<i128>]) -> usize {
    values.iter().flatten().filter(|value| **value > 1).collect::<BTreeSet<_>>().len()
}

/// Off by another column.
pub(super) static OTHER_COLUMN: Recogniser = Recogniser {
    id: "other-column",
    doc: "Every value is off by another column of its row, which is left out or counted as well; or it \
          is what is left of it.",
    about: About::Values,
    find: |case| match &case.whole {
        // Of events that are counted it is not said which are too many.
        Some(_) if case.rule == "S005" => None,
        Some(whole) => off_in_all_rows(case.column_name(), whole),
        None => off_in_findings(case),
    },
};

/// Which other column makes all rows right.
fn off_in_all_rows(column: &str, whole: &Whole<'_>) -> Option<String> {
    if whole.words || !whole.tells_values() {
        return None;
    }
    let written = |index: usize| whole.cells[index].written;
    let moved = |index: usize, queue: &str| {
        let count = |name: &str| whole.cells[index].fields.get(name)?.parse::<i128>().ok();
        let into = count("admitted_count")? + count("resumed_count")? - count("preempted_count")?;
        match queue {
            "running_count" => Some(written(index) + into),
            "waiting_count" => Some(written(index) - into),
            _ => None,
        }
    };
    if whole.is_mended(3, |index| moved(index, column)) {
        return Some(format!(
            "{column} is read before schedule(): what the step admits, resumes and preempts is not yet in it"
        ));
    }
    whole.others().into_iter().chain(whole.made()).find_map(|(other, values)| {
        let varies = values.windows(2).any(|pair| pair[0] != pair[1]);
        let large = values.iter().flatten().any(|value| *value >= LARGE);
        let by = |index: usize| values[index];
        if (varies || large) && whole.is_mended(2, |at| Some(written(at) - by(at)?)) {
            Some(format!("{column} is too large by {other}: that is counted as well"))
        } else if (varies || large) && whole.is_mended(2, |at| Some(written(at) + by(at)?)) {
            if column == "duration" && lasts_until_end(whole) {
                return Some(format!(
                    "duration is end_time - start_time, but its parts are too large by {other}: one of them \
                     has that as well"
                ));
            }
            Some(format!("{column} is too small by {other}: that is left out"))
        } else if !whole.is_constant() && whole.is_mended(3, |at| Some(by(at)? - written(at))) {
            Some(format!("{column} is what is left of {other}, not what is taken"))
        } else {
            None
        }
    })
}

/// Whether each duration is what lies between the moments of its row.
fn lasts_until_end(whole: &Whole<'_>) -> bool {
    whole.cells.iter().all(|cell| {
        let moment = |name: &str| cell.fields.get(name)?.parse::<i128>().ok();
        let [start, end] = ["start_time", "end_time"].map(moment);
        start.zip(end).is_some_and(|(start, end)| end - start == cell.written)
    })
}

/// Which other column all findings are off by.
fn off_in_findings(case: &Case<'_>) -> Option<String> {
    let differences = case.differences().filter(|all| all.len() >= 2 && !all.contains(&0))?;
    let sign = differences[0].signum();
    if differences.iter().any(|difference| difference.signum() != sign) {
        return None;
    }
    let first = case.points.first()?;
    let same = |column: &&&'static str| {
        case.points.iter().zip(&differences).all(|(point, difference)| {
            let value = point.row.get(**column).and_then(|text| text.parse::<i128>().ok());
            value == Some(difference.abs())
        })
    };
    // A small number is in many columns by chance.
    if all_same(&differences) && differences[0].abs() < LARGE {
        return None;
    }
    // Counts of two kinds are the same by chance, and of events it is not said which are too many.
    let told = |other: &&&'static str| {
        let twins = TWINS.contains(&(case.column_name(), **other));
        Some(**other) != case.column && !twins && case.rule != "S005"
    };
    // A moment is no part of what lasts, unless that was not taken away from it; and the moment of a row is
    // never a part of it.
    let part = |other: &&&'static str| **other != "timestamp";
    let other = first.row.keys().filter(told).filter(part).find(|c| same(c))?;
    let column = case.column_name();
    Some(match sign {
        1 => format!("{column} is too large by {other}: that is counted as well"),
        _ => format!("{column} is too small by {other}: that is left out"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, said_of_column, values};
    use super::*;

    #[test]
    fn stuck() {
        let zero = values(&[(3, 0), (4, 0), (9, 0)]);
        assert_eq!(
            said("eviction_count", &zero),
            ["stuck: eviction_count is 0 in all of them: it is never filled in"]
        );
        let seven = values(&[(3, 7), (4, 7), (9, 7)]);
        assert_eq!(
            said("kv_cache_total", &seven),
            ["stuck: kv_cache_total is 7 in all of them: it is not updated"]
        );
    }

    #[test]
    fn one_step_late_or_early() {
        let steps = |pairs: &[(i128, i128)]| {
            let mut points = values(pairs);
            for (id, point) in points.iter_mut().enumerate() {
                // Not all in a row, so that the place says nothing.
                point.iteration = Some(id as u64 + u64::from(id > 2) * 4);
            }
            points
        };
        assert_eq!(
            said("running_count", &steps(&[(2, 1), (5, 2), (3, 5), (9, 8)])),
            ["one-step-late: running_count is that of the step before: it is read before it is \
              updated"]
        );
        assert_eq!(
            said("running_count", &steps(&[(2, 5), (5, 3), (3, 9), (1, 8)])),
            ["one-step-late: running_count is that of the step behind: it is read after the next \
              update"]
        );
    }

    #[test]
    fn other_column() {
        let with = |pairs: &[(i128, i128)], other: [&'static str; 2]| {
            let mut points = values(pairs);
            for (point, text) in points.iter_mut().zip(other) {
                point.row =
                    [("duration", "1"), ("scheduling_overhead", text)].into_iter().collect();
            }
            points
        };
        assert_eq!(
            said("duration", &with(&[(130, 100), (250, 203)], ["30", "47"])),
            ["other-column: duration is too small by scheduling_overhead: that is left out"]
        );
        assert_eq!(
            said("duration", &with(&[(100, 130), (203, 250)], ["30", "47"])),
            ["other-column: duration is too large by scheduling_overhead: that is counted as well"]
        );
    }

    /// What is said of a column of steps with these expected and actual values.
    fn said_of_steps(
        column: &'static str,
        rows: &[(&str, i128)],
        other: &[(&'static str, &[&'static str])],
    ) -> Vec<String> {
        said_of_column(column, Whole::test(column, rows, other))
    }

    #[test]
    fn a_counter_of_the_run() {
        let rows = [("0", 0), ("1", 1), ("1", 2), ("0", 2), ("3", 5), ("0", 5)];
        assert_eq!(
            said_of_steps("preempted_count", &rows, &[]),
            [
                "running-total: preempted_count is counted over the whole run: each step adds to that \
              of the one before"
            ]
        );
        let most = [
            ("at most 0", 0),
            ("at most 9", 4),
            ("at most 0", 4),
            ("at most 2", 6),
            ("at most 0", 6),
            ("at most 0", 6),
        ];
        assert_eq!(
            said_of_steps("evicted_blocks", &most, &[]),
            [
                "running-total: evicted_blocks is counted over the whole run: each step adds to that \
              of the one before"
            ]
        );
    }

    #[test]
    fn late_within_bounds() {
        let rows =
            [("at least 2", 0), ("at most 0", 2), ("0", 0), ("at least 1", 0), ("at most 0", 1)];
        assert_eq!(
            said_of_steps("evicted_blocks", &rows, &[]),
            ["one-step-late: evicted_blocks is that of the step before: it is read before it is \
              updated"]
        );
    }

    #[test]
    fn a_column_that_explains_all_rows_comes_before_a_number() {
        let rows = [("3", 3), ("3", 2), ("5", 5), ("4", 3)];
        let other: &[(&'static str, &[&'static str])] =
            &[("completed_count", &["0", "1", "0", "1"])];
        assert_eq!(
            said_of_steps("running_count", &rows, other),
            ["other-column: running_count is too small by completed_count: that is left out"]
        );
        // A row in which it makes a difference that is not there.
        let other: &[(&'static str, &[&'static str])] =
            &[("completed_count", &["1", "1", "0", "1"])];
        assert_eq!(said_of_steps("running_count", &rows, other), [""; 0]);
    }

    #[test]
    fn what_is_left() {
        let rows = [("3", 8), ("at most 4", 7), ("6", 5), ("2 to 9", 2), ("7", 4)];
        let other: &[(&'static str, &[&'static str])] =
            &[("kv_cache_total", &["11", "11", "11", "11", "11"])];
        assert_eq!(
            said_of_steps("kv_cache_used", &rows, other),
            ["other-column: kv_cache_used is what is left of kv_cache_total, not what is taken"]
        );
    }

    #[test]
    fn another_value() {
        let rows = [("0", 2), ("1", 1), ("0", 3)];
        let other: &[(&'static str, &[&'static str])] = &[("preempted_count", &["2", "1", "3"])];
        assert_eq!(
            said_of_steps("resumed_count", &rows, other),
            ["other-value: resumed_count has the value of preempted_count in every row"]
        );
    }
}
