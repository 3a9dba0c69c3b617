//! The object-centric event log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{export, exported, read_with_python, rows};
use crate::analyze::log_of;
use crate::fixtures::Log;
use crate::golden::bundled;
use crate::support::in_snapshots;

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().unwrap()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

/// Per declared type its attributes and their types.
fn types(ocel: &Value, member: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let attributes = |declared: &Value| {
        list(declared, "attributes")
            .iter()
            .map(|attribute| (text(attribute, "name").into(), text(attribute, "type").into()))
            .collect()
    };
    list(ocel, member)
        .iter()
        .map(|declared| (text(declared, "name").to_owned(), attributes(declared)))
        .collect()
}

fn assert_time(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000000Z");
}

fn assert_attributes(element: &Value, declared: &BTreeMap<String, String>) {
    for attribute in list(element, "attributes") {
        let fits = match declared[text(attribute, "name")].as_str() {
            "integer" => attribute["value"].is_i64() || attribute["value"].is_u64(),
            "float" => attribute["value"].is_number(),
            "string" => attribute["value"].is_string(),
            other => panic!("{other}"),
        };
        assert!(fits, "{attribute}");
        if let Some(time) = attribute.get("time") {
            assert_time(time.as_str().unwrap());
        }
    }
}

/// What the standard asks for: types declared, ids unique, relations to objects that are there.
fn assert_valid(ocel: &Value) {
    let (objects, events) = (types(ocel, "objectTypes"), types(ocel, "eventTypes"));
    let mut ids = BTreeSet::new();
    for object in list(ocel, "objects") {
        assert!(ids.insert(text(object, "id")), "{object}");
        assert_attributes(object, &objects[text(object, "type")]);
    }
    let mut event_ids = BTreeSet::new();
    for event in list(ocel, "events") {
        assert!(event_ids.insert(text(event, "id")), "{event}");
        assert_attributes(event, &events[text(event, "type")]);
        assert_time(text(event, "time"));
        assert!(!list(event, "relationships").is_empty(), "{event}");
        let related: BTreeSet<_> = list(event, "relationships")
            .iter()
            .map(|relation| text(relation, "objectId"))
            .collect();
        assert_eq!(related.len(), list(event, "relationships").len(), "{event}");
        for relation in list(event, "relationships") {
            assert!(ids.contains(text(relation, "objectId")), "{event}");
            assert!(!text(relation, "qualifier").is_empty());
        }
    }
}

fn scheduled(ocel: &Value) -> usize {
    let relations = list(ocel, "events").iter().flat_map(|event| list(event, "relationships"));
    relations
        .filter(|relation| {
            relation["qualifier"] != "request" && relation["qualifier"] != "iteration"
        })
        .count()
}

fn batches(log: &Path) -> usize {
    let mut reader = csv::Reader::from_path(log.join("per_iteration.csv")).unwrap();
    reader.records().map(|row| row.unwrap()[7].parse::<usize>().unwrap()).sum()
}

#[test]
fn every_bundled_trace_is_a_valid_log() {
    for (name, _) in bundled() {
        let log = log_of(&name);
        let (_, ocel) = exported(log.path(), "ocel");
        assert_valid(&ocel);
        let (requests, steps) =
            (rows(log.path(), "per_request.csv"), rows(log.path(), "per_iteration.csv"));
        assert_eq!(list(&ocel, "objects").len(), requests + steps, "{name}");
        assert_eq!(list(&ocel, "events").len(), rows(log.path(), "events.csv") + steps, "{name}");
        assert_eq!(scheduled(&ocel), batches(log.path()), "{name}");
    }
}

#[test]
fn a_lost_row_leaves_no_relation_without_an_object() {
    let lost = |log: Log, file: &str, line: usize| {
        log.map(file, |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            let rows = text.lines().enumerate().filter(|(index, _)| *index != line);
            rows.map(|(_, row)| format!("{row}\n")).collect::<String>().into_bytes()
        })
    };
    for line in 1..=11 {
        let log = lost(Log::base(), "per_iteration.csv", line).write();
        assert_valid(&exported(log.path(), "ocel").1);
    }
    for line in 1..=5 {
        let log = lost(Log::base(), "per_request.csv", line).write();
        assert_valid(&exported(log.path(), "ocel").1);
    }
    for file in Log::base().files.keys() {
        let log = Log::base().without(file).write();
        assert_valid(&exported(log.path(), "ocel").1);
    }
}

#[test]
fn a_log_is_as_it_was_and_other_tools_read_it() {
    let log = log_of("idle-gap");
    let (text, _) = exported(log.path(), "ocel");
    in_snapshots("export", || insta::assert_snapshot!("idle-gap.ocel", text));
    let log = log_of("tiny-cache-preemption");
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("log.json");
    assert!(export(log.path(), "ocel", &out).status.success());
    assert!(fs::metadata(&out).unwrap().len() > 0);
    read_with_python(log.path(), "-", out.to_str().unwrap());
}
