//! C005: blocks in bytes.

use crate::invariants::prelude::*;

declare_invariant! {
    /// kv_cache_memory_bytes = kv_cache_blocks times the bytes of a block.
    ///
    /// All blocks have one size. Where nothing tells it, the first request with blocks does, and all
    /// others are held to that.
    ///
    /// Blind spot: a wrong number of blocks; C002 counts them. A size that is wrong in all rows, where
    /// kv_bytes_per_block is not known.
    ///
    /// Example: bytes per token taken for bytes per block.
    pub static C005 = {
        name: "blocks-in-bytes",
        reads: [PerRequest(kv_cache_blocks, kv_cache_memory_bytes)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The first request with blocks: their number, their bytes and its row.
    first: Option<(u64, u64, Location)>,
}

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let (Some(blocks), Some(bytes)) =
            (record.row.kv_cache_blocks, record.row.kv_cache_memory_bytes)
        else {
            return;
        };
        let (own, bytes) = (u64::from(blocks.0), bytes.0);
        if let Some(each) = cx.facts.settings.kv_bytes_per_block {
            let expected = own.saturating_mul(each);
            cx.expect(bytes == expected, |ids| {
                Finding::new(format!("{blocks} blocks of {each} bytes are not {bytes} bytes"))
                    .at(record.at(), "kv_cache_memory_bytes")
                    .of(request.key, ids)
                    .values(expected, bytes)
            });
            return;
        }
        let whole = if own == 0 { bytes == 0 } else { bytes.is_multiple_of(own) };
        let first = self.first;
        let alike = first.is_none_or(|(blocks, size, _)| {
            u128::from(bytes) * u128::from(blocks) == u128::from(size) * u128::from(own)
        });
        if whole && own > 0 {
            self.first = first.or(Some((own, bytes, record.at())));
        }
        cx.expect(whole && alike, |ids| {
            let expected = match first {
                Some((blocks, size, _)) => (size / blocks).saturating_mul(own).to_string(),
                None if own == 0 => "0".to_owned(),
                None => format!("a multiple of {own}"),
            };
            Finding::new(format!("{blocks} blocks are not {bytes} bytes, as a block is elsewhere"))
                .at(record.at(), "kv_cache_memory_bytes")
                .with_row(first.map(|(_, _, at)| at), "the first request with blocks")
                .of(request.key, ids)
                .values(expected, bytes)
        });
    }
}
