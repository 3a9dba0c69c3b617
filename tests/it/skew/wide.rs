//! Readings of one moment that are further apart than the bound says what makes them so, and which bound to ask for.

use std::fmt::Write;

use schedlog::check::{CheckOptions, Verdict, check_dir};
use schedlog::diagnose::Diagnosis;
use schedlog::units::Nanos;

use super::{accounts, shows, stamps};
use crate::mutants::full_logs;
use crate::support::in_snapshots;

/// The cause that is told here.
pub(crate) const TOLD_HERE: &str = "clock-skew";

#[test]
fn a_skew_beyond_the_bound_leads_with_the_bound_to_ask_for() {
    let (mut led, mut text) = (0, String::new());
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        for (what, skewed) in
            [("stamps", stamps(log, 400_000)), ("both", accounts(&stamps(log, 180_000), 180_000))]
        {
            let directory = skewed.log().write();
            let check = |bound: Option<u64>| {
                let mut options = CheckOptions::default();
                if let Some(micros) = bound {
                    options.skew_bound = Nanos(micros * 1_000);
                }
                check_dir(directory.path(), &options).unwrap()
            };
            let report = check(None);
            assert_eq!(report.verdict(), Verdict::Violated, "{name}, {what}");
            let diagnosis = Diagnosis::of(&report, false);
            let mut causes = diagnosis.groups[0].causes.iter();
            let Some(cause) = causes.find(|cause| cause.id == TOLD_HERE) else { continue };
            let asked = cause.text.split("--skew-bound ").nth(1).unwrap();
            let asked: String = asked.chars().take_while(char::is_ascii_digit).collect();
            let wider = check(Some(asked.parse().unwrap())).counts().0;
            let errors = report.counts().0;
            let gone = format!("{} of {errors} errors", errors - wider);
            assert!(cause.text.contains(&gone), "{name}, {what}: {}, not {gone}", cause.text);
            // Steps are too short for some of the differences.
            if wider == 0 {
                assert_eq!(diagnosis.groups.len(), 1, "{name}, {what}");
                led += 1;
                writeln!(text, "{name}, {what}\n  {}: {}", cause.id, cause.text).unwrap();
            }
        }
    }
    assert!(led > 9, "{led}");
    in_snapshots("leads", || insta::assert_snapshot!("readings", text));
}

/// A mistake that no bound explains is still told, beside the skew.
#[test]
fn a_mistake_beside_a_skew_beyond_the_bound_stands_out() {
    let (_, log) = full_logs().into_iter().find(|(name, _)| name == "plain-run").unwrap();
    let mut wrong = stamps(&log, 400_000);
    wrong.p.add(0, "e2e_latency", 3_000_000);
    let (_directory, report) = wrong.log().check();
    let diagnosis = Diagnosis::of(&report, false);
    let led = |id: &str| {
        diagnosis.groups.iter().any(|group| group.causes.iter().any(|cause| cause.id == id))
    };
    assert!(led(TOLD_HERE));
    let shown = diagnosis.groups.iter().flat_map(|group| &group.findings);
    assert!(shown.into_iter().any(|it| it.message.contains("e2e_latency")), "{diagnosis:#?}");
}
