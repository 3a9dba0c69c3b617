//! C005: blocks in bytes.

use crate::invariants::prelude::*;

declare_invariant! {
    /// kv_cache_memory_bytes = kv_cache_blocks times the bytes of a block.
    ///
    /// Blind spot: a wrong number of blocks; C002 counts them.
    ///
    /// Example: bytes per token taken for bytes per block.
    pub static C005 = {
        name: "blocks-in-bytes",
        reads: [PerRequest(kv_cache_blocks, kv_cache_memory_bytes)],
        needs: [KvBytesPerBlock],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let (Some(blocks), Some(bytes), Some(each)) = (
            record.row.kv_cache_blocks,
            record.row.kv_cache_memory_bytes,
            cx.facts.settings.kv_bytes_per_block,
        ) else {
            return;
        };
        let expected = u64::from(blocks.0).saturating_mul(each);
        cx.expect(bytes.0 == expected, |ids| {
            Finding::new(format!("{blocks} blocks of {each} bytes are not {bytes} bytes"))
                .at(record.at(), "kv_cache_memory_bytes")
                .of(request.key, ids)
                .values(expected, bytes)
        });
    }
}
