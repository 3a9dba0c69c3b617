//! Which rows complete a contradiction, where the finding names only one side of it.
//!
//! A count that is wrong contradicts the rows that it counts, all of them; the rule saw them pass by
//! and kept none. The second pass fetches them, by this table.

use crate::check::Finding;
use crate::log::schema::{IterationRequestRow, Table};
use crate::log::values::State;
use crate::units::Tokens;

/// The rows of one step that a value of the step is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepRows {
    rules: &'static [&'static str],
    /// The column of per_iteration.csv; empty stands for any.
    of: &'static str,
    /// The column that adds to it.
    pub(super) column: &'static str,
    /// Whether a row adds to it.
    pub(super) counts: fn(&IterationRequestRow) -> bool,
}

fn is_scheduled(row: &IterationRequestRow) -> bool {
    row.state != State::Completed && row.scheduled_tokens.unwrap_or_default() > Tokens::ZERO
}

static STEP_ROWS: &[StepRows] = &[
    StepRows {
        rules: &["Q001"],
        of: "running_count",
        column: "state",
        counts: |row| row.state == State::Running,
    },
    StepRows {
        rules: &["Q001"],
        of: "waiting_count",
        column: "state",
        counts: |row| matches!(row.state, State::Waiting | State::Preempted),
    },
    StepRows {
        rules: &["Q001"],
        of: "completed_count",
        column: "state",
        counts: |row| row.state == State::Completed,
    },
    StepRows {
        rules: &["Q003"],
        of: "batch_size",
        column: "scheduled_tokens",
        counts: is_scheduled,
    },
    StepRows { rules: &["K002"], of: "", column: "scheduled_tokens", counts: is_scheduled },
    StepRows {
        rules: &["C003"],
        of: "",
        column: "kv_cache_blocks",
        counts: |row| row.state != State::Completed && row.kv_cache_blocks.0 > 0,
    },
];

/// What the finding of a rule is made of, if it is a value of a step.
pub(super) fn step_rows(rule: &str, finding: &Finding) -> Option<&'static StepRows> {
    let mark = finding.primary.as_ref().filter(|mark| mark.at.table == Table::PerIteration)?;
    let column = mark.column?;
    // Q003 says this of the columns of one row.
    let between_columns = finding.related.is_empty();
    STEP_ROWS
        .iter()
        .filter(|_| !between_columns)
        .find(|rows| rows.rules.contains(&rule) && (rows.of.is_empty() || rows.of == column))
}

/// Whether a value of this rule is made of all changes of its request.
pub(super) fn is_sum_of_changes(rule: &str) -> bool {
    rule == "M003"
}
