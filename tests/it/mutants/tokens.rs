//! Tokens counted twice, in the wrong phase, or at the wrong moment.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

fn each_step(s: &mut Sheets, change: impl Fn(&Sheets, usize) -> Vec<(&'static str, i64)>) {
    for row in 0..s.i.len() {
        for (column, value) in change(s, row) {
            s.i.set(row, column, value);
        }
    }
}

fn each_request(s: &mut Sheets, column: &str, value: impl Fn(&Sheets, usize) -> i64) {
    for row in 0..s.p.len() {
        let value = value(s, row);
        s.p.set(row, column, value);
    }
}

fn queued(s: &Sheets, row: usize) -> bool {
    s.r.text(row, "state") != "completed"
}

/// Rows of the requests' first chunks.
fn first_rows(s: &Sheets) -> Vec<usize> {
    (0..s.r.len())
        .filter(|row| s.r.text(*row, "state") == "running")
        .filter(|row| {
            s.row_before(*row).is_none_or(|before| s.r.text(before, "state") == "waiting")
        })
        .collect()
}

fn is_first_chunk(s: &Sheets, row: usize) -> bool {
    first_rows(s).contains(&row)
}

/// Chunks behind the first are counted as decode.
fn later_chunks_decode(s: &mut Sheets) {
    for row in s.r.where_is("state", "running") {
        let Some(request) = s.request(s.r.text(row, "request_id")) else { continue };
        let (computed, scheduled) = (s.r.n(row, "computed_tokens"), s.r.n(row, "scheduled_tokens"));
        if computed > 0 && computed < s.p.n(request, "input_tokens") && !is_first_chunk(s, row) {
            let step = s.step(s.r.n(row, "iteration_id"));
            s.i.add(step, "prefill_tokens", -scheduled);
            s.i.add(step, "decode_tokens", scheduled);
        }
    }
}

/// Recomputation after a preemption is counted as decode.
fn recomputation_decodes(s: &mut Sheets) {
    for row in s.r.where_is("state", "running") {
        let resumed =
            s.row_before(row).is_some_and(|before| s.r.text(before, "state") == "preempted");
        if resumed && s.r.n(row, "tokens_generated") > 0 {
            let (step, scheduled) =
                (s.step(s.r.n(row, "iteration_id")), s.r.n(row, "scheduled_tokens"));
            s.i.add(step, "prefill_tokens", -scheduled);
            s.i.add(step, "decode_tokens", scheduled);
        }
    }
}

/// The tokens as they are after the step's output.
fn tokens_at_end(s: &mut Sheets) {
    let after: Vec<_> = (0..s.r.len())
        .map(|row| {
            let id = s.r.text(row, "request_id");
            let next = (row + 1..s.r.len()).find(|other| s.r.text(*other, "request_id") == id);
            next.map_or(s.r.n(row, "tokens_generated"), |next| s.r.n(next, "tokens_generated"))
        })
        .collect();
    for (row, tokens) in after.into_iter().enumerate() {
        s.r.set(row, "tokens_generated", tokens);
    }
}

/// Tokens are counted from the last preemption on.
fn tokens_reset(s: &mut Sheets) {
    let mut base: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for row in 0..s.r.len() {
        let id = s.r.text(row, "request_id").to_owned();
        let tokens = s.r.n(row, "tokens_generated");
        if s.r.text(row, "state") == "preempted" {
            base.insert(id.clone(), tokens);
        }
        s.r.set(row, "tokens_generated", tokens - base.get(&id).copied().unwrap_or(0));
    }
}

fn computed_at_end(s: &mut Sheets) {
    for row in 0..s.r.len() {
        if queued(s, row) {
            let scheduled = s.r.n(row, "scheduled_tokens");
            s.r.add(row, "computed_tokens", scheduled);
        }
    }
}

/// A preemption does not set computed_tokens back.
fn computed_kept(s: &mut Sheets) {
    for row in s.r.where_is("state", "preempted") {
        if let Some(before) = s.row_before(row) {
            let (computed, scheduled) =
                (s.r.n(before, "computed_tokens"), s.r.n(before, "scheduled_tokens"));
            s.r.set(row, "computed_tokens", computed + scheduled);
        }
    }
}

/// Tokens found in the cache are counted as scheduled.
fn hits_are_scheduled(s: &mut Sheets) {
    for row in s.r.where_is("state", "running") {
        let admitted =
            s.row_before(row).is_none_or(|before| s.r.text(before, "state") != "running");
        let hit = s.r.n(row, "computed_tokens");
        if admitted && hit > 0 {
            s.r.add(row, "scheduled_tokens", hit);
            let step = s.step(s.r.n(row, "iteration_id"));
            s.i.add(step, "total_tokens", hit);
            s.i.add(step, "prefill_tokens", hit);
        }
    }
}

fn detail_of(s: &mut Sheets, kind: &str, key: &str, change: impl Fn(i64) -> i64) {
    for row in s.e.where_is("event_type", kind) {
        if let Some(value) = s.detail(row, key) {
            s.set_detail(row, key, change(value));
        }
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("phases-swapped", "two columns swapped", &["K002"], |s| {
        each_step(s, |s, row| {
            vec![
                ("prefill_tokens", s.i.n(row, "decode_tokens")),
                ("decode_tokens", s.i.n(row, "prefill_tokens")),
            ]
        });
    }),
    mutant("all-is-prefill", "the phase is never decode", &["K002"], |s| {
        each_step(s, |s, row| {
            vec![("prefill_tokens", s.i.n(row, "total_tokens")), ("decode_tokens", 0)]
        });
    }),
    mutant("all-is-decode", "the phase is never prefill", &["K002"], |s| {
        each_step(s, |s, row| {
            vec![("decode_tokens", s.i.n(row, "total_tokens")), ("prefill_tokens", 0)]
        });
    }),
    mutant("later-chunks-decode", "a request that runs decodes", &["K002"], later_chunks_decode),
    mutant(
        "recomputation-decodes",
        "a request with output decodes",
        &["K002"],
        recomputation_decodes,
    ),
    mutant("recomputation-nowhere", "recomputed tokens are in neither phase", &["K001"], |s| {
        let before = s.clone();
        recomputation_decodes(s);
        for row in 0..s.i.len() {
            let decode = before.i.n(row, "decode_tokens");
            s.i.set(row, "decode_tokens", decode);
        }
    }),
    mutant("total-twice", "tokens are counted by scheduler and runner", &["K001", "K002"], |s| {
        s.i.map("total_tokens", |tokens| tokens * 2)
    }),
    mutant(
        "prefill-is-prompt",
        "the whole prompt is counted with its first chunk",
        &["K001", "K002"],
        |s| {
            for row in first_rows(s) {
                let Some(request) = s.request(s.r.text(row, "request_id")) else { continue };
                let more = s.p.n(request, "input_tokens") - s.r.n(row, "scheduled_tokens");
                let step = s.step(s.r.n(row, "iteration_id"));
                s.i.add(step, "prefill_tokens", more);
                s.i.add(step, "total_tokens", more);
            }
        },
    ),
    mutant("decode-is-batch", "one token for each running request", &["K001", "K002"], |s| {
        each_step(s, |s, row| {
            let decode = s.i.n(row, "running_count");
            vec![("decode_tokens", decode), ("total_tokens", decode + s.i.n(row, "prefill_tokens"))]
        });
    }),
    mutant("total-of-last-step", "a counter set too late", &["K001", "K002"], |s| {
        let before: Vec<_> = (0..s.i.len()).map(|row| s.i.n(row, "total_tokens")).collect();
        (1..s.i.len()).for_each(|row| s.i.set(row, "total_tokens", before[row - 1]));
    }),
    mutant(
        "scheduled-includes-hits",
        "tokens found in the cache are scheduled ones",
        &["K006", "K010", "C002"],
        hits_are_scheduled,
    ),
    mutant(
        "scheduled-total-includes-hits",
        "tokens found in the cache are scheduled ones",
        &["K007", "K010"],
        |s| {
            each_request(s, "scheduled_tokens", |s, row| {
                s.p.n(row, "scheduled_tokens") + s.p.n(row, "cached_tokens")
            });
        },
    ),
    mutant("scheduled-total-without-decode", "the prompt only", &["K007", "K010"], |s| {
        each_request(s, "scheduled_tokens", |s, row| {
            s.p.n(row, "scheduled_tokens").min(s.p.n(row, "input_tokens"))
        })
    }),
    mutant("scheduled-total-is-all", "input plus output", &["K007", "K010"], |s| {
        each_request(s, "scheduled_tokens", |s, row| {
            s.p.n(row, "input_tokens") + s.p.n(row, "output_tokens")
        })
    }),
    mutant("scheduled-total-reset", "set back at a preemption", &["K007", "K010"], |s| {
        each_request(s, "scheduled_tokens", |s, row| {
            s.p.n(row, "scheduled_tokens") - s.p.n(row, "recomputed_tokens")
        })
    }),
    mutant("recomputed-never", "the counter is never raised", &["K007", "K011"], |s| {
        s.p.map("recomputed_tokens", |_| 0)
    }),
    mutant("recomputed-off-by-one", "the last token is counted too", &["K007", "K011"], |s| {
        s.p.map("recomputed_tokens", |tokens| tokens + i64::from(tokens > 0))
    }),
    mutant(
        "recomputed-of-all-preemptions",
        "counted when preempted, also if never resumed",
        &["K007", "K011"],
        |s| {
            each_request(s, "recomputed_tokens", |s, row| {
                let id = s.p.text(row, "request_id").to_owned();
                let events = s.e.where_is("event_type", "request_preempted");
                events
                    .into_iter()
                    .filter(|event| s.e.text(*event, "request_id") == id)
                    .filter_map(|event| s.detail(event, "computed_tokens"))
                    .sum()
            });
        },
    ),
    mutant("cached-never", "the counter is never raised", &["K007", "K011"], |s| {
        s.p.map("cached_tokens", |_| 0)
    }),
    mutant("cached-twice", "every lookup is counted", &["K007", "K011"], |s| {
        s.p.map("cached_tokens", |tokens| tokens * 2)
    }),
    mutant("cached-are-blocks", "blocks instead of tokens", &["K007", "K011"], |s| {
        let size = s.setting("block_size");
        s.p.map("cached_tokens", |tokens| tokens / size);
    }),
    mutant("cached-event-off-by-one", "the last token is counted too", &["K009"], |s| {
        detail_of(s, "request_scheduled", "cached_tokens", |tokens| tokens + 1)
    }),
    mutant("cached-event-are-blocks", "blocks instead of tokens", &["K006", "K009"], |s| {
        let size = s.setting("block_size");
        detail_of(s, "request_scheduled", "cached_tokens", |tokens| tokens / size);
    }),
    mutant("cached-event-is-a-block-more", "the whole prompt was found", &["K006", "K009"], |s| {
        let size = s.setting("block_size");
        detail_of(s, "request_resumed", "cached_tokens", |tokens| tokens + size);
    }),
    mutant("preempted-event-without-tokens", "read after it was set to 0", &["K011"], |s| {
        detail_of(s, "request_preempted", "computed_tokens", |_| 0)
    }),
    mutant("preempted-event-a-token-more", "the scheduled token is counted too", &["K011"], |s| {
        detail_of(s, "request_preempted", "computed_tokens", |tokens| tokens + 1)
    }),
    mutant("lost-tokens-are-all", "all computed tokens, found or not", &["K011"], |s| {
        for row in s.e.where_is("event_type", "request_evicted") {
            let id = s.e.text(row, "request_id").to_owned();
            let before = (0..row).rfind(|event| {
                s.e.text(*event, "request_id") == id
                    && s.e.text(*event, "event_type") == "request_preempted"
            });
            if let Some(computed) = before.and_then(|event| s.detail(event, "computed_tokens")) {
                s.set_detail(row, "lost_tokens", computed);
            }
        }
    }),
    mutant("lost-tokens-off-by-one", "the last token is counted too", &["K011"], |s| {
        detail_of(s, "request_evicted", "lost_tokens", |tokens| tokens + 1)
    }),
    mutant("output-before-last-token", "read before the last token was appended", &["K005"], |s| {
        s.p.map("output_tokens", |tokens| (tokens - 1).max(0))
    }),
    mutant(
        "output-event-before-last-token",
        "read before the last token was appended",
        &["K005"],
        |s| detail_of(s, "request_completed", "output_tokens", |tokens| (tokens - 1).max(0)),
    ),
    mutant("output-is-total", "prompt and output together", &["K005"], |s| {
        each_request(s, "output_tokens", |s, row| {
            s.p.n(row, "output_tokens") + s.p.n(row, "input_tokens")
        })
    }),
    mutant("input-is-total", "prompt and output together", &["X007"], |s| {
        each_request(s, "input_tokens", |s, row| {
            s.p.n(row, "output_tokens") + s.p.n(row, "input_tokens")
        })
    }),
    mutant(
        "input-without-hits",
        "the part of the prompt that was computed",
        &["X007", "K007"],
        |s| {
            each_request(s, "input_tokens", |s, row| {
                s.p.n(row, "input_tokens") - s.p.n(row, "cached_tokens")
            })
        },
    ),
    mutant("input-event-off-by-one", "without the first token", &["X007"], |s| {
        detail_of(s, "request_arrived", "input_tokens", |tokens| tokens - 1)
    }),
    mutant("rows-tokens-at-end", "read at E", &["K004"], tokens_at_end),
    mutant("rows-tokens-reset", "set back at a preemption", &["K004"], tokens_reset),
    mutant(
        "completed-tokens-at-d",
        "read before the last token was appended",
        &["K004", "K005"],
        |s| {
            for row in s.r.where_is("state", "completed") {
                s.r.add(row, "tokens_generated", -1);
            }
        },
    ),
    mutant("computed-at-end", "read after the step had advanced it", &["K006"], computed_at_end),
    mutant("computed-kept", "a preemption does not set it back", &["K006"], computed_kept),
    mutant("computed-off-by-one", "the newest token is counted too", &["K006"], |s| {
        for row in 0..s.r.len() {
            if s.r.n(row, "computed_tokens") > 0 {
                s.r.add(row, "computed_tokens", 1);
            }
        }
    }),
    mutant("computed-one-row-off", "one row read too early", &["K006"], |s| {
        let decoding = (0..s.r.len())
            .filter(|row| {
                s.r.text(*row, "state") == "running" && s.r.n(*row, "computed_tokens") > 0
            })
            .collect::<Vec<_>>();
        if let Some(row) = decoding.get(decoding.len() / 2) {
            s.r.add(*row, "computed_tokens", -1);
        }
    }),
    mutant("rows-scheduled-off-by-one", "the sampled token is counted", &["K002"], |s| {
        let row = s.r.where_is("state", "running")[0];
        s.r.add(row, "scheduled_tokens", 1);
    }),
    mutant("prompts-split-with-chunks-off", "run.json is not of this run", &["K012"], |s| {
        let split = (0..s.r.len()).any(|row| {
            let request = s.request(s.r.text(row, "request_id"));
            let input = request.map_or(0, |request| s.p.n(request, "input_tokens"));
            let behind =
                |row: usize| s.r.n(row, "computed_tokens") + s.r.n(row, "scheduled_tokens");
            s.r.text(row, "state") == "running"
                && s.r.n(row, "scheduled_tokens") > 0
                && behind(row) < input
        });
        if split && s.run["config"]["long_prefill_token_threshold"] == 0 {
            s.run["config"]["enable_chunked_prefill"] = false.into();
        }
    }),
];
