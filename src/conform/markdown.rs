//! The table of compared records for the documentation.

use std::fmt::Write;

use crate::conform::report::{ConformReport, ProfileRow};

/// One row per profile and their sum, as a markdown table.
#[must_use]
pub fn table(report: &ConformReport) -> String {
    let mut text = String::from(
        "| profile | records | steps | passes | scheduled | preempted | finished | divergences |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut sum = ProfileRow { profile: "all".to_owned(), ..ProfileRow::default() };
    for row in report.by_profile() {
        line(&mut text, &row);
        sum.records += row.records;
        sum.counts += row.counts;
        sum.diverged += row.diverged;
        sum.void += row.void;
    }
    line(&mut text, &sum);
    if sum.void > 0 {
        let _ = writeln!(text, "\n{} of these records could not be compared.", sum.void);
    }
    text
}

fn line(text: &mut String, row: &ProfileRow) {
    let ProfileRow { profile, records, counts, diverged, .. } = row;
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "| {profile} | {records} | {} | {} | {} | {} | {} | {diverged} |",
        counts.steps, counts.passes, counts.scheduled, counts.preempted, counts.finished,
    );
}
