//! M011: the numbering of steps.

use crate::invariants::prelude::*;

declare_invariant! {
    /// iteration_id runs 0, 1, 2, … without a gap.
    ///
    /// A gap is a lost row, a repetition a row written twice, a new 0 a second run appended to the
    /// same files (which is reported as damage).
    ///
    /// Blind spot: rows lost at the end; X005 compares the ends of the files.
    ///
    /// Example: 98, 100: the row that was open at a flush was lost.
    pub static M011 = {
        name: "steps-are-numbered",
        reads: [PerIteration(iteration_id)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        let expected =
            view.previous.map_or(0, |previous| previous.row.iteration_id.0.saturating_add(1));
        let actual = step.row.iteration_id.0;
        // A row that could not be read leaves a gap of its own.
        let excused = actual > expected && !cx.facts.complete(Table::PerIteration);
        cx.expect(actual == expected || excused, |_| {
            let restart = actual == 0;
            let message = match actual {
                0 => "a second run begins in the same file".to_owned(),
                _ if actual > expected => format!("{} steps are missing", actual - expected),
                _ => "the step stands out of order, or twice".to_owned(),
            };
            let finding = Finding::new(message)
                .at(step.at(), "iteration_id")
                .with_row(view.previous.map(Located::at), "the row before")
                .in_iteration(view.id)
                .values(expected, actual);
            if restart { finding.as_severity(Severity::Damage) } else { finding }
        });
    }
}
