//! A clock that is read more than once for one moment, its readings further apart than what is taken for one.

use std::collections::BTreeSet;

use crate::check::{CheckOptions, CheckReport, Finding, check_dir};
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::WIDE_READINGS;
use crate::log::dialect::{Dialect, Habit};
use crate::log::reader::{Location, LogDir};
use crate::units::Nanos;

/// Bounds that are tried, in microseconds.
const BOUNDS: [u64; 15] =
    [75, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000];
/// How often the log is checked once more.
const TRIES: usize = 4;
/// Of so many findings one may be left: then it is the bound that makes them.
const LEFT: u64 = 4;

/// Rules whose finding may name it, the best first.
const LEADS: &[&str] = &[
    "M015", "M006", "M004", "M002", "M003", "M013", "M010", "M007", "M001", "M020", "M005", "S003",
    "S004", "M018", "M014", "Q004",
];

/// What tells a finding from others.
type Name<'a> = (&'static str, Option<Location>, &'a str);

fn name<'a>(rule: &'static str, finding: &'a Finding) -> Name<'a> {
    (rule, finding.primary.as_ref().map(|mark| mark.at), finding.message.as_str())
}

pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    if dir.is_of_reference_logger() || dir.is_growing() || !board.has(LEADS) {
        return Some(());
    }
    let (errors, ..) = report.counts();
    let mut best: Option<(u64, CheckReport)> = None;
    let mut tries = 0;
    for bound in BOUNDS {
        let asked = Nanos(bound * 1_000);
        let dialect = Dialect::detect(dir, asked).ok()?;
        if dialect.skew_bound < asked || tries == TRIES {
            break;
        }
        if asked <= report.dialect.skew_bound || !dialect.has(Habit::ClockSkew) {
            continue;
        }
        tries += 1;
        let settings = report.settings.clone();
        let options = CheckOptions { settings, skew_bound: asked, ..CheckOptions::default() };
        let wider = check_dir(&report.directory, &options).ok()?;
        let (left, ..) = wider.counts();
        if best.as_ref().is_none_or(|(_, best)| left < best.counts().0) {
            best = Some((bound, wider));
        }
        if left == 0 {
            break;
        }
    }
    let Some((bound, wider)) = best.filter(|(_, wider)| wider.counts().0 * LEFT <= errors) else {
        return Some(());
    };
    let stay: BTreeSet<Name<'_>> = wider
        .rules
        .iter()
        .flat_map(|rule| rule.findings.iter().map(|finding| name(rule.rule.id, finding)))
        .collect();
    let stays = |seen: &Seen<'_>| stay.contains(&name(seen.rule, seen.finding));
    board.part(stays);
    let explains = |seen: &Seen<'_>| !stays(seen);
    let left = wider.counts().0;
    let bound = match bound {
        ms if ms % 1_000 == 0 => format!("{}ms", ms / 1_000),
        us => format!("{us}us"),
    };
    let text = format!(
        "readings of the clock for one moment differ by more than the bound up to which they are taken for one: \
         with `--skew-bound {bound}` {} of {errors} errors are gone",
        errors.saturating_sub(left)
    );
    board.claim(Claim { cause: WIDE_READINGS, text, lead: LEADS, explains: Box::new(explains) });
    Some(())
}
