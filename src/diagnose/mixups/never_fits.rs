//! A prompt that no step has room for, so that it and all behind it wait for ever.

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::NEVER_FITS;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, RequestRow};
use crate::log::values::{EventType, State, WaitingReason};
use crate::units::Tokens;

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    let settings = &report.settings;
    let whole = settings.enable_chunked_prefill == Some(false);
    let Some(budget) = settings.token_budget().filter(|_| whole) else { return Some(()) };
    let Some(step) = board.open().find(|seen| seen.rule == "L001").and_then(|it| it.iteration())
    else {
        return Some(());
    };
    // The first of the queue, if it is the budget that keeps it out.
    let mut head: Option<(String, Option<WaitingReason>)> = None;
    each::<IterationRequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            let waits = row.state == State::Waiting && row.iteration_id.0 == step;
            if waits && head.is_none() {
                head = Some((id.to_owned(), row.waiting_reason));
            }
        },
    )?;
    let Some((head, Some(WaitingReason::MaxNumBatchedTokens))) = head else { return Some(()) };
    let mut needed: Option<Tokens> = None;
    each::<RequestRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| {
            if id == head {
                needed = Some(row.input_tokens);
            }
        },
    )?;
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, id| {
            if row.event_type == EventType::RequestArrived && id == head {
                needed = needed.or(row.details.input_tokens);
            }
        },
    )?;
    let Some(needed) = needed.filter(|needed| needed.0 > budget) else { return Some(()) };
    let bound = match settings.max_num_scheduled_tokens {
        Some(_) => "max_num_scheduled_tokens",
        None => "max_num_batched_tokens",
    };
    let text = format!(
        "enable_chunked_prefill is false, so that the {needed} tokens of the prompt of {head}, which is the next to be \
         admitted, must fit into one step, and {bound} is {budget}: it can never be scheduled, and all behind it wait \
         for ever. The real vLLM hangs alike: change one of these settings, or refuse such a prompt"
    );
    let lead = &["L001"];
    let explains = |seen: &Seen<'_>| seen.is(&["L001", "L002", "L003", "Q010"]);
    board.claim(Claim { cause: NEVER_FITS, text, lead, explains: Box::new(explains) });
    Some(())
}
