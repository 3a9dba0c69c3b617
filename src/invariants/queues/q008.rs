//! Q008: the reasons for waiting.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::check::{DraftMethod, Room, Speculation};
use crate::config::SpeculativeMethod;
use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;
use crate::log::schema::IterationRow;

declare_invariant! {
    /// The waiting_reason of a row is true of its step; every row of a waiting request has one, and no
    /// other row has.
    ///
    /// `max_num_seqs`: the running queue was full, and so it was as long as ever. `max_num_batched_tokens`:
    /// the step's budget was spent (or, without chunked prefill, the prompt did not fit in what was left;
    /// or, with drafts, a full set of them did not). `memory_insufficient`: what the head of the queue
    /// needs exceeds the free blocks. `preempted`: the step preempted. Each is judged where the settings
    /// that it depends on are known; and where only per_request.csv tells how long the prompt is, once
    /// the request is over, by the step with the most room for it.
    ///
    /// Where two are true, the one that the scheduler meets first counts: the preemption, the budget,
    /// the queue, the memory. All requests behind the one at which the scan stopped carry its reason,
    /// unless something of their own blocks them; and a log in the reference format, or of a reference
    /// model, never guesses (`unknown`, `decode_priority`, …). Logs without the reference columns may,
    /// but for what cannot be: nothing is `evicted` of a request that never ran, nor is there
    /// `recomputation`, and no preempted one waits initially.
    ///
    /// Nobody waits for what the engine does not have: adapters, grammars, remote blocks and encoder
    /// inputs in a reference model, adapters where enable_lora is false, an output in flight of a
    /// request that never ran.
    ///
    /// Where no budget is known, it is at least what the largest step schedules: a step from which a request
    /// is kept out for the budget schedules more than that less the whole of its tokens.
    ///
    /// Blind spot: reasons of features that a real engine may have; with drafts, a budget of which less
    /// is left than a full set of them; without settings, a budget of which less than the prompt is left, and
    /// memory that is not short.
    ///
    /// Example: `memory_insufficient` with 400 of 500 blocks free and a prompt of two blocks.
    pub static Q008 = {
        name: "waiting-reason-is-true",
        reads: [
            PerIteration(running_count, total_tokens, preempted_count, kv_cache_used, kv_cache_total),
            PerIterationRequests(state, waiting_reason),
        ],
        also: [Events(details), PerRequest(input_tokens), PerIteration(batch_size)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The longest running queue so far.
    longest: u32,
    /// How long the queue is when it is full, by the first row that says it is, where nothing else
    /// tells; and what is wrong with that row should the queue ever be longer.
    full: Option<(u32, Finding)>,
    /// The most tokens that a step scheduled so far.
    largest: u32,
    /// Where no budget is known: the fewest tokens of a step and of a request that it keeps out for the budget,
    /// and what is wrong with that row if there is a step of as many.
    spent: Option<(u32, Finding)>,
    drafts: Speculation,
    /// Of requests whose prompts are not known yet: the longest that would have fitted where one was
    /// kept out for its length, and what is wrong there if it is no longer.
    open: HashMap<RequestKey, (Tokens, Finding), FxBuildHasher>,
}

/// What is wrong with a reason, and what would make it true.
type Objection = Option<(&'static str, String, String)>;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        self.seats(view, cx);
        if cx.facts.settings.token_budget().is_none() {
            self.drafts.see(view);
            self.largest =
                self.largest.max(view.iteration.map_or(0, |step| step.row.total_tokens.0));
        }
        // A reason is the same for all behind the head; each is judged once per step.
        let mut judged: [Option<WaitingReason>; 4] = [None; 4];
        for row in view.changed() {
            let waits = matches!(row.state, State::Waiting | State::Preempted);
            let Some(reason) = row.waiting_reason else {
                if waits {
                    let none = ("a waiting request has no reason", String::new(), String::new());
                    report(row, view.iteration, none, cx);
                }
                continue;
            };
            if !waits {
                let objection = (
                    "a request that does not wait has a reason",
                    "empty".to_owned(),
                    reason.to_string(),
                );
                report(row, view.iteration, objection, cx);
                continue;
            }
            cx.exercised(1);
            if let Some(message) = not_of(row.state, reason) {
                let objection = (message, "another reason".to_owned(), reason.to_string());
                report(row, view.iteration, objection, cx);
                continue;
            }
            let Some(slot) = judged.iter_mut().find(|slot| slot.is_none_or(|r| r == reason)) else {
                continue;
            };
            if slot.replace(reason).is_some() {
                continue;
            }
            let objection = judge(reason, row, view, cx)
                .or_else(|| first_of_two(reason, &judged, view, cx))
                .or_else(|| self.shorter(reason, row, view, cx));
            match objection {
                Some(objection) => report(row, view.iteration, objection, cx),
                None => {
                    self.put_off(reason, row, view, cx);
                    self.put_by(reason, row, view, cx);
                }
            }
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        let Some((spent, mut finding)) = self.spent.take() else { return };
        // Drafts take slots of the budget that no count has.
        if spent <= self.largest && self.drafts.is_off(&cx.facts.settings) {
            finding.expected = Some(format!("total_tokens {}, as in the largest", self.largest));
            cx.found(finding);
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some((longest, mut finding)) = self.open.remove(&request.key) else { return };
        if let Some(input) = request.input_tokens().filter(|input| *input <= longest) {
            finding.actual = Some(prompt_of(input));
            cx.found(finding);
        }
    }
}

impl Check {
    /// Keeps a reason that is wrong if the prompt, of which nothing is known yet, is short.
    fn put_off(
        &mut self,
        reason: WaitingReason,
        row: &RowView,
        view: &IterationView<'_>,
        cx: &Cx<'_>,
    ) {
        let key = row.request_id;
        let known = view.history(key).is_none_or(|history| history.input_tokens().is_some());
        let Some(longest) = longest_that_fits(reason, row, view, cx).filter(|_| !known) else {
            return;
        };
        if self.open.get(&key).is_none_or(|(before, _)| *before < longest) {
            let (message, expected) = too_short(reason, longest, view);
            let finding = finding(row, view.iteration, (message, expected, String::new()), cx);
            self.open.insert(key, (longest, finding));
        }
    }

    /// Notes how long the running queue is. Longer than one that was full it cannot be.
    fn seats(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let running = view.iteration.map_or(0, |step| step.row.running_count.0);
        self.longest = self.longest.max(running);
        if let Some((_, mut finding)) = self.full.take_if(|(full, _)| *full < running) {
            finding.expected =
                Some(format!("running_count {running}, as in iteration {}", view.id));
            cx.found(finding);
        }
    }

    /// Keeps the row for which there would have been most room in the largest step.
    fn put_by(
        &mut self,
        reason: WaitingReason,
        row: &RowView,
        view: &IterationView<'_>,
        cx: &Cx<'_>,
    ) {
        let unknown = cx.facts.settings.token_budget().is_none();
        let foremost = row.is_head() || !cx.facts.dialect.hides_waiting();
        if reason != WaitingReason::MaxNumBatchedTokens || !unknown || !foremost {
            return;
        }
        let Some((step, tokens)) = view.iteration.zip(known_tokens(row, view)) else { return };
        let total = step.row.total_tokens.0;
        let all = total.saturating_add(tokens);
        if self.spent.as_ref().is_none_or(|(spent, _)| all < *spent) {
            let objection = (
                "the budget is not spent, as others of its steps show",
                String::new(),
                format!("total_tokens {total}, and {tokens} of the request"),
            );
            self.spent = Some((all, finding(row, view.iteration, objection, cx)));
        }
    }

    /// Whether the running queue was longer before than it is now that it is said to be full.
    fn shorter(
        &mut self,
        reason: WaitingReason,
        row: &RowView,
        view: &IterationView<'_>,
        cx: &Cx<'_>,
    ) -> Objection {
        if reason != WaitingReason::MaxNumSeqs || cx.facts.settings.running_limit().is_some() {
            return None;
        }
        let running = view.iteration?.row.running_count.0;
        let expected = format!("running_count {}, as before", self.longest);
        let objection =
            ("the running queue is not full", expected, format!("running_count {running}"));
        if running < self.longest {
            return Some(objection);
        }
        if self.full.is_none() {
            self.full = Some((running, finding(row, view.iteration, objection, cx)));
        }
        None
    }
}

/// Why no request in this state can have the reason, if so: it is of the request itself, not of the step.
const fn not_of(state: State, reason: WaitingReason) -> Option<&'static str> {
    use WaitingReason as W;
    match (state, reason) {
        (State::Waiting, W::WaitingForOutput) => {
            Some("a request that never ran has no output in flight")
        }
        (State::Waiting, W::Evicted | W::Recomputation) => {
            Some("a request that never ran has lost nothing")
        }
        (State::Preempted, W::InitialWaiting) => Some("the request has run before"),
        _ => None,
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
        WaitingReason::MemoryInsufficient => length(reason, row, view, cx),
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
        let may_guess = cx.facts.dialect.has(Habit::FixedColumnsOnly) && !cx.facts.modelled;
        let guessed = !(own || in_flight || may_guess);
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

fn room(view: &IterationView<'_>, cx: &Cx<'_>) -> Option<Room> {
    Room::of(&view.iteration?.row, cx.facts)
}

fn budget_is_spent(view: &IterationView<'_>, cx: &Cx<'_>) -> bool {
    room(view, cx).is_some_and(|room| room.most == 0)
}

/// Whether the running queue was full before the scan could meet the reason.
fn full_before(reason: WaitingReason, view: &IterationView<'_>, cx: &Cx<'_>) -> bool {
    let budget_left = match reason {
        WaitingReason::MemoryInsufficient => !budget_is_spent(view, cx),
        WaitingReason::MaxNumBatchedTokens => {
            let drafts = cx.facts.settings.num_speculative_tokens;
            drafts.is_some() && room(view, cx).is_some_and(|room| room.least > 0)
        }
        _ => false,
    };
    let running = view.iteration.map(|step| step.row.running_count.0);
    budget_left && cx.facts.settings.running_limit().is_some_and(|limit| running >= Some(limit))
}

/// Tokens that a request has to compute, at most.
fn known_tokens(row: &RowView, view: &IterationView<'_>) -> Option<u32> {
    let input = view.history(row.request_id)?.input_tokens()?;
    Some(input.0.saturating_add(row.tokens_generated.0))
}

/// The longest prompt of this row's request that would not have been kept out for this reason.
fn longest_that_fits(
    reason: WaitingReason,
    row: &RowView,
    view: &IterationView<'_>,
    cx: &Cx<'_>,
) -> Option<Tokens> {
    // The head of the queue may be one of the rows that the log leaves out.
    if !row.is_head() && cx.facts.dialect.hides_waiting() {
        return None;
    }
    let tokens = match reason {
        WaitingReason::MaxNumBatchedTokens => unsplit(view, cx),
        WaitingReason::MemoryInsufficient => in_memory(view, cx),
        _ => None,
    };
    tokens?.checked_sub(row.tokens_generated.0).map(Tokens)
}

/// The most tokens to compute of which a step without chunked prefill could not say that they do not fit
/// in what is left.
fn unsplit(view: &IterationView<'_>, cx: &Cx<'_>) -> Option<u32> {
    let settings = &cx.facts.settings;
    let room = room(view, cx)?.least;
    // What is padded with drafts takes one token and all of them.
    let padded = settings.num_speculative_tokens?.saturating_add(1);
    (settings.enable_chunked_prefill == Some(false) && padded <= room).then_some(room)
}

/// The most tokens to compute for which there is certainly memory: an admission asks at most for all
/// known tokens, drafts, look-ahead, watermark.
fn in_memory(view: &IterationView<'_>, cx: &Cx<'_>) -> Option<u32> {
    let step = &view.iteration?.row;
    let settings = &cx.facts.settings;
    let drafts = settings.num_speculative_tokens?;
    let ahead = settings.num_lookahead_tokens.unwrap_or(drafts);
    let blocks =
        f64::from(settings.num_gpu_blocks.unwrap_or(step.kv_cache_total.0.saturating_add(1)));
    let margin = (settings.watermark? * blocks) as u32;
    let free = step.kv_cache_total.0.saturating_sub(step.kv_cache_used.0).checked_sub(margin)?;
    free.saturating_mul(settings.block_size?).checked_sub(ahead.saturating_add(drafts))
}

/// Whether the request is kept out for its length and is too short for that.
fn length(
    reason: WaitingReason,
    row: &RowView,
    view: &IterationView<'_>,
    cx: &Cx<'_>,
) -> Objection {
    let longest = longest_that_fits(reason, row, view, cx)?;
    let input = view.history(row.request_id)?.input_tokens()?;
    (input <= longest).then(|| {
        let (message, expected) = too_short(reason, longest, view);
        (message, expected, prompt_of(input))
    })
}

/// What is wrong with the reason for a prompt that is no longer, and what would make it true.
fn too_short(
    reason: WaitingReason,
    longest: Tokens,
    view: &IterationView<'_>,
) -> (&'static str, String) {
    let expected = format!("a prompt of more than {longest} tokens");
    match view.iteration.map(|step| &step.row) {
        Some(step) if reason == WaitingReason::MemoryInsufficient => {
            let free = step.kv_cache_total.saturating_sub(step.kv_cache_used);
            let message = "there is memory enough for the head of the queue";
            (message, format!("{expected}, with {free} blocks free"))
        }
        _ => ("the step's token budget is not spent", expected),
    }
}

fn prompt_of(tokens: Tokens) -> String {
    format!("a prompt of {tokens} tokens")
}

fn budget(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> Objection {
    let settings = &cx.facts.settings;
    let (drafts, chunked) = (settings.num_speculative_tokens?, settings.enable_chunked_prefill?);
    if !chunked {
        return length(WaitingReason::MaxNumBatchedTokens, row, view, cx);
    }
    let room = room(view, cx)?.least;
    let fits = if drafts > 0 && !(row.is_head() && never_padded(row, view, cx)) {
        room > drafts
    } else {
        room > 0
    };
    fits.then(|| {
        let expected = match drafts {
            0 => "no room".to_owned(),
            _ => "no room, or too little for drafts".to_owned(),
        };
        ("the step's token budget is not spent", expected, format!("room for {room} tokens"))
    })
}

/// Whether the request has more than one token to compute however much of it is cached, so that it is
/// not padded with drafts; and its drafter reads no prompt ahead, so that any room would do.
fn never_padded(row: &RowView, view: &IterationView<'_>, cx: &Cx<'_>) -> bool {
    let settings = &cx.facts.settings;
    let reads_ahead = settings.speculative_method.is_none_or(|method| match method {
        DraftMethod::Known(known) => known == SpeculativeMethod::Mtp,
        DraftMethod::Other => true,
    });
    let (Some(known), false) = (known_tokens(row, view), reads_ahead) else { return false };
    match (settings.enable_prefix_caching, settings.block_size) {
        (Some(false), _) => known > 1,
        (_, Some(block_size @ 1..)) => known % block_size != 1 % block_size,
        _ => false,
    }
}

#[cold]
fn report(
    row: &RowView,
    step: Option<&Located<IterationRow>>,
    objection: (&'static str, String, String),
    cx: &mut Cx<'_>,
) {
    let finding = finding(row, step, objection, cx);
    cx.found(finding);
}

fn finding(
    row: &RowView,
    step: Option<&Located<IterationRow>>,
    (message, expected, actual): (&'static str, String, String),
    cx: &Cx<'_>,
) -> Finding {
    let mut finding = Finding::new(message)
        .at(row.row.at(), "waiting_reason")
        .with_row(step.map(Located::at), "the step")
        .of(row.request_id, cx.ids)
        .in_iteration(row.iteration_id);
    finding.expected = Some(expected).filter(|text| !text.is_empty());
    finding.actual = Some(actual).filter(|text| !text.is_empty());
    finding
}
