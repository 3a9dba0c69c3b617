//! Q005: the places in a queue.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The rows of a step stand in order: the running queue, the waiting queues, the completed
    /// requests; in the first two queue_position counts 0, 1, 2, …, in the third it is empty.
    ///
    /// The position is the request's index in its queue, in the order in which it would be served. A
    /// log that writes -1 for running requests is held to the waiting ones, and may write it for completed
    /// ones, too; where others do so, that is told once, as it is where only some rows have it. One that does so in some
    /// rows only mixes two dialects, which is told once. So is, as a warning, that `completed` rows have a place
    /// in a log of fixed columns alone, where 0 may stand for a value that is not defined.
    ///
    /// Blind spot: whether the order is the scheduler's; Q006 checks who is served first. In a log of fixed columns
    /// alone, which queue's rows stand first.
    ///
    /// Example: positions 0, 2: the row between them was lost.
    pub static Q005 = {
        name: "queue-positions",
        reads: [PerIterationRequests(iteration_id, state, queue_position)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Of a log that mixes dialects: running rows without a place, and with one.
    mixed: [Seen; 2],
    /// `completed` rows with a place, in a log of fixed columns alone.
    ended: Seen,
    /// `completed` rows with an empty place, and with -1.
    none: [Seen; 2],
}

/// Rows of one dialect.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    rows: u64,
    first: Option<Location>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if view.damaged {
            return;
        }
        let no_running = cx.facts.dialect.has(Habit::NoRunningPosition);
        let bare = cx.facts.dialect.has(Habit::FixedColumnsOnly);
        let mixed = cx.facts.dialect.has(Habit::MixedRunningPosition);
        let gaps = cx.facts.dialect.hides_waiting();
        let (mut next, mut section) = ([0i32; 3], 0);
        cx.exercised(view.rows.len());
        for (ahead, row) in view.changed_behind() {
            if let Some(place) = ahead {
                next[0] = place as i32 + 1;
            }
            let place = match row.state {
                State::Running => 0,
                State::Waiting | State::Preempted => 1,
                State::Completed => 2,
            };
            if place < section && !bare {
                report(row, view, "the row stands behind those of a later queue", None, cx);
            }
            section = section.max(place);
            let position = row.queue_position.map(|position| position.0);
            if mixed && place == 0 {
                let seen = &mut self.mixed[usize::from(position != Some(-1))];
                seen.rows += 1;
                seen.first = seen.first.or(Some(row.row.at()));
                continue;
            }
            let expected = match place {
                2 => None,
                0 if no_running => Some(-1),
                _ => Some(next[place]),
            };
            // Rows that the log leaves out have places all the same.
            let skips = place == 1 && gaps && position >= expected;
            if skips {
                next[place] = position.unwrap_or(0);
            }
            if place == 2 && bare {
                if position >= Some(0) {
                    self.ended.rows += 1;
                    self.ended.first = self.ended.first.or(Some(row.row.at()));
                }
                continue;
            }
            if place == 2 && matches!(position, None | Some(-1)) {
                let seen = &mut self.none[usize::from(position.is_some())];
                seen.rows += 1;
                seen.first = seen.first.or(Some(row.row.at()));
                continue;
            }
            if position == expected || skips {
                next[place] = next[place].saturating_add(1);
                continue;
            }
            let expected = expected.map_or("empty".to_owned(), |place| place.to_string());
            report(row, view, "the request's place in its queue is wrong", Some(expected), cx);
            // One lost row shifts all behind it; count on from here.
            next[place] = position.map_or(next[place], |position| position.max(0));
            next[place] = next[place].saturating_add(1);
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if let Some(at) = self.ended.first {
            let message = format!(
                "{} `completed` rows have a place in a queue, although the request has left all of them",
                self.ended.rows
            );
            let mut finding =
                Finding::new(message).at(at, "queue_position").as_severity(Severity::Warning);
            finding.expected = Some("empty".to_owned());
            cx.found(finding);
        }
        let no_running = cx.facts.dialect.has(Habit::NoRunningPosition);
        let [empty, minus] = self.none;
        if let Some(at) = minus.first.filter(|_| empty.rows > 0 || !no_running) {
            let message = format!(
                "queue_position is -1 in {} of {} `completed` rows: it is empty where a request is in no queue",
                minus.rows,
                minus.rows + empty.rows
            );
            let mut finding = Finding::new(message)
                .at(at, "queue_position")
                .with_row(empty.first, "it is empty here");
            (finding.expected, finding.actual) = (Some("empty".to_owned()), Some("-1".to_owned()));
            cx.found(finding);
        }
        let [without, with] = self.mixed;
        let Some(at) = without.first.filter(|_| with.rows > 0) else { return };
        let message = format!(
            "two dialects are mixed: queue_position is -1 in {} rows of running requests and a place, \
             or empty, in {}; no place of a running request is checked",
            without.rows, with.rows
        );
        cx.found(
            Finding::new(message)
                .at(at, "queue_position")
                .with_row(with.first, "the other dialect"),
        );
    }
}

fn report(
    row: &RowView,
    view: &IterationView<'_>,
    message: &str,
    expected: Option<String>,
    cx: &mut Cx<'_>,
) {
    let mut finding = Finding::new(message)
        .at(row.row.at(), "queue_position")
        .of(row.request_id, cx.ids)
        .in_iteration(view.id);
    if expected.is_some() {
        finding.expected = expected;
        let place = row.queue_position.map(|position| position.0.to_string());
        finding.actual = Some(place.unwrap_or_else(|| "empty".to_owned()));
    }
    cx.found(finding);
}
