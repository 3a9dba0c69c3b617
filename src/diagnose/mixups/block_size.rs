//! Blocks of another size than run.json has.

use std::collections::BTreeMap;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::OTHER_BLOCK_SIZE;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::State;
use crate::units::Tokens;

/// Sizes that are tried: powers of two up to this one.
const SIZES: u32 = 12;
/// Steps whose blocks are added up.
const STEPS: usize = 1 << 10;
/// Rows that do not fit which are no chance.
const SEVERAL: u64 = 3;

/// Rules that ask for the size, or for what there is room for.
const ASKING: &[&str] = &[
    "C001", "C002", "C003", "C004", "C005", "C006", "C007", "C008", "C009", "C010", "C011", "K009",
    "K011", "Q008", "Q010", "L003",
];

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let settings = &report.settings;
    // With drafts a request may hold blocks that it does not need yet.
    let exact = settings.num_speculative_tokens == Some(0)
        && settings.num_lookahead_tokens.unwrap_or(0) == 0;
    let Some(declared) = settings.block_size.filter(|size| exact && *size > 0) else {
        return Some(());
    };
    if !board.has(&["C002"]) {
        return Some(());
    }
    // By step, as far as many of them are needed.
    let mut held: BTreeMap<u64, u64> = BTreeMap::new();
    let mut wrong = [0_u64; SIZES as usize];
    let (mut rows, mut declared_wrong) = (0, 0);
    each::<IterationRequestRow>(
        dir,
        |_| None,
        |row, _| {
            let (Some(computed), Some(scheduled)) = (row.computed_tokens, row.scheduled_tokens)
            else {
                return;
            };
            if row.state != State::Running {
                return;
            }
            if held.len() < STEPS || held.contains_key(&row.iteration_id.0) {
                *held.entry(row.iteration_id.0).or_default() += u64::from(row.kv_cache_blocks.0);
            }
            rows += 1;
            let tokens: Tokens = computed.saturating_add(scheduled);
            let misses = |size| u64::from(tokens.blocks_ceil(size) != row.kv_cache_blocks);
            declared_wrong += misses(declared);
            for (power, wrong) in wrong.iter_mut().enumerate() {
                *wrong += misses(1 << power);
            }
        },
    )?;
    let mut fitting = (0..SIZES).filter(|power| wrong[*power as usize] == 0);
    let (Some(power), None) = (fitting.next(), fitting.next()) else { return Some(()) };
    if declared_wrong < SEVERAL {
        return Some(());
    }
    let mut short = 0;
    each::<IterationRow>(
        dir,
        |_| None,
        |step, _| {
            let held = held.get(&step.iteration_id.0);
            short += usize::from(held.is_some_and(|held| *held < u64::from(step.kv_cache_used.0)));
        },
    )?;
    // What steps count is more only where requests that end give nothing back until later.
    if short * 2 > held.len() {
        return Some(());
    }
    let text = format!(
        "block_size is {declared} in run.json, which {declared_wrong} of {rows} running rows contradict, but \
         kv_cache_blocks of all of them fit blocks of {} tokens: run.json does not tell of this run",
        1 << power
    );
    let lead = &["C002"];
    let explains = |seen: &Seen<'_>| seen.is(ASKING);
    board.claim(Claim { cause: OTHER_BLOCK_SIZE, text, lead, explains: Box::new(explains) });
    Some(())
}
