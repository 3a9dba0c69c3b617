//! Reports as SARIF 2.1.0: a run for every log.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::check::{Declaration, Finding, Mark, Severity};
use crate::diagnose::{Group, fingerprint};
use crate::invariants::{ALL, JOINED};
use crate::report::explain::about;
use crate::report::{Sheet, Suite, Unread, visible};
use crate::units::counted;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

#[derive(Serialize)]
struct Sarif {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: Vec<Run>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    /// What tells the runs of one file apart: without it they cannot be uploaded together.
    automation_details: Automation,
    invocations: Vec<Invocation>,
    column_kind: &'static str,
    results: Vec<Found>,
}

#[derive(Serialize)]
struct Automation {
    id: String,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    name: &'static str,
    short_description: Text,
    full_description: Text,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    /// What was not checked, and why.
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    level: &'static str,
    message: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_rule: Option<RuleReference>,
}

#[derive(Serialize)]
struct RuleReference {
    id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    rule_id: &'static str,
    level: &'static str,
    message: Text,
    locations: Vec<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Place>,
    partial_fingerprints: Fingerprints,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_state: Option<&'static str>,
}

#[derive(Serialize)]
struct Fingerprints {
    #[serde(rename = "schedlog/v1")]
    schedlog: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    physical_location: Physical,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippet: Option<Text>,
}

/// Writes reports as SARIF.
///
/// # Errors
/// What writing gives.
pub fn write_sarif(suite: &Suite<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut runs: Vec<_> = suite.sheets.iter().map(run).collect();
    runs.extend(suite.unread.iter().map(unread));
    if !suite.uncovered.is_empty() {
        runs.push(uncovered(suite));
    }
    tell_apart(&mut runs);
    let sarif = Sarif { schema: SCHEMA, version: "2.1.0", runs };
    serde_json::to_writer_pretty(&mut *out, &sarif)?;
    writeln!(out)
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error | Severity::Damage => "error",
        Severity::Warning => "warning",
    }
}

fn run(sheet: &Sheet<'_>) -> Run {
    let was_run = |rule: &&&Declaration| sheet.report.rule(rule.id).is_some();
    let rules = ALL.iter().chain(JOINED.iter().filter(was_run)).map(|rule| Rule {
        id: rule.id,
        name: rule.name,
        short_description: Text { text: rule.summary() },
        full_description: Text { text: rule.page() },
        default_configuration: Configuration { level: level(rule.severity) },
    });
    let rules = rules.collect();
    let mut results = Vec::new();
    for group in &sheet.diagnosis.groups {
        results.extend(group.findings.iter().map(|finding| found(sheet, group, finding)));
        for consequence in &group.consequences {
            let after = |finding: &&Finding| follows(sheet, group, consequence.rule, finding);
            results.extend(consequence.findings.iter().map(after));
        }
    }
    let id = category(&sheet.report.directory);
    with_results(id, rules, results, invocation(true, notifications(sheet)))
}

fn invocation(execution_successful: bool, notes: Vec<Notification>) -> Invocation {
    Invocation { execution_successful, tool_execution_notifications: notes }
}

fn with_results(id: String, rules: Vec<Rule>, results: Vec<Found>, how: Invocation) -> Run {
    let version = env!("CARGO_PKG_VERSION");
    Run {
        tool: Tool { driver: Driver { name: "schedlog", version, rules } },
        automation_details: Automation { id },
        invocations: vec![how],
        column_kind: "unicodeCodePoints",
        results,
    }
}

/// The category of a log's run; what would stand behind the last `/` tells uploads apart, not logs.
fn category(directory: &Path) -> String {
    format!("schedlog/{}/", directory.display())
}

/// Gives runs of one directory, checked twice, categories of their own.
fn tell_apart(runs: &mut [Run]) {
    let mut seen = BTreeMap::<String, u32>::new();
    for run in runs {
        let id = &mut run.automation_details.id;
        let count = seen.entry(id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            id.push_str(&format!("{count}/"));
        }
    }
}

/// A run that has no log, only what is wrong with the check as a whole.
fn apart(id: String, rule: Rule, results: Vec<Found>, successful: bool) -> Run {
    let note = |found: &Found| Notification {
        level: "error",
        message: Text { text: found.message.text.clone() },
        associated_rule: None,
    };
    let notes = results.iter().map(note).collect();
    with_results(id, vec![rule], results, invocation(successful, notes))
}

fn apart_rule(id: &'static str, summary: &str) -> Rule {
    Rule {
        id,
        name: id,
        short_description: Text { text: summary.to_owned() },
        full_description: Text { text: summary.to_owned() },
        default_configuration: Configuration { level: "error" },
    }
}

fn apart_result(rule_id: &'static str, directory: &Path, text: &str) -> Found {
    // The text of a directory names it already.
    let schedlog = format!("{rule_id}-{:016x}", xxh3_64(text.as_bytes()));
    Found {
        rule_id,
        level: "error",
        message: Text { text: visible(text) },
        locations: vec![as_a_whole(directory)],
        related_locations: Vec::new(),
        partial_fingerprints: Fingerprints { schedlog },
        baseline_state: None,
    }
}

fn unread(unread: &Unread) -> Run {
    let rule = apart_rule("not-checked", "A directory could not be checked.");
    let found = apart_result(rule.id, &unread.directory, &unread.error);
    apart(category(&unread.directory), rule, vec![found], false)
}

fn uncovered(suite: &Suite<'_>) -> Run {
    let rule = apart_rule("not-covered", "The logs do not exercise what they have to.");
    let directory = suite.sheets.first().map_or(Path::new("."), |it| &it.report.directory);
    let found = suite.uncovered.iter().map(|text| apart_result(rule.id, directory, text)).collect();
    apart("schedlog coverage/".to_owned(), rule, found, true)
}

/// Everything that keeps a clean report from being a full one.
fn notifications(sheet: &Sheet<'_>) -> Vec<Notification> {
    let note = |text: String, id: Option<&'static str>| Notification {
        level: "note",
        message: Text { text },
        associated_rule: id.map(|id| RuleReference { id }),
    };
    let mut notes: Vec<_> = sheet
        .applied
        .deselected
        .iter()
        .map(|(id, name)| {
            let text = match sheet.applied.ignored.get(id) {
                Some(damages) => {
                    let damages = counted(*damages, "damage", "damages");
                    format!("{id} {name} found {damages}: ignored")
                }
                None => format!("{id} {name} was not run: deselected"),
            };
            note(text, Some(id))
        })
        .collect();
    for rule in &sheet.report.rules {
        if let crate::check::Outcome::NotExercised { reason } = &rule.outcome {
            notes.push(note(
                format!("{} was not exercised: {reason}", rule.rule.id),
                Some(rule.rule.id),
            ));
        }
        let total = rule.errors + rule.damages + rule.warnings;
        let more = total - rule.findings.len() as u64;
        if more > 0 {
            let were = if more == 1 { "was" } else { "were" };
            let more = counted(more, "finding", "findings");
            let text = format!("{more} of {} beyond these {were} only counted", rule.rule.id);
            notes.push(note(text, Some(rule.rule.id)));
        }
    }
    if let Some(accepted) = &sheet.applied.accepted {
        let (count, path) = (accepted.total(), accepted.path.display());
        let text = format!("{count} known findings, which {path} lists, are not among the results");
        notes.push(note(text, None));
    }
    notes
}

fn found(sheet: &Sheet<'_>, group: &Group<'_>, finding: &Finding) -> Found {
    let mut text = sentences(finding);
    for cause in &group.causes {
        text.push_str(&format!("\nLikely cause: {}.", visible(&cause.text)));
    }
    result(sheet, group.rule(), finding, text)
}

fn follows(
    sheet: &Sheet<'_>,
    group: &Group<'_>,
    rule: &'static Declaration,
    finding: &Finding,
) -> Found {
    let text = format!("{}\nFollows from {}.", sentences(finding), group.rule().id);
    result(sheet, rule, finding, text)
}

fn sentences(finding: &Finding) -> String {
    let about = about(finding).map(|about| format!(" ({about})")).unwrap_or_default();
    format!("{}{about}.", visible(&finding.message))
}

fn result(sheet: &Sheet<'_>, rule: &'static Declaration, finding: &Finding, text: String) -> Found {
    let known = sheet.applied.accepted.is_some();
    Found {
        rule_id: rule.id,
        level: level(finding.severity.unwrap_or(rule.severity)),
        message: Text { text },
        locations: match &finding.primary {
            Some(mark) => vec![place(sheet, mark)],
            None => vec![as_a_whole(
                &finding
                    .file
                    .map_or_else(|| sheet.report.directory.clone(), |table| sheet.path(table)),
            )],
        },
        related_locations: finding.related.iter().map(|mark| place(sheet, mark)).collect(),
        partial_fingerprints: Fingerprints { schedlog: fingerprint(rule, finding) },
        baseline_state: known.then_some("new"),
    }
}

/// A directory or a file.
fn as_a_whole(path: &Path) -> Place {
    let uri = uri(&path.to_string_lossy());
    let physical_location = Physical { artifact_location: Artifact { uri }, region: None };
    Place { physical_location, message: None }
}

fn place(sheet: &Sheet<'_>, mark: &Mark) -> Place {
    let columns = sheet.columns(mark);
    let row = sheet.diagnosis.excerpts.row(mark.at);
    let region = Region {
        start_line: mark.at.line,
        start_column: columns.map(|(start, _)| start),
        end_column: columns.map(|(_, end)| end),
        snippet: row.map(|row| Text { text: visible(row) }),
    };
    let uri = uri(&sheet.path(mark.at.table).to_string_lossy());
    let message = (!mark.label.is_empty()).then(|| Text { text: visible(&mark.label) });
    Place {
        physical_location: Physical { artifact_location: Artifact { uri }, region: Some(region) },
        message,
    }
}

/// A path as a URI or, if it is relative, as a reference of one.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.replace('\\', "/").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_are_uris() {
        assert_eq!(super::uri("logs/run 1/é.csv"), "logs/run%201/%C3%A9.csv");
        assert_eq!(super::uri("/tmp/log"), "file:///tmp/log");
    }
}
