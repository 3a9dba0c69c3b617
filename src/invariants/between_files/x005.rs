//! X005: the same end.

use crate::invariants::prelude::*;

declare_invariant! {
    /// All files are complete up to the same moment, the shutdown.
    ///
    /// A logger flushes all its files together, so that a killed run leaves files that end alike. A
    /// file that ends before the others missed a flush; a log without rows of the requests that were
    /// alive missed its shutdown. Both are damage: what is there may be right.
    ///
    /// Blind spot: rows missing at the end of all files.
    ///
    /// Example: events.csv ends at iteration 300, the other files at iteration 342.
    pub static X005 = {
        name: "same-end",
        reads: [],
        also: [PerRequest, PerIteration, PerIterationRequests, Events, StateTransitions],
        severity: Damage,
    } => Check
}

#[derive(Default)]
struct Check {
    late: [Late; 5],
}

/// What a file should have told of behind its end.
#[derive(Clone, Copy, Debug, Default)]
struct Late {
    count: u64,
    latest: Nanos,
    example: Option<Location>,
}

impl Check {
    fn note(&mut self, table: Table, moment: Nanos, at: Option<Location>) {
        let late = &mut self.late[table as usize];
        late.count += 1;
        late.latest = late.latest.max(moment);
        late.example = late.example.or(at);
    }
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        match (view.iteration, view.rows.first()) {
            (Some(step), None) => {
                let waiting = !cx.facts.dialect.has(Habit::NoWaitingRows);
                let queued =
                    step.row.running_count.0 > 0 || waiting && step.row.waiting_count.0 > 0;
                let facts = cx.facts.table(Table::PerIterationRequests);
                if queued && facts.usable && facts.exhausted && !facts.truncated {
                    let at = Some(step.at());
                    self.note(Table::PerIterationRequests, step.row.end_time, at);
                }
            }
            (None, Some(row)) => {
                let facts = cx.facts.table(Table::PerIteration);
                if facts.usable && facts.exhausted && !facts.truncated {
                    let last = facts.last_moment.unwrap_or_default();
                    self.note(Table::PerIteration, last, Some(row.row.at()));
                }
            }
            _ => {}
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(end) = request.completion().filter(|_| !request.damaged) else { return };
        let noted = request.event(EventType::RequestCompleted).is_some();
        let changed = request.changes_to(State::Completed).next().is_some();
        let told = [
            (Table::PerRequest, request.record.is_some()),
            (Table::Events, noted),
            (Table::StateTransitions, changed),
        ];
        for (table, told) in told {
            let ends_before = cx.facts.complete(table) && !cx.facts.covers(table, end);
            if !told && ends_before {
                self.note(table, end, request.any_location());
            }
        }
    }

    fn finish(&mut self, end: &LogEnd, cx: &mut Cx<'_>) {
        let files = cx.facts.tables.iter().filter(|table| table.usable).count();
        cx.exercised(if files > 1 { files } else { 0 });
        for (table, late) in Table::ALL.into_iter().zip(self.late) {
            if late.count == 0 {
                continue;
            }
            let what = match table {
                Table::PerIteration | Table::PerIterationRequests => "steps",
                _ => "completions",
            };
            cx.found(
                Finding::new(format!(
                    "{table} ends before the other files: {} {what} up to {} are not in it",
                    late.count, late.latest
                ))
                .with_row(late.example, "the first that is not in it"),
            );
        }
        if cx.facts.killed {
            cx.found(Finding::new(format!(
                "the log ends without a shutdown: {} requests were alive and have no row in \
                 per_request.csv",
                end.cut_off
            )));
        }
    }
}
