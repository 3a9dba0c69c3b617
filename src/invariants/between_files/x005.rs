//! X005: the same end.

use std::collections::BTreeMap;

use crate::check::Mark;
use crate::invariants::prelude::*;

declare_invariant! {
    /// All files are complete up to the same moment, the shutdown.
    ///
    /// A logger flushes all its files together, so that a killed run leaves files that end alike. A
    /// file that ends before the others missed a flush; a log without rows of the requests that were
    /// alive missed its shutdown, one without any step although requests were scheduled never wrote them (where steps
    /// overlap, although requests have tokens: the first step may be in flight at the shutdown).
    /// All are damage: what is there may be right. Two files each of which lacks the end of a request that
    /// the other one has were not cut: that is an error.
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
    /// Ends of requests that one file lacks and another has, by these two: the first of them.
    lacks: BTreeMap<(Table, Table), End>,
    /// The first request that was scheduled.
    decided: Option<Location>,
}

/// The end of a request.
#[derive(Clone, Debug)]
struct End {
    request: String,
    moment: Nanos,
    at: Option<Location>,
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
        match (view.iteration, view.rows.at(0)) {
            (Some(step), _)
                if cx.facts.rows_end_early
                    && view.damaged
                    && !cx.facts.table(Table::PerIterationRequests).truncated =>
            {
                let at = Some(step.at());
                self.note(Table::PerIterationRequests, step.row.end_time, at);
            }
            (None, at @ Some(_)) => {
                let facts = cx.facts.table(Table::PerIteration);
                if facts.usable && facts.exhausted && !facts.truncated {
                    let last = facts.last_moment.unwrap_or_default();
                    self.note(Table::PerIteration, last, at);
                }
            }
            _ => {}
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if self.decided.is_none() && took_part(request, cx) {
            self.decided = request.any_location();
        }
        if request.damaged {
            return;
        }
        first_token(request, cx).into_iter().for_each(|moment| {
            self.note(Table::Events, moment, request.any_location());
        });
        let Some(end) = request.completion() else { return };
        let noted =
            request.event(EventType::RequestCompleted).is_some() || request.events_reach(end);
        let changed =
            request.changes_to(State::Completed).next().is_some() || request.changes_reach(end);
        let tellers = [
            (Table::PerRequest, request.record.is_some()),
            (Table::Events, noted),
            (Table::StateTransitions, changed),
        ];
        for (table, told) in tellers {
            let ends_before = cx.facts.complete(table) && !cx.facts.covers(table, end);
            if !told && ends_before {
                let at = request.any_location();
                self.note(table, end, at);
                for (other, _) in tellers.iter().filter(|(other, told)| *told && *other != table) {
                    let request = || cx.id(request.key).to_owned();
                    let end = || End { request: request(), moment: end, at };
                    self.lacks.entry((table, *other)).or_insert_with(end);
                }
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
            if let Some((other, end)) = self.contradiction(table) {
                cx.found(contradicts(table, other, end));
                continue;
            }
            let what = match table {
                Table::PerIteration | Table::PerIterationRequests => "steps",
                _ => "requests",
            };
            cx.found(
                Finding::new(format!(
                    "{table} ends before the other files: {} {what} up to {} are missing",
                    late.count, late.latest
                ))
                .of_file(table)
                .with_row(late.example, "the first of them"),
            );
        }
        if let Some(at) = self.decided.filter(|_| no_steps(cx)) {
            let message =
                format!("{} has no row, although requests were scheduled", Table::PerIteration);
            let found = Finding::new(message).of_file(Table::PerIteration);
            cx.found(found.with_row(Some(at), "the first of them"));
        }
        if cx.facts.killed {
            cx.found(
                Finding::new(format!(
                    "the log ends without a shutdown: {} requests were alive and have no row in \
                 per_request.csv",
                    end.cut_off
                ))
                .of_file(Table::PerRequest),
            );
        }
    }
}

impl Check {
    /// The file that has an end which this one lacks, and the other way round: then neither was cut
    /// before the other.
    fn contradiction(&self, table: Table) -> Option<(Table, &End)> {
        let mut lacks = self.lacks.iter().filter(|((lacking, _), _)| *lacking == table);
        lacks.find_map(|((_, other), end)| {
            self.lacks.contains_key(&(*other, table)).then_some((*other, end))
        })
    }
}

fn contradicts(table: Table, other: Table, end: &End) -> Finding {
    let message = format!(
        "{other} has the end of {} at {}, {table} has it not, although it goes on as long",
        end.request, end.moment
    );
    let mut finding = Finding::new(message).naming(&end.request).as_severity(Severity::Error);
    finding.request = Some(end.request.clone());
    finding.primary = end.at.map(|at| Mark { at, column: None, label: String::new() });
    finding
}

/// Whether per_iteration.csv is there without a row, and no other file tells of a step by a row of its own.
fn no_steps(cx: &Cx<'_>) -> bool {
    let steps = cx.facts.table(Table::PerIteration);
    let rows = cx.facts.table(Table::PerIterationRequests);
    steps.usable && steps.exhausted && steps.rows == 0 && rows.rows == 0
}

/// Whether a request was decided on by a step that has ended. Of one in flight at the shutdown there is no row,
/// and where steps overlap only an output tells that one has ended.
fn took_part(request: &RequestHistory, cx: &Cx<'_>) -> bool {
    let record = request.record.as_ref().map(|record| record.row);
    if cx.facts.overlapping {
        let has_output = record.is_some_and(|row| row.output_tokens > Tokens::ZERO);
        return has_output || request.event(EventType::FirstTokenGenerated).is_some();
    }
    record.and_then(|row| row.first_scheduled_time).is_some_and(|at| at > Nanos::ZERO)
        || request.event(EventType::RequestScheduled).is_some()
}

/// The first token of a request, if only the end of the events keeps it from having an event.
fn first_token(request: &RequestHistory, cx: &Cx<'_>) -> Option<Nanos> {
    let record = request.record.as_ref()?;
    let moment = record.row.arrival_time.saturating_add(record.row.ttft?);
    let noted = request.event(EventType::FirstTokenGenerated).is_some();
    let behind = cx.facts.complete(Table::Events) && !cx.facts.covers(Table::Events, moment);
    (!noted && behind).then_some(moment)
}
