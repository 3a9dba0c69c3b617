//! Steps that are not written, where those that are written are numbered as if they were all.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::STEPS_LEFT_OUT;
use crate::diagnose::pass::{Ahead, each};
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::State;

/// Pairs of steps that are no chance.
const SEVERAL: u64 = 8;
/// All but one in so many must show it: where requests come and go some do not.
const ONE_IN: u64 = 10;

/// Rules that do not go by steps.
const WITHOUT_STEPS: &[&str] = &[
    "M001", "M002", "M003", "M004", "M005", "M006", "M007", "M008", "M009", "M012", "M016", "M017",
    "C005", "C006", "K001", "K003", "K005", "K008", "S001", "S003", "S005", "X001", "X002", "X003",
    "X006", "X007",
];

/// Neighbouring steps: how many requests go on from the one to the other with one token, and with how many they
/// do; and how much later than the end of the one the other begins.
#[derive(Default)]
struct Pairs {
    going_on: u64,
    by_stride: BTreeMap<u64, u64>,
    steps: u64,
    gaps: u64,
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let exact = !report.overlapping && report.settings.num_speculative_tokens == Some(0);
    // Where ids are missing it is told by them which steps are.
    if !exact || !board.has(&["K006"]) || board.has(&["M011"]) {
        return Some(());
    }
    let pairs = pairs(dir, report)?;
    let Some((stride, same)) = pairs.by_stride.iter().max_by_key(|(_, count)| **count) else {
        return Some(());
    };
    let most = |part: u64, all: u64| all >= SEVERAL && (all - part) * ONE_IN <= all;
    if *stride < 2 || !most(*same, pairs.going_on) || !most(pairs.gaps, pairs.steps) {
        return Some(());
    }
    let text = format!(
        "from one step to the next requests have computed {stride} tokens more where they are given one, and {} of \
         {} steps begin long after the one before has ended: only one step in {stride} is written, and those are \
         numbered as if they were all",
        pairs.gaps, pairs.steps
    );
    let lead = &["K006", "M020"];
    let explains = |seen: &Seen<'_>| !seen.is(WITHOUT_STEPS);
    board.claim(Claim { cause: STEPS_LEFT_OUT, text, lead, explains: Box::new(explains) });
    Some(())
}

fn pairs(dir: &LogDir, report: &CheckReport) -> Option<Pairs> {
    let mut pairs = Pairs::default();
    let mut rows = Ahead::<IterationRequestRow>::open(dir, |row| Some(row.request_id))?;
    let mut last: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut before: Option<Moments> = None;
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            let mut here = BTreeMap::new();
            let mut goes_on = false;
            while let Some((row, id)) = rows.next_if(|row| row.iteration_id <= step.iteration_id) {
                let told = row.computed_tokens.zip(row.scheduled_tokens);
                let runs = row.state == State::Running && row.iteration_id == step.iteration_id;
                let Some((computed, scheduled)) = told.filter(|_| runs) else { continue };
                if let Some((base, 1)) = last.get(&id)
                    && let Some(more) = computed.0.checked_sub(*base)
                {
                    goes_on = true;
                    pairs.going_on += 1;
                    *pairs.by_stride.entry(u64::from(more)).or_default() += 1;
                }
                here.insert(id, (computed.0, scheduled.0));
            }
            last = here;
            let now = Moments::of(step, &report.dialect);
            if let Some(before) = before.replace(now).filter(|_| goes_on) {
                let lasted = before.end.0.saturating_sub(before.start.0);
                pairs.steps += 1;
                pairs.gaps +=
                    u64::from(now.start.0.saturating_sub(before.end.0).saturating_mul(2) > lasted);
            }
        },
    )?;
    Some(pairs)
}
