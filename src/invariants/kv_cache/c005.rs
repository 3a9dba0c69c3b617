//! C005: blocks in bytes.

use crate::invariants::prelude::*;
use crate::log::ids::Ids;

declare_invariant! {
    /// kv_cache_memory_bytes = kv_cache_blocks times the bytes of a block.
    ///
    /// All blocks have one size. Where nothing tells it, the first two requests do that agree on one, and
    /// all others are held to that.
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

/// A row with blocks: their number, their bytes.
#[derive(Clone, Copy, Debug)]
struct Sized {
    blocks: u64,
    bytes: u64,
    at: Location,
}

impl Sized {
    /// Whether the blocks of both are of one size.
    fn is_like(&self, other: &Self) -> bool {
        u128::from(self.bytes) * u128::from(other.blocks)
            == u128::from(other.bytes) * u128::from(self.blocks)
    }
}

#[derive(Default)]
struct Check {
    /// The row that all others are held to, and its request: the first of which another one has the size.
    standard: Option<(Sized, String)>,
    /// Whether another one has its size.
    is_shared: bool,
    /// One of another size while the standard is alone: the next tells which of both is odd.
    rival: Option<(Sized, String)>,
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
        cx.exercised(1);
        let whole = if own == 0 { bytes == 0 } else { bytes.is_multiple_of(own) };
        let sized = Sized { blocks: own, bytes, at: record.at() };
        let id = || cx.ids.id(request.key).to_owned();
        if !whole {
            let finding = contradicts(sized, id(), self.standard.as_ref());
            cx.found(finding);
        } else if own > 0 {
            self.compare(sized, id, cx);
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        self.report_rival(cx);
    }
}

impl Check {
    fn compare(&mut self, sized: Sized, id: impl FnOnce() -> String, cx: &mut Cx<'_>) {
        let Some((standard, _)) = &self.standard else {
            self.standard = Some((sized, id()));
            return;
        };
        if sized.is_like(standard) {
            self.is_shared = true;
            self.report_rival(cx);
        } else if self.is_shared {
            cx.found(contradicts(sized, id(), self.standard.as_ref()));
        } else if self.rival.as_ref().is_some_and(|(rival, _)| sized.is_like(rival)) {
            let odd = std::mem::replace(&mut self.standard, self.rival.take());
            self.is_shared = true;
            if let Some((odd, id)) = odd {
                cx.found(contradicts(odd, id, self.standard.as_ref()));
            }
        } else {
            self.report_rival(cx);
            self.rival = Some((sized, id()));
        }
    }

    fn report_rival(&mut self, cx: &mut Cx<'_>) {
        if let Some((rival, id)) = self.rival.take() {
            cx.found(contradicts(rival, id, self.standard.as_ref()));
        }
    }
}

fn contradicts(sized: Sized, id: String, standard: Option<&(Sized, String)>) -> Finding {
    let Sized { blocks, bytes, at } = sized;
    let expected = match standard {
        Some((standard, _)) => {
            (standard.bytes / standard.blocks).saturating_mul(blocks).to_string()
        }
        None if blocks == 0 => "0".to_owned(),
        None => format!("a multiple of {blocks}"),
    };
    let mut finding =
        Finding::new(format!("{blocks} blocks are not {bytes} bytes, as a block is elsewhere"))
            .at(at, "kv_cache_memory_bytes")
            .with_row(standard.map(|(it, _)| it.at), "a request with blocks of the size")
            .values(expected, bytes);
    finding.request = Some(id);
    finding
}
