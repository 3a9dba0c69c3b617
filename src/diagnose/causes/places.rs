//! Where the findings of a group are: at flushes, in one step, of one kind of request.

use crate::diagnose::SAMPLE;
use crate::diagnose::causes::{About, Case, Recogniser, all_same, list};

/// Flushes that findings are taken for are at least so far apart.
const SHORTEST_FLUSH: u64 = 10;

/// Iterations of a log whose last one stands out.
const LONG_LOG: u64 = 20;

/// The distance between the iterations, if it is always the same.
fn stride(case: &Case<'_>) -> Option<(Vec<u64>, u64)> {
    let all = case.iterations().filter(|all| all.len() >= 3)?;
    let gaps: Vec<_> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
    all_same(&gaps).then(|| (all, gaps[0]))
}

/// Columns whose field is 0 in every row.
fn zeros(case: &Case<'_>) -> Vec<&'static str> {
    let Some(first) = case.points.first() else { return Vec::new() };
    let zero = |column: &&&'static str| {
        // Counts may well be 0; a duration hardly is.
        let lasting = column.ends_with("duration") || **column == "scheduling_overhead";
        lasting && case.points.iter().all(|point| point.row.get(**column) == Some(&"0"))
    };
    first.row.keys().filter(zero).copied().collect()
}

/// Rows written at a flush.
pub(super) static FLUSH: Recogniser = Recogniser {
    id: "at-the-flush",
    doc: "The findings are at the last (or first) iteration of every flush.",
    about: About::Places,
    find: |case| {
        let (all, stride) = stride(case).filter(|(_, stride)| *stride >= SHORTEST_FLUSH)?;
        let which = match all[0] % stride {
            last if last == stride - 1 => "last",
            0 => "first",
            _ => return None,
        };
        let zeros = zeros(case);
        let why = match (which, zeros.contains(&"forward_pass_duration"), zeros.first()) {
            ("last", true, _) => {
                ", where forward_pass_duration is 0: the row was flushed before its forward pass \
                 ended"
                    .to_owned()
            }
            ("last", false, Some(column)) => {
                format!(", where {column} is 0: the row was flushed before it was complete")
            }
            ("last", false, None) => ": the row was flushed before it was complete".to_owned(),
            _ => ": what the flush resets is needed by the row behind it".to_owned(),
        };
        Some(format!(
            "iterations {} are each the {which} of {stride} between two flushes{why}",
            list(&all)
        ))
    },
};

/// Every so many iterations.
pub(super) static STRIDE: Recogniser = Recogniser {
    id: "periodic",
    doc: "The findings are equally far apart.",
    about: About::Places,
    find: |case| {
        let (all, stride) = stride(case).filter(|(_, stride)| *stride >= 2)?;
        Some(format!(
            "iterations {}: one in {stride}; look for what the logger does every {stride} \
             iterations",
            list(&all)
        ))
    },
};

/// Every iteration behind some one.
pub(super) static FROM_HERE_ON: Recogniser = Recogniser {
    id: "from-here-on",
    doc: "Every iteration from one to the end has a finding, and none before it.",
    about: About::Places,
    find: |case| {
        let (all, _) = stride(case).filter(|(all, stride)| *stride == 1 && all.len() >= 4)?;
        let (first, last) = (all[0], all[all.len() - 1]);
        let to_the_end = Some(last) >= case.facts.last_iteration.map(|id| id.0);
        // Of more findings only the first are looked at.
        (to_the_end || case.points.len() >= SAMPLE).then(|| match first {
            0 | 1 => "every iteration has it".to_owned(),
            _ => format!("every iteration from {first} on has it, and none before"),
        })
    },
};

/// The end of the log.
pub(super) static LAST_STEP: Recogniser = Recogniser {
    id: "last-step",
    doc: "Only the last step of the log has findings.",
    about: About::Places,
    find: |case| {
        // What the log lacks behind its end says nothing of its last step.
        let all = case.iterations().filter(|_| case.rule != "M021")?;
        let last = case.facts.last_iteration.filter(|last| last.0 >= LONG_LOG)?;
        (all == [last.0]).then(|| {
            format!("only the last step, {last}, has it: it was written before it was complete")
        })
    },
};

/// One step.
pub(super) static ONE_STEP: Recogniser = Recogniser {
    id: "one-step",
    doc: "All findings are of one iteration.",
    about: About::Places,
    find: |case| {
        let all = case.iterations().filter(|all| all.len() == 1 && case.points.len() >= 3)?;
        Some(format!("all of them are in iteration {}: look there", all[0]))
    },
};

/// One request.
pub(super) static ONE_REQUEST: Recogniser = Recogniser {
    id: "one-request",
    doc: "All findings are of one request.",
    about: About::Places,
    find: |case| {
        let requests: Vec<_> =
            case.points.iter().map(|point| point.request).collect::<Option<_>>()?;
        (requests.len() >= 3 && all_same(&requests))
            .then(|| format!("all of them are of request {}", requests[0]))
    },
};

/// Events that only requests have that were preempted.
const OF_PREEMPTIONS: [&str; 3] = ["request_preempted", "request_evicted", "request_resumed"];

/// Requests that were preempted.
pub(super) static PREEMPTED_ONLY: Recogniser = Recogniser {
    id: "preempted-only",
    doc: "Only requests that were preempted have findings, and others there are.",
    about: About::Places,
    find: |case| {
        let some = case.several_requests() && case.facts.preempted_requests < case.facts.requests;
        let preempted = |point: &crate::diagnose::causes::Point<'_>| {
            // No other request has such an event.
            if point.row.get("event_type").is_some_and(|kind| OF_PREEMPTIONS.contains(kind)) {
                return false;
            }
            let counted = point.row.get("preemption_count").is_some_and(|count| *count != "0");
            counted || point.sums.is_some_and(|sums| sums.preemptions > 0)
        };
        (some && case.points.iter().all(preempted)).then(|| {
            "only requests that were preempted have it: look at what the logger does at a \
             preemption"
                .to_owned()
        })
    },
};

/// Requests that ended in one way.
pub(super) static ONE_ENDING: Recogniser = Recogniser {
    id: "one-ending",
    doc: "Only requests that were aborted, rejected or unfinished have findings.",
    about: About::Places,
    find: |case| {
        let endings: Vec<_> = case
            .points
            .iter()
            .map(|point| point.row.get("finish_reason").copied())
            .collect::<Option<_>>()?;
        let odd = |ending: &str| matches!(ending, "abort" | "error" | "unfinished");
        (case.several_requests() && all_same(&endings) && odd(endings[0])).then(|| {
            let ending = endings[0];
            format!("only requests with finish_reason {ending} have it: they end on another path")
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::{said, said_of};
    use crate::diagnose::causes::{Case, Point};
    use crate::diagnose::facts::Facts;
    use crate::units::IterationId;

    fn at(iterations: &[u64]) -> Vec<Point<'static>> {
        let point = |id: &u64| Point { iteration: Some(*id), ..Point::default() };
        iterations.iter().map(point).collect()
    }

    #[test]
    fn at_the_flush() {
        let mut points = at(&[99, 199, 299, 399, 499]);
        assert_eq!(
            said("duration", &points),
            ["at-the-flush: iterations 99, 199, 299, 399, … are each the last of 100 between two \
              flushes: the row was flushed before it was complete"]
        );
        for point in &mut points {
            point.row = [("forward_pass_duration", "0")].into_iter().collect();
        }
        assert_eq!(
            said("duration", &points),
            ["at-the-flush: iterations 99, 199, 299, 399, … are each the last of 100 between two \
              flushes, where forward_pass_duration is 0: the row was flushed before its forward \
              pass ended"]
        );
        assert_eq!(
            said("duration", &at(&[50, 100, 150])),
            [
                "at-the-flush: iterations 50, 100, 150 are each the first of 50 between two flushes: \
              what the flush resets is needed by the row behind it"
            ]
        );
    }

    #[test]
    fn periodic() {
        assert_eq!(
            said("duration", &at(&[3, 7, 11])),
            ["periodic: iterations 3, 7, 11: one in 4; look for what the logger does every 4 \
              iterations"]
        );
    }

    #[test]
    fn from_here_on() {
        assert_eq!(
            said("duration", &at(&[12, 13, 14, 15])),
            ["from-here-on: every iteration from 12 on has it, and none before"]
        );
        assert_eq!(said("duration", &at(&[0, 1, 2, 3])), ["from-here-on: every iteration has it"]);
    }

    #[test]
    fn last_step() {
        let facts = Facts { last_iteration: Some(IterationId(40)), ..Facts::default() };
        let case = |points| Case {
            rule: "K002",
            table: None,
            column: None,
            points,
            whole: None,
            peers: &[],
            facts: &facts,
        };
        assert_eq!(
            said_of(&case(at(&[40]))),
            ["last-step: only the last step, 40, has it: it was written before it was complete"]
        );
        assert_eq!(said_of(&case(at(&[39]))), [""; 0]);
    }

    #[test]
    fn one_step_and_one_request() {
        assert_eq!(
            said("state", &at(&[8, 8, 8])),
            ["one-step: all of them are in iteration 8: look there"]
        );
        let of = Point { request: Some("r7"), ..Point::default() };
        assert_eq!(
            said("state", &[of.clone(), of.clone(), of]),
            ["one-request: all of them are of request r7"]
        );
    }

    #[test]
    fn kinds_of_requests() {
        let with = |request, column: &'static str, value: &'static str| Point {
            request: Some(request),
            row: [(column, value)].into_iter().collect(),
            ..Point::default()
        };
        let preempted = [with("a", "preemption_count", "1"), with("b", "preemption_count", "2")];
        assert_eq!(
            said("ttft", &preempted),
            ["preempted-only: only requests that were preempted have it: look at what the logger \
              does at a preemption"]
        );
        let aborted = [with("a", "finish_reason", "abort"), with("b", "finish_reason", "abort")];
        assert_eq!(
            said("ttft", &aborted),
            [
                "one-ending: only requests with finish_reason abort have it: they end on another path"
            ]
        );
        let stopped = [with("a", "finish_reason", "stop"), with("b", "finish_reason", "stop")];
        assert_eq!(said("ttft", &stopped), [""; 0]);
    }
}
