//! X008: the order of the changes.

use std::collections::BTreeMap;

use crate::invariants::prelude::*;

declare_invariant! {
    /// The rows of a request in state_transitions.csv stand together, and the requests stand in the
    /// order of per_request.csv.
    ///
    /// Both files are written as requests end, from one object each. Rows that are mixed were written
    /// as the changes happened, and requests in another order by another thread; a reader that walks
    /// both files side by side then joins the changes of one request to the row of another.
    ///
    /// Blind spot: requests that stand some thousands of rows from where they belong are compared with
    /// the nearest that is remembered only.
    ///
    /// Example: the end of `b` before that of `a`, both at 900, and `a` before `b` in per_request.csv.
    pub static X008 = {
        name: "changes-by-request",
        reads: [PerRequest(request_id), StateTransitions(request_id)],
        severity: Error,
    } => Check
}

/// Requests that are remembered; more than end out of their order in any log.
const REMEMBERED: usize = 4096;

#[derive(Default)]
struct Check {
    /// By the place of its row in per_request.csv: the first and the last of its changes.
    places: BTreeMap<u64, (Location, Location)>,
}

impl Check {
    /// The changes of the requests whose rows stand next to a place.
    fn neighbours(&self, place: u64) -> [Option<(Location, Location)>; 2] {
        // Nearly all come in the order of the file.
        let last = self.places.last_key_value().filter(|(last, _)| **last < place);
        if let Some((_, changes)) = last {
            return [Some(*changes), None];
        }
        let before = self.places.range(..place).next_back();
        let after = self.places.range(place + 1..).next();
        [before, after].map(|other| other.map(|(_, changes)| *changes))
    }
}

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = request.record.as_ref().filter(|_| !request.damaged) else { return };
        let changes = request.transitions.iter().map(Located::at);
        let first = changes.clone().min_by_key(|at| at.line);
        let (Some(first), Some(last)) = (first, changes.max_by_key(|at| at.line)) else { return };
        let place = record.at().line;
        let [before, after] = self.neighbours(place);
        let early = before.filter(|(_, end)| end.line > first.line);
        let late = after.filter(|(start, _)| start.line < last.line);
        let other = early.or(late);
        cx.expect(other.is_none(), |ids| {
            let other = other.map_or(first, |(start, _)| start);
            let mixed = |(start, end): (Location, Location)| {
                (start.line..=end.line).contains(&first.line)
                    || (first.line..=last.line).contains(&start.line)
            };
            let message = if early.or(late).is_some_and(mixed) {
                "the changes of the request stand among those of another"
            } else {
                "the changes stand in another order than the requests in per_request.csv"
            };
            Finding::new(message)
                .at(first, "request_id")
                .with(other, "request_id", "the other request")
                .with_row(Some(record.at()), "the request")
                .of(request.key, ids)
        });
        if other.is_none() {
            self.places.insert(place, (first, last));
            if self.places.len() > REMEMBERED {
                self.places.pop_first();
            }
        }
    }
}
