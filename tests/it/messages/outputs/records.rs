//! `schedlog conform` on decision records: differences with their reasons, and records that are none.

use schedlog::conform::record::read_text;
use serde_json::{Value, json};

use super::Place;
use crate::support::root;

/// A bundled record, line by line.
fn lines(name: &str) -> Vec<String> {
    let path = root().join(format!("traces/vllm-0.32/{name}.jsonl.gz"));
    read_text(&path).unwrap().lines().map(str::to_owned).collect()
}

/// A record with one line, counted from 1, changed; line 0 is the last one.
fn altered(name: &str, line: usize, change: impl FnOnce(&mut Value)) -> String {
    let mut lines = lines(name);
    let line = line.checked_sub(1).unwrap_or(lines.len() - 1);
    let mut value = serde_json::from_str(&lines[line]).unwrap();
    change(&mut value);
    lines[line] = value.to_string();
    lines.join("\n")
}

fn set(key: &'static str, value: impl Into<Value>) -> impl FnOnce(&mut Value) {
    let value = value.into();
    move |line| line[key] = value
}

/// Each reason that a pass can have, by a record whose step is numbered wrongly just there.
#[test]
fn a_difference_is_told_with_the_reasons_of_the_model() {
    let mut place = Place::new();
    for (name, line) in [
        // The look-ahead of a drafter with several modules, and padding to a full set of drafts.
        ("extra-0002", 35),
        ("spec-0020", 20),
        // Passed over, as its output is in flight; blocks beside shared ones.
        ("extra-0014", 33),
        ("extra-0014", 48),
        // Without chunked prefill; no room for drafts.
        ("extra-0007", 24),
        ("extra-0011", 31),
    ] {
        let wrong = altered(name, line, |step| {
            let n = step["schedule"]["n"].as_u64().unwrap();
            step["schedule"]["n"] = json!(n + 1);
        });
        let file = format!("{name}-{line}.jsonl");
        place.file(&file, wrong);
        assert_eq!(place.says(&format!("conform {file}")), 1, "{file}");
    }
    // A chunk that would end too close to the end of the prompt.
    let setting = altered("extra-0003", 1, set("num_prefill_lookahead", 40));
    place.file("extra-0003-lookahead.jsonl", setting);
    assert_eq!(place.says("conform extra-0003-lookahead.jsonl"), 1);
    place.assert_known("records");
}

#[test]
fn where_a_record_differs_and_how_it_ends_is_told() {
    let mut place = Place::new();
    let name = "basic-0028";
    let step = lines(name).iter().position(|line| line.contains("\"schedule\":{")).unwrap() + 1;
    for (what, line, key, value) in [
        ("status", 0, "status", json!("stalled")),
        ("total", 0, "tokens", json!(1)),
        ("arrivals", step, "added", json!([])),
    ] {
        place.file(&format!("{what}.jsonl"), altered(name, line, set(key, value)));
    }
    let output = altered(name, step, |step| step["update"]["appended"] = json!([]));
    place.file("output.jsonl", output);
    let told = ["iteration", "vLLM: ", "model: "];
    for what in ["status", "total", "arrivals", "output"] {
        assert_eq!(place.tells(&format!("conform {what}.jsonl"), &told), 1, "{what}");
    }
    place.file("same.jsonl", lines(name).join("\n"));
    place.file("same.txt", lines(name).join("\n"));
    assert_eq!(place.says("conform same.jsonl"), 0);
    assert_eq!(place.says("conform same.jsonl --log log"), 0);
    assert_eq!(place.says("conform same.jsonl --log log"), 2);
    std::fs::create_dir(place.at("again")).unwrap();
    place.file("again/same.jsonl", lines(name).join("\n"));
    assert_eq!(place.says("conform same.jsonl again --log logs"), 2);
    assert_eq!(place.says("conform again total.jsonl nowhere.jsonl --markdown"), 1);
    place.assert_known("records-ends");
}

/// By file, line and what should be there.
#[test]
fn what_is_no_record_is_told_by_its_line() {
    let mut place = Place::new();
    let name = "basic-0028";
    let whole = lines(name);
    let request = whole.iter().position(|line| line.contains("\"type\":\"request\"")).unwrap() + 1;
    let step = whole.iter().position(|line| line.contains("\"type\":\"step\"")).unwrap() + 1;
    let without =
        |key: &'static str| move |line: &mut Value| drop(line.as_object_mut().unwrap().remove(key));
    let long = 1_u64 << 40;
    let cut = whole[..whole.len() - 1].join("\n");
    let hit = altered(name, step, |step| step["schedule"]["hit"] = json!([]));
    for (what, record) in [
        ("empty", String::new()),
        ("cut", cut),
        ("no-json", "no JSON\n".to_owned()),
        ("setting", altered(name, 1, set("use_v2_model_runner", true))),
        ("missing", altered(name, 1, without("block_size"))),
        ("kind", altered(name, 1, set("block_size", "many"))),
        ("range", altered(name, 1, set("block_size", 0))),
        ("config", altered(name, 1, set("type", "settings"))),
        ("no-room", altered(name, 1, set("max_model_len", 1))),
        ("order", altered(name, request, set("step", 1000))),
        ("lengths", altered(name, request, set("prompt_len", 1))),
        ("tokens", altered(name, request, |it| it["prompt"][0][0] = json!(long))),
        ("limit", altered(name, request, set("max_tokens", 1 << 30))),
        ("late", altered(name, request, set("step", long))),
        ("twice", {
            let mut lines = whole.clone();
            lines.insert(request, whole[request - 1].clone());
            lines.join("\n")
        }),
        ("iteration", altered(name, step, set("it", long))),
        ("again", altered(name, step + 1, set("it", 0))),
        ("member", altered(name, step, set("surprise", 1))),
        ("hit", hit),
        ("line", altered(name, step, set("type", "surprise"))),
        ("status", altered(name, 0, set("status", "tired"))),
    ] {
        let file = format!("{what}.jsonl");
        place.file(&file, record);
        assert_eq!(place.tells(&format!("conform {file}"), &["void: "]), 2, "{what}");
    }
    let bytes = std::fs::read(root().join(format!("traces/vllm-0.32/{name}.jsonl.gz"))).unwrap();
    place.file("short.jsonl.gz", &bytes[..bytes.len() / 2]);
    place.file("binary.jsonl", [b'{', 0xff]);
    for file in ["short.jsonl.gz", "binary.jsonl", "nowhere.jsonl"] {
        assert_eq!(place.tells(&format!("conform {file}"), &["void: "]), 2, "{file}");
    }
    place.assert_known("records-void");
}
