//! The trace for Perfetto and Chrome.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{exported, rows};
use crate::analyze::log_of;
use crate::golden::bundled;
use crate::support::in_snapshots;

/// A slice in nanoseconds.
#[derive(Clone, Debug)]
struct Slice {
    name: String,
    from: u64,
    to: u64,
}

/// A number of microseconds with three decimals, in nanoseconds.
fn nanos(value: &Value) -> u64 {
    (value.as_f64().unwrap() * 1000.0).round() as u64
}

/// The slices of each track, in the order of the file.
fn tracks(trace: &Value) -> BTreeMap<(u64, u64), Vec<Slice>> {
    let mut tracks = BTreeMap::<_, Vec<_>>::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let place = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        if event["ph"] == "X" {
            let from = nanos(&event["ts"]);
            let to = from + nanos(&event["dur"]);
            let name = event["name"].as_str().unwrap().to_owned();
            tracks.entry(place).or_default().push(Slice { name, from, to });
        }
    }
    tracks
}

fn count(trace: &Value, phase: &str) -> usize {
    trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == phase).count()
}

/// Slices of a track must nest: two of them are apart, or one holds the other.
fn assert_nested(slices: &[Slice]) {
    for (index, one) in slices.iter().enumerate() {
        for other in &slices[index + 1..] {
            let apart = one.to <= other.from || other.to <= one.from;
            let holds = one.from <= other.from && other.to <= one.to;
            assert!(apart || holds, "{one:?} {other:?}");
        }
    }
}

#[test]
fn every_bundled_trace_is_a_valid_trace() {
    for (name, _) in bundled() {
        let log = log_of(&name);
        let (_, trace) = exported(log.path(), "perfetto");
        let tracks = tracks(&trace);
        tracks.values().for_each(|slices| assert_nested(slices));
        assert_eq!(count(&trace, "i"), rows(log.path(), "events.csv"), "{name}");
        let steps = rows(log.path(), "per_iteration.csv");
        assert!(count(&trace, "C") >= 4 * steps, "{name}");
        let engine = tracks.iter().filter(|((pid, _), _)| *pid == 2).flat_map(|(_, slices)| slices);
        let parts = ["schedule", "forward pass", "output"];
        assert_eq!(engine.filter(|slice| !parts.contains(&&*slice.name)).count(), steps, "{name}");

        let requests: Vec<_> = tracks.iter().filter(|((pid, _), _)| *pid == 1).collect();
        assert_eq!(requests.len(), rows(log.path(), "per_request.csv"), "{name}");
        for (_, slices) in requests {
            let (life, spans) = slices.split_first().unwrap();
            let sum: u64 = spans.iter().map(|span| span.to - span.from).sum();
            assert_eq!(sum, life.to - life.from, "{name}: {life:?}");
        }
    }
}

#[test]
fn overlapping_steps_have_tracks_of_their_own() {
    let log = log_of("async-overlap");
    let (_, trace) = exported(log.path(), "perfetto");
    assert_eq!(tracks(&trace).keys().filter(|(pid, _)| *pid == 2).count(), 2);
}

#[test]
fn a_trace_is_as_it_was() {
    let log = log_of("idle-gap");
    let (text, _) = exported(log.path(), "perfetto");
    in_snapshots("export", || insta::assert_snapshot!("idle-gap.perfetto", text));
}
