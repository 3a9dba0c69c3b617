//! A log as one web page: charts, timeline, requests and findings, in a single file that needs no
//! network and no other file.

mod data;
mod findings;
mod markup;

use std::collections::BTreeSet;

use crate::check::{CheckError, CheckOptions, CheckReport, check_dir};
use crate::log::reader::LogDir;
use crate::view::collect::PictureOptions;
use crate::view::picture;

/// Points in time that are told apart: enough to zoom in, few enough for any browser.
const POINTS: usize = 4_096;
/// Requests that are shown one by one.
const REQUESTS: usize = 8_000;
/// Findings of one rule that are shown.
const FINDINGS: usize = 40;

/// Reads and checks a log and makes its page.
///
/// # Errors
/// If the directory is not a log or a file in it cannot be opened.
pub fn page(dir: &LogDir, options: &CheckOptions) -> Result<String, CheckError> {
    let report = check_dir(&dir.path, options)?;
    let picture = picture(dir, &wanted(&report))?;
    let findings = findings::Shown::of(&report, dir, &picture);
    let data = data::json(&picture, &findings);
    Ok(markup::page(dir, &report, &picture, &findings, &data))
}

/// What the picture must have so that every finding has its place in it.
fn wanted(report: &CheckReport) -> PictureOptions {
    let findings = || report.rules.iter().flat_map(|rule| rule.findings.iter().take(FINDINGS));
    let wanted_requests: BTreeSet<_> =
        findings().filter_map(|finding| finding.request.clone()).collect();
    let wanted_steps = findings().filter_map(|finding| finding.iteration).collect();
    PictureOptions { points: POINTS, requests: REQUESTS, wanted_requests, wanted_steps }
}
