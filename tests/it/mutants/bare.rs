//! Mistakes in logs that leave something out: rows, details, settings.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

/// Whether the rows stand for something else than the state that they leave out.
fn without_completed_rows(s: &mut Sheets) {
    s.r.rows.retain(|row| row[2] != "completed");
}

/// Does something to a log that leaves something out, if that changes it.
fn in_dialect(s: &mut Sheets, leave_out: impl Fn(&mut Sheets), change: impl Fn(&mut Sheets)) {
    let correct = s.clone();
    leave_out(s);
    let left_out = s.clone();
    change(s);
    if *s == left_out {
        *s = correct;
    }
}

/// The first row behind a `completed` row of the same request.
fn behind_the_end(s: &Sheets) -> Option<usize> {
    (0..s.r.len()).find(|row| {
        s.row_before(*row).is_some_and(|before| s.r.text(before, "state") == "completed")
    })
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("completion-in-an-idle-step", "a request is counted a step late", &["Q001"], |s| {
        if let Some(row) = s.i.where_is("scheduler_action", "idle").into_iter().next() {
            s.i.add(row, "completed_count", 1);
        }
    }),
    mutant("unseen-completion-counted", "an abort is counted as an end", &["Q001"], |s| {
        in_dialect(s, without_completed_rows, |s| {
            let row = s.i.len() / 2;
            s.i.add(row, "completed_count", 1);
        });
    }),
    mutant("unseen-completion-lost", "one end of each step is counted", &["Q001"], |s| {
        in_dialect(s, without_completed_rows, |s| {
            if let Some(row) = (0..s.i.len()).find(|row| s.i.n(*row, "completed_count") > 0) {
                s.i.add(row, "completed_count", -1);
            }
        });
    }),
    mutant(
        "tokens-lost-behind-the-end",
        "the row is of a request that was reset",
        &["K004"],
        |s| {
            if let Some(row) = behind_the_end(s) {
                s.r.set(row, "tokens_generated", 0);
            }
        },
    ),
    mutant("tokens-known-behind-the-end", "the row shows the final count", &["K004"], |s| {
        if let Some(row) = behind_the_end(s) {
            s.r.add(row, "tokens_generated", 1);
        }
    }),
];
