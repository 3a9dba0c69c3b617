//! Where the time of a request went, seen from its changes of state.

use crate::diagnose::causes::{About, Case, Peer, Point, Recogniser};
use crate::diagnose::story::Sums;

/// A counter that starts anew.
pub(super) static RESET: Recogniser = Recogniser {
    id: "reset-on-preemption",
    doc: "Every value covers only what happened since the last resumption.",
    about: About::Values,
    find: |case| {
        let all = !case.points.is_empty()
            && case.points.iter().all(|point| {
                point.sums.is_some_and(|sums| {
                    sums.preemptions > 0
                        && sums.last_running != sums.running
                        && point.actual == Some(i128::from(sums.last_running))
                })
            });
        all.then(|| {
            format!(
                "{} holds only the time since the last resumption: it is reset by a preemption",
                case.column_name()
            )
        })
    },
};

/// A state whose time is counted nowhere, or twice.
pub(super) static UNCOUNTED: Recogniser = Recogniser {
    id: "state-not-counted",
    doc: "Every value is off by the time spent in one state, which is in no sum or in it twice.",
    about: About::Values,
    find: |case| {
        type Side = (&'static str, fn(&Sums) -> u64);
        const SIDES: [Side; 3] = [
            ("preempted", |sums| sums.preempted),
            ("waiting", |sums| sums.waiting),
            ("running", |sums| sums.running),
        ];
        // A moment has no parts.
        const MOMENTS: [&str; 3] = ["timestamp", "arrival_time", "first_scheduled_time"];
        if case.column.is_some_and(|column| MOMENTS.contains(&column)) {
            return None;
        }
        // What is no sum of states is counted from another moment.
        let no_sum = ["M007", "M013"].contains(&case.rule);
        let differences =
            case.differences().filter(|all| !all.is_empty() && !all.contains(&0) && !no_sum)?;
        // M002 compares two columns, of which the found one is not the wrong one.
        let sign = if case.rule == "M002" { -1 } else { 1 };
        let column =
            if case.rule == "M002" { "waiting_time + execution_time" } else { case.column_name() };
        SIDES.into_iter().find_map(|(state, time)| {
            let all = |direction: i128| {
                case.points.iter().zip(&differences).all(|(point, difference)| {
                    let time = point.sums.as_ref().map(time).filter(|time| *time > 0);
                    time.map(|time| i128::from(time) * direction * sign) == Some(*difference)
                })
            };
            if let Some(other) = other_side(case).filter(|_| all(-1)) {
                Some(format!("the time spent {state} is counted in {other} instead of {column}"))
            } else if let Some(other) = other_side(case).filter(|_| all(1)) {
                Some(format!("the time spent {state} is counted in {column} instead of {other}"))
            } else if all(-1) {
                Some(format!("the time spent {state} is counted nowhere: {column} lacks it"))
            } else if all(1) {
                Some(format!("the time spent {state} is counted twice: {column} has it once more"))
            } else {
                None
            }
        })
    },
};

/// The column of which every request has too much what it has too little of this one, or the other way round.
fn other_side(case: &Case<'_>) -> Option<&'static str> {
    let other = |point: &Point<'_>| {
        let difference = point.actual? - point.expected?;
        let opposite = |peer: &&Peer<'_>| {
            let off = || Some(peer.actual? - peer.expected?);
            peer.rule == case.rule
                && peer.column != case.column
                && peer.request == point.request
                && off() == Some(-difference)
        };
        case.peers.iter().find(opposite)?.column
    };
    let first = other(case.points.first()?)?;
    case.points.iter().all(|point| other(point) == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, values};
    use crate::diagnose::causes::Point;
    use crate::diagnose::story::Sums;

    const SUMS: Sums =
        Sums { waiting: 17, running: 91, preempted: 60, last_running: 31, preemptions: 1 };

    fn with(pairs: &[(i128, i128)]) -> Vec<Point<'static>> {
        let mut points = values(pairs);
        points.iter_mut().for_each(|point| point.sums = Some(SUMS));
        points
    }

    #[test]
    fn reset_on_preemption() {
        assert_eq!(
            said("execution_time", &with(&[(91, 31)])),
            ["reset-on-preemption: execution_time holds only the time since the last resumption: \
              it is reset by a preemption"]
        );
    }

    #[test]
    fn state_not_counted() {
        assert_eq!(
            said("waiting_time", &with(&[(77, 17)])),
            ["state-not-counted: the time spent preempted is counted nowhere: waiting_time lacks \
              it"]
        );
        assert_eq!(
            said("waiting_time", &with(&[(77, 137)])),
            ["state-not-counted: the time spent preempted is counted twice: waiting_time has it \
              once more"]
        );
    }
}
