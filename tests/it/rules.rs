//! Every rule: declared, documented, kept by the base log, broken by its fixture, shown in a snapshot.

use std::collections::BTreeSet;

use schedlog::check::{CheckReport, Outcome, Verdict};
use schedlog::invariants::{ALL, JOINED, every};
use schedlog::report::{TextOptions, write_json, write_text};

use crate::fixtures::{Log, fixture, repo, tripped};

fn text(report: &CheckReport) -> String {
    let mut out = Vec::new();
    write_text(report, &TextOptions::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn stems(dir: &str, prefix_len: usize) -> BTreeSet<String> {
    std::fs::read_dir(repo(dir))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name[..prefix_len.min(name.len())].to_uppercase())
        .collect()
}

#[test]
fn files_registry_fixtures_and_snapshots_are_the_same_rules() {
    let ids: BTreeSet<String> = ALL.iter().map(|rule| rule.id.to_owned()).collect();
    assert_eq!(ids.len(), ALL.len(), "an id stands twice in the registry");
    let mut files = BTreeSet::new();
    for family in std::fs::read_dir(repo("src/invariants")).unwrap() {
        let path = family.unwrap().path();
        if path.is_dir() {
            let rules = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
            let stems = rules.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
            files.extend(stems.filter(|stem| stem != "mod").map(|stem| stem.to_uppercase()));
        }
    }
    files.retain(|id| !JOINED.iter().any(|rule| rule.id == id));
    assert_eq!(files, ids, "files of rules");
    assert_eq!(stems("tests/fixtures/rules", 4), ids, "fixtures");
    assert_eq!(stems("snapshots/rules", 4), ids, "snapshots");
    for rule in ALL {
        let stem = format!("{}.rs", rule.id.to_lowercase());
        assert!(rule.file.ends_with(&stem), "{} is declared in {}", rule.id, rule.file);
    }
}

#[test]
fn declarations_name_columns_of_the_schema() {
    let names: BTreeSet<_> = every().map(|rule| rule.name).collect();
    assert_eq!(names.len(), every().count(), "a name stands twice in the registry");
    for rule in every() {
        for reads in rule.reads.iter().chain(rule.also) {
            for column in reads.columns {
                let known = reads.table.schema().column(column);
                assert!(known.is_some(), "{}: {} has no {column}", rule.id, reads.table);
            }
        }
        for part in ["Blind spot: ", "Example: "] {
            assert!(rule.page().contains(part), "{}: the page has no {part:?}", rule.id);
        }
    }
}

#[test]
fn the_base_log_keeps_and_exercises_every_rule() {
    let (_dir, report) = Log::base().check();
    for rule in &report.rules {
        let holds = matches!(rule.outcome, Outcome::Holds { .. });
        assert!(holds, "{}: {:?} {:#?}", rule.rule.id, rule.outcome, rule.findings);
    }
    assert_eq!(report.verdict(), Verdict::Clean);
}

#[test]
fn every_fixture_breaks_its_rule_and_no_other() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repo("snapshots/rules"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    let mut failures = Vec::new();
    for rule in ALL {
        let fixture = fixture(rule.id);
        let (_dir, report) = Log::base().edited(&fixture).check();
        let mut expected: BTreeSet<&str> = fixture.also.iter().map(String::as_str).collect();
        expected.insert(rule.id);
        let found: BTreeSet<&str> = tripped(&report).into_iter().collect();
        if found != expected {
            failures.push(format!("{} trips {found:?}\n{}", rule.id, text(&report)));
            continue;
        }
        insta::assert_snapshot!(rule.id, format!("{}\n\n{}", fixture.about, text(&report)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_json_report_has_its_version_and_the_same_findings() {
    let (_dir, report) = Log::base().edited(&fixture("M002")).check();
    let mut out = Vec::new();
    write_json(&report, &mut out).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["schema"], "schedlog.check/1");
    assert_eq!(json["verdict"], "violated");
    json["directory"] = "LOG".into();
    // One rule shows the form of all.
    json["rules"].as_array_mut().unwrap().retain(|rule| rule["id"] == "M002");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repo("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        insta::assert_json_snapshot!("check-json", json);
    });
}

#[test]
fn generated_pages_are_up_to_date() {
    for (name, text) in schedlog::docs::pages() {
        let path = repo("docs").join(name);
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is stale: run `schedlog docs`", path.display());
    }
}
