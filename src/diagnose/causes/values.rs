//! How values are wrong: unit, sign, rounding, offset, another moment.

use crate::diagnose::causes::{About, Recogniser, all_same};
use crate::diagnose::lookup::COARSE_UNITS;

/// Values of the wrong unit.
pub(super) static UNIT: Recogniser = Recogniser {
    id: "wrong-unit",
    doc: "Every value is off by the same power of 1000: microseconds for nanoseconds, and so on.",
    about: About::Values,
    find: |case| {
        const UNITS: [(i128, &str, &str); 3] = [
            (1_000, "a thousand", "microseconds"),
            (1_000_000, "a million", "milliseconds"),
            (1_000_000_000, "a billion", "seconds"),
        ];
        let pairs = case.pairs().filter(|pairs| !pairs.is_empty() && case.is_time())?;
        let column = case.column_name();
        UNITS.into_iter().find_map(|(factor, times, unit)| {
            // What is cut off by the coarser unit may differ.
            let less = |(expected, actual): &(i128, i128)| {
                *expected >= factor && (actual * factor - expected).abs() <= factor
            };
            let more =
                |(expected, actual): &(i128, i128)| *expected > 0 && *actual == expected * factor;
            if pairs.iter().all(less) {
                Some(format!("{column} is {times} times too small: it is in {unit}"))
            } else if pairs.iter().all(more) {
                Some(format!(
                    "{column} is {times} times too large: it was taken for {unit} and converted \
                     once more"
                ))
            } else {
                None
            }
        })
    },
};

/// Differences taken the wrong way round.
pub(super) static NEGATED: Recogniser = Recogniser {
    id: "negated",
    doc: "Every value has the wrong sign: a difference was taken the wrong way round.",
    about: About::Values,
    find: |case| {
        let negative = |text: &str| {
            text.strip_prefix('-').is_some_and(|rest| rest.parse::<f64>().is_ok_and(|n| n > 0.0))
        };
        let texts = |point: &crate::diagnose::causes::Point<'_>| {
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

/// One value for everything.
pub(super) static STUCK: Recogniser = Recogniser {
    id: "stuck",
    doc: "Every value is the same although different ones are expected: it is never updated.",
    about: About::Values,
    find: |case| {
        let pairs = case.pairs().filter(|pairs| pairs.len() >= 3)?;
        let (expected, actual): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let column = case.column_name();
        // The time in a state is 0 where the state begins.
        if case.rule == "M013" && !case.goes_on() {
            return None;
        }
        (all_same(&actual) && !all_same(&expected)).then(|| match actual[0] {
            0 => format!("{column} is 0 in all of them: it is never filled in"),
            value => format!("{column} is {value} in all of them: it is not updated"),
        })
    },
};

/// An event that is written once more.
pub(super) static EVENT_AGAIN: Recogniser = Recogniser {
    id: "event-again",
    doc: "Every request has one event of a kind more than it should have, or one less.",
    about: About::Values,
    find: |case| {
        let differences = case.differences().filter(|_| case.rule == "X002")?;
        if differences.is_empty() {
            None
        } else if differences.iter().all(|difference| *difference > 0) {
            Some("the event is written again for what was noted already".to_owned())
        } else if differences.iter().all(|difference| *difference < 0) {
            Some("the event is not written each time that it happens".to_owned())
        } else {
            None
        }
    },
};

/// The value of the step before.
pub(super) static STEP_LATE: Recogniser = Recogniser {
    id: "one-step-late",
    doc: "Every value is the one that the step before should have: it is read at the wrong moment.",
    about: About::Values,
    find: |case| {
        let neighbours: Vec<_> = case
            .points
            .windows(2)
            .filter(|pair| {
                pair[0].iteration.is_some_and(|id| pair[1].iteration == id.checked_add(1))
            })
            .collect();
        let late = |pair: &&[crate::diagnose::causes::Point<'_>]| {
            pair[0].expected.is_some() && pair[0].expected == pair[1].actual
        };
        let early = |pair: &&[crate::diagnose::causes::Point<'_>]| {
            pair[1].expected.is_some() && pair[1].expected == pair[0].actual
        };
        let column = case.column_name();
        // Events that stand in other steps than they happened in are counted there.
        let moved = case.rule == "Q001" && case.peers.iter().any(|peer| peer.rule == "M014");
        if neighbours.len() < 2 || moved {
            None
        } else if neighbours.iter().all(late) {
            Some(format!("{column} is that of the step before: it is read before it is updated"))
        } else if neighbours.iter().all(early) {
            Some(format!("{column} is that of the step behind: it is read after the next update"))
        } else {
            None
        }
    },
};

/// Off by another column.
pub(super) static OTHER_COLUMN: Recogniser = Recogniser {
    id: "other-column",
    doc: "Every value is off by another column of its row, which is left out or counted twice.",
    about: About::Values,
    find: |case| {
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
        if all_same(&differences) && differences[0].abs() < 100 {
            return None;
        }
        let other =
            first.row.keys().filter(|column| Some(**column) != case.column).find(|c| same(c))?;
        let column = case.column_name();
        Some(match sign {
            1 => format!("{column} is too large by {other}: that is counted twice"),
            _ => format!("{column} is too small by {other}: that is left out"),
        })
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
        let names = COARSE_UNITS.into_iter().zip(["milliseconds", "microseconds"]).enumerate();
        let (_, (_, name)) = names.into_iter().find(|(index, (unit, _))| {
            let unit = i128::from(*unit);
            let is_rounded = |(expected, actual): &(i128, i128)| {
                actual % unit == 0 && expected % unit != 0 && (actual - expected).abs() < unit
            };
            // A value that is 0 in all of them was not rounded.
            let zero = pairs.iter().all(|(_, actual)| *actual == 0);
            // Where all times are whole anyway, it is the expected value that was moved.
            !zero && case.facts.is_finer_than(*index) && pairs.iter().all(is_rounded)
        })?;
        Some(format!("{} is rounded to whole {name} before it is written", case.column_name()))
    },
};

/// Values that went through a float of 32 bits.
pub(super) static SINGLE_PRECISION: Recogniser = Recogniser {
    id: "single-precision",
    doc: "Every value is the expected one with 24 significant bits: it went through a 32-bit float.",
    about: About::Values,
    find: |case| {
        let pairs = case.pairs().filter(|pairs| pairs.len() >= 2)?;
        #[allow(clippy::cast_possible_truncation)]
        let single = |value: i128| (value as f32) as i128;
        pairs
            .iter()
            .all(|(expected, actual)| *expected != *actual && single(*expected) == *actual)
            .then(|| format!("{} went through a float of 32 bits", case.column_name()))
    },
};

/// One more or one less.
pub(super) static OFF_BY_ONE: Recogniser = Recogniser {
    id: "off-by-one",
    doc: "Every value is one too large, or one too small.",
    about: About::Values,
    find: |case| {
        let differences = case.differences().filter(|all| all.len() >= 2 && all_same(all))?;
        let column = case.column_name();
        match differences[0] {
            1 => Some(format!("{column} is one too large in each: something is counted early")),
            -1 => Some(format!(
                "{column} is one too small in each: it is read before the last one is counted"
            )),
            _ => None,
        }
    },
};

/// The same difference everywhere.
pub(super) static OFFSET: Recogniser = Recogniser {
    id: "constant-offset",
    doc: "Every value is off by the same amount: it is taken at another moment or from another base.",
    about: About::Values,
    find: |case| {
        let differences = case.differences().filter(|all| all.len() >= 3 && all_same(all))?;
        let column = case.column_name();
        let (amount, which) = match differences[0] {
            0 => return None,
            more @ 1.. => (more, "large"),
            less => (-less, "small"),
        };
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
            ["other-column: duration is too large by scheduling_overhead: that is counted twice"]
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
