//! Steps of two engines in one file, and a clock that begins anew in the middle of it.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::{CLOCK_SET_BACK, SEVERAL_ENGINES, WRITTEN_TWICE};
use crate::log::ids::IdTable;
use crate::log::moments::Moments;
use crate::log::reader::{Item, LogDir};
use crate::log::schema::IterationRow;
use crate::units::Nanos;

/// Steps that are remembered.
const MOST: usize = 1 << 16;
/// Steps that are no chance.
const SEVERAL: u64 = 3;

/// Rules that go by one row of per_request.csv, or by one request's rows of other files than those of steps.
const ELSEWHERE: &[&str] =
    &["M001", "M002", "M003", "M004", "M008", "M009", "C005", "K008", "S001"];

/// The file as a whole.
#[derive(Default)]
struct Steps {
    /// The first row of each id, and how often there are others at other moments.
    rows: BTreeMap<u64, (IterationRow, u64)>,
    /// How often these others say the same, and begin before the first is over.
    alike: u64,
    /// How much later they begin and end, at most.
    apart: u64,
    /// Whether there are more.
    over: bool,
    /// Where start_time goes back, and from when on.
    back: Option<(u64, Nanos, Nanos)>,
    /// How often it does.
    times: u64,
    /// Whether ids go on where it does.
    goes_on: bool,
    /// Steps from there on that begin before that.
    earlier: u64,
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M010", "M011", "S004", "S006"]) {
        return Some(());
    }
    let steps = look(dir, report)?;
    let twice = steps.rows.values().filter(|(_, others)| *others > 0).count() as u64;
    // Of two engines the one may have made fewer steps.
    if !steps.over && twice >= SEVERAL && twice * 4 >= steps.rows.len() as u64 {
        let others: u64 = steps.rows.values().map(|(_, others)| others).sum();
        // The rows of two engines are more than each of them counts.
        let more = |seen: &Seen<'_>| {
            seen.rule == "Q001" && seen.column() == Some("running_count") && seen.adds()
        };
        if others == steps.alike && !board.open().any(|seen| more(&seen)) {
            let text = format!(
                "{twice} of {} steps stand in per_iteration.csv again, with the same counts and durations and at \
                 most {} ns from the first: each step is noted twice",
                steps.rows.len(),
                steps.apart
            );
            let lead = &["M011", "S006", "M010", "S004", "X004"];
            let explains = |seen: &Seen<'_>| !seen.is(ELSEWHERE);
            board.claim(Claim { cause: WRITTEN_TWICE, text, lead, explains: Box::new(explains) });
            return Some(());
        }
        let most = steps.rows.values().map(|(_, others)| others + 1).max()?;
        let text = format!(
            "{twice} of {} iteration ids stand in up to {most} lines of per_iteration.csv, with other moments: \
             several engines, as with data parallelism, or runs have written into one directory; give each \
             its own",
            steps.rows.len()
        );
        let lead = &["M011", "S006", "M010", "S004", "X004"];
        let explains = |seen: &Seen<'_>| !seen.is(ELSEWHERE);
        board.claim(Claim { cause: SEVERAL_ENGINES, text, lead, explains: Box::new(explains) });
        return Some(());
    }
    let once = steps.times == 1 && steps.goes_on && steps.earlier >= SEVERAL;
    let Some((line, from, to)) = steps.back.filter(|_| once) else { return Some(()) };
    let at_line = |seen: &Seen<'_>| {
        let mark = seen.finding.primary.as_ref();
        seen.rule == "M010" && mark.is_some_and(|mark| mark.at.line == line)
    };
    if !board.open().any(|seen| at_line(&seen)) {
        return Some(());
    }
    let text = format!(
        "from line {line} of per_iteration.csv on the clock is set back (start_time {from} comes before {to}), \
         and iteration ids go on, as after a restart of the engine"
    );
    let lead = &["M010"];
    let explains = |seen: &Seen<'_>| match seen.rule {
        "M010" => at_line(seen),
        _ => !seen.is(ELSEWHERE) && !seen.rule.starts_with('F'),
    };
    board.claim(Claim { cause: CLOCK_SET_BACK, text, lead, explains: Box::new(explains) });
    Some(())
}

fn look(dir: &LogDir, report: &CheckReport) -> Option<Steps> {
    let mut reader = dir.reader::<IterationRow>().ok()??;
    let mut ids = IdTable::default();
    let mut steps = Steps::default();
    let mut last: Option<(u64, Moments)> = None;
    while let Some(item) = reader.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        let id = row.row.iteration_id.0;
        let now = Moments::of(&row.row, &report.dialect);
        if let Some((before, then)) = last.replace((id, now))
            && now.start < then.start
        {
            steps.times += 1;
            steps.goes_on = before.checked_add(1) == Some(id);
            steps.back = Some((row.line, then.start, now.start));
        }
        steps.earlier += u64::from(steps.back.is_some_and(|(_, from, _)| now.start < from));
        if steps.rows.len() < MOST {
            let (first, others) = steps.rows.entry(id).or_insert((row.row, 0));
            if first.start_time != row.row.start_time {
                *others += 1;
                let apart = row.row.start_time.0.abs_diff(first.start_time.0);
                let moments = (first.start_time, first.end_time);
                let moved = IterationRow { start_time: moments.0, end_time: moments.1, ..row.row };
                if moved == *first && row.row.start_time < first.end_time {
                    steps.alike += 1;
                    steps.apart = steps.apart.max(apart);
                }
            }
        } else {
            steps.over = true;
        }
    }
    Some(steps)
}
