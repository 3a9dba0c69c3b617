//! docs/report-schema.md describes the JSON report: every member, no other, of its type.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::root;

/// The types of every path in the documentation.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("docs/report-schema.md")).unwrap();
    let mut paths = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, path, types, meaning, _] = cells[..] else { panic!("{line}") };
        assert!(!meaning.is_empty(), "{line}");
        let types = types.split(" or ").map(str::to_owned).collect();
        let double = paths.insert(path.trim_matches('`').to_owned(), types);
        assert_eq!(double, None, "{path} is described twice");
    }
    paths
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Objects whose members are names, not fixed keys.
const MAPS: [&str; 5] = [
    "policy.ignored_damages",
    "policy.known_findings.by_rule",
    "policy.known_findings.by_number",
    "coverage",
    "coverage.*.seen",
];

fn walk(path: &str, value: &Value, seen: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    if !path.is_empty() {
        seen.entry(path.to_owned()).or_default().insert(type_of(value));
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(&format!("{path}[]"), item, seen)),
        Value::Object(members) => {
            for (key, value) in members {
                let key = if MAPS.contains(&path) { "*" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                walk(&path, value, seen);
            }
        }
        _ => {}
    }
}

/// Checks reports of a suite against the documentation.
pub(crate) fn assert_documented(suite: &Value) {
    let documented = documented();
    let mut seen = BTreeMap::new();
    for report in suite["reports"].as_array().unwrap() {
        walk("", report, &mut seen);
    }
    for (path, types) in &seen {
        let allowed = documented.get(path).unwrap_or_else(|| panic!("{path} is not described"));
        for name in types {
            assert!(allowed.contains(*name), "{path} is {name}, described as {allowed:?}");
        }
    }
    for path in documented.keys() {
        assert!(seen.contains_key(path), "{path} is described, but no report of the test has it");
    }
}
