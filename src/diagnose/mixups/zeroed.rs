//! Tokens that a preempted request has, and that its rows set to 0 while it waits to be resumed.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::Tokens;

/// The cause of a time that is reset so, too.
const RESET: &str = "reset-on-preemption";

/// Requests that are no chance.
const SEVERAL: usize = 2;
/// Requests that are followed.
const MOST: usize = 1 << 14;

/// A request in the rows of steps: its tokens while it last ran, and whether it was set to 0 since.
#[derive(Clone, Copy, Default)]
struct Followed {
    tokens: Tokens,
    zeroed: bool,
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["K004"]) {
        return Some(());
    }
    let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
    let mut zeroed: BTreeSet<String> = BTreeSet::new();
    let mut preempted: BTreeSet<String> = BTreeSet::new();
    // Whether preempted rows say 0, and those behind a resumption go on as if they did not.
    let mut holds = true;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if row.state == State::Preempted {
                holds &= row.tokens_generated == Tokens::ZERO;
                if preempted.len() < MOST {
                    preempted.insert(id.to_owned());
                }
                if let Some(request) = followed.get_mut(id) {
                    request.zeroed = true;
                }
                return;
            }
            if row.state == State::Completed {
                followed.remove(id);
                return;
            }
            let known = followed.get(id).copied().unwrap_or_default();
            holds &= !known.zeroed || row.tokens_generated >= known.tokens;
            // The output of the step before the preemption may have been its first one.
            if known.zeroed && row.tokens_generated > Tokens::ZERO && zeroed.len() < MOST {
                zeroed.insert(id.to_owned());
            }
            if followed.len() < MOST || followed.contains_key(id) {
                let now = Followed { tokens: row.tokens_generated, zeroed: false };
                followed.insert(id.to_owned(), now);
            }
        },
    )?;
    if !holds || zeroed.len() < SEVERAL {
        return Some(());
    }
    let text = format!(
        "tokens_generated is 0 in each row of a preempted request, and {} requests go on with what they had once \
         they run again: it is reset by a preemption, although what was generated is kept",
        zeroed.len()
    );
    let explains = |seen: &Seen<'_>| {
        seen.is(&["K004", "M018", "M015", "Q008", "Q010"])
            && seen.request().is_some_and(|id| preempted.contains(id))
    };
    let lead = &["K004"];
    board.claim(Claim { cause: RESET, text, lead, explains: Box::new(explains) });
    Some(())
}
