//! Blocks: leaked, freed too early, counted at the wrong moment.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

fn used_of_last_step(s: &mut Sheets) {
    let before: Vec<_> = (0..s.i.len()).map(|row| s.i.n(row, "kv_cache_used")).collect();
    for row in 1..s.i.len() {
        s.i.set(row, "kv_cache_used", before[row - 1]);
    }
}

/// Blocks of the requests that the step finished are gone already.
pub(super) fn used_at_end(s: &mut Sheets) {
    for row in s.r.where_is("state", "completed") {
        let step = s.step(s.r.n(row, "iteration_id"));
        let used = s.i.n(step, "kv_cache_used") - s.r.n(row, "kv_cache_blocks");
        s.i.set(step, "kv_cache_used", used.max(0));
    }
}

/// From the first end on, a block is never given back.
fn leak(s: &mut Sheets) {
    let Some(row) = s.r.where_is("state", "completed").first().copied() else { return };
    let from = s.step(s.r.n(row, "iteration_id"));
    for step in from + 1..s.i.len() {
        s.i.add(step, "kv_cache_used", 1);
    }
}

fn blocks_of_last_step(s: &mut Sheets) {
    let before: Vec<_> = (0..s.r.len())
        .map(|row| s.row_before(row).map(|row| s.r.n(row, "kv_cache_blocks")))
        .collect();
    for row in s.r.where_is("state", "running") {
        s.r.set(row, "kv_cache_blocks", before[row].unwrap_or(0));
    }
}

fn preempted_hold(s: &mut Sheets) {
    for row in s.r.where_is("state", "preempted") {
        if let Some(before) = s.row_before(row) {
            let held = s.r.n(before, "kv_cache_blocks");
            s.r.set(row, "kv_cache_blocks", held);
        }
    }
}

fn details_blocks(s: &mut Sheets, kind: &str, change: impl Fn(i64) -> i64) {
    for row in s.e.where_is("event_type", kind) {
        if let Some(blocks) = s.detail(row, "blocks") {
            s.set_detail(row, "blocks", change(blocks));
        }
    }
}

fn final_blocks(s: &mut Sheets, blocks: impl Fn(&Sheets, usize) -> i64) {
    for row in 0..s.p.len() {
        let count = blocks(s, row);
        let each = s.setting("kv_bytes_per_block");
        s.p.set(row, "kv_cache_blocks", count);
        s.p.set(row, "kv_cache_memory_bytes", count * each);
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("null-block-total", "the null block is counted in the total", &["C001"], |s| {
        s.i.map("kv_cache_total", |total| total + 1)
    }),
    mutant("null-block-used", "the null block is counted as used", &["C003"], |s| {
        s.i.map("kv_cache_used", |used| used + 1)
    }),
    mutant("total-is-free", "the free blocks instead of all", &["C001"], |s| {
        for row in 0..s.i.len() {
            let used = s.i.n(row, "kv_cache_used");
            s.i.add(row, "kv_cache_total", -used);
        }
    }),
    mutant("total-in-tokens", "token slots instead of blocks", &["C001"], |s| {
        let size = s.setting("block_size");
        s.i.map("kv_cache_total", |total| total * size);
    }),
    mutant("used-in-tokens", "token slots instead of blocks", &["C003", "C001"], |s| {
        let size = s.setting("block_size");
        s.i.map("kv_cache_used", |used| used * size);
    }),
    mutant("used-is-free", "the free blocks instead of the used ones", &["C003"], |s| {
        for row in 0..s.i.len() {
            let free = s.i.n(row, "kv_cache_total") - s.i.n(row, "kv_cache_used");
            s.i.set(row, "kv_cache_used", free);
        }
    }),
    mutant("used-of-last-step", "read before the allocations", &["C003"], used_of_last_step),
    mutant(
        "used-at-end",
        "read after the blocks of finished requests were freed",
        &["C003"],
        used_at_end,
    ),
    mutant("used-leaks", "a block of an ended request is never given back", &["C003"], leak),
    mutant(
        "blocks-before-allocation",
        "read before the step's allocation",
        &["C002"],
        blocks_of_last_step,
    ),
    mutant("blocks-of-computed", "blocks of the tokens computed before the step", &["C002"], |s| {
        let size = s.setting("block_size");
        for row in s.r.where_is("state", "running") {
            let computed = s.r.n(row, "computed_tokens");
            s.r.set(row, "kv_cache_blocks", (computed + size - 1) / size);
        }
    }),
    mutant("blocks-are-full-ones", "rounded down", &["C002"], |s| {
        let size = s.setting("block_size");
        for row in s.r.where_is("state", "running") {
            let tokens = s.r.n(row, "computed_tokens") + s.r.n(row, "scheduled_tokens");
            s.r.set(row, "kv_cache_blocks", tokens / size);
        }
    }),
    mutant("preempted-hold-blocks", "read before they were freed", &["C004"], preempted_hold),
    mutant("completed-without-blocks", "read after they were freed", &["C004", "C009"], |s| {
        for row in s.r.where_is("state", "completed") {
            s.r.set(row, "kv_cache_blocks", 0);
        }
    }),
    mutant("final-blocks-after-free", "read after they were freed", &["C009"], |s| {
        final_blocks(s, |_, _| 0)
    }),
    mutant("final-blocks-of-tokens", "computed from the tokens, not read", &["C009"], |s| {
        let size = s.setting("block_size");
        final_blocks(s, |s, row| {
            (s.p.n(row, "input_tokens") + s.p.n(row, "output_tokens")) / size + 1
        });
    }),
    mutant("final-blocks-twice", "K and V are counted", &["C009"], |s| {
        final_blocks(s, |s, row| s.p.n(row, "kv_cache_blocks") * 2)
    }),
    mutant("bytes-per-token", "bytes of a token instead of a block", &["C005"], |s| {
        let size = s.setting("block_size");
        s.p.map("kv_cache_memory_bytes", |bytes| bytes / size);
    }),
    mutant("bytes-in-kib", "KiB instead of bytes", &["C005"], |s| {
        s.p.map("kv_cache_memory_bytes", |bytes| bytes / 1024)
    }),
    mutant("allocated-are-tokens", "tokens instead of blocks", &["C008"], |s| {
        let size = s.setting("block_size");
        details_blocks(s, "kv_cache_allocated", |blocks| blocks * size);
    }),
    mutant("allocated-is-sum", "all blocks of the request, not the new ones", &["C008"], |s| {
        for row in s.e.where_is("event_type", "kv_cache_allocated") {
            let id = s.e.text(row, "request_id").to_owned();
            let step = s.detail(row, "iteration_id").unwrap();
            if let Some(held) = s.row_of(step, &id, "running") {
                let held = s.r.n(held, "kv_cache_blocks");
                s.set_detail(row, "blocks", held);
            }
        }
    }),
    mutant("freed-one-less", "the partial block is forgotten", &["C008"], |s| {
        details_blocks(s, "kv_cache_freed", |blocks| blocks - 1)
    }),
    mutant("evicted-never-reset", "evicted blocks of the run, not of the step", &["C010"], |s| {
        let mut sum = 0;
        for row in 0..s.i.len() {
            sum += s.i.n(row, "evicted_blocks");
            s.i.set(row, "evicted_blocks", sum);
        }
    }),
    mutant("evicted-are-freed", "freed blocks are counted", &["C010"], |s| {
        for row in s.e.where_is("event_type", "kv_cache_freed") {
            let (at, blocks) = (s.e.n(row, "timestamp"), s.detail(row, "blocks").unwrap());
            if let Some(step) = s.step_at(at, 3) {
                s.i.add(step, "evicted_blocks", blocks);
            }
        }
    }),
    mutant("nothing-evicted", "what the cache loses is counted nowhere", &["C010"], |s| {
        s.i.map("evicted_blocks", |_| 0);
    }),
    mutant("one-eviction-lost", "one of two code paths counts", &["C010"], |s| {
        if let Some(row) = (0..s.i.len()).find(|row| s.i.n(*row, "evicted_blocks") > 0) {
            s.i.add(row, "evicted_blocks", -1);
        }
    }),
    mutant("empty-blocks-are-evicted", "blocks without content are counted", &["C010"], |s| {
        let used = |row: usize| s.i.n(row, "kv_cache_used");
        let takes = |row: &usize| used(*row) > used(*row - 1);
        let row = (1..s.i.len()).rfind(takes);
        if (0..s.i.len()).all(|row| s.i.n(row, "evicted_blocks") == 0) {
            row.into_iter().for_each(|row| s.i.set(row, "evicted_blocks", 1));
        }
    }),
    mutant("preempted-are-evicted", "what a victim gives back is lost", &["C010"], |s| {
        for row in s.r.where_is("state", "preempted") {
            let (step, id) = (s.r.n(row, "iteration_id"), s.r.text(row, "request_id").to_owned());
            if let Some(ran) = s.row_of(step - 1, &id, "running") {
                let step = s.step(step);
                s.i.add(step, "evicted_blocks", s.r.n(ran, "kv_cache_blocks"));
            }
        }
    }),
    mutant("evicted-are-lost", "only what a preempted request misses counts", &["C010"], |s| {
        let size = s.setting("block_size");
        let mut lost = vec![0; s.i.len()];
        for row in s.e.where_is("event_type", "request_evicted") {
            let step = s.step(s.detail(row, "iteration_id").unwrap());
            lost[step] += (s.detail(row, "lost_tokens").unwrap() + size - 1) / size;
        }
        (0..s.i.len()).for_each(|row| s.i.set(row, "evicted_blocks", lost[row]));
    }),
    mutant("memory-without-weights", "the cache only", &["C011"], |s| {
        let weights = s.setting("weight_bytes");
        s.i.map("gpu_memory_bytes", |bytes| bytes - weights);
    }),
    mutant("memory-in-mib", "MiB instead of bytes", &["C011"], |s| {
        s.i.map("gpu_memory_bytes", |bytes| bytes >> 20)
    }),
    mutant("memory-of-last-step", "read before the allocations", &["C011"], |s| {
        let before: Vec<_> =
            (0..s.i.len()).map(|row| s.i.text(row, "gpu_memory_bytes").to_owned()).collect();
        (1..s.i.len()).for_each(|row| s.i.set(row, "gpu_memory_bytes", &before[row - 1]));
    }),
];
