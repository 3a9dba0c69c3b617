//! Of many findings the one that leads is the one that shows the mistake, and its cause is true.

use std::fmt::Write;

use schedlog::check::Verdict;
use schedlog::diagnose::Diagnosis;
use schedlog::diagnose::mixups::MIXUPS;

use crate::dialect_writer::written;
use crate::mutants::{full_logs, leads, mixed, whole};
use crate::sheets::Sheets;
use crate::skew::wide;
use crate::support::in_snapshots;
use crate::{leads_files, leads_single};

/// What is left away of a log that has less than ours.
const HABITS: &[(&str, &[&str])] =
    &[("full", &[]), ("bare", &["fixed-columns-only", "no-details", "no-transitions"])];

/// Where another rule leads in a log that has less, since the one that would lead needs what is not
/// there.
const BARE_LEADS: &[(&str, &[&str])] = &[
    ("resumed-is-scheduled", &["Q009", "X002"]),
    // Without finish_reason a completed row may be that of an abort, which is at no end of a step.
    ("clock-of-steps-jumps", &["M014", "M015", "S002"]),
    ("last-rows-read-after-the-end", &["C004"]),
    // Without details both rows are the same.
    ("events-written-without-details", &["S005", "F009", "X002"]),
    ("scheduled-events-called-arrived", &["Q009", "X002"]),
    ("run-json-without-prefix-caching", &["C003", "Q008"]),
    ("run-of-another-block-size", &["Q008", "Q010", "C003", "C009", "K009"]),
];

/// What the report begins with, and the rules that stand under it.
pub(crate) fn first(log: &crate::fixtures::Log) -> Option<(&'static str, String)> {
    let (_directory, report) = log.check();
    if report.verdict() != Verdict::Violated {
        return None;
    }
    let diagnosis = Diagnosis::of(&report, false);
    let group = &diagnosis.groups[0];
    let under: Vec<_> = group.consequences.iter().map(|it| it.rule.id).collect();
    let under = format!("      under it: {}\n", under.join(" "));
    Some((group.rule().id, told_first(&diagnosis, &under)))
}

/// The first finding of a report and its causes, something about it, and the rules beside it.
pub(crate) fn told_first(diagnosis: &Diagnosis<'_>, about: &str) -> String {
    let group = &diagnosis.groups[0];
    let mut text = format!("{}: {}\n", group.rule().id, group.findings[0].message);
    for cause in &group.causes {
        writeln!(text, "      {}: {}", cause.id, cause.text).unwrap();
    }
    text += about;
    let beside: Vec<_> = diagnosis.groups[1..].iter().map(|it| it.rule().id).collect();
    if !beside.is_empty() {
        writeln!(text, "      beside it: {}", beside.join(" ")).unwrap();
    }
    text
}

#[test]
fn the_rule_that_shows_the_mistake_leads() {
    // What the causes say is told of some of them.
    const TOLD: [&str; 3] = ["aborts", "async-preemption", "tiny-cache-preemption"];
    let logs = full_logs();
    let mut text = String::new();
    let mut others = Vec::new();
    for mutant in leads::MUTANTS.iter().chain(mixed::MUTANTS).chain(whole::MUTANTS) {
        writeln!(text, "{}: {}", mutant.name, mutant.story).unwrap();
        // Where none of those shows it, of the first that does.
        let (mut some, mut first_log) = (String::new(), None);
        for (name, log) in &logs {
            let mut wrong: Sheets = log.clone();
            (mutant.apply)(&mut wrong);
            if wrong == *log {
                continue;
            }
            let mut of_log = String::new();
            for (what, habits) in HABITS {
                let Some((rule, told)) = first(&written(&wrong, habits, true)) else { continue };
                let bare = BARE_LEADS.iter().find(|it| it.0 == mutant.name && !habits.is_empty());
                if !bare.map_or(mutant.rules, |it| it.1).contains(&rule) {
                    others.push(format!("{} on {name} {what}: {told}", mutant.name));
                }
                write!(of_log, "  {name} {what}\n    {told}").unwrap();
            }
            if TOLD.contains(&name.as_str()) {
                some.push_str(&of_log);
            } else {
                first_log.get_or_insert(of_log);
            }
        }
        text.push_str(if some.is_empty() {
            first_log.as_deref().unwrap_or_default()
        } else {
            &some
        });
    }
    in_snapshots("leads", || insta::assert_snapshot!("mixups", text));
    assert!(others.is_empty(), "{}", others.join("\n"));
    let elsewhere = [&leads_single::TOLD_HERE[..], &leads_files::TOLD_HERE, &[wide::TOLD_HERE]];
    let elsewhere = elsewhere.concat();
    let here = MIXUPS.iter().filter(|(id, _)| !elsewhere.contains(id));
    let silent: Vec<_> = here.filter(|(id, _)| !text.contains(&format!(" {id}: "))).collect();
    assert!(silent.is_empty(), "{silent:?}");
    assert!(MIXUPS.iter().all(|(_, doc)| doc.ends_with('.')));
}
