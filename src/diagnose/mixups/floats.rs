//! Moments of steps that have lost their last digits in a float.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::IN_FLOATS;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRow;

/// Seconds since 1970 are so many parts of one apart in a float of 64 bits, until the year 2038.
const PARTS: i128 = 1 << 22;
const NANOS: i128 = 1_000_000_000;
/// Nanoseconds since 1970 are so many apart.
const STEP: i128 = 256;
/// Nanoseconds since 1970 of which floats are so far apart.
const CALENDAR: std::ops::Range<u64> = 1 << 60..1 << 61;
/// Moments that are no chance, as one in a hundred is.
const SEVERAL: u64 = 5;

/// Rules that ask in which step something is.
const ASKING: &[&str] =
    &["M013", "M014", "M015", "M018", "M021", "Q001", "Q004", "Q009", "S004", "S008"];

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let lasts = |seen: &Seen<'_>| seen.rule == "M010" && seen.column() == Some("duration");
    let durations: Vec<_> = board.open().filter(lasts).collect();
    if durations.is_empty() || !durations.iter().all(is_near) {
        return Some(());
    }
    let (mut first, mut moments) = (None, 0);
    let (mut of_seconds, mut of_nanos) = (true, true);
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            for moment in [row.start_time, row.end_time].map(|it| i128::from(it.0)) {
                let since = moment - *first.get_or_insert(moment);
                // Each was cut to a whole number, and so was what it is counted from.
                let off = (since * PARTS).rem_euclid(NANOS);
                of_seconds &= off.min(NANOS - off) <= 2 * PARTS;
                of_nanos &= since % STEP == 0;
                moments += 1;
            }
        },
    )?;
    if moments < SEVERAL || !of_seconds && !of_nanos {
        return Some(());
    }
    let what = if of_seconds { "seconds" } else { "nanoseconds" };
    let text = format!(
        "duration is the sum of its parts, but start_time and end_time have lost the last digits, as {what} \
         since 1970 do in a float of 64 bits"
    );
    let explains = |seen: &Seen<'_>| seen.is(ASKING) || is_near(seen);
    board.claim(Claim { cause: IN_FLOATS, text, lead: &["M010"], explains: Box::new(explains) });
    Some(())
}

/// Moments since 1970 of which every one is a number that such a float has.
pub(super) fn find_of_calendar(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    let lasts = |seen: &Seen<'_>| seen.rule == "M010" && seen.column() == Some("duration");
    if !board.has(&["M019"]) || !board.open().any(|seen| lasts(&seen) && is_near(&seen)) {
        return Some(());
    }
    let (mut moments, mut all) = (0, true);
    each::<IterationRow>(
        dir,
        |_| None,
        |row, _| {
            for moment in [row.start_time, row.end_time] {
                all &= CALENDAR.contains(&moment.0) && i128::from(moment.0) % STEP == 0;
                moments += 1;
            }
        },
    )?;
    if !all || moments < SEVERAL {
        return Some(());
    }
    let text = format!(
        "all moments of per_iteration.csv are nanoseconds since 1970 and multiples of {STEP}, as those are in a \
         float of 64 bits: they went through a float, such as time.time() gives, and lost their last digits. Take \
         time.time_ns(), less that of the start of the scheduler"
    );
    let explains = |seen: &Seen<'_>| match seen.rule {
        "M010" | "M001" => is_near(seen),
        "M019" => of_calendar(seen),
        _ => seen.is(ASKING),
    };
    board.claim(Claim { cause: IN_FLOATS, text, lead: &["M010"], explains: Box::new(explains) });
    Some(())
}

/// Whether moments of requests and of steps are said to be of the calendar.
fn of_calendar(seen: &Seen<'_>) -> bool {
    let says = |words: &str| seen.finding.message.contains(words);
    says("times of the calendar") && says("per_request.csv") && says("per_iteration.csv")
}

/// Whether what is found is off by what two moments lose.
fn is_near(seen: &Seen<'_>) -> bool {
    let off = seen.values().map(|(expected, actual)| (actual - expected).abs());
    off.is_some_and(|off| off <= 2 * STEP)
}
