//! The analysis as a flat table: one figure per row, named by its path in the JSON.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::analyze::model::Analysis;
use crate::log::field::write_text;

/// Members that name an element of a list.
const NAMES: [&str; 7] =
    ["activity", "reason", "latency", "request_id", "priority", "table", "name"];

/// `figure,unit,value`: an undefined value is an empty field.
///
/// # Errors
/// What serialising gives; there is no analysis for which it does.
pub fn to_csv(analysis: &Analysis) -> serde_json::Result<String> {
    let mut out = b"figure,unit,value\n".to_vec();
    walk("", &serde_json::to_value(analysis)?, &mut out);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn walk(path: &str, value: &Value, out: &mut Vec<u8>) {
    let below = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                walk(&below(name), value, out);
            }
        }
        Value::Array(elements) => {
            let names: Vec<_> = elements.iter().map(element_name).collect();
            let distinct: BTreeSet<_> = names.iter().flatten().collect();
            let tells_apart = distinct.len() == elements.len();
            for (index, (element, name)) in elements.iter().zip(&names).enumerate() {
                let name = name.clone().filter(|_| tells_apart);
                walk(&below(&name.unwrap_or_else(|| index.to_string())), element, out);
            }
        }
        Value::Null => row(path, "", out),
        Value::String(text) => row(path, text, out),
        Value::Bool(_) | Value::Number(_) => row(path, &value.to_string(), out),
    }
}

fn element_name(element: &Value) -> Option<String> {
    match NAMES.iter().find_map(|name| element.get(name)) {
        Some(Value::String(name)) => Some(name.clone()),
        Some(Value::Number(name)) => Some(name.to_string()),
        _ => None,
    }
}

fn row(path: &str, value: &str, out: &mut Vec<u8>) {
    write_text(path, out);
    out.push(b',');
    out.extend_from_slice(unit(path).as_bytes());
    out.push(b',');
    write_text(value, out);
    out.push(b'\n');
}

/// The unit that the last member with one ends with; counts have none.
fn unit(path: &str) -> &'static str {
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    if matches!(last, "count" | "undefined" | "exact") {
        return "";
    }
    for name in [last, parents.rsplit('.').next().unwrap_or_default()] {
        let units = [
            ("_per_s", "1/s"),
            ("_ns", "ns"),
            ("share", "1"),
            ("tokens", "tokens"),
            ("utilisation", "1"),
        ];
        if let Some((_, unit)) = units.iter().find(|(ending, _)| name.ends_with(ending)) {
            return unit;
        }
    }
    ""
}
