//! Counts and rows of steps that are, from the first to the last, those of a neighbouring step.

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{EVENT_COUNTS, ROWS_OF_REQUEST, ROWS_OF_STEP};
use crate::diagnose::mixups::sides::{self, COLUMNS, Fit};
use crate::diagnose::mixups::{LATE_COUNT, OTHER_NUMBERING};
use crate::log::reader::LogDir;
use crate::log::schema::Table;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X004", "Q001"]) {
        return Some(());
    }
    let fits = sides::of(dir, &report.dialect)?;
    let used = || fits.iter().zip(COLUMNS).filter(|(fit, _)| fit.used);
    let wrong: Vec<_> = used().filter(|(fit, _)| fit.wrong > 0).collect();
    let all = |is: fn(&Fit) -> bool| used().all(|(fit, _)| is(fit));
    match wrong.as_slice() {
        [(fit, column)] if fit.wrong >= 2 && (fit.before || fit.behind) && used().count() > 1 => {
            count(board, column, fit.behind);
        }
        [_, ..] if all(|fit| fit.before) => rows(board, "higher"),
        [_, ..] if all(|fit| fit.behind) => rows(board, "lower"),
        _ => {}
    }
    Some(())
}

/// One column only.
fn count(board: &mut Board<'_, '_>, column: &str, late: bool) {
    let explains = |seen: &Seen<'_>| match seen.rule {
        "Q001" | "X004" => seen.column() == Some(column),
        "M021" => column == "completed_count",
        "Q002" | "Q003" | "Q009" => column == "running_count",
        _ => false,
    };
    // Where anything else contradicts the rows, it is they that stand in other steps.
    let of_step = |seen: &Seen<'_>| seen.table() == Some(Table::PerIteration);
    if board.open().any(|seen| !explains(&seen) && !of_step(&seen)) {
        return;
    }
    let text = if late {
        format!("{column} is in each step that of the step before: it is read before it is updated")
    } else {
        format!(
            "{column} is in each step that of the step behind: it is read after the next update"
        )
    };
    let lead = &["Q001"];
    board.claim(Claim { cause: LATE_COUNT, text, lead, explains: Box::new(explains) });
}

/// All rows.
fn rows(board: &mut Board<'_, '_>, how: &str) {
    let explains = |seen: &Seen<'_>| match seen.rule {
        "Q001" => seen
            .column()
            .is_none_or(|column| column == "completed_count" || !EVENT_COUNTS.contains(&column)),
        _ => {
            seen.is(ROWS_OF_STEP)
                || seen.is(ROWS_OF_REQUEST)
                || seen.is(&["M015", "M018", "M020", "C008", "C010", "Q009", "T001", "X005"])
        }
    };
    let text = format!(
        "iteration_id of per_iteration_requests.csv is one {how} throughout than that of \
         per_iteration.csv: the rows of each step are those that its neighbour counts"
    );
    let lead = &["X004", "Q001", "K002", "S004", "M013"];
    board.claim(Claim { cause: OTHER_NUMBERING, text, lead, explains: Box::new(explains) });
}
