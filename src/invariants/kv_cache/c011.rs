//! C011: device memory of a model.

use crate::invariants::prelude::*;

declare_invariant! {
    /// gpu_memory_bytes of a modelled device is weight_bytes + kv_cache_used times the bytes of a
    /// block.
    ///
    /// Only where run.json says that the engine is a reference model; a real device has more in its
    /// memory than a log can tell.
    ///
    /// Blind spot: real devices.
    ///
    /// Example: MiB instead of bytes.
    pub static C011 = {
        name: "modelled-memory",
        reads: [PerIteration(kv_cache_used, gpu_memory_bytes)],
        needs: [WeightBytes, KvBytesPerBlock],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        if !cx.facts.modelled {
            cx.vacuous("the log is not of a reference model");
            return;
        }
        let settings = &cx.facts.settings;
        let (Some(step), Some(weights), Some(each)) =
            (view.iteration, settings.weight_bytes, settings.kv_bytes_per_block)
        else {
            return;
        };
        let Some(bytes) = step.row.gpu_memory_bytes else { return };
        let used = u64::from(step.row.kv_cache_used.0);
        let expected = weights.saturating_add(used.saturating_mul(each));
        cx.expect(bytes.0 == expected, |_| {
            Finding::new(format!(
                "{weights} bytes of weights and {used} blocks are not {bytes} bytes"
            ))
            .at(step.at(), "gpu_memory_bytes")
            .in_iteration(view.id)
            .values(expected, bytes)
        });
    }
}
