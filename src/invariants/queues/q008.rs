//! Q008: the reasons for waiting.

use crate::invariants::prelude::*;

declare_invariant! {
    /// The waiting_reason of a row is true of its step, and only rows of waiting requests have one.
    ///
    /// `max_num_seqs`: the running queue was full. `max_num_batched_tokens`: the step's budget was
    /// spent (or, without chunked prefill, the prompt did not fit in what was left).
    /// `memory_insufficient`: what the head of the queue needs exceeds the free blocks. `preempted`:
    /// the step preempted. Each is judged where the settings that it depends on are known.
    ///
    /// Where two are true, the one that the scheduler meets first counts: the preemption, the budget,
    /// the queue, the memory. All requests behind the one at which the scan stopped carry its reason,
    /// unless something of their own blocks them; and a log in the reference format never guesses
    /// (`unknown`, `decode_priority`, …). Logs without the reference columns may do all three.
    ///
    /// Nobody waits for what the engine does not have: adapters, grammars, remote blocks and encoder
    /// inputs in a reference model, adapters where enable_lora is false, an output in flight of a
    /// request that never ran.
    ///
    /// Blind spot: reasons of features that a real engine may have; budgets with draft slots.
    ///
    /// Example: `memory_insufficient` with 400 of 500 blocks free and a prompt of two blocks.
    pub static Q008 = {
        name: "waiting-reason-is-true",
        reads: [
            PerIteration(running_count, total_tokens, preempted_count, kv_cache_used, kv_cache_total),
            PerIterationRequests(state, waiting_reason),
        ],
        also: [Events(details), PerRequest(input_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

/// What is wrong with a reason, and what would make it true.
type Objection = Option<(&'static str, String, String)>;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        // A reason is the same for all behind the head; each is judged once per step.
        let mut judged: [Option<WaitingReason>; 4] = [None; 4];
        let strict = !cx.facts.dialect.has(Habit::FixedColumnsOnly);
        for row in view.changed() {
            let waits = matches!(row.state, State::Waiting | State::Preempted);
            let Some(reason) = row.waiting_reason else {
                if waits && strict {
                    report(
                        row,
                        view,
                        ("a waiting request has no reason", String::new(), String::new()),
                        cx,
                    );
                }
                continue;
            };
            if !waits {
                let objection = (
                    "a request that does not wait has a reason",
                    "empty".to_owned(),
                    reason.to_string(),
                );
                report(row, view, objection, cx);
                continue;
            }
            cx.exercised(1);
            // Of the request itself, not of the step.
            if reason == WaitingReason::WaitingForOutput && row.state == State::Waiting {
                let objection = (
                    "a request that never ran has no output in flight",
                    "another reason".to_owned(),
                    reason.to_string(),
                );
                report(row, view, objection, cx);
                continue;
            }
            let Some(slot) = judged.iter_mut().find(|slot| slot.is_none_or(|r| r == reason)) else {
                continue;
            };
            if slot.replace(reason).is_some() {
                continue;
            }
            let objection = match judge(reason, row, view, cx) {
                None if strict => first_of_two(reason, &judged, view, cx),
                objection => objection,
            };
            if let Some(objection) = objection {
                report(row, view, objection, cx);
            }
        }
    }
}

fn judge(reason: WaitingReason, row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Objection {
    let step = &view.iteration?.row;
    match reason {
        WaitingReason::MaxNumSeqs => {
            let limit = cx.facts.settings.running_limit()?;
            (step.running_count.0 < limit).then(|| {
                let actual = format!("running_count {}", step.running_count);
                ("the running queue is not full", format!("running_count {limit}"), actual)
            })
        }
        WaitingReason::MaxNumBatchedTokens => budget(row, view, cx),
        WaitingReason::MemoryInsufficient => memory(row, view, cx),
        WaitingReason::Preempted => (step.preempted_count == Requests::ZERO).then(|| {
            let expected = "preempted_count above 0".to_owned();
            ("the step preempts nothing", expected, "preempted_count 0".to_owned())
        }),
        _ => ruled_out(reason, cx),
    }
}

/// Whether another reason came before a true one in the scan, by the rows judged so far.
fn first_of_two(
    reason: WaitingReason,
    judged: &[Option<WaitingReason>; 4],
    view: &IterationView<'_>,
    cx: &Cx<'_>,
) -> Objection {
    use WaitingReason as W;
    let step = &view.iteration?.row;
    let scan =
        |reason| matches!(reason, W::MaxNumSeqs | W::MaxNumBatchedTokens | W::MemoryInsufficient);
    if !scan(reason) {
        let own = matches!(
            reason,
            W::Preempted
                | W::WaitingForRemoteKvs
                | W::WaitingForFsm
                | W::LoraLimit
                | W::EncoderBudget
        );
        let in_flight = reason == W::WaitingForOutput && cx.facts.overlapping;
        let guessed = !(own || in_flight);
        return guessed.then(|| {
            let expected = "the constraint at which the scan stopped".to_owned();
            ("the reason is a guess", expected, reason.to_string())
        });
    }
    let earlier = if step.preempted_count > Requests::ZERO {
        Some(W::Preempted)
    } else if reason != W::MaxNumBatchedTokens && budget_is_spent(view, cx) {
        Some(W::MaxNumBatchedTokens)
    } else if full_before(reason, view, cx) {
        Some(W::MaxNumSeqs)
    } else {
        judged.iter().flatten().copied().find(|other| *other != reason && scan(*other))
    };
    earlier.map(|earlier| {
        let message = "the scan stopped at another constraint";
        (message, earlier.to_string(), reason.to_string())
    })
}

/// Whether the engine has nothing for which a request could wait so: a reference model has none of
/// these, a real one what its settings say.
fn ruled_out(reason: WaitingReason, cx: &Cx<'_>) -> Objection {
    use WaitingReason as W;
    let feature = match reason {
        W::LoraLimit => "adapters",
        W::WaitingForRemoteKvs => "remote blocks",
        W::WaitingForFsm => "grammars",
        W::EncoderBudget => "encoder inputs",
        _ => return None,
    };
    let without_adapters = reason == W::LoraLimit && cx.facts.settings.enable_lora == Some(false);
    (cx.facts.modelled || without_adapters).then(|| {
        let expected = format!("a reason of an engine without {feature}");
        ("the engine has nothing for which a request waits so", expected, reason.to_string())
    })
}

fn budget_is_spent(view: &IterationView<'_>, cx: &Cx<'_>) -> bool {
    let total = view.iteration.map(|step| step.row.total_tokens.0);
    cx.facts.settings.token_budget().is_some_and(|budget| total >= Some(budget))
}

/// Whether the running queue was full before the scan could meet the reason.
fn full_before(reason: WaitingReason, view: &IterationView<'_>, cx: &Cx<'_>) -> bool {
    let judgeable = match reason {
        WaitingReason::MemoryInsufficient => true,
        // Slots for drafts may have spent the budget.
        WaitingReason::MaxNumBatchedTokens => cx.facts.settings.num_speculative_tokens == Some(0),
        _ => false,
    };
    if !judgeable || budget_is_spent(view, cx) {
        return false;
    }
    let running = view.iteration.map(|step| step.row.running_count.0);
    cx.facts.settings.running_limit().is_some_and(|limit| running >= Some(limit))
}

/// Tokens that a request has to compute, at most.
fn known_tokens(row: &RowView, view: &IterationView<'_>) -> Option<u32> {
    let input = view.history(row.request_id)?.input_tokens()?;
    Some(input.0.saturating_add(row.tokens_generated.0))
}

fn budget(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Objection {
    let step = &view.iteration?.row;
    let settings = &cx.facts.settings;
    if settings.num_speculative_tokens != Some(0) {
        return None;
    }
    let (budget, chunked) = (settings.token_budget()?, settings.enable_chunked_prefill?);
    // The head of the queue may be one of the rows that the log leaves out.
    if !chunked && cx.facts.dialect.hides_waiting() && !row.is_head() {
        return None;
    }
    let left = budget.saturating_sub(step.total_tokens.0);
    let fits = if chunked { left > 0 } else { known_tokens(row, view)? <= left };
    fits.then(|| {
        let expected = format!("{budget} tokens scheduled, or too few left");
        ("the step's token budget is not spent", expected, step.total_tokens.to_string())
    })
}

fn memory(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Objection {
    let step = &view.iteration?.row;
    let settings = &cx.facts.settings;
    // The head of the queue may be one of the rows that the log leaves out.
    let hidden = cx.facts.dialect.hides_waiting();
    if hidden && !row.is_head() {
        return None;
    }
    let block_size = settings.block_size.filter(|size| *size > 0)?;
    // The most that an admission can ask for: all known tokens, drafts, look-ahead, watermark.
    let drafts = settings.num_speculative_tokens?;
    let ahead = settings.num_lookahead_tokens.unwrap_or(drafts);
    let tokens = known_tokens(row, view)?.saturating_add(ahead).saturating_add(drafts);
    let blocks =
        f64::from(settings.num_gpu_blocks.unwrap_or(step.kv_cache_total.0.saturating_add(1)));
    let margin = (settings.watermark? * blocks) as u32;
    let need = tokens.div_ceil(block_size).saturating_add(margin);
    let free = step.kv_cache_total.0.saturating_sub(step.kv_cache_used.0);
    (need <= free).then(|| {
        let expected = format!("less than {need} free blocks");
        ("there is memory enough for the head of the queue", expected, format!("{free} free"))
    })
}

#[cold]
fn report(
    row: &RowView,
    view: &IterationView<'_>,
    (message, expected, actual): (&'static str, String, String),
    cx: &mut Cx<'_>,
) {
    let mut finding = Finding::new(message)
        .at(row.row.at(), "waiting_reason")
        .with_row(view.iteration.map(Located::at), "the step")
        .of(row.request_id, cx.ids)
        .in_iteration(view.id);
    finding.expected = Some(expected).filter(|text| !text.is_empty());
    finding.actual = Some(actual).filter(|text| !text.is_empty());
    cx.found(finding);
}
