//! F010: run.json.

use crate::invariants::prelude::*;

declare_invariant! {
    /// run.json, where it is there, is the JSON object that the format describes, and its settings are
    /// of the right kind.
    ///
    /// Rules that need a setting are not checked without it. A file that cannot be read is damage: what
    /// it would say is not known, and the rest of the log is checked. A newer `schema_version` is a
    /// warning: what is understood is used.
    ///
    /// Blind spot: settings that no rule uses; a setting that is of the right kind and wrong.
    ///
    /// Example: `"max_num_seqs": "256"`, a text instead of a number.
    pub static F010 = {
        name: "run-info",
        reads: [],
        severity: Damage,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if !cx.facts.has_run_info {
            cx.vacuous("there is no run.json");
        }
        cx.exercised(usize::from(cx.facts.has_run_info));
        for problem in &cx.facts.run_problems {
            let found = if problem.newer {
                let remedy = "what is understood of it is used";
                Finding::new(format!("{problem}; {remedy}")).as_severity(Severity::Warning)
            } else {
                let remedy = "correct it, or remove the file and give settings by flags";
                Finding::new(format!("{problem}; {remedy}"))
            };
            cx.found(found);
        }
    }
}
