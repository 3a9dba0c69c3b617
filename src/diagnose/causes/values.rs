//! How values are wrong: unit, sign, rounding, offset, another moment.

use crate::diagnose::SAMPLE;
use crate::diagnose::causes::whole::Whole;
use crate::diagnose::causes::{About, Case, Peer, Point, Recogniser, all_same};
use crate::diagnose::facts::COARSE_UNITS;
use crate::log::schema::Table;

/// A number in place of nothing.
pub(super) static MINUS_ONE: Recogniser = Recogniser {
    id: "minus-one",
    doc: "Every value is -1, which stands for one that is not there.",
    about: About::Column,
    find: |case| {
        let is = |point: &Point<'_>| {
            let field = case.column.and_then(|column| point.row.get(column).copied());
            field.or(point.text).is_some_and(|text| MINUS_ONES.contains(&text))
        };
        // One difference may well be -1.
        let may_be_empty = || {
            let schema = case.table?.schema();
            Some(schema.columns[schema.column(case.column?)?].optional)
        };
        let all = case.rule == "F003" && !case.points.is_empty() && case.points.iter().all(is);
        (all && (case.points.len() >= 2 || may_be_empty() == Some(true))).then(|| {
            format!(
                "{} is -1 in all of them: where there is no value, the field is left empty",
                case.column_name()
            )
        })
    },
};

const MINUS_ONES: [&str; 3] = ["-1", "-1.0", "-1.000000"];

/// Differences taken the wrong way round.
pub(super) static NEGATED: Recogniser = Recogniser {
    id: "negated",
    doc: "Every value has the wrong sign: a difference was taken the wrong way round.",
    about: About::Values,
    find: |case| {
        let negative = |text: &str| {
            text.strip_prefix('-').is_some_and(|rest| rest.parse::<f64>().is_ok_and(|n| n > 0.0))
        };
        let texts = |point: &Point<'_>| {
            let field = case.column.and_then(|column| point.row.get(column).copied());
            field.or(point.text).is_some_and(negative)
        };
        // A queue position of -1 is no difference.
        let all = !case.points.is_empty() && case.points.iter().all(texts);
        (all && case.column != Some("queue_position")).then(|| {
            format!(
                "{} is negative: a difference was taken the wrong way round, or the clock was set \
                 back",
                case.column_name()
            )
        })
    },
};

/// A moment that is not written.
pub(super) static LEFT_EMPTY: Recogniser = Recogniser {
    id: "left-empty",
    doc: "Every row lacks a moment although the event of it is written.",
    about: About::Values,
    find: |case| {
        let column = case.column.filter(|_| case.rule == "X002" && !case.points.is_empty())?;
        let is = |point: &Point<'_>| {
            point.expected == Some(0) && point.row.get(column).is_some_and(|text| text.is_empty())
        };
        let all = case.points.iter().all(is);
        all.then(|| {
            format!("{column} is empty, although the event is written: it is not filled in")
        })
    },
};

/// Counts of events of a step, and the columns by which X002 tells how many a request has.
const COUNTS: [(&str, &str); 3] = [
    ("completed_count", "completion_time"),
    ("admitted_count", "first_scheduled_time"),
    ("resumed_count", "preemption_count"),
];

/// An event that is written once more.
pub(super) static EVENT_AGAIN: Recogniser = Recogniser {
    id: "event-again",
    doc: "Every request has one event of a kind more than it should have.",
    about: About::Values,
    find: |case| {
        let differences = case.differences().filter(|all| !all.is_empty())?;
        let again = || Some("the event is written again for what was noted already".to_owned());
        let surplus = |peer: &Peer<'_>| Some(peer.actual? - peer.expected?);
        match case.rule {
            // A request that has no token by its own row is told of there.
            "X002" if case.peers.iter().any(|peer| peer.rule == "K005") => None,
            "X002" if differences.iter().all(|difference| *difference > 0) => again(),
            // Counts fall short of their events, of which the requests have at least as many too many.
            "Q001" => {
                let (_, told) = COUNTS.iter().find(|(count, _)| Some(*count) == case.column)?;
                let of_kind = |peer: &&Peer<'_>| peer.rule == "X002" && peer.column == Some(told);
                let more: Vec<_> =
                    case.peers.iter().filter(of_kind).map(surplus).collect::<Option<_>>()?;
                let short = -differences.iter().sum::<i128>();
                // Of many findings only the first are looked at.
                let many = more.len() >= SAMPLE || more.iter().sum::<i128>() >= short;
                let all = differences.iter().all(|difference| *difference < 0);
                if all && many && more.iter().all(|surplus| *surplus > 0) { again() } else { None }
            }
            _ => None,
        }
    },
};

/// Rounded values.
pub(super) static ROUNDED: Recogniser = Recogniser {
    id: "rounded",
    doc: "Every value is a whole number of a coarser unit near the expected one, although the log's clock \
          is finer.",
    about: About::Values,
    find: |case| {
        let pairs = case.pairs().filter(|pairs| pairs.len() >= 2 && case.is_time())?;
        if let Some(told) = cut_one_by_one(case, &pairs) {
            return Some(told);
        }
        let names = COARSE_UNITS.into_iter().zip(["milliseconds", "microseconds"]).enumerate();
        let (_, (_, name)) = names.into_iter().find(|(index, (unit, _))| {
            let unit = i128::from(*unit);
            let is_rounded = |(expected, actual): &(i128, i128)| {
                actual % unit == 0 && expected % unit != 0 && (actual - expected).abs() < unit
            };
            // A value that is 0 in all of them was not rounded.
            let zero = pairs.iter().all(|(_, actual)| *actual == 0);
            // Where all times are whole anyway, it is the expected value that was moved.
            // A quotient of whole numbers is none.
            let finer = case.rule == "M008" || case.facts.is_finer_than(*index);
            // What is cut off varies; by one and the same amount it is the other side that is moved.
            let moved = pairs.len() >= 3
                && pairs.windows(2).all(|pair| pair[0].1 - pair[0].0 == pair[1].1 - pair[1].0);
            !zero && finer && !moved && pairs.iter().all(is_rounded)
        })?;
        Some(format!("{} is rounded to whole {name} before it is written", case.column_name()))
    },
};

/// Differences of times of which each was cut to a coarser unit.
fn cut_one_by_one(case: &Case<'_>, pairs: &[(i128, i128)]) -> Option<String> {
    let names = COARSE_UNITS.into_iter().zip(["milliseconds", "microseconds"]);
    // Of all rows some come out right by chance.
    let some = (case.points.len() as u64) < case.facts.requests;
    let (_, name) = names.into_iter().find(|(unit, _)| {
        let unit = i128::from(*unit);
        pairs.iter().all(|(expected, actual)| {
            expected % unit == 0 && actual % unit == 0 && expected - actual == unit
        })
    })?;
    (case.rule == "M001" && some).then(|| {
        format!(
            "{} and the times that it is the difference of are each cut to whole {name}",
            case.column_name()
        )
    })
}

/// Values that went through a float of 32 bits.
pub(super) static SINGLE_PRECISION: Recogniser = Recogniser {
    id: "single-precision",
    doc: "Every value is the expected one with 24 significant bits: it went through a 32-bit float.",
    about: About::Values,
    find: |case| {
        let pairs = case.pairs().filter(|pairs| pairs.len() >= 2)?;
        #[allow(clippy::cast_possible_truncation)]
        let single = |value: i128| (value as f32) as i128;
        // Numbers that are off by one are in floats by chance.
        let far = pairs.iter().any(|(expected, actual)| expected.abs_diff(*actual) > 1);
        let whole = case.whole.as_ref();
        let others =
            whole.is_none_or(|it| it.cells.iter().all(|cell| single(cell.written) == cell.written));
        let all = pairs
            .iter()
            .all(|(expected, actual)| *expected != *actual && single(*expected) == *actual);
        (all && far && others)
            .then(|| format!("{} went through a float of 32 bits", case.column_name()))
    },
};

/// One more or one less.
pub(super) static OFF_BY_ONE: Recogniser = Recogniser {
    id: "off-by-one",
    doc: "Every value is one too large, or one too small.",
    about: About::Values,
    find: |case| {
        // Where steps are out of order their numbers say nothing.
        if case.rule == "M011" {
            return None;
        }
        // A row of another step than expected is not counted wrong.
        if case.column == Some("state") {
            return None;
        }
        if blames_neither(case) {
            return None;
        }
        let differences = case.differences().filter(|all| all.len() >= 2 && all_same(all))?;
        let column = case.column_name();
        match differences[0] {
            by @ (1 | -1) if case.is_time() => Some(format!(
                "{column} is 1 ns too {} in each: the two sides are rounded in another way, or measured from \
                 moments that are so far apart",
                if by > 0 { "large" } else { "small" }
            )),
            1 => Some(format!("{column} is one too large in each: something is counted early")),
            -1 => Some(format!(
                "{column} is one too small in each: it is read before the last one is counted"
            )),
            _ => None,
        }
    },
};

/// Whether it is as well what the value is compared with that is wrong.
fn blames_neither(case: &Case<'_>) -> bool {
    let has = |rules: &[&str]| case.peers.iter().any(|peer| rules.contains(&peer.rule));
    match case.rule {
        // Two files tell of the tokens of one request; two that agree against it are right.
        "K005" => !case.points.iter().all(|point| {
            let same = |peer: &&Peer<'_>| {
                peer.rule == "K005"
                    && peer.request == point.request
                    && peer.expected == point.expected
            };
            case.peers.iter().filter(same).count() >= 2
        }),
        // Where requests and steps count the same events, it is these that are missing.
        "Q001" => has(&["S005", "X002"]),
        "S005" => has(&["Q001", "M012"]),
        // Of a sum and its parts neither is known to be right.
        "K001" => true,
        _ => false,
    }
}

/// The same difference everywhere.
pub(super) static OFFSET: Recogniser = Recogniser {
    id: "constant-offset",
    doc: "Every value is off by the same amount: it is taken at another moment or from another base.",
    about: About::Values,
    find: |case| {
        // Where steps are out of order their numbers say nothing.
        if case.rule == "M011" {
            return None;
        }
        if blames_neither(case) {
            return None;
        }
        // What only some rows have is in what happened to them.
        let right = |whole: &Whole<'_>| whole.cells.iter().any(|cell| !cell.wrong);
        if case.table == Some(Table::PerRequest) && case.whole.as_ref().is_some_and(right) {
            return None;
        }
        let differences = case.differences().filter(|all| all.len() >= 3 && all_same(all))?;
        let column = case.column_name();
        let (amount, which) = match differences[0] {
            0 => return None,
            more @ 1.. => (more, "large"),
            less => (-less, "small"),
        };
        // Steps may as well be the ones that are late.
        if case.rule == "M020" {
            return Some(format!(
                "{column} is {amount} ns {} in each than the moment of its step: one of the two files runs on \
                 another clock, or has another moment of the step",
                if which == "large" { "later" } else { "earlier" }
            ));
        }
        Some(format!(
            "{column} is too {which} by the same {amount} in each: it is measured from another \
             moment or counted from another base"
        ))
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::{said, values};
    use crate::diagnose::causes::Point;

    #[test]
    fn negated() {
        let row = [("waiting_time", "-51")].into_iter().collect();
        let point = Point { row, ..Point::default() };
        assert_eq!(
            said("waiting_time", &[point]),
            ["negated: waiting_time is negative: a difference was taken the wrong way round, or \
              the clock was set back"]
        );
    }

    #[test]
    fn rounded() {
        let pairs = values(&[(1_234_567, 1_235_000), (9_100_999, 9_101_000)]);
        assert_eq!(
            said("start_time", &pairs),
            ["rounded: start_time is rounded to whole microseconds before it is written"]
        );
        let counts = values(&[(17, 0), (23, 0)]);
        assert!(!said("prefill_tokens", &counts).iter().any(|cause| cause.contains("rounded")));
    }

    #[test]
    fn single_precision() {
        let pairs = values(&[(123_456_789, 123_456_792), (987_654_321, 987_654_336)]);
        assert_eq!(
            said("start_time", &pairs),
            ["single-precision: start_time went through a float of 32 bits"]
        );
    }

    #[test]
    fn off_by_one_and_by_more() {
        assert_eq!(
            said("running_count", &values(&[(4, 3), (9, 8)])),
            ["off-by-one: running_count is one too small in each: it is read before the last one \
              is counted"]
        );
        assert_eq!(
            said("running_count", &values(&[(4, 5), (9, 10)])),
            ["off-by-one: running_count is one too large in each: something is counted early"]
        );
        assert_eq!(
            said("ttft", &values(&[(400, 363), (900, 863), (87, 50)])),
            ["constant-offset: ttft is too small by the same 37 in each: it is measured from \
              another moment or counted from another base"]
        );
    }
}
