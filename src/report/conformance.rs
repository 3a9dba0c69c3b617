//! How a log compares with the reference, for people and for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use crate::conform::log::{
    Basis, Difference, LogCounts, LogDivergence, LogReport, LogSide, LogVerdict, location_text,
};
use crate::units::counted;

/// The version of the JSON report; members are only ever added within one version.
pub const CONFORM_SCHEMA: &str = "schedlog.conform/1";

/// Divergences that are shown in full unless all are asked for.
const SHOWN: usize = 3;

/// Ids of a queue that are shown.
const SHOWN_IDS: usize = 40;

/// Writes a report as text.
///
/// # Errors
/// What writing gives.
pub fn write_conformance(report: &LogReport, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let shown = if all { report.divergences.len() } else { SHOWN };
    for divergence in report.divergences.iter().take(shown) {
        writeln!(out, "{}", divergence_text(divergence))?;
    }
    let left = report.diverged - report.divergences.len().min(shown) as u64;
    if left > 0 {
        writeln!(out, "{left} more divergences (--all shows the first hundred)\n")?;
    }
    if !matches!(report.verdict, LogVerdict::Void(_)) {
        write_counts(report, out)?;
    }
    if !report.dialect.is_empty() {
        let names: Vec<_> = report.dialect.iter().map(|habit| habit.name()).collect();
        writeln!(out, "dialect: {}", names.join(", "))?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    for damage in &report.damage {
        writeln!(out, "damage: {damage}")?;
    }
    if let Some(at) = report.second_run {
        writeln!(
            out,
            "a second run begins at {}: only the first run is compared; split the files there and \
             compare the second one by itself",
            location_text(at)
        )?;
        return writeln!(
            out,
            "verdict: the first run {}; the second is void",
            verdict_text(report)
        );
    }
    let damaged = if report.damage.is_empty() { "" } else { ", but a file is damaged" };
    writeln!(out, "verdict: {}{damaged}", verdict_text(report))
}

fn write_counts(report: &LogReport, out: &mut dyn Write) -> io::Result<()> {
    let counts = &report.counts;
    writeln!(
        out,
        "iterations: {}, of which {} compared ({} the same, {} different), {} skipped",
        counts.iterations,
        counts.compared,
        counts.same,
        counts.different,
        counts.skipped()
    )?;
    writeln!(
        out,
        "decisions: {} scheduled ({} admitted, {} resumed), {} preempted, {} kept waiting, {} \
         finished",
        counts.scheduled,
        counts.admitted,
        counts.resumed,
        counts.preempted,
        counts.waiting,
        counts.finished
    )?;
    let basis = match report.basis {
        Basis::Exact => "every block is accounted for",
        Basis::HitsFromLog => {
            "prefix hits are taken from the log, and blocks are compared as far as sharing leaves \
             no choice (--trace tells what is shared)"
        }
    };
    writeln!(out, "blocks: {basis}")?;
    writeln!(out, "evicted_blocks: {}", evictions_text(counts))?;
    writeln!(out, "not compared: {}", NOT_COMPARED.join(", "))
}

/// What no log is compared in, as it is no decision.
const NOT_COMPARED: [&str; 2] = ["times", "the order of completed rows"];

/// In how many iterations evictions were compared, and how.
fn evictions_text(counts: &LogCounts) -> String {
    let kinds = [
        (counts.evictions, "compared", ""),
        (
            counts.evictions_bounded,
            "held to at most as many as the step takes",
            ", as which of them held content is unknown (--trace tells)",
        ),
        (counts.evictions_untold(), "not compared", ", as the log does not tell them"),
    ];
    let told = kinds.into_iter().filter(|(count, ..)| *count > 0);
    let steps = |count| counted(count, "iteration", "iterations");
    let parts: Vec<_> =
        told.map(|(count, how, why)| format!("{how} in {}{why}", steps(count))).collect();
    if parts.is_empty() { "not compared".to_owned() } else { parts.join("; ") }
}

/// The verdict in words.
fn verdict_text(report: &LogReport) -> String {
    match &report.verdict {
        LogVerdict::Conforms => {
            let LogCounts { compared, iterations, .. } = report.counts;
            let part = if compared < iterations {
                format!(" in {compared} of {iterations} iterations, the others were not compared")
            } else {
                String::new()
            };
            let hits = match report.basis {
                Basis::HitsFromLog => ", prefix hits taken from the log",
                Basis::Exact => "",
            };
            format!("conforms{part}{hits}")
        }
        LogVerdict::Diverges(id) => {
            let LogCounts { taken_over, restarts, .. } = report.counts;
            format!(
                "diverges at iteration {id} (divergences: {}, the log's decision taken over: \
                 {taken_over}, fresh starts: {restarts})",
                report.diverged
            )
        }
        LogVerdict::Void(reason) => format!("void: {reason}"),
    }
}

fn divergence_text(divergence: &LogDivergence) -> String {
    let LogDivergence { iteration, moment, differences, logged, reference, .. } = divergence;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "iteration {iteration}, {}: the reference differs", moment.as_str());
    if let Some(first) = differences.first() {
        let _ = writeln!(text, "  --> {}", location_text(first.at));
        let _ = writeln!(text, "  {}", subject(first));
        let _ = writeln!(text, "    log        {}", visible(&first.logged));
        let _ = writeln!(text, "    reference  {}", visible(&first.reference));
    }
    let mut others: Vec<&str> = Vec::new();
    for field in differences.iter().skip(1).map(|other| other.field) {
        if !others.contains(&field) {
            others.push(field);
        }
    }
    if !others.is_empty() {
        let _ = writeln!(text, "  also: {}", others.join(", "));
    }
    let _ = write!(text, "  rows: {}", location_text(divergence.iteration_row));
    if let Some((first, last)) = divergence.rows {
        let _ = write!(text, ", {}-{}", location_text(first), last.line);
    }
    let _ = writeln!(text, "\n  the log:\n{}", side_text(logged));
    let _ = writeln!(text, "  the reference:\n{}", side_text(reference));
    let _ = writeln!(text, "  why the reference decides so:");
    for reason in &divergence.reasons {
        let _ = writeln!(text, "    {}", visible(reason));
    }
    if divergence.reasons.is_empty() {
        let _ = writeln!(text, "    nothing limited this step");
    }
    text
}

fn subject(difference: &Difference) -> String {
    match &difference.request {
        Some(request) => format!("{}, request {}", difference.field, visible(request)),
        None => difference.field.to_owned(),
    }
}

fn side_text(side: &LogSide) -> String {
    let shorten = |mut parts: Vec<String>| {
        let more = parts.len().saturating_sub(SHOWN_IDS);
        parts.truncate(SHOWN_IDS);
        if more > 0 {
            parts.push(format!("… {more} more"));
        }
        if parts.is_empty() { "-".to_owned() } else { visible(&parts.join(" ")) }
    };
    let numbers = |pairs: &[(String, u32)]| {
        shorten(pairs.iter().map(|(id, number)| format!("{id}:{number}")).collect())
    };
    let waiting = side.waiting.iter().map(|(id, reason)| format!("{id}:{reason}")).collect();
    let free = match side.free {
        (fewest, most) if fewest == most => fewest.to_string(),
        (fewest, most) => format!("{fewest} to {most}"),
    };
    format!(
        "    batch (id:tokens)    {}\n    budget left          {}\n    running (id:blocks)  {}\n    \
         waiting (id:reason)  {}\n    free blocks          {free}",
        numbers(&side.batch),
        side.budget_left,
        numbers(&side.running),
        shorten(waiting),
    )
}

/// Text of the log without what could steer a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[derive(Serialize)]
struct Report<'a> {
    /// The version of this form.
    schema: &'static str,
    /// `conforms`, `diverges` or `void`.
    verdict: &'static str,
    /// The first iteration that diverges.
    iteration: Option<u64>,
    /// Why nothing could be compared.
    void: Option<String>,
    /// `exact`, or `hits_from_log` where the content of prompts is unknown.
    blocks: &'static str,
    iterations: u64,
    compared: u64,
    same: u64,
    /// Iterations compared that differ; one may hold two divergences.
    different: u64,
    /// Iterations that were not compared.
    skipped: u64,
    decisions: Decisions,
    /// In how many of the compared iterations evicted_blocks was compared, and how.
    evicted_blocks: Evictions,
    /// What is never compared, as it is no decision.
    not_compared: [&'static str; 2],
    /// How often the reference took over what the log decided.
    taken_over: u64,
    /// How often the reference started anew.
    restarts: u64,
    /// How many divergences there are; `divergences` lists the first hundred.
    diverged: u64,
    /// Where a second run begins; only the first one was compared.
    second_run: Option<Place>,
    /// Files that could not be read to their end, though they were not cut, and why.
    damage: &'a [String],
    /// The habits in which the log differs from the reference format.
    dialect: Vec<&'static str>,
    notes: &'a [String],
    divergences: Vec<Divergence<'a>>,
}

#[derive(Serialize)]
struct Place {
    file: &'static str,
    /// Counted from 1, the header.
    line: u64,
}

#[derive(Serialize)]
struct Decisions {
    scheduled: u64,
    admitted: u64,
    resumed: u64,
    preempted: u64,
    waiting: u64,
    finished: u64,
}

#[derive(Serialize)]
struct Evictions {
    /// With the one number that it can be.
    exact: u64,
    /// With the most that it can be, as the content of prompts is unknown.
    bounded: u64,
    /// Not at all, as the log does not tell it.
    untold: u64,
}

#[derive(Serialize)]
struct Divergence<'a> {
    iteration: u64,
    /// `decision` (at D) or `output` (at E).
    moment: &'static str,
    /// The likely cause first.
    differences: Vec<Different<'a>>,
    log: Side<'a>,
    reference: Side<'a>,
    /// Why the reference decided so.
    reasons: &'a [String],
}

#[derive(Serialize)]
struct Different<'a> {
    field: &'static str,
    request: Option<&'a str>,
    log: &'a str,
    reference: &'a str,
    file: &'static str,
    /// Counted from 1, the header.
    line: u64,
}

#[derive(Serialize)]
struct Side<'a> {
    /// Requests and their tokens.
    batch: &'a [(String, u32)],
    budget_left: u32,
    /// Requests and their blocks.
    running: &'a [(String, u32)],
    /// Requests and what kept them out.
    waiting: &'a [(String, &'static str)],
    free_blocks_min: u32,
    free_blocks_max: u32,
}

impl<'a> Side<'a> {
    fn new(side: &'a LogSide) -> Self {
        Self {
            batch: &side.batch,
            budget_left: side.budget_left,
            running: &side.running,
            waiting: &side.waiting,
            free_blocks_min: side.free.0,
            free_blocks_max: side.free.1,
        }
    }
}

/// Writes a report as JSON.
///
/// # Errors
/// What writing gives.
pub fn write_conformance_json(report: &LogReport, out: &mut dyn Write) -> io::Result<()> {
    let (verdict, iteration, void) = match &report.verdict {
        LogVerdict::Conforms => ("conforms", None, None),
        LogVerdict::Diverges(id) => ("diverges", Some(id.0), None),
        LogVerdict::Void(reason) => ("void", None, Some(reason.to_string())),
    };
    let counts = &report.counts;
    let json = Report {
        schema: CONFORM_SCHEMA,
        verdict,
        iteration,
        void,
        blocks: match report.basis {
            Basis::Exact => "exact",
            Basis::HitsFromLog => "hits_from_log",
        },
        iterations: counts.iterations,
        compared: counts.compared,
        same: counts.same,
        different: counts.different,
        skipped: counts.skipped(),
        decisions: Decisions {
            scheduled: counts.scheduled,
            admitted: counts.admitted,
            resumed: counts.resumed,
            preempted: counts.preempted,
            waiting: counts.waiting,
            finished: counts.finished,
        },
        evicted_blocks: Evictions {
            exact: counts.evictions,
            bounded: counts.evictions_bounded,
            untold: counts.evictions_untold(),
        },
        not_compared: NOT_COMPARED,
        taken_over: counts.taken_over,
        restarts: counts.restarts,
        diverged: report.diverged,
        second_run: report.second_run.map(|at| Place { file: at.table.file_name(), line: at.line }),
        damage: &report.damage,
        dialect: report.dialect.iter().map(|habit| habit.name()).collect(),
        notes: &report.notes,
        divergences: report.divergences.iter().map(divergence_json).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &json)?;
    writeln!(out)
}

fn divergence_json(divergence: &LogDivergence) -> Divergence<'_> {
    Divergence {
        iteration: divergence.iteration.0,
        moment: divergence.moment.as_str(),
        differences: divergence.differences.iter().map(difference_json).collect(),
        log: Side::new(&divergence.logged),
        reference: Side::new(&divergence.reference),
        reasons: &divergence.reasons,
    }
}

fn difference_json(difference: &Difference) -> Different<'_> {
    Different {
        field: difference.field,
        request: difference.request.as_deref(),
        log: &difference.logged,
        reference: &difference.reference,
        file: difference.at.table.file_name(),
        line: difference.at.line,
    }
}
