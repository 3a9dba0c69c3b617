//! What shows only when two groups are seen together.

use crate::diagnose::causes::{About, Peer, Point, Recogniser};

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
                    && peer.request.is_some()
                    && peer.request == point.request
                    && peer.expected == Some(actual)
                    && peer.actual == Some(expected)
            };
            case.peers.iter().find(crossed)?.column
        };
        let first = other(case.points.first()?)?;
        case.points
            .iter()
            .all(|point| other(point) == Some(first))
            .then(|| format!("{} and {first} are exchanged", case.column_name()))
    },
};

/// One request under two ids.
pub(super) static OTHER_SPELLING: Recogniser = Recogniser {
    id: "other-spelling",
    doc: "Every request that is missing in one file stands there under a longer or shorter id.",
    about: About::Values,
    find: |case| {
        if !matches!(case.rule, "X001" | "X003") {
            return None;
        }
        let twin = |id: Option<&str>| {
            let id = id?;
            let near = |peer: &&Peer<'_>| {
                let other = peer.request.unwrap_or_default();
                let longer = other.strip_prefix(id).or_else(|| id.strip_prefix(other));
                peer.rule != case.rule
                    && matches!(peer.rule, "X001" | "X003")
                    && !other.is_empty()
                    && longer.is_some_and(|rest| rest.starts_with(['-', '_', ':', '.', '/']))
            };
            case.peers.iter().find(near)?.request
        };
        let id = case.points.first()?.request?;
        let other = twin(Some(id))?;
        case.points
            .iter()
            .all(|point| twin(point.request).is_some())
            .then(|| format!("the files spell ids differently: {id} in one is {other} in another"))
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::said_of;
    use crate::diagnose::causes::{Case, Peer, Point};
    use crate::diagnose::facts::Facts;

    #[test]
    fn swapped_columns() {
        let row = [("waiting_time", "91"), ("execution_time", "77")].into_iter().collect();
        let point = Point {
            request: Some("b"),
            expected: Some(77),
            actual: Some(91),
            row,
            ..Point::default()
        };
        let peer = Peer {
            rule: "M003",
            column: Some("execution_time"),
            request: Some("b"),
            expected: Some(91),
            actual: Some(77),
            texts: None,
        };
        let facts = Facts::default();
        let case = Case {
            rule: "M003",
            table: None,
            column: Some("waiting_time"),
            points: vec![point],
            whole: None,
            peers: &[peer],
            facts: &facts,
        };
        assert_eq!(
            said_of(&case),
            ["swapped-columns: waiting_time and execution_time are exchanged"]
        );
    }

    #[test]
    fn other_spelling() {
        let point = Point { request: Some("cmpl-1-0"), ..Point::default() };
        let peer = Peer {
            rule: "X001",
            column: None,
            request: Some("cmpl-1"),
            expected: None,
            actual: None,
            texts: None,
        };
        let facts = Facts::default();
        let case = Case {
            rule: "X003",
            table: None,
            column: None,
            points: vec![point],
            whole: None,
            peers: &[peer],
            facts: &facts,
        };
        assert_eq!(
            said_of(&case),
            ["other-spelling: the files spell ids differently: cmpl-1-0 in one is cmpl-1 in \
              another"]
        );
    }
}
