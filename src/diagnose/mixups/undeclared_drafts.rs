//! Requests that get several tokens at once, of an engine that has no drafts by its settings.

use std::collections::BTreeSet;

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::UNDECLARED_DRAFTS;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::IterationRequestRow;
use crate::log::values::State;
use crate::units::Tokens;

/// Rows that are no chance.
const SEVERAL: usize = 3;
/// No drafter proposes so many.
const MOST: Tokens = Tokens(64);

/// Rules that go by how many tokens one step may give.
const BY_DRAFTS: &[&str] = &[
    "K002", "K004", "K006", "K007", "K010", "K011", "K012", "C002", "C003", "C006", "C009", "C010",
    "M018", "Q008", "Q010",
];

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let run = dir.run_info.as_ref();
    let declared = run.and_then(|run| run.config.get("num_speculative_tokens")?.as_u64());
    if declared != Some(0) || report.settings.num_speculative_tokens != Some(0) {
        return Some(());
    }
    let at_once = |seen: &Seen<'_>| {
        seen.rule == "K004" && seen.finding.message.starts_with("tokens_generated rises by more")
    };
    let found = board.open().filter(at_once).count();
    if found < SEVERAL {
        return Some(());
    }
    let mut running: BTreeSet<String> = BTreeSet::new();
    let mut rows = 0_usize;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if row.state != State::Running {
                running.remove(id);
                return;
            }
            let goes_on = !running.insert(id.to_owned()) && row.tokens_generated > Tokens::ZERO;
            let given = row.scheduled_tokens.unwrap_or_default();
            rows += usize::from(goes_on && given > Tokens(1) && given < MOST);
        },
    )?;
    if rows < SEVERAL {
        return Some(());
    }
    let text = format!(
        "num_speculative_tokens is 0 in run.json, but {rows} rows of requests that go on have several scheduled_tokens, and \
         get as many from one step: the engine has drafts, and run.json does not tell of this run"
    );
    let explains = |seen: &Seen<'_>| seen.is(BY_DRAFTS);
    let lead = &["K004", "K006"];
    board.claim(Claim { cause: UNDECLARED_DRAFTS, text, lead, explains: Box::new(explains) });
    Some(())
}
