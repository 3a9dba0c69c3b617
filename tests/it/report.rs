//! Every form of the report, on logs with few and with many findings.

use schedlog::check::{CheckOptions, CheckReport, Declaration, check_dir_with};
use schedlog::coverage::{self, Coverage};
use schedlog::invariants::find;
use schedlog::log::reader::LogDir;
use schedlog::policy::{Accepted, Applied, Changed};
use schedlog::report::{
    Sheet, Suite, TextOptions, Unread, write_annotations, write_json_suite, write_junit,
    write_sarif, write_sheet, write_suite,
};

use crate::edits::Edited;
use crate::fixtures::{Log, fixture};
use crate::support::in_snapshots;

/// The rules of these reports: few, so that a new rule changes none of them.
const RULES: [&str; 9] = ["F001", "F004", "M002", "M003", "M010", "Q001", "K002", "X003", "X005"];

fn rules() -> Vec<&'static Declaration> {
    RULES.iter().map(|id| find(id).unwrap()).collect()
}

/// A checked log.
struct Checked {
    report: CheckReport,
    path: String,
    _dir: Box<dyn std::any::Any>,
}

impl Checked {
    fn of(dir: Box<dyn std::any::Any>, path: &std::path::Path) -> Self {
        let report = check_dir_with(path, &CheckOptions::default(), &rules()).unwrap();
        Self { report, path: path.display().to_string(), _dir: dir }
    }

    fn log(log: &Log) -> Self {
        let dir = log.write();
        let path = dir.path().to_owned();
        Self::of(Box::new(dir), &path)
    }

    fn edited(edited: Edited) -> Self {
        let path = edited.path();
        Self::of(Box::new(edited), &path)
    }

    /// What one of the writers says, without the place of the log.
    fn written(&self, write: impl FnOnce(&Sheet<'_>, &mut Vec<u8>)) -> String {
        self.written_with(&Applied::default(), None, write)
    }

    fn written_with(
        &self,
        applied: &Applied,
        coverage: Option<&Coverage>,
        write: impl FnOnce(&Sheet<'_>, &mut Vec<u8>),
    ) -> String {
        let mut out = Vec::new();
        write(&Sheet::new(&self.report, applied, coverage, true), &mut out);
        String::from_utf8(out).unwrap().replace(&self.path, "LOG")
    }
}

/// A count that is wrong, and a nanosecond of waiting that is counted nowhere.
fn few() -> Checked {
    Checked::log(&Log::base().edited(&fixture("M002")).edited(&fixture("Q001")))
}

/// Four flushed rows that were not complete.
fn many() -> Checked {
    Checked::edited(Edited::long().number(
        "per_iteration.csv",
        "forward_pass_duration",
        |i, t, _| {
            if i % 60 == 59 { 0 } else { t }
        },
    ))
}

/// A file that is missing, one that is cut and one that is nonsense.
fn damaged() -> Checked {
    let log = Log::base().without("state_transitions.csv").map("run.json", |_| b"{".to_vec());
    Checked::log(&log.map("events.csv", |bytes| bytes[..bytes.len() - 20].to_vec()))
}

fn logs() -> [(&'static str, Checked); 3] {
    [("few", few()), ("many", many()), ("damaged", damaged())]
}

fn only<'a>(sheet: &'a Sheet<'a>) -> Suite<'a> {
    Suite { sheets: std::slice::from_ref(sheet), ..Suite::default() }
}

fn nowhere() -> Unread {
    Unread { directory: "nowhere".into(), error: "nowhere is not a directory".to_owned() }
}

/// A log whose every line is told: what a policy can do, and coverage.
fn everything(log: &Checked) -> (Applied, Coverage) {
    let mut accepted = Accepted { path: "known.json".into(), stale: 2, ..Accepted::default() };
    accepted.by_rule.insert("M003", 3);
    accepted.by_number.insert("M003", 1);
    let rule = find("M002").unwrap();
    let applied = Applied {
        config: Some("schedlog.toml".into()),
        deselected: vec![
            ("K003", "token-budget"),
            ("K004", "tokens-rise"),
            ("X001", "same-requests"),
        ],
        ignored: [("X005", 1)].into(),
        severities: vec![Changed {
            rule: rule.id,
            from: rule.severity,
            to: schedlog::check::Severity::Warning,
        }],
        accepted: Some(accepted),
    };
    let dir = LogDir::open(std::path::Path::new(&log.path)).unwrap();
    (applied, coverage::of_log(&dir).unwrap())
}

#[test]
fn text() {
    for (name, log) in logs() {
        for all in [false, true] {
            let options = TextOptions { all, rules: all, ..TextOptions::default() };
            let text = log.written(|sheet, out| write_sheet(sheet, &options, out).unwrap());
            let name = if all { format!("{name}-all.txt") } else { format!("{name}.txt") };
            in_snapshots("report", || insta::assert_snapshot!(name, text));
        }
    }
}

#[test]
fn values_are_shown_with_the_rows_that_they_are_made_of() {
    let queue = Edited::of("burst-into-max-num-seqs");
    let queue = queue.number("per_iteration.csv", "waiting_count", |index, count, _| {
        count + i64::from(index == 4)
    });
    let again = "b,150,preempted,8,running\nb,160,running,10,preempted\nb,173,completed,13,running";
    let changes = Log::base().replace("state_transitions.csv", "b,173,completed,31,running", again);
    let (queue, changes) = (Checked::edited(queue), Checked::log(&changes));
    for (name, log) in [("queue", queue), ("changes", changes)] {
        let options = TextOptions::default();
        let text = log.written(|sheet, out| write_sheet(sheet, &options, out).unwrap());
        in_snapshots("report", || insta::assert_snapshot!(format!("rows-{name}.txt"), text));
    }
}

#[test]
fn text_says_what_a_policy_did_and_what_was_covered() {
    let log = few();
    let (applied, coverage) = everything(&log);
    let options = TextOptions { rules: true, ..TextOptions::default() };
    let text = log.written_with(&applied, Some(&coverage), |sheet, out| {
        write_sheet(sheet, &options, out).unwrap();
    });
    let end = text.find("per_request.csv     ").unwrap();
    // How many rules there are is not to be seen here.
    let (before, after) = text[end..].split_once("  rules  ").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    let text = format!("{before}\n{after}");
    in_snapshots("report", || insta::assert_snapshot!("policy.txt", text));
}

#[test]
fn colour_is_escapes_and_nothing_else() {
    let log = few();
    let write = |color| {
        let options = TextOptions { color, ..TextOptions::default() };
        log.written(|sheet, out| write_sheet(sheet, &options, out).unwrap())
    };
    let (plain, colored) = (write(false), write(true));
    assert!(!plain.contains('\u{1b}'));
    let mut without = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        without.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    without.push_str(rest);
    assert_eq!(without, plain);
    assert_ne!(colored, plain);
}

#[test]
fn json() {
    for (name, log) in logs() {
        let text = log.written(|sheet, out| {
            write_json_suite(&only(sheet), out).unwrap();
        });
        in_snapshots("report", || insta::assert_snapshot!(format!("{name}.json"), text));
    }
}

#[test]
fn several_logs_are_a_suite() {
    let (few, damaged, many) = (few(), damaged(), many());
    let (applied, coverage) = everything(&few);
    let sheets = [
        Sheet::new(&few.report, &applied, Some(&coverage), true),
        Sheet::new(&damaged.report, &applied, None, true),
        Sheet::new(&many.report, &applied, None, true),
    ];
    let mut out = Vec::new();
    let unread = [nowhere()];
    let uncovered = ["edges never exercised: ready -> steady".to_owned()];
    let suite = Suite {
        sheets: &sheets,
        unread: &unread,
        uncovered: &uncovered,
        together: Some(&coverage),
    };
    write_json_suite(&suite, &mut out).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["schema"], "schedlog.check-suite/1");
    assert_eq!(json["verdict"], "violated");
    assert_eq!(json["reports"].as_array().unwrap().len(), 3);
    assert_eq!(json["reports"][1]["verdict"], "damaged");
    assert_eq!(json["unreadable"][0]["directory"], "nowhere");
    assert_eq!(json["uncovered"][0], uncovered[0]);
    out.clear();
    let one = Suite { sheets: &sheets[..1], uncovered: &uncovered, ..Suite::default() };
    write_json_suite(&one, &mut out).unwrap();
    let one: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(one["uncovered"][0], uncovered[0]);
    // The documentation describes all that is there, and nothing else.
    json["reports"].as_array_mut().unwrap().push(one);
    crate::schema::assert_documented(&json);
}

#[test]
fn junit() {
    for (name, log) in logs() {
        let text = log.written(|sheet, out| {
            write_junit(&only(sheet), out).unwrap();
        });
        in_snapshots("report", || insta::assert_snapshot!(format!("{name}.xml"), text));
    }
    let log = few();
    let (applied, _) = everything(&log);
    let text = log.written_with(&applied, None, |sheet, out| {
        write_junit(&only(sheet), out).unwrap();
    });
    assert_eq!(text.matches("not run: deselected").count(), 3);
}

#[test]
fn sarif() {
    for (name, log) in logs() {
        let text = log.written(|sheet, out| {
            write_sarif(&only(sheet), out).unwrap();
        });
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_is_sarif(&json);
        // The pages of the rules have their own snapshots.
        let rules = json["runs"][0]["tool"]["driver"]["rules"].as_array_mut().unwrap();
        rules.retain(|rule| rule["id"] == "M002");
        in_snapshots("report", || {
            insta::assert_json_snapshot!(format!("{name}.sarif"), json);
        });
    }
}

/// What SARIF 2.1.0 requires of the parts that are used.
fn assert_is_sarif(json: &serde_json::Value) {
    // Runs of one tool and category are not accepted in one file.
    let runs = json["runs"].as_array().unwrap().iter();
    let ids: std::collections::BTreeSet<_> =
        runs.map(|run| run["automationDetails"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), json["runs"].as_array().unwrap().len());
    assert!(ids.iter().all(|id| id.ends_with('/')), "{ids:?}");
    assert_eq!(json["version"], "2.1.0");
    assert!(json["$schema"].as_str().unwrap().ends_with("sarif-2.1.0.json"));
    for run in json["runs"].as_array().unwrap() {
        let driver = &run["tool"]["driver"];
        assert!(driver["name"].is_string());
        let ids: Vec<_> = driver["rules"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
        assert!(run["invocations"][0]["executionSuccessful"].is_boolean());
        for result in run["results"].as_array().unwrap() {
            assert!(ids.contains(&&result["ruleId"]), "{result}");
            assert!(
                ["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap())
            );
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            let related = result["relatedLocations"].as_array().into_iter().flatten();
            for location in result["locations"].as_array().unwrap().iter().chain(related) {
                let physical = &location["physicalLocation"];
                assert!(physical["artifactLocation"]["uri"].is_string(), "{location}");
                if let Some(region) = physical.get("region") {
                    assert!(region["startLine"].as_u64().unwrap() >= 1);
                    let start = region.get("startColumn").map(|it| it.as_u64().unwrap());
                    let end = region.get("endColumn").map(|it| it.as_u64().unwrap());
                    assert!(start <= end && start != Some(0));
                }
            }
        }
    }
}

#[test]
fn github() {
    for (name, log) in logs() {
        let text = log.written(|sheet, out| write_annotations(&only(sheet), out).unwrap());
        for line in text.lines() {
            assert!(line.starts_with("::") && line[2..].contains("::"), "{line}");
        }
        in_snapshots("report", || insta::assert_snapshot!(format!("{name}.github"), text));
    }
}

/// What was not checked and what was not covered stand in every form as errors.
#[test]
fn what_is_wrong_with_the_check_as_a_whole_is_in_every_form() {
    let (few, applied) = (few(), Applied::default());
    let again = Sheet::new(&few.report, &applied, None, true);
    let sheets = [Sheet::new(&few.report, &applied, None, true), again];
    let unread = [nowhere()];
    let uncovered = ["edges never exercised: waiting -> running".to_owned()];
    let whole =
        Suite { sheets: &sheets, unread: &unread, uncovered: &uncovered, ..Suite::default() };
    let nothing = Suite { unread: &unread, ..Suite::default() };
    for (name, suite) in [("whole", whole), ("nothing", nothing)] {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap().replace(&few.path, "LOG")
        };
        let sarif = written(&|out| write_sarif(&suite, out).unwrap());
        assert_is_sarif(&serde_json::from_str(&sarif).unwrap());
        let text = [
            written(&|out| write_suite(&suite, &TextOptions::default(), out).unwrap()),
            written(&|out| write_junit(&suite, out).unwrap()),
            written(&|out| write_annotations(&suite, out).unwrap()),
            sarif,
        ];
        let mut json: serde_json::Value =
            serde_json::from_str(&written(&|out| write_json_suite(&suite, out).unwrap())).unwrap();
        json["reports"] = json["reports"].as_array().unwrap().len().into();
        let json = serde_json::to_string_pretty(&json).unwrap();
        let lines = |text: &String| {
            let told =
                ["nowhere", "never exercised", "verdict:", "==>", "schedlog/", "executionSucc"];
            let told = |line: &&str| told.iter().any(|words| line.contains(words));
            text.lines().filter(told).collect::<Vec<_>>().join("\n")
        };
        let text = text.iter().map(lines).chain([json]).collect::<Vec<_>>().join("\n---\n");
        in_snapshots("report", || insta::assert_snapshot!(format!("unread-{name}"), text));
    }
}

/// The base log with a request of another id, and wrong about it.
fn renamed(id: &str) -> Checked {
    let mut log = Log::base().edited(&fixture("M002")).edited(&fixture("Q001"));
    for (_, bytes) in log.files.iter_mut().filter(|(name, _)| name.ends_with(".csv")) {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let rows = text.lines().map(|row| {
            let fields = row.split(',').map(|field| if field == "b" { id } else { field });
            fields.collect::<Vec<_>>().join(",") + "\n"
        });
        *bytes = rows.collect::<String>().into_bytes();
    }
    Checked::log(&log)
}

#[test]
fn no_id_steers_a_terminal_or_breaks_a_form() {
    let log = renamed("b\u{9b}31m\u{85}\u{202e}\u{fffe}\u{ffff}\u{7}");
    let options = TextOptions { all: true, ..TextOptions::default() };
    let text = log.written(|sheet, out| write_sheet(sheet, &options, out).unwrap());
    assert!(text.contains("M002"), "{text}");
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert_eq!(text.chars().find(|c| steers(*c)), None, "{text}");
    let xml = log.written(|sheet, out| write_junit(&only(sheet), out).unwrap());
    assert!(xml.contains("M002"), "{xml}");
    assert_eq!(xml.chars().find(|c| matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{7}')), None, "{xml}");
}

#[test]
fn an_id_without_end_is_shortened_for_people() {
    let log = renamed(&"long".repeat(50_000));
    let options = TextOptions::default();
    let text = log.written(|sheet, out| write_sheet(sheet, &options, out).unwrap());
    let github = log.written(|sheet, out| write_annotations(&only(sheet), out).unwrap());
    let xml = log.written(|sheet, out| write_junit(&only(sheet), out).unwrap());
    for text in [text, github, xml] {
        assert!(text.contains("longlong") && text.len() < 20_000, "{} bytes", text.len());
    }
}
