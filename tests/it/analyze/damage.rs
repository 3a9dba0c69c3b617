//! A log that is wrong is analysed and exported all the same: no figure stops the others.

use std::path::Path;

use proptest::prelude::*;
use schedlog::analyze::render::{to_csv, to_json, to_text};
use schedlog::analyze::{AnalyzeOptions, RequestFigures, Sink, analyze_dir, read_log};
use schedlog::export::{ocel, perfetto};
use schedlog::invariants;

use crate::fixtures::{Log, fixture};

#[derive(Default)]
struct Partition;

impl Sink for Partition {
    fn request(&mut self, request: &RequestFigures) {
        let edges = request.spans.windows(2);
        assert!(edges.into_iter().all(|pair| pair[0].to_ns == pair[1].from_ns), "{request:?}");
        assert!(request.spans.iter().all(|span| span.from_ns < span.to_ns), "{request:?}");
    }
}

/// Everything that is made of a log.
fn everything(log: &Path) {
    let options = AnalyzeOptions { slo: Some("e2e=1s".parse().unwrap()), series_buckets: 3 };
    let analysis = analyze_dir(log, &options).unwrap();
    assert!(!to_text(&analysis).contains("NaN"));
    to_csv(&analysis).unwrap();
    to_json(&analysis).unwrap();
    read_log(log, &mut [&mut Partition]).unwrap();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.json");
    for export in [perfetto::export, ocel::export] {
        export(log, &out).unwrap();
        let text = std::fs::read(&out).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap();
    }
}

#[test]
fn a_log_that_breaks_a_rule() {
    for rule in invariants::ALL {
        everything(Log::base().edited(&fixture(rule.id)).write().path());
    }
}

#[test]
fn numbers_as_large_as_they_can_be() {
    let replaced = |file: &str, old: &str, new: &str| {
        let log = Log::base()
            .map(file, |bytes| String::from_utf8(bytes).unwrap().replace(old, new).into_bytes());
        everything(log.write().path());
    };
    let (largest, tokens) = (u64::MAX.to_string(), u32::MAX.to_string());
    replaced("per_iteration.csv", ",13,", &format!(",{largest},"));
    replaced("per_iteration.csv", ",7,", &format!(",{tokens},"));
    replaced("per_request.csv", ",133,", &format!(",{largest},"));
    replaced("per_request.csv", ",7,", &format!(",{tokens},"));
    replaced("events.csv", "82,", &format!("{largest},"));
    replaced("per_iteration_requests.csv", ",8\n", &format!(",{tokens}\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_log_with_bytes_changed_or_cut(
        file in 0usize..5,
        cut in prop::option::of(0usize..1500),
        changes in prop::collection::vec((0usize..1500, any::<u8>()), 0..6),
    ) {
        let log = Log::base();
        let name = log.files.keys().nth(file).unwrap().clone();
        let log = log.map(&name, |mut bytes| {
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            bytes
        });
        everything(log.write().path());
    }
}
