//! Moments of steps: the right one of another step, another one of the right step.

use crate::diagnose::causes::{About, Case, Peer, Point, Recogniser, all_same};
use crate::diagnose::facts::Own;
use crate::units::Nanos;

/// What is at the moments of a step.
const NAMES: [&str; 4] = [
    "start_time",
    "start_time + scheduling_overhead",
    "start_time + scheduling_overhead + forward_pass_duration",
    "end_time",
];

/// Nanoseconds from which on two times hardly differ by chance.
const FAR: i128 = 100;

/// The moments of a finding's step, or of the one so many steps behind it.
fn moments(case: &Case<'_>, point: &Point<'_>, behind: i64) -> Option<[i128; 4]> {
    match point.iteration {
        Some(id) => case.facts.moments.get(&id.checked_add_signed(behind)?).copied(),
        None => {
            let moment = point.expected? + counted_from(case, point)?;
            case.facts.met.get(&moment).copied().filter(|_| behind == 0)
        }
    }
}

/// The moment from which the values of a finding are counted.
fn counted_from(case: &Case<'_>, point: &Point<'_>) -> Option<i128> {
    match case.rule {
        "M007" => point.row.get("arrival_time")?.parse().ok(),
        // Up to the decision of the step, from wherever the rule found that the state was entered.
        "M013" => Some(moments(case, point, 0)?[1] - point.expected?),
        _ => Some(0),
    }
}

/// Which moment of their steps all findings expect: `D` or `E`.
fn expected_moment(case: &Case<'_>) -> Option<usize> {
    let is = |point: &Point<'_>, index: usize| {
        let at = || Some(point.expected? + counted_from(case, point)?);
        moments(case, point, 0).is_some_and(|all| Some(all[index]) == at())
    };
    (case.points.len() >= 2).then(|| {
        [1, 3].into_iter().find(|index| case.points.iter().all(|point| is(point, *index)))
    })?
}

/// The right moment under the id of another step.
pub(super) static OTHER_STEP: Recogniser = Recogniser {
    id: "other-step",
    doc: "Every stamp is right, as other files say too, but its row or its details name another step.",
    about: About::Values,
    find: |case| {
        // M014 expects that a stamp is anywhere in its step.
        let index = if case.rule == "M014" { None } else { Some(expected_moment(case)?) };
        let is_of = |behind: i64| {
            case.points.len() >= 2
                && case.points.iter().all(|point| {
                    let (Some(all), Some(at)) = (moments(case, point, behind), point.actual) else {
                        return false;
                    };
                    index.map_or(all[0] <= at && at <= all[3], |index| all[index] == at)
                })
        };
        let (which, how) = if is_of(-1) {
            ("behind", "large")
        } else if is_of(1) {
            ("before", "small")
        } else {
            return None;
        };
        let disputed = |rules: &[&str]| case.peers.iter().any(|peer| rules.contains(&peer.rule));
        let of_column = |peer: &&Peer<'_>| peer.rule == "M015" && peer.column == case.column;
        match (case.rule, case.column?) {
            ("M014" | "M015", "timestamp") if !disputed(&["M006", "M007", "S003"]) => {
                Some(format!(
                    "the stamps are right, as other files say too, but details name the step {which}: \
                 iteration_id is one too {how}"
                ))
            }
            // Only the rows of the steps say otherwise.
            ("M015", "completion_time")
                if !disputed(&["M001", "S003"])
                    && case.peers.iter().filter(of_column).count() == case.points.len() =>
            {
                Some(format!(
                    "completion_time is right, as other files say too, but the completed rows stand \
                     in the step {which}"
                ))
            }
            _ => None,
        }
    },
};

/// Another moment of the right step.
pub(super) static OTHER_MOMENT: Recogniser = Recogniser {
    id: "other-moment",
    doc: "Every stamp is another moment of its step: its beginning for its decision, and so on.",
    about: About::Values,
    find: |case| {
        if case.rule == "M013"
            && let Some(told) = begins_early(case)
        {
            return Some(told);
        }
        let index = expected_moment(case)?;
        let column = case.column_name();
        // One stamp for all moments is none of any step.
        if case.rule != "M013" && case.points.len() >= 3 && is_stuck(case) {
            return None;
        }
        let all = |is: fn(&Case<'_>, &Point<'_>, usize, usize) -> Option<bool>, other: usize| {
            case.points.iter().all(|point| is(case, point, index, other) == Some(true))
        };
        let mut others = (0..4).filter(|other| *other != index);
        // A few nanoseconds are anything.
        let far = |point: &Point<'_>| {
            let differ = || Some((point.actual? - point.expected?).abs() >= FAR);
            differ() == Some(true)
        };
        let other = others.find(|other| {
            all(is_at, *other) || case.points.iter().any(far) && all(is_at_or_goes_on, *other)
        })?;
        let (told, right) = (NAMES[other], NAMES[index]);
        // What is first scheduled is at a decision, and what is answered at an end.
        Some(match case.rule {
            "M006" if other == 1 => {
                format!(
                    "the timestamp that {column} is held to is {right} of its step instead of {told}"
                )
            }
            "M007" if other == 3 => format!(
                "the timestamp up to which {column} is counted is {right} of its step instead of {told}"
            ),
            "M007" | "M013" => {
                format!("{column} is counted up to {told} of its step instead of {right}")
            }
            _ => format!("{column} is {told} of its step instead of {right}"),
        })
    },
};

/// Whether one value stands for different moments.
fn is_stuck(case: &Case<'_>) -> bool {
    case.pairs().is_some_and(|pairs| {
        let (expected, actual): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let at_zero = case.rule == "M020" && actual[0] == 0;
        all_same(&actual) && (at_zero || !all_same(&expected))
    })
}

/// Whether the value is up to another moment of the step than the one expected.
fn is_at(case: &Case<'_>, point: &Point<'_>, _: usize, other: usize) -> Option<bool> {
    let at = point.actual? + counted_from(case, point)?;
    Some(moments(case, point, 0)?[other] == at)
}

/// Either, since what is read before a state begins is cut to 0, from which the next row does not go on.
fn is_at_or_goes_on(
    case: &Case<'_>,
    point: &Point<'_>,
    index: usize,
    other: usize,
) -> Option<bool> {
    let goes_on = || goes_on_at(case, point, index, other).unwrap_or(false);
    Some(is_at(case, point, index, other).unwrap_or(false) || goes_on())
}

/// Whether what came to a time that goes on, since the row before, is up to another moment of both steps.
fn goes_on_at(case: &Case<'_>, point: &Point<'_>, index: usize, other: usize) -> Option<bool> {
    let (now, before) = (moments(case, point, 0)?, moments(case, point, -1)?);
    let off = (now[other] - now[index]) - (before[other] - before[index]);
    Some(case.rule == "M013" && point.actual? - point.expected? == off)
}

/// Another beginning.
pub(super) static OTHER_BEGINNING: Recogniser = Recogniser {
    id: "other-beginning",
    doc: "Every time in a state is counted from another moment of its request than the entry into the \
          state, or every ttft from the first scheduling.",
    about: About::Values,
    find: |case| {
        type Beginning = (&'static str, fn(&Own) -> Option<Nanos>);
        const BEGINNINGS: [Beginning; 2] = [
            ("the arrival", |own| Some(own.arrival)),
            ("the first scheduling", |own| own.first_scheduled),
        ];
        if case.rule == "M007" && case.points.iter().all(|it| is_since_scheduled(it) == Some(true))
        {
            let column = case.column_name();
            return Some(format!(
                "{column} is counted from first_scheduled_time instead of arrival_time"
            ));
        }
        if case.rule != "M013" || case.points.is_empty() {
            return None;
        }
        let is = |point: &Point<'_>, from: &Beginning| {
            let actual = point.actual?;
            let at = actual + i128::from((from.1)(&point.own?)?.0);
            // A few nanoseconds are anything.
            let far = point.expected.is_none_or(|expected| (actual - expected).abs() >= FAR);
            Some(far && moments(case, point, 0)?[1] == at)
        };
        let all = |from: &&Beginning| case.points.iter().all(|point| is(point, from) == Some(true));
        let (name, _) = BEGINNINGS.iter().find(all)?;
        Some(format!(
            "{} is counted from {name}: it does not begin anew with each state",
            case.column_name()
        ))
    },
};

/// Whether the value lacks the time until the first scheduling.
fn is_since_scheduled(point: &Point<'_>) -> Option<bool> {
    let own = point.own?;
    let late = i128::from(own.first_scheduled?.0) - i128::from(own.arrival.0);
    Some(late >= FAR && point.expected? - point.actual? == late)
}

/// Times in a state that begins with the step by its change, and with its decision by its rows.
fn begins_early(case: &Case<'_>) -> Option<String> {
    let early = |point: &Point<'_>| {
        let [start, decided, ..] = moments(case, point, 0)?;
        (decided > start && point.actual == Some(0) && point.expected == Some(decided - start))
            .then_some(())
    };
    (case.points.len() >= 2 && case.points.iter().all(|point| early(point).is_some())).then(|| {
        "the changes are stamped with start_time of their steps instead of the decision, from which \
         the rows count"
            .to_owned()
    })
}
