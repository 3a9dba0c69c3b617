//! Negative values that are no differences: moments of which the number ended, turned priorities.

use crate::diagnose::causes::{About, Case, Point, Recogniser};

/// Where a number of 32 bits with a sign ends, and begins again.
const END: i128 = 1 << 31;
/// How near to that the first of such moments is.
const NEAR: i128 = END / 4;

/// The value of a point as it stands in its row.
fn written(case: &Case<'_>, point: &Point<'_>) -> Option<i128> {
    let field = case.column.and_then(|column| point.row.get(column).copied());
    field.or(point.text)?.parse().ok()
}

fn all_written(case: &Case<'_>) -> Option<Vec<i128>> {
    let all: Vec<i128> =
        case.points.iter().map(|point| written(case, point)).collect::<Option<_>>()?;
    (!all.is_empty()).then_some(all)
}

/// Moments of 32 bits.
pub(super) static WRAPPED: Recogniser = Recogniser {
    id: "wrapped-at-32-bits",
    doc: "Moments are negative from -2^31 on, where those of 32 bits with a sign begin again.",
    about: About::Column,
    find: |case| {
        let column = case.column?;
        let moment = column == "timestamp" || column.ends_with("_time") && case.is_time();
        let lasting = ["waiting_time", "execution_time"].contains(&column);
        let all = all_written(case).filter(|_| moment && !lasting && case.rule == "F003")?;
        let within = all.iter().all(|value| (-END..0).contains(value));
        let first = all.iter().min()?;
        (within && *first < NEAR - END).then(|| {
            format!(
                "{column} goes on at -2^31 where it reaches 2^31: it is held in a whole number of 32 bits, and \
                 one of 64 is needed"
            )
        })
    },
};

/// Priorities of another sign.
pub(super) static TURNED: Recogniser = Recogniser {
    id: "sign-turned",
    doc: "Every priority is that of the event with the other sign.",
    about: About::Values,
    find: |case| {
        let pairs = case.pairs().filter(|pairs| pairs.len() >= 2)?;
        let turned = pairs.iter().all(|(expected, actual)| *actual == -*expected && *actual != 0);
        (case.column == Some("priority_score") && turned).then(|| {
            "priority_score has the other sign in each: it is turned, as where larger numbers are served first; a \
             lower one is served first in the log"
                .to_owned()
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::{said, said_of, values};
    use crate::diagnose::causes::{Case, Point};
    use crate::diagnose::facts::Facts;

    #[test]
    fn moments_of_32_bits() {
        let facts = Facts::default();
        let point = |text| Point { text: Some(text), ..Point::default() };
        let case = |texts: [&'static str; 2]| Case {
            rule: "F003",
            table: None,
            column: Some("timestamp"),
            points: texts.map(point).into(),
            whole: None,
            peers: &[],
            facts: &facts,
        };
        assert_eq!(
            said_of(&case(["-2147000000", "-1907000000"])),
            [
                "wrapped-at-32-bits: timestamp goes on at -2^31 where it reaches 2^31: it is held in a whole number of \
              32 bits, and one of 64 is needed"
            ]
        );
        assert!(!said_of(&case(["-2000", "-1507000000"]))[0].contains("2^31"));
    }

    #[test]
    fn turned_priorities() {
        let turned = said("priority_score", &values(&[(1, -1), (2, -2)]));
        assert!(turned[0].starts_with("sign-turned: "), "{turned:?}");
        assert_eq!(said("priority_score", &values(&[(1, -1), (2, 2)])), [""; 0]);
    }
}
