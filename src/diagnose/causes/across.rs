//! What shows only when two groups are seen together.

use crate::diagnose::causes::{About, Case, Peer, Point, Recogniser};

/// Two columns exchanged.
pub(super) static SWAPPED: Recogniser = Recogniser {
    id: "swapped-columns",
    doc: "Every value is the one that another column should have, and the other way round.",
    about: About::Values,
    find: |case| {
        let other = |point: &Point<'_>| {
            let (expected, actual) = (point.expected?, point.actual?);
            let crossed = |peer: &&Peer<'_>| {
                // Of one row: two files that differ contradict one another both ways.
                peer.column.is_some_and(|column| point.row.contains_key(column))
                    && peer.column != case.column
                    && (peer.request.is_some() || peer.iteration.is_some())
                    && (peer.request, peer.iteration) == (point.request, point.iteration)
                    && peer.expected == Some(actual)
                    && peer.actual == Some(expected)
            };
            case.peers.iter().find(crossed)?.column
        };
        let Some(first) = other(case.points.first()?) else { return partner(case) };
        // Off by one, a time since 0 and the moment at its end are exchanged by chance.
        let far = |point: &Point<'_>| {
            point.expected.zip(point.actual).is_some_and(|(one, other)| one.abs_diff(other) > 1)
        };
        let all = case.points.iter().all(|point| other(point) == Some(first));
        let pair = (case.column_name(), first);
        // Both columns are told of in the same words.
        let (one, other) = PARTNERS.into_iter().find(|it| *it == (pair.1, pair.0)).unwrap_or(pair);
        (all && case.points.iter().any(far)).then(|| format!("{one} and {other} are exchanged"))
    },
};

/// Columns of one row that a wrong order of arguments exchanges.
const PARTNERS: [(&str, &str); 4] = [
    ("prefill_tokens", "decode_tokens"),
    ("ttft", "tpot"),
    ("waiting_time", "execution_time"),
    ("running_count", "waiting_count"),
];

/// The column of the same rows that has what this one should have, where no rule says so of it.
fn partner(case: &Case<'_>) -> Option<String> {
    let column = case.column?;
    let (one, other) = PARTNERS.into_iter().find(|pair| pair.0 == column || pair.1 == column)?;
    let partner = if one == column { other } else { one };
    let crossed = |point: &Point<'_>| {
        let value = point.row.get(partner)?.parse::<i128>().ok()?;
        Some(point.expected? == value && point.actual? != value)
    };
    let far = |point: &Point<'_>| {
        point.expected.zip(point.actual).is_some_and(|(one, other)| one.abs_diff(other) > 1)
    };
    let several =
        case.points.len() >= 3 && case.points.iter().filter(|point| far(point)).count() >= 2;
    // Where the other one is right, the value stands in both.
    let both = case.points.iter().all(|point| point.actual == point.expected);
    (several && !both && case.points.iter().all(|point| crossed(point) == Some(true)))
        .then(|| format!("{one} and {other} are exchanged"))
}

/// What one count lacks, in another one of its row.
pub(super) static MOVED: Recogniser = Recogniser {
    id: "counted-elsewhere",
    doc: "What every value lacks another column of its row has too much, or the other way round.",
    about: About::Values,
    find: |case| {
        if case.rule != "Q001" {
            return None;
        }
        let other = |point: &Point<'_>| {
            let off = point.actual? - point.expected?;
            let opposite = |peer: &&Peer<'_>| {
                let its = || Some(peer.actual? - peer.expected?);
                peer.rule == case.rule
                    && peer.column != case.column
                    && peer.iteration.is_some()
                    && peer.iteration == point.iteration
                    && its() == Some(-off)
            };
            let peer = case.peers.iter().find(opposite)?;
            Some((peer.column?, off > 0))
        };
        let first = other(case.points.first()?)?;
        let several = case.points.len() >= 2;
        (several && case.points.iter().all(|point| other(point) == Some(first))).then(|| {
            let column = case.column_name();
            match first {
                (other, true) => {
                    format!("{column} has what {other} lacks: that is counted here instead of there")
                }
                (other, false) => {
                    format!("{column} lacks what {other} has too much: it is counted there instead of here")
                }
            }
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::said_of;
    use crate::diagnose::causes::{Case, Peer, Point};
    use crate::diagnose::facts::Facts;

    #[test]
    fn swapped_columns() {
        let point = |request, expected, actual| Point {
            request: Some(request),
            expected: Some(expected),
            actual: Some(actual),
            row: [("waiting_time", ""), ("execution_time", "")].into_iter().collect(),
            ..Point::default()
        };
        let peer = |request, expected, actual| Peer {
            rule: "M003",
            column: Some("execution_time"),
            request: Some(request),
            iteration: None,
            expected: Some(expected),
            actual: Some(actual),
            texts: None,
        };
        let facts = Facts::default();
        let case = |points: Vec<Point<'static>>, peers| Case {
            rule: "M003",
            table: None,
            column: Some("waiting_time"),
            points,
            whole: None,
            peers,
            facts: &facts,
        };
        let peers = [peer("b", 91, 77), peer("c", 12, 60)];
        let points = vec![point("b", 77, 91), point("c", 60, 12)];
        assert_eq!(
            said_of(&case(points.clone(), &peers)),
            ["swapped-columns: waiting_time and execution_time are exchanged"]
        );
        let (near, peers) = (vec![point("b", 77, 78)], [peer("b", 78, 77)]);
        assert_eq!(said_of(&case(near, &peers)), [""; 0]);
    }
}
