//! One mistake about a file as a whole: rows are there, but named, numbered or stamped otherwise.
//!
//! A logger that numbers its steps from 1 in one file, spells ids in another way or writes one event
//! under the name of another breaks many rules at once, each with figures that are right. Here the files
//! are read once more, only if such findings are there; where the mistake explains a file from its first
//! row to its last, what follows from it is folded under the finding that shows it, with the mistake
//! for a cause. What is folded is still listed and counted.

mod again;
mod again_requests;
mod again_steps;
mod arrivals;
mod arrived;
mod block;
mod block_size;
mod blocks_before;
mod bytes;
mod cache;
mod changes;
mod chunks;
mod coarse;
mod corrected;
mod cut;
mod details;
mod engines;
mod entering;
mod entries;
mod filtered;
mod floats;
mod foreign;
mod hidden;
mod jump;
mod kinds;
mod late;
mod misnamed;
mod never_fits;
mod notation;
mod numbering;
mod one_event;
mod one_row;
mod one_step;
mod order;
mod orders;
mod other_units;
mod outputs;
mod overlap;
mod partial;
mod parts;
mod placed;
mod positions;
mod readings;
mod reused;
mod runs;
mod scaled;
mod scheduled;
mod shifted;
mod sides;
mod skipped;
mod snapshot;
mod sorted;
mod spelling;
mod stamps;
mod strangers;
mod tokens;
mod twice;
mod undeclared_cache;
mod undeclared_drafts;
mod unfilled;
mod unread;
mod unshared;
mod wraps;
mod zeroed;

use crate::check::CheckReport;
use crate::diagnose::board::Board;
use crate::log::reader::LogDir;

/// The mistakes that are recognised: the id of the cause, and what it says.
pub static MIXUPS: &[(&str, &str)] = &[
    (OTHER_NOTATION, "Fields are written as pandas, Python or a spreadsheet writes them."),
    (OTHER_SPELLING, "Every id of a file is that of the others, written in another way."),
    (OTHER_NUMBERING, "Iterations are numbered from another one, in all files or in one."),
    (LATE_COUNT, "A count of steps is, from the first to the last, that of a neighbouring step."),
    (IN_FLOATS, "Moments of steps have lost their last digits in floats."),
    (UNDECLARED_OVERLAP, "Steps overlap, and run.json says that they do not."),
    (DECISIONS_AT_START, "Decisions are stamped with the beginning of their steps."),
    (EXCHANGED_NAMES, "Events of two kinds have one another's names."),
    (
        WRITTEN_TWICE,
        "A block of events, each step or each row of all files stands twice, be it at first in part.",
    ),
    (
        ANOTHER_RUN,
        "The last part of a file begins again, as that of another run does, or all of it is of one.",
    ),
    (WRITTEN_LATE, "A block of events stands behind later ones."),
    (NO_ORDER, "Events, steps, changes or rows of steps stand in no order."),
    (NULL_BLOCK, "The size of the cache counts the block that vLLM keeps for itself."),
    (READ_AFTER_FREE, "Last rows hold no blocks: they are read after these were given back."),
    (READ_AFTER_OUTPUT, "Rows of steps tell of tokens that their step's output brings."),
    (REVERSED_QUEUE, "The waiting queue is written from its end."),
    (MISPLACED_CHANGES, "Changes have the moment, the duration or the state of their neighbours."),
    (SEVERAL_ENGINES, "Steps of several engines or runs stand in one file."),
    (CLOCK_SET_BACK, "The clock of per_iteration.csv begins anew in the middle of the file."),
    (CLOCK_JUMPS, "The clock of a file jumps in the middle of it."),
    (
        ARRIVALS_AS_CHANGES,
        "The first change of each request is to `waiting`, in which it is without a change.",
    ),
    (ARRIVALS_AT_STEPS, "Requests arrive where a step first sees them."),
    (OTHER_BLOCK_SIZE, "All blocks are of another size than run.json has."),
    (UNDECLARED_CACHE, "Tokens are found in a cache that run.json says is not there."),
    (
        UNDECLARED_DRAFTS,
        "Requests get several tokens from a step, and run.json knows of no drafts.",
    ),
    (ANOTHER_CLOCK, "The clock of per_iteration.csv is not that of per_request.csv."),
    (FIRST_CHUNK, "First tokens are noted with the first part of a prompt."),
    (HIDDEN_REQUEST, "A request is counted by steps and in no file."),
    (
        ALWAYS_THE_SAME,
        "A member of details has one value in all events, although each has its own.",
    ),
    (
        ROUNDED_DURATIONS,
        "Durations are whole numbers of a coarser unit than moments, or moments of one than durations.",
    ),
    (EXCHANGED_COLUMNS, "Two columns of a file stand under one another's names."),
    (NEVER_FILLED, "A moment or a count is 0 in all rows of a file."),
    (ONE_NAME, "Rows, changes or events of one kind have the name of another."),
    (OTHER_UNIT, "A count of tokens or blocks is twice what it should be, or of something else."),
    (WRAPPED, "Moments begin anew where a whole number of 32 bits ends."),
    (
        OTHER_PLACE,
        "A moment of steps stands for another one of them in every row, or decisions of a file do.",
    ),
    (SORTED, "A file, or each step in it, is sorted by a column after it was written."),
    (
        SHIFTED_MOMENT,
        "A moment of steps, or the arrival of requests, is off by one and the same time in every row.",
    ),
    (SCALED_MOMENTS, "All moments of a file are those of the others times one number."),
    (ONE_MOMENT, "All moments of a file are one and the same."),
    (ALL_TIMES_CUT, "Every time of the log was cut to a coarser unit by itself."),
    (WRONG_PART, "A part of each step's duration is wrong by one factor."),
    (
        ONE_WRONG_VALUE,
        "Single events or rows are wrong, and all that they are compared with agrees.",
    ),
    (
        WRONG_COLUMN,
        "A column is off by one number or one factor in all of its rows, or wrong wherever a rule says what it should be.",
    ),
    (
        STEPS_LEFT_OUT,
        "Only one step in so many is written, and those are numbered as if they were all.",
    ),
    (WIDE_READINGS, "The clock is read more than once for one moment, and not soon enough."),
    (NEVER_FITS, "The next request to be admitted needs more tokens at once than a step may have."),
];

const OTHER_NOTATION: &str = "other-notation";
const OTHER_SPELLING: &str = "other-spelling";
const OTHER_NUMBERING: &str = "other-numbering";
const LATE_COUNT: &str = "count-of-another-step";
const IN_FLOATS: &str = "in-floats";
const UNDECLARED_OVERLAP: &str = "undeclared-overlap";
const DECISIONS_AT_START: &str = "decisions-at-start";
const EXCHANGED_NAMES: &str = "exchanged-names";
const WRITTEN_TWICE: &str = "written-twice";
const ANOTHER_RUN: &str = "another-run";
const WRITTEN_LATE: &str = "written-late";
const NO_ORDER: &str = "no-order";
const NULL_BLOCK: &str = "null-block";
const READ_AFTER_FREE: &str = "read-after-free";
const READ_AFTER_OUTPUT: &str = "read-after-output";
const REVERSED_QUEUE: &str = "reversed-queue";
const MISPLACED_CHANGES: &str = "misplaced-changes";
const SEVERAL_ENGINES: &str = "several-engines";
const CLOCK_SET_BACK: &str = "clock-set-back";
const CLOCK_JUMPS: &str = "clock-jumps";
const ARRIVALS_AS_CHANGES: &str = "arrivals-as-changes";
const ARRIVALS_AT_STEPS: &str = "arrivals-at-steps";
const OTHER_BLOCK_SIZE: &str = "other-block-size";
const UNDECLARED_CACHE: &str = "undeclared-cache";
const UNDECLARED_DRAFTS: &str = "undeclared-drafts";
const ANOTHER_CLOCK: &str = "another-clock";
const FIRST_CHUNK: &str = "first-chunk";
const HIDDEN_REQUEST: &str = "hidden-request";
const ALWAYS_THE_SAME: &str = "always-the-same";
const ROUNDED_DURATIONS: &str = "rounded-durations";
const EXCHANGED_COLUMNS: &str = "exchanged-columns";
const NEVER_FILLED: &str = "never-filled";
const ONE_NAME: &str = "one-name-for-two";
const OTHER_UNIT: &str = "other-unit";
const WRAPPED: &str = "wrapped-moments";
const OTHER_PLACE: &str = "other-place";
const SORTED: &str = "sorted-afterwards";
const SHIFTED_MOMENT: &str = "shifted-moment";
const SCALED_MOMENTS: &str = "scaled-moments";
const ONE_MOMENT: &str = "one-moment";
const ALL_TIMES_CUT: &str = "all-times-cut";
const WRONG_PART: &str = "wrong-part";
pub(super) const ONE_WRONG_VALUE: &str = "one-wrong-value";
/// Told where the log was checked once more without it.
pub(super) const WRONG_COLUMN: &str = "wrong-column";
const STEPS_LEFT_OUT: &str = "steps-left-out";
const WIDE_READINGS: &str = "clock-skew";
const NEVER_FITS: &str = "never-fits";

/// Where clocks differ, or rows are out of order, nothing else is told.
const NOTHING_ELSE: &[&str] = &["M019", "F007", "X009"];

/// Folds what events that are written again break under the findings that count them, once it is known that
/// no others are lost.
pub(super) fn fold_repeats(board: &mut Board<'_, '_>) {
    if !board.has(NOTHING_ELSE) {
        again::find(board);
    }
}

/// Folds the findings of a report under mistakes of whole files.
pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) {
    notation::find(board);
    let _ = unread::find(dir, board);
    let _ = twice::find(dir, board);
    let _ = partial::find(dir, board);
    let _ = reused::find(dir, board);
    let _ = reused::find_steps(dir, board);
    let _ = again_requests::find(dir, board);
    let _ = again_steps::find_rows(dir, board);
    let _ = orders::find_rows(dir, board);
    // Of two engines the requests may have the same ids.
    let _ = engines::find(dir, report, board);
    let elsewhere = board.has(NOTHING_ELSE);
    let _ = floats::find_of_calendar(dir, board);
    if elsewhere {
        return;
    }
    // A file that cannot be read any more leaves the findings as they are.
    let _ = block_size::find(dir, report, board);
    let _ = bytes::find(dir, report, board);
    let _ = scaled::find(dir, report, board);
    let _ = undeclared_cache::find(dir, report, board);
    let _ = undeclared_drafts::find(dir, report, board);
    let _ = floats::find(dir, board);
    let _ = wraps::find(dir, board);
    let _ = again_steps::find(dir, board);
    let _ = sorted::find(dir, board);
    let _ = orders::find(dir, board);
    let _ = cut::find(dir, board);
    let _ = coarse::find(dir, board);
    let _ = one_step::find(dir, report, board);
    let _ = shifted::find(dir, report, board);
    let _ = parts::find(dir, report, board);
    let _ = unfilled::find(dir, board);
    let _ = corrected::find(dir, board);
    let _ = changes::find(dir, board);
    let _ = entries::find(dir, board);
    let _ = placed::find(dir, report, board);
    let _ = entering::find(dir, board);
    let _ = positions::find(dir, board);
    let _ = misnamed::find(dir, board);
    let _ = spelling::find(dir, board);
    let _ = reused::find_cut(dir, board);
    let _ = strangers::find(dir, board);
    let _ = unshared::find(dir, board);
    let _ = foreign::find(dir, report, board);
    let _ = runs::find(dir, board);
    let _ = runs::find_requests(dir, board);
    let _ = block::find(dir, board);
    let _ = skipped::find(dir, report, board);
    let _ = readings::find(dir, report, board);
    let _ = jump::find(dir, report, board);
    let _ = overlap::find(dir, report, board);
    let _ = numbering::find(dir, report, board);
    let _ = late::find(dir, report, board);
    let _ = foreign::find_steps(dir, report, board);
    let _ = runs::find_rows(dir, report, board);
    let _ = details::find(dir, board);
    let _ = stamps::find(dir, report, board);
    let _ = kinds::find(dir, board);
    let _ = arrivals::find(dir, board);
    let _ = snapshot::find(dir, board);
    hidden::find(board);
    filtered::find(board);
    let _ = zeroed::find(dir, board);
    let _ = outputs::find(dir, board);
    let _ = chunks::find(dir, report, board);
    let _ = blocks_before::find(dir, report, board);
    let _ = cache::find(dir, board);
    let _ = other_units::find(dir, report, board);
    let _ = tokens::find(dir, report, board);
    let _ = order::find(dir, report, board);
    let _ = arrived::find(dir, board);
    let _ = scheduled::find(dir, report, board);
    let _ = one_event::find(dir, report, board);
    let _ = one_row::find(dir, report, board);
    let _ = never_fits::find(dir, report, board);
}
