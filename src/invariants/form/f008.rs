//! F008: cells left empty among filled ones.

use crate::invariants::prelude::*;

declare_invariant! {
    /// A value that a log writes is in every row that has one.
    ///
    /// Whether a column is written is the logger's choice: some leave it empty in all rows. A cell that
    /// is empty among filled ones is a value that was lost, and sums and means over the column are
    /// wrong without a word.
    ///
    /// gpu_memory_bytes may be unknown at times: there it is a warning. A column that is there and
    /// empty in all rows is a note of the report, with the rules that had nothing to compare in it.
    ///
    /// Blind spot: values that are not there by their definition, such as the ttft of a request
    /// without output; the rules about those columns know when they must be there.
    ///
    /// Example: one row of per_iteration.csv with an empty admitted_count.
    pub static F008 = {
        name: "filled-alike",
        reads: [],
        also: [
            PerRequest(kv_cache_blocks, kv_cache_memory_bytes, priority_score, finish_reason,
                cached_tokens, recomputed_tokens, scheduled_tokens),
            PerIteration(output_processing_duration, admitted_count, resumed_count,
                completed_count, evicted_blocks, gpu_memory_bytes),
            PerIterationRequests(scheduled_tokens, computed_tokens),
            Events(request_id),
            StateTransitions(prev_state),
        ],
        severity: Error,
    } => Check
}

const OF_REQUESTS: [&str; 7] = [
    "kv_cache_blocks",
    "kv_cache_memory_bytes",
    "priority_score",
    "finish_reason",
    "cached_tokens",
    "recomputed_tokens",
    "scheduled_tokens",
];
const OF_STEPS: [&str; 6] = [
    "output_processing_duration",
    "admitted_count",
    "resumed_count",
    "completed_count",
    "evicted_blocks",
    "gpu_memory_bytes",
];
const OF_ROWS: [&str; 2] = ["scheduled_tokens", "computed_tokens"];

#[derive(Default)]
struct Check {
    requests: [Column; OF_REQUESTS.len()],
    steps: [Column; OF_STEPS.len()],
    rows: [Column; OF_ROWS.len()],
    completed: [Column; 2],
    event: Column,
    change: Column,
}

/// What was seen of one column.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    filled: bool,
    empty: u64,
    first: Option<Location>,
}

impl Column {
    /// Takes in a cell; an empty one is told of once a filled one is known.
    #[inline]
    fn see(
        &mut self,
        filled: bool,
        at: impl Fn() -> Location,
        name: &'static str,
        cx: &mut Cx<'_>,
    ) {
        if filled && self.filled {
            return;
        }
        self.change(filled, at(), name, cx);
    }

    #[cold]
    fn change(&mut self, filled: bool, at: Location, name: &'static str, cx: &mut Cx<'_>) {
        if !filled && !self.filled {
            self.empty += 1;
            self.first = self.first.or(Some(at));
            return;
        }
        self.filled = true;
        let (at, count) = match (filled, self.first.take()) {
            (false, _) => (at, 1),
            (true, Some(first)) => (first, self.empty),
            (true, None) => return,
        };
        let more =
            if count > 1 { format!(", as in {} more rows", count - 1) } else { String::new() };
        let mut finding = Finding::new(format!("{name} is empty, but other rows have it{more}"))
            .at(at, name)
            .values("a value", "empty");
        if name == "gpu_memory_bytes" {
            finding = finding.as_severity(Severity::Warning);
        }
        cx.found(finding);
    }
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if let Some(step) = view.iteration {
            let row = &step.row;
            let filled = [
                row.output_processing_duration.is_some(),
                row.admitted_count.is_some(),
                row.resumed_count.is_some(),
                row.completed_count.is_some(),
                row.evicted_blocks.is_some(),
                row.gpu_memory_bytes.is_some(),
            ];
            let cells = filled.into_iter().zip(OF_STEPS);
            for (column, (filled, name)) in self.steps.iter_mut().zip(cells) {
                column.see(filled, || step.at(), name, cx);
            }
        }
        for row in view.changed() {
            let columns = if row.queued() { &mut self.rows } else { &mut self.completed };
            let [scheduled, computed] = columns;
            let at = || row.row.at();
            scheduled.see(row.scheduled_tokens.is_some(), at, "scheduled_tokens", cx);
            computed.see(row.computed_tokens.is_some(), at, "computed_tokens", cx);
        }
        cx.exercised(view.rows.len() + 1);
    }

    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        for event in events {
            self.event.see(event.row.request_id.is_some(), || event.at(), "request_id", cx);
        }
        cx.exercised(events.len());
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        for change in &request.transitions {
            self.change.see(change.row.prev_state.is_some(), || change.at(), "prev_state", cx);
        }
        let Some(record) = &request.record else { return };
        let row = &record.row;
        // What a request held at its end is not defined before.
        let alive = row.completion_time.is_none();
        let filled = [
            row.kv_cache_blocks.is_some(),
            row.kv_cache_memory_bytes.is_some(),
            row.priority_score.is_some(),
            row.finish_reason.is_some(),
            row.cached_tokens.is_some(),
            row.recomputed_tokens.is_some(),
            row.scheduled_tokens.is_some(),
        ];
        let cells = filled.into_iter().zip(OF_REQUESTS);
        for (index, (filled, name)) in cells.enumerate() {
            // The blocks of a request that is alive say nothing of the column.
            if !(alive && index < 2) {
                self.requests[index].see(filled, || record.at(), name, cx);
            }
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        let tables: [(Table, &[Column], &[&str]); 5] = [
            (Table::PerRequest, &self.requests, &OF_REQUESTS),
            (Table::PerIteration, &self.steps, &OF_STEPS),
            (Table::PerIterationRequests, &self.rows, &OF_ROWS),
            (Table::Events, std::slice::from_ref(&self.event), &["request_id"]),
            (Table::StateTransitions, std::slice::from_ref(&self.change), &["prev_state"]),
        ];
        for (table, columns, names) in tables {
            for (column, name) in columns.iter().zip(names) {
                if !column.filled && column.empty > 0 && cx.facts.has_column(table, name) {
                    cx.note(empty_throughout(table, name));
                }
            }
        }
    }
}

/// That a column has no value, and which rules had nothing to compare in it.
fn empty_throughout(table: Table, name: &str) -> String {
    let reads = |rule: &&crate::check::Declaration| {
        let mut reads = rule.reads.iter().chain(rule.also);
        rule.id != F008.id
            && reads.any(|reads| reads.table == table && reads.columns.contains(&name))
    };
    let rules: Vec<_> = crate::invariants::ALL.iter().copied().filter(reads).collect();
    let rules: Vec<_> = rules.iter().map(|rule| rule.id).collect();
    let unread = match rules.is_empty() {
        true => String::new(),
        false => format!(": {} had nothing to compare in it", rules.join(", ")),
    };
    format!("{name} is empty in all rows of {table}{unread}")
}
