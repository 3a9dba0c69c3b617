//! A part of each step's duration that is wrong by one factor or one amount, where the whole is right.

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::EVENT_COUNTS;
use crate::diagnose::mixups::WRONG_PART;
use crate::diagnose::pass::each;
use crate::log::dialect::Habit;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRow;

const PARTS: [&str; 3] =
    ["scheduling_overhead", "forward_pass_duration", "output_processing_duration"];
/// Different parts that are no chance.
const SEVERAL: usize = 3;
/// Whole factors, either way.
const FACTORS: std::ops::RangeInclusive<i128> = 2..=999;
/// Rows that are kept.
const MOST: usize = 1 << 14;

/// What goes by the moments within a step.
const WITHIN_STEPS: &[&str] = &[
    "M006", "M010", "M013", "M014", "M015", "M018", "M020", "S002", "S004", "S008", "C008", "C010",
    "Q004", "Q007", "Q009", "Q011",
];

/// The parts of a step, and how much too large all of them are together.
type Step = ([i128; 3], i128);

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let of_parts = |seen: &Seen<'_>| {
        seen.rule == "M010" && seen.finding.message.ends_with("do not add up to its duration")
    };
    if !board.open().any(|seen| of_parts(&seen)) || report.dialect.has(Habit::EndsAtDecision) {
        return Some(());
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut lasts = true;
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            let Some(output) = row.output_processing_duration else {
                lasts = false;
                return;
            };
            lasts &= row.end_time.0.checked_sub(row.start_time.0) == Some(row.duration.0);
            let parts = [row.scheduling_overhead, row.forward_pass_duration, output]
                .map(|part| i128::from(part.0));
            if steps.len() < MOST {
                steps.push((parts, parts.iter().sum::<i128>() - i128::from(row.duration.0)));
            }
        },
    )?;
    // Where the moments contradict the duration as well, either may be wrong.
    if !lasts || steps.len() < SEVERAL {
        return Some(());
    }
    let mut wrong = (0..PARTS.len()).filter_map(|part| Some((part, factor(&steps, part)?)));
    let (Some((part, times)), None) = (wrong.next(), wrong.next()) else { return Some(()) };
    let text = format!(
        "{} of per_iteration.csv is {times} what the other parts leave of duration, in every row, and duration is \
         end_time - start_time: it is this part that is wrong",
        PARTS[part]
    );
    let lead = &["M010"];
    let explains = |seen: &Seen<'_>| match seen.rule {
        "Q001" => seen.column().is_some_and(|it| EVENT_COUNTS.contains(&it)),
        "M010" => of_parts(seen),
        _ => seen.is(WITHIN_STEPS),
    };
    board.claim(Claim { cause: WRONG_PART, text, lead, explains: Box::new(explains) });
    Some(())
}

/// The whole number that this part is too large or too small by, in words, if there is one for all steps.
fn factor(steps: &[Step], part: usize) -> Option<String> {
    let pairs = || steps.iter().map(|(parts, more)| (parts[part], parts[part] - more));
    let (found, right) = pairs().max()?;
    let fits = |by: i128, down: bool| {
        pairs().all(|(found, right)| match down {
            false => found == right * by,
            true => right >= 0 && found == right / by,
        })
    };
    if right <= 0 || found == right {
        return None;
    }
    if found > right {
        let by = found / right;
        return (FACTORS.contains(&by) && fits(by, false)).then(|| format!("{by} times"));
    }
    let by = (right + found / 2) / found.max(1);
    (found > 0 && FACTORS.contains(&by) && fits(by, true)).then(|| format!("one part in {by} of"))
}
