//! Counts and rows of steps that are, from the first to the last, those of a neighbouring step.

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{
    EVENT_COUNTS, EVENTS_OF_REQUEST, ROWS_OF_REQUEST, ROWS_OF_STEP,
};
use crate::diagnose::mixups::numbering::BY_DETAILS;
use crate::diagnose::mixups::sides::{self, COLUMNS, Fit};
use crate::diagnose::mixups::{LATE_COUNT, OTHER_NUMBERING};
use crate::log::reader::LogDir;
use crate::log::schema::Table;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["X004", "Q001", "S004"]) {
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
        [_, ..] if all(|fit| fit.before) => rows(board, true),
        [_, ..] if all(|fit| fit.behind) => rows(board, false),
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

/// All rows. A file of steps that begins with a later one than 0 is the one that is numbered otherwise.
fn rows(board: &mut Board<'_, '_>, higher: bool) {
    let from_one = |seen: &Seen<'_>| seen.rule == "M011" && seen.values() == Some((0, 1));
    let steps_differ = !higher && board.open().any(|seen| from_one(&seen));
    let explains = |seen: &Seen<'_>| match seen.rule {
        "M011" => steps_differ && from_one(seen),
        "Q001" => seen.column().is_none_or(|column| {
            steps_differ || column == "completed_count" || !EVENT_COUNTS.contains(&column)
        }),
        _ => {
            seen.is(ROWS_OF_STEP)
                || seen.is(ROWS_OF_REQUEST)
                || seen.is(&["M015", "M018", "M020", "C008", "C010", "Q009", "T001", "X005"])
                || steps_differ && (seen.is(BY_DETAILS) || seen.is(EVENTS_OF_REQUEST))
        }
    };
    let (file, how, other) = match (steps_differ, higher) {
        (true, _) => (Table::PerIteration, "higher", Table::PerIterationRequests),
        (false, true) => (Table::PerIterationRequests, "higher", Table::PerIteration),
        (false, false) => (Table::PerIterationRequests, "lower", Table::PerIteration),
    };
    let text = format!(
        "iteration_id of {file} is one {how} throughout than that of {other}: the rows of each step are \
         those that its neighbour counts"
    );
    let lead = &["M011", "X004", "Q001", "K002", "S004", "M013"];
    board.claim(Claim { cause: OTHER_NUMBERING, text, lead, explains: Box::new(explains) });
}
