//! M011: the numbering of steps.

use crate::invariants::prelude::*;

declare_invariant! {
    /// iteration_id runs 0, 1, 2, … without a gap.
    ///
    /// A gap is a lost row, another first id a numbering from 1 or lost first rows, a repetition a row written twice, ids that start again a second run
    /// appended to the same files: that is damage, and the first run is checked.
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

/// A second run in the files; the first place is that which told.
pub(crate) fn second_run(at: Location, cuts: &[Option<Location>]) -> Finding {
    let (line, table) = (at.line, at.table);
    let starts = match table {
        Table::PerIteration => format!("iteration ids start again at line {line}"),
        _ => format!("{table} starts again at line {line}"),
    };
    let message = format!("{starts}: a second run was appended, and is not checked");
    let column = table.schema().columns[0].name;
    let finding = Finding::new(message).at(at, column).as_severity(Severity::Damage);
    let others = cuts.iter().filter(|cut| cut.is_some_and(|cut| cut.table != table));
    others.fold(finding, |finding, cut| finding.with_row(*cut, "the second run"))
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        let (FormKind::SecondRun { cuts }, Some(at)) = (&problem.kind, problem.at) else { return };
        cx.found(second_run(at, cuts));
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration else { return };
        let expected =
            view.previous.map_or(0, |previous| previous.row.iteration_id.0.saturating_add(1));
        let actual = step.row.iteration_id.0;
        // A row that could not be read leaves a gap of its own.
        let excused = actual > expected && !cx.facts.complete(Table::PerIteration);
        cx.expect(actual == expected || excused, |_| {
            let message = match (view.previous, actual.checked_sub(expected)) {
                (None, _) => format!("iteration ids begin with {actual}"),
                (Some(_), Some(missing)) => format!("{missing} steps are missing"),
                (Some(_), None) => "the step stands out of order, or twice".to_owned(),
            };
            Finding::new(message)
                .at(step.at(), "iteration_id")
                .with_row(view.previous.map(Located::at), "the row before")
                .in_iteration(view.id)
                .values(expected, actual)
        });
    }
}
